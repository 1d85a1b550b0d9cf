"""The author's address, read from the header alone: what a listener needs to know before the message is judged.

What it says is a claim. It names what to look up; whoever uses the answer holds it against the parsed message
(`address_of`) and its authentication (`is_author_proven`). Cost: about 15 µs. Total for any bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.mail.address import parse_mailboxes
from gateway.mail.header import decode_text, split_header
from gateway.types import Address, AuthResult, HeaderField

_HEADER_MAX_BYTES = 1 << 16
_FIELD_MAX_BYTES = 2048  # as the author's domain is read for DMARC
_FIELDS_MAX = 10  # From fields, and mailboxes of them, of a message that has more than one
_ADDRESS_MAX = 320  # characters: 64 of a local part, 255 of a domain (RFC 5321 §4.5.3.1)


def peek_author(content: bytes) -> str:
    """The one address of the one From field, lower-case, its domain as A-labels; "" for none or several."""
    fields = _from_fields(content)
    if len(fields) != 1 or len(fields[0]) > _FIELD_MAX_BYTES:
        return ""
    if not _is_utf8(fields[0]):  # in which charset it is, other fields say
        return ""
    return address_of(_mailboxes(fields[0]))


def peek_authors(content: bytes) -> tuple[str, ...]:
    """Every address that a From field names, as above: whom the message pretends to be from. Some at most."""
    boxes = [one for raw in _from_fields(content)[:_FIELDS_MAX] for one in _mailboxes(raw[:_FIELD_MAX_BYTES])]
    return tuple(dict.fromkeys(filter(None, (address_of((one,)) for one in boxes[:_FIELDS_MAX]))))


def _from_fields(content: bytes) -> list[bytes]:
    head = content[:_HEADER_MAX_BYTES]
    return [head[start:end] for name, start, end in split_header(head).pieces if name.lower() == "from"]


def _mailboxes(raw: bytes) -> tuple[Address, ...]:
    return parse_mailboxes(HeaderField("From", raw, decode_text(raw[raw.index(b":") + 1 :])))


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def address_of(mailboxes: tuple[Address, ...]) -> str:
    """The same of an author that was parsed: both sides must come to the same text."""
    if len(mailboxes) != 1 or not mailboxes[0].domain or len(mailboxes[0].address) > _ADDRESS_MAX:
        return ""
    local = mailboxes[0].address.rpartition("@")[0].lower()
    return f"{local}@{mailboxes[0].domain}"


def is_author_proven(author: str, auth: Sequence[AuthResult]) -> bool:
    """Did SPF or DKIM pass, aligned, for the domain of this address? As DMARC asks, with or without a policy.

    Args:
        author: as above; "" is never proven.
    """
    domain = author.rpartition("@")[2]
    return (
        bool(domain)
        and any(one.method == "dmarc" and one.domain == domain for one in auth)  # what they were aligned with
        and any(one.method in ("spf", "dkim") and one.result == "pass" and one.is_aligned for one in auth)
    )
