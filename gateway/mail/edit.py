"""Header edits on raw bytes: whole fields removed or put on top; every other byte stays as it came.

What is stripped from inbound mail: DESIGN §4. A field name is compared as mail readers do, white space before the
colon included, or a forged field would slip by.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from gateway.mail.authentication_results import authserv_id_of

_LINE = 78
_HARD_LINE = 900  # RFC 5322 §2.1.1 allows 998
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")
_BARE = re.compile(rb"\r\n|\r|\n")
_OURS = ("x-spam", "x-darban-", "x-ms-exchange-organization-")


def edit_header(content: bytes, remove: Callable[[str, bytes], bool], prepend: Sequence[bytes]) -> bytes:
    """The content with the fields for which `remove(name, raw)` holds taken out, and `prepend` (whole fields) on top.

    Bytes that are no field, and the body, are kept as they are.
    """
    end = _header_end(content)
    kept = [raw for raw in _fields(content[:end]) if not _is_unwanted(raw, remove)]
    return b"".join((*prepend, *kept, content[end:]))


def format_field(name: str, value: str) -> bytes:
    """The field as bytes, folded at white space; no value can begin another field."""
    words = _UNSAFE.sub(" ", value).split(" ")
    lines, line = [], f"{name}:"
    for word in words:
        if len(line) + 1 + len(word) > _LINE and line.strip() and not line.endswith(":"):
            lines.append(line)
            line = ""
        line = f"{line} {word}"
        while len(line) > _HARD_LINE:
            lines.append(line[:_HARD_LINE])
            line = f" {line[_HARD_LINE:]}"
    lines.append(line)
    return "\r\n".join(part for part in lines if part.strip()).encode("utf-8", "replace") + b"\r\n"


def to_crlf(content: bytes) -> bytes:
    """Every line end CRLF; bare CR and LF become line ends (RFC 5321 §2.3.8 forbids to send them on)."""
    if content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r"):
        return content
    return _BARE.sub(b"\r\n", content)


def inbound_field_to_strip(name: str, raw: bytes, hostname: str) -> bool:
    """Whether an inbound field pretends to be ours, or would steer the server behind us."""
    lower = name.lower()
    if lower.startswith(_OURS):
        return True
    if lower != "authentication-results":
        return False
    value = raw[raw.find(b":") + 1 :].decode("utf-8", "replace")
    return authserv_id_of(value) == hostname.lower()


def _header_end(content: bytes) -> int:
    """Offset of the empty line behind the header, or of the content's end."""
    if content.startswith((b"\r\n", b"\n")):
        return 0
    found = [index for index in (content.find(b"\n\r\n"), content.find(b"\n\n")) if index >= 0]
    return min(found) + 1 if found else len(content)


def _fields(block: bytes) -> list[bytes]:
    """Fields with their continuation lines; joined they are the block."""
    return re.split(rb"(?<=\n)(?![ \t])", block) if block else []


def _is_unwanted(raw: bytes, remove: Callable[[str, bytes], bool]) -> bool:
    name, colon, _ = raw.partition(b":")
    return bool(colon) and remove(name.strip().decode("latin-1"), raw)
