"""The parts of a held message as its page lists them: what they are called, what they are, and what is dangerous."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from gateway.checks.attachment import dangers
from gateway.mail import decode_body
from gateway.types import Message, Part

_HEAD = 64  # bytes
_CONTAINERS = ("multipart/", "message/")
# first bytes -> what it is, whatever it is called
_SIGNATURES = (
    (b"MZ", "application/x-msdownload"),
    (b"\x7fELF", "application/x-executable"),
    (b"L\0\0\0\x01\x14\x02\0", "application/x-ms-shortcut"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"{\\rtf", "application/rtf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)


class Attached(NamedTuple):
    """One part."""

    path: str
    declared: str  # the type as the message has it
    found: str  # as its first bytes have it; "" when they do not tell
    filename: str
    size: int | None  # bytes, decoded; None for a container
    sha256: str
    dangers: tuple[str, ...]  # names of findings, as checks/attachment.py has them


def attached(message: Message) -> Iterator[Attached]:
    """In document order; one part's bytes in memory at a time."""
    for part in message.parts:
        if part.content_type.startswith(_CONTAINERS) and not part.raw:
            yield Attached(part.path, part.content_type, "", part.filename, None, "", ())
        else:
            body = decode_body(part)
            digest = hashlib.sha256(body).hexdigest()
            found = sniffed(body)
            yield Attached(part.path, part.content_type, found, part.filename, len(body), digest, dangers(part))


def sniffed(body: bytes) -> str:
    """The type its first bytes tell, "" for what is not known. Text may begin with two letters; it holds no NUL."""
    is_text = b"\0" not in body[:_HEAD]
    return next((name for one, name in _SIGNATURES if body.startswith(one) and not (len(one) == 2 and is_text)), "")


def find(message: Message, path: str) -> Part | None:
    """The part with bytes of its own at this place."""
    return next((part for part in message.parts if part.path == path and part.raw), None)


def disposition(filename: str) -> str:
    """Content-Disposition for a download under a stranger's name (RFC 6266); what deceives is replaced."""
    plain = "".join(char if char.isprintable() and char not in '/\\:*?"<>|' else "_" for char in filename[:120])
    plain = plain.strip(" .") or "part"
    ascii_only = plain.encode("ascii", "replace").decode().replace("?", "_").replace("%", "_").replace(";", "_")
    return f"attachment; filename=\"{ascii_only}\"; filename*=UTF-8''{quote(plain, safe='')}"
