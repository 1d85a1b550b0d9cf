"""Where a domain's DMARC policy is published, and which organisation the domain belongs to.

TreeWalk is RFC 9989 §4.10: the records at the domain and above it say. SuffixList is RFC 7489 §3.2: the public suffix
list says. Both remember what they asked, so make one for each message.

Stricter than RFC 9989 in one thing: a record at a public suffix that does not say psd= (its owner forgot, or is not up
to date) is taken as psd=y. To the letter it would make one organisation of all who register there, and any of them
could then pass for any other.

Cost: 8 TXT look-ups for one domain at most, fewer for its parents and children afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.auth.dmarc_record import Record, is_record, parse_record
from gateway.auth.iprev import FAILURES
from gateway.auth.organisation import is_public_suffix, organisational_domain
from gateway.ports import Resolver
from gateway.types import DnsStatus

MAX_LABELS = 7  # of the names that are asked after the first (RFC 9989 §4.10 step 4)


class Published(NamedTuple):
    """What one name publishes."""

    content: bytes = b""
    record: Record | None = None  # None: no record, or several, which are none (§4.10 step 2)
    failure: DnsStatus | None = None  # why the DNS could not say


class Policy(NamedTuple):
    """The record that applies to an author domain."""

    published: Published
    domain: str = ""  # where it is; "" without one


Found = list[tuple[str, Published]]  # names with a record, longest first


class _Records:
    """The records of names, each asked for once."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._known: dict[str, Published] = {}

    async def at(self, name: str) -> Published:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = await self._ask(name)
        return known

    async def _ask(self, name: str) -> Published:
        answer = await self._resolver.query(f"_dmarc.{name}", "TXT")
        if answer.status in FAILURES:
            return Published(failure=answer.status)
        found = [one for one in answer.records if isinstance(one, bytes) and is_record(one)]
        return Published(found[0], parse_record(found[0])) if len(found) == 1 else Published()


class TreeWalk:
    """RFC 9989 §4.10."""

    method = "treewalk"  # in the words of aggregate reports (RFC 9990 §3.1.1.5)

    def __init__(self, resolver: Resolver) -> None:
        self._records = _Records(resolver)

    async def policy(self, author: str) -> Policy:
        """The author domain's own record, else its organisational domain's, else its public suffix's (§4.10.1)."""
        own = await self._records.at(author)
        if own.record or own.failure:
            return Policy(own, author)
        found, failure = await self._climb(author)
        if failure:
            return Policy(Published(failure=failure))
        if not found:
            return Policy(Published())
        organisation = _organisation(author, found)
        where = next((one for one in found if one[0] == organisation), found[-1])
        return Policy(where[1], where[0])

    async def organisation(self, domain: str) -> str | None:
        """The organisational domain (§4.10.2); None when the DNS could not say."""
        found, failure = await self._climb(domain)
        return None if failure else _organisation(domain, found)

    async def _climb(self, domain: str) -> tuple[Found, DnsStatus | None]:
        found: Found = []
        for name in names(domain):
            published = await self._records.at(name)
            if published.failure and ("." in name or not found):  # a silent top-level domain hides nothing found below
                return found, published.failure
            if published.record is not None:
                found.append((name, published))
                if published.record.psd != "u":
                    break
        return found, None


class SuffixList:
    """RFC 7489 §3.2 and §6.6.3."""

    method = "psl"

    def __init__(self, resolver: Resolver) -> None:
        self._records = _Records(resolver)

    async def policy(self, author: str) -> Policy:
        """The author domain's own record, else its organisational domain's."""
        for domain in dict.fromkeys((author, organisational_domain(author))):
            published = await self._records.at(domain)
            if published.record or published.failure:
                return Policy(published, domain)
        return Policy(Published())

    async def organisation(self, domain: str) -> str | None:
        """The public suffix and one label more; asks nobody."""
        return organisational_domain(domain)


def names(domain: str) -> Iterator[str]:
    """The names a walk asks about, at most 8, longest first (RFC 9989 §4.10)."""
    labels = domain.split(".")
    yield domain
    for count in range(min(len(labels) - 1, MAX_LABELS), 0, -1):
        yield ".".join(labels[-count:])


def _organisation(domain: str, found: Sequence[tuple[str, Published]]) -> str:
    """The organisational domain among those with a record (§4.10.2)."""
    if not found:
        return domain
    name, published = found[-1]  # the walk ended at a psd=, or this is the one with the fewest labels
    psd = published.record.psd if published.record else "u"
    if name != domain and (psd == "y" or (psd == "u" and is_public_suffix(name))):
        return ".".join(domain.split(".")[-name.count(".") - 2 :])
    return name
