"""The form of a message as it was received, before anybody reads it: line ends, NUL and the size of its header.

Afterwards every line ends in CRLF and no CR or LF stands alone, so that none is ever sent on, and what is judged is
what is delivered. Cost: some µs for an ordinary message.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.config.settings import Smtp
from gateway.listeners import reply as replies
from gateway.mail.edit import to_crlf
from gateway.mail.header import split_header
from gateway.types import Reply


class Received(NamedTuple):
    """A message that may be judged, or the reply that refuses it."""

    content: bytes
    manner: tuple[str, ...] = ()  # Envelope.manner
    refused: Reply | None = None


def receive(content: bytes, settings: Smtp) -> Received:
    """Bring it into form, or refuse it as [smtp] says."""
    manner: list[str] = []
    if b"\0" in content:
        if settings.nul_bytes == "refuse":
            return Received(b"", refused=replies.NUL_BYTES)
        content = content.replace(b"\0", b"")
        manner.append("SMTP_NUL")
    even = to_crlf(content)
    if even is not content:
        if settings.bare_line_ends == "refuse":
            return Received(b"", refused=replies.BARE_LINE_ENDS)
        manner.append("SMTP_BARE_LINE_END")
    return Received(even, tuple(manner), _refused_header(even, settings))


def _refused_header(content: bytes, settings: Smtp) -> Reply | None:
    """The exact look is for those few whose first lines are many or long."""
    end = content.find(b"\r\n\r\n")
    end = len(content) if end < 0 else end
    is_long = end > min(settings.max_header_size, settings.max_header_field_size)
    if not is_long and content.count(b"\n", 0, end) < settings.max_header_fields:
        return None
    header = split_header(content)
    if header.end > settings.max_header_size:
        return replies.HEADER_TOO_LARGE
    if header.is_cut or sum(1 for piece in header.pieces if piece[0]) > settings.max_header_fields:
        return replies.TOO_MANY_FIELDS
    longest = max((stop - start for _, start, stop in header.pieces), default=0)
    return replies.FIELD_TOO_LARGE if longest > settings.max_header_field_size else None
