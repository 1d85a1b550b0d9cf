"""bytes -> Message, once and totally: MIME, header fields, addresses, HTML, links, text; and edits of raw headers.

The parser is imported when it is first asked for, because listeners edit headers and never parse a body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.types import Message, Part


def parse(content: bytes) -> Message:
    """The message of these bytes; see message.parse. Never raises."""
    from gateway.mail import message

    return message.parse(content)


def decode_body(part: Part) -> bytes:
    """A part's decoded bytes; see mime.decode_body. Never raises."""
    from gateway.mail import mime

    return mime.decode_body(part)
