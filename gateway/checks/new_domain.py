"""Links to domains that were in no mail here until now, or were seen first less than a day ago (docs/reputation.md).

Asked about are organisational domains: those of links, and with them the author's, which is remembered and not told.
Left out are addresses, our own and the recipients' domains, partners', and those that stand in everybody's mail.

Cost: none for mail without such links, and nearly none where all its domains were found old on the same day (UTC), or
new or nothing within ten seconds, as in a flood; else one question to the memory, however many links. Without a memory,
or when it cannot tell, nothing is said. Limits: seven domains of links and the author's; of more, those a reader can
follow, the first and the last.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from gateway.auth.organisation import organisational_domain
from gateway.checks.domain_list import COMMON
from gateway.mail.link import host_of
from gateway.ports import DomainMemory, Resolver
from gateway.types import Finding, MailObject, Message, Missing

_LINKED_MAX = 7
_LINKS_LOOKED_AT = 1000
_EVIDENCE_MAX = 3
_ANSWERS_MAX = 50_000  # of each kind that are believed for a while
_OLD_S = 86_400.0  # asked again after that: it keeps them in the memory
_NEW_S = 10.0
_NAME = re.compile(r"(?=.{4,253}$)(?:[a-z0-9_-]{1,63}\.)+[a-z][a-z0-9-]{0,62}")


class NewDomain:
    """See the module."""

    name = "new_domain"
    findings = ("URL_DOMAIN_NEW",)

    def __init__(self, memory: DomainMemory | None = None, known: Collection[str] = ()) -> None:
        """`known`: domains that are never new, such as our own."""
        self._memory = memory
        self._known = frozenset(map(organisational_domain, known)) | COMMON
        self._old = _Answers(_OLD_S)
        self._new = _Answers(_NEW_S)
        self._untold = _Answers(_NEW_S)  # the memory is young, or does not answer

    async def check(self, mail: MailObject, resolver: Resolver) -> Iterable[Finding | Missing]:
        """One finding, with up to three domains."""
        if self._memory is None or not mail.message.links:
            return ()
        linked = linked_domains(mail.message, self._known.union(_recipients(mail)))
        if not linked:
            return ()
        at = mail.envelope.received_at
        names, old = dict.fromkeys((*linked, *_author(mail))), self._old.at(at)
        new = self._new.at(at).intersection(names)
        asked = [one for one in names if one not in old and one not in new]
        if asked:
            if self._untold.at(at).issuperset(asked):
                return ()
            answer = await self._memory.lookup_new(asked)
            if answer is None:
                self._untold.add(asked)
                return ()
            self._new.add(answer)
            self._old.add(one for one in asked if one not in answer)
            new |= answer
        told = [_told(one) for one in linked if one in new]
        return (Finding("URL_DOMAIN_NEW", tuple(told[:_EVIDENCE_MAX])),) if told else ()


class _Answers:
    """Domains of which the same was said a moment ago."""

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self._span = 0
        self._domains: set[str] = set()

    def at(self, time_s: float) -> set[str]:
        """Those that are still believed then."""
        span = int(time_s // self._kept_s)
        if span != self._span or len(self._domains) > _ANSWERS_MAX:
            self._span, self._domains = span, set()
        return self._domains

    def add(self, domains: Iterable[str]) -> None:
        """For the rest of the span."""
        self._domains.update(domains)


def linked_domains(message: Message, known: Collection[str] = ()) -> list[str]:
    """The organisational domains its links lead to, those a reader can follow before what is only loaded (pictures)."""
    followed: dict[str, None] = {}
    loaded: dict[str, None] = {}
    for link in message.links[:_LINKS_LOOKED_AT]:
        host = host_of(link.url)
        if _NAME.fullmatch(host):
            domain = organisational_domain(host)
            if domain not in known:
                (loaded if link.source in ("image", "other") else followed)[domain] = None
    found = [*followed]
    if len(found) > _LINKED_MAX:  # what a spammer hides stands at an end, or is pushed there
        return [*found[: _LINKED_MAX - 3], *found[-3:]]
    return [*dict.fromkeys((*found, *loaded))][:_LINKED_MAX]


def _recipients(mail: MailObject) -> Iterable[str]:
    return {organisational_domain(one.domain) for one in mail.envelope.recipients}


def _author(mail: MailObject) -> list[str]:
    return [organisational_domain(one.domain) for one in mail.message.author[:1] if _NAME.fullmatch(one.domain)]


def _told(domain: str) -> str:
    return f"link to {domain}, a domain first seen here less than a day ago"
