"""Domains that look like ours, a partner's or the author's, wherever a reader or his answer may meet them.

From and Sender, Reply-To, the reverse-path, To and Cc, and links. The likeness itself: gateway/auth/lookalike.py.
Cost: a few look-ups in caches; at most _MAX_HOSTS link hosts are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.auth.identity import Identity
from gateway.auth.lookalike import KINDS, Likeness, are_alike
from gateway.auth.organisation import organisational_domain
from gateway.auth.sender import is_proven
from gateway.checks.domain_list import WRAPPERS
from gateway.mail.address import domain_of
from gateway.mail.confusable import has_mixed_scripts, is_disguised_latin
from gateway.mail.domain import to_a_label, to_u_label
from gateway.mail.link import host_of
from gateway.types import Finding, MailObject

_MAX_BOXES, _MAX_COPIES, _MAX_HOSTS, _MAX_LINKS = 3, 20, 60, 300
_HOST = re.compile(r"(?<![\w@.-])(?:\w[\w-]{0,62}\.){1,8}[^\W\d_][\w-]{0,62}(?![\w@-])")
_LINKS = {
    "twin": "LOOKALIKE_LINK_TWIN",
    "embedded": "LOOKALIKE_LINK_EMBEDDED",
    "typo": "LOOKALIKE_LINK",
    "lure": "LOOKALIKE_LINK",
}


class Lookalike:
    """See the module."""

    name = "lookalike"
    findings = (
        "LOOKALIKE_TWIN",
        "LOOKALIKE_EMBEDDED",
        "LOOKALIKE_TYPO",
        "LOOKALIKE_LURE",
        "LOOKALIKE_NAME",
        "LOOKALIKE_SCRIPTS",
        "LOOKALIKE_REPLY_TO",
        "LOOKALIKE_REVERSE_PATH",
        "LOOKALIKE_COPY",
        "LOOKALIKE_LINK_TWIN",
        "LOOKALIKE_LINK_EMBEDDED",
        "LOOKALIKE_LINK",
        "LOOKALIKE_LINK_SHOWN",
    )

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._find = identity.lookalikes.find

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """At most one of a kind."""
        message = mail.message
        author = next((box.domain for box in message.author if box.domain), "")
        yield from self._author(mail)
        yield from self._answers(mail, author)
        if self._identity.lookalikes:
            for box in message.to[:_MAX_COPIES]:
                likeness = self._find(box.domain)
                if likeness is not None and likeness.kind in ("twin", "typo"):
                    yield Finding("LOOKALIKE_COPY", (f"also sent to {box.address[:120]}: {likeness.words}",))
                    break
            yield from self._links(mail)

    def _author(self, mail: MailObject) -> Iterator[Finding]:
        """The nearest likeness among From and Sender."""
        boxes = [("From", box) for box in mail.message.author[:_MAX_BOXES]]
        boxes += [("Sender", box) for box in mail.message.sender[:1]]
        found: list[Likeness] = []
        for field, box in boxes:
            if "xn--" in box.domain and _is_disguised(box.domain):
                yield Finding("LOOKALIKE_SCRIPTS", (f"{field}: {to_u_label(box.domain)[:100]} mixes alphabets",))
            likeness = self._find(box.domain)
            if likeness is not None:
                found.append(likeness._replace(words=f"{field}: {likeness.words}"))
        if found:
            nearest = min(found, key=lambda one: KINDS.index(one.kind))
            yield Finding(f"LOOKALIKE_{nearest.kind.upper()}", (nearest.words,))

    def _answers(self, mail: MailObject, author: str) -> Iterator[Finding]:
        """Reply-To and the reverse-path: like a protected domain, or like the author's own."""
        for box in mail.message.reply_to[:_MAX_BOXES]:
            words = self._near(box.domain, author)
            if words:
                yield Finding("LOOKALIKE_REPLY_TO", (f"answers go to {box.address[:120]}: {words}",))
                break
        domain = domain_of(mail.envelope.reverse_path)
        if domain and domain != author:
            words = self._near(domain, author)
            if words and not any(domain == box.domain for box in mail.message.author[:_MAX_BOXES]):
                yield Finding("LOOKALIKE_REVERSE_PATH", (f"sent by {words}",))

    def _near(self, domain: str, author: str) -> str:
        likeness = self._find(domain)
        if likeness is not None and likeness.kind in ("twin", "typo"):
            return likeness.words
        words = are_alike(domain, author) if domain and author and domain != author else ""
        return f"{domain} is close to the author's {author}: {words}" if words else ""

    def _links(self, mail: MailObject) -> Iterator[Finding]:
        found: dict[str, list[str]] = {}
        hosts: dict[str, Likeness | None] = {}
        is_own_mail: bool | None = None
        for link in mail.message.links[:_MAX_LINKS]:
            host = host_of(link.url)
            if not host:
                continue
            if host not in hosts:
                if len(hosts) >= _MAX_HOSTS:
                    break
                hosts[host] = self._find(host)
            likeness = hosts[host]
            if likeness is not None and likeness.kind in _LINKS:
                found.setdefault(_LINKS[likeness.kind], []).append(likeness.words)
            if link.source == "anchor" and "." in link.text:
                shown = self._protected_in(link.text)
                if shown and not self._is_same(shown, host) and organisational_domain(host) not in WRAPPERS:
                    if is_own_mail is None:
                        is_own_mail = is_proven(mail) and any(
                            self._identity.is_own(box.domain) or self._identity.is_partner(box.domain)
                            for box in mail.message.author[:_MAX_BOXES]
                        )
                    if not is_own_mail:
                        words = f"shown as {shown[:100]}, leads to {to_u_label(host)[:100]}"
                        found.setdefault("LOOKALIKE_LINK_SHOWN", []).append(words)
        for name, evidence in found.items():
            yield Finding(name, tuple(dict.fromkeys(evidence))[:3])

    def _protected_in(self, text: str) -> str:
        """The first of our or our partners' domains in a link's text; "" without one."""
        for match in _HOST.finditer(text[:200]):
            host = to_a_label(match[0])
            if host and (self._identity.is_own(host) or self._identity.is_partner(host)):
                return host
        return ""

    def _is_same(self, shown: str, host: str) -> bool:
        identity = self._identity
        return identity.is_own(host) if identity.is_own(shown) else identity.is_partner(host)


def _is_disguised(domain: str) -> bool:
    """A label of two alphabets, or a foreign word that reads as ASCII before an ASCII ending."""
    labels = to_u_label(domain).split(".")
    return any(has_mixed_scripts(label) or is_disguised_latin(label) for label in labels if labels[-1].isascii())
