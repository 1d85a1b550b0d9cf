"""The author's domain (RFC5322.From), as DMARC needs it: one, or the reason why there is none (RFC 7489 §6.6.1).

No author domain, several, or one that cannot be read never passes; nor does an address that other readers would part
elsewhere (a@bank.example@evil.example, two in angle brackets, a NUL in it).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.mail.header import written_value
from gateway.types import Address, Message

_ADDR_SPEC = re.compile(
    r'(?:"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"|[^\x00-\x20\x7f()<>@,;:\\"\[\]]+)@[^\x00-\x20\x7f()<>@,;:\\"\[\]]+'
)
_QUOTED = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ANGLE = re.compile(r"<[^<>@]*+@[^<>@]*+>")
_MAX_FROM = 2048  # characters; a hundred authors


def author_domain(message: Message) -> tuple[str, str]:
    """(the one author domain, "") or ("", why there is none) (RFC 7489 §6.6.1)."""
    fields = message.by_name.get("from", ())
    if len(fields) != 1:
        return "", "there is no From field" if not fields else f"there are {len(fields)} From fields"
    domains = {mailbox.domain for mailbox in message.author}
    if not domains or "" in domains:
        return "", "the From field holds no address that can be read"
    if not _is_plain(written_value(fields[0]), message.author):
        return "", "the From field can be read in more ways than one"
    if len(domains) > 1:
        return "", f"the From field names {len(domains)} domains"
    domain = domains.pop()
    if "." not in domain or domain.startswith("["):
        return "", "the author's domain is not one in the DNS"
    return domain, ""


def _is_plain(value: str, author: Sequence[Address]) -> bool:
    """Does every reader find these mailboxes in the From field?"""
    return (
        len(value) <= _MAX_FROM
        and len(_ANGLE.findall(_QUOTED.sub("", value))) <= len(author)
        and all(_ADDR_SPEC.fullmatch(one.address) or one.domain.startswith("[") for one in author)
    )
