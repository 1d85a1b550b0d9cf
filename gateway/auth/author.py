"""The author's domain (RFC5322.From), as DMARC needs it: one, or the reason why there is none (RFC 7489 §6.6.1).

No author domain, several, or one that cannot be read never passes; nor does an address that other readers would part
elsewhere (a@bank.example@evil.example, two in angle brackets, a NUL in it: mail/reading.py), nor a header in which a
line that is no field could be taken for another From ("From" folded before its colon, or with a NUL behind it).
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from gateway.mail.header import split_header, written_value
from gateway.mail.reading import has_one_reading
from gateway.types import Message

Problem = Literal[
    "", "missing", "fields", "hidden", "address", "encoded", "reading", "unreadable", "domains", "outside"
]

_UNSEEN = re.compile(rb"[^ -~]+")  # controls and 8-bit octets that readers pass over
_FROM = re.compile(rb"\s*from(?![a-z0-9-])", re.IGNORECASE)
_ENCODED = re.compile(r"(?>(?:=\?[^?\s]{1,80}\?[BbQq]\?[^?]*+\?=\s*+)+)")
_MAX_STRAY = 200  # bytes of a line that are looked at


class Author(NamedTuple):
    """The author's domain, or what is in its way."""

    domain: str  # lower-case A-label, "" with a problem
    problem: Problem = ""
    words: str = ""  # the problem, as a person reads it


def author_domain(message: Message) -> tuple[str, str]:
    """(the one author domain, "") or ("", why there is none) (RFC 7489 §6.6.1)."""
    author = read_author(message)
    return author.domain, author.words


def read_author(message: Message) -> Author:
    """The one author domain, or why there is none. Never raises."""
    fields = message.by_name.get("from", ())
    if not fields:
        return Author("", "missing", "there is no From field")
    if len(fields) > 1:
        return Author("", "fields", f"there are {len(fields)} From fields")
    if _has_hidden_from(message):
        return Author("", "hidden", "a line that is no field could be read as another From")
    value = written_value(fields[0])
    domains = {mailbox.domain for mailbox in message.author}
    if _ENCODED.fullmatch(value) and "@" in fields[0].text:
        return Author("", "encoded", "the From field is encoded as a whole, address and all")
    if not has_one_reading(value):
        return Author("", "reading", "the From field can be read in more ways than one")
    if not domains or domains == {""}:
        return Author("", "address", "the From field holds no address that can be read")
    if "" in domains:
        return Author("", "unreadable", "the From field holds an author without an address that can be read")
    if len(domains) > 1:
        return Author("", "domains", f"the From field names {len(domains)} domains")
    domain = domains.pop()
    if "." not in domain or domain.startswith("["):
        return Author("", "outside", "the author's domain is not one in the DNS")
    return Author(domain)


def _has_hidden_from(message: Message) -> bool:
    """Is there a line between the fields that some reader takes for a From field?"""
    first = message.raw.find(message.fields[0].raw)
    size = sum(len(field.raw) for field in message.fields)
    if first == 0 and size + 2 >= message.body_offset:  # nothing but fields and the empty line
        return False
    header = split_header(message.raw, 0, message.body_offset)
    strays = [message.raw[start : min(end, start + _MAX_STRAY)] for name, start, end in header.pieces if not name]
    return any(_FROM.match(_UNSEEN.sub(b"", line)) for line in strays[header.has_envelope_line :])
