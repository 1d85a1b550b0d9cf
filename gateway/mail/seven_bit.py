"""A message for a server without 8BITMIME (RFC 6152 §3) or SMTPUTF8 (RFC 6531 §3.2): the same in 7 bits.

Bodies become quoted-printable, or base64 where they are no text; what they decode to stays the same. Header fields are
encoded by RFC 2047 for SMTPUTF8 alone: 8-bit fields without it are common, and servers take them. Signatures over what
is changed break, which is why nobody is spared it but by the server's offering what it lacks
(docs/decisions/0024-next-hops-are-urls-tried-in-order.md). Linear but for nesting, which is bounded.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from gateway.mail.address import parse_mailboxes
from gateway.mail.edit import edit_header, format_field
from gateway.mail.header import split_header, unfold
from gateway.mail.parameter import parameter, parse_parameters

_MAX_DEPTH = 20
_HIGH = re.compile(rb"[\x80-\xff]")
_HIGH_RUN = re.compile(r"[^\x00-\x7f]+(?:[ \t]+[^\x00-\x7f]+)*")
_WORD_CHARACTERS = 10  # of up to four bytes each, which base64 makes 56 characters of: RFC 2047 §2 allows 75 in all
_ADDRESS_FIELDS = frozenset(
    f"{prefix}{name}" for prefix in ("", "resent-") for name in ("from", "sender", "reply-to", "to", "cc", "bcc")
)


def encode_bodies(content: bytes) -> bytes | None:
    """The content, CRLF line ends, with bodies of 7 bits; None for one that cannot be encoded."""
    encoded = _entity(content, 0)
    if encoded is None:
        return None
    if encoded != content and "mime-version" not in {name.lower() for name, _, _ in split_header(content).pieces}:
        encoded = b"MIME-Version: 1.0\r\n" + encoded
    return encoded if encoded[split_header(encoded).end :].isascii() else None


def encode_header(content: bytes) -> bytes | None:
    """The content with header fields in ASCII; None for one with an address that is not ASCII and cannot be."""
    header = split_header(content)
    if content[: header.end].isascii():
        return content
    pieces = []
    for name, start, end in header.pieces:
        raw: bytes | None = content[start:end]
        if raw is not None and not raw.isascii():
            raw = _field(name, raw)
        if raw is None:
            return None
        pieces.append(raw)
    return b"".join(pieces) + content[header.end :]


# --- bodies -----------------------------------------------------------------------------------------------------------


def _entity(entity: bytes, depth: int) -> bytes | None:
    """One MIME entity, with all that is in it."""
    if entity.isascii():
        return entity
    header = split_header(entity)
    body = entity[header.body_offset :]
    if body.isascii():
        return entity
    if depth >= _MAX_DEPTH:
        return None
    kind, boundary = _type(entity, header.pieces)
    if kind.startswith("multipart/"):
        encoded, encoding = _multipart(body, boundary, depth), "7bit"
    elif kind in ("message/rfc822", "message/global", "message/news"):
        encoded, encoding = _entity(body, depth + 1), "7bit"
    else:
        encoded, encoding = _leaf(body, kind, _value(entity, header.pieces, "content-transfer-encoding").lower())
    if encoded is None:
        return None
    head = edit_header(
        entity[: header.body_offset] if header.has_separator else entity[: header.end] + b"\r\n",
        lambda name, _: name.lower() == "content-transfer-encoding",
        [format_field("Content-Transfer-Encoding", encoding)],
    )
    return head + encoded


def _multipart(body: bytes, boundary: str, depth: int) -> bytes | None:
    if not boundary:
        return None
    delimiter = re.compile(
        rb"(?:\A|\r\n)--" + re.escape(boundary.encode("utf-8", "replace")) + rb"(--)?[ \t]*(?=\r\n|\Z)"
    )
    pieces: list[bytes] = []
    position, is_inside = 0, False
    for match in delimiter.finditer(body):
        piece = _between(body[position : match.start()], is_inside, depth)
        if piece is None:
            return None
        pieces += [piece, match[0]]
        position, is_inside = match.end(), match[1] is None
        if not is_inside:
            break
    last = _between(body[position:], is_inside, depth)
    return None if last is None else b"".join((*pieces, last))


def _between(piece: bytes, is_inside: bool, depth: int) -> bytes | None:
    """A part behind its delimiter line; what stands before the first and behind the last one nobody reads."""
    if not is_inside:
        return _HIGH.sub(b"?", piece)
    start = 2 if piece.startswith(b"\r\n") else 0
    part = _entity(piece[start:], depth + 1)
    return None if part is None else piece[:start] + part


def _leaf(body: bytes, kind: str, encoding: str) -> tuple[bytes | None, str]:
    if encoding == "quoted-printable":  # which it is not, but nearly
        return _HIGH.sub(lambda match: b"=%02X" % match[0][0], body), encoding
    if encoding == "base64":
        return _HIGH.sub(b"", body), encoding  # what is no base64 decoders pass over
    if encoding not in ("", "7bit", "8bit", "binary"):
        return None, encoding
    if kind.startswith("text/") or not kind:
        return binascii.b2a_qp(body, istext=True), "quoted-printable"
    lines = base64.encodebytes(body).replace(b"\n", b"\r\n")
    return lines, "base64"


def _type(entity: bytes, pieces: list[tuple[str, int, int]]) -> tuple[str, str]:
    """("multipart/mixed", its boundary)."""
    kind, parameters = parse_parameters(_value(entity, pieces, "content-type"))
    return kind, parameter(parameters, "boundary")[0]


def _value(entity: bytes, pieces: list[tuple[str, int, int]], wanted: str) -> str:
    raw = next((entity[start:end] for name, start, end in pieces if name.lower() == wanted), b"")
    return unfold(raw.partition(b":")[2])


# --- header fields ----------------------------------------------------------------------------------------------------


def _field(name: str, raw: bytes) -> bytes | None:
    value = unfold(raw.partition(b":")[2])
    if not name:
        return _HIGH.sub(b"?", raw)
    if name.lower() not in _ADDRESS_FIELDS:
        return format_field(name, _HIGH_RUN.sub(_words, value))
    boxes = parse_mailboxes(value)
    written = []
    for box in boxes:
        local, _, _ = box.address.rpartition("@")
        address = box.address if box.address.isascii() else f"{local}@{box.domain}"
        if not address.isascii() or not (box.domain or box.address.isascii()):
            return None
        written.append(f"{_phrase(box.display_name)} <{address}>" if box.display_name else address)
    return format_field(name, ", ".join(written))


def _phrase(name: str) -> str:
    if name.isascii():
        return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return " ".join(_encoded_words(name))


def _words(match: re.Match[str]) -> str:
    return " ".join(_encoded_words(match[0]))


def _encoded_words(text: str) -> Iterator[str]:
    for start in range(0, len(text), _WORD_CHARACTERS):
        coded = base64.b64encode(text[start : start + _WORD_CHARACTERS].encode("utf-8", "replace")).decode("ascii")
        yield f"=?utf-8?b?{coded}?="
