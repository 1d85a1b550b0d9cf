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
from gateway.mail.edit import edit_header, format_field, to_crlf
from gateway.mail.header import split_header, unfold
from gateway.mail.parameter import parameter, parse_parameters

_MAX_DEPTH = 20
_MAX_ENTITIES, _MAX_DELIMITERS = 1000, 10_000  # entities that are changed, and lines between parts
_MAX_STRAY = 100_000  # 8-bit characters in what is said to be quoted-printable
_DELIMITER_END = re.compile(rb"(--)?[ \t]*(?=\r\n|\Z)")
_HIGH = re.compile(rb"[\x80-\xff]+")
_HIGH_BYTES = bytes(range(128, 256))
_QUESTION_MARKS = bytes(range(128)) + b"?" * 128
_HIGH_RUN = re.compile(r"[^\x00-\x7f]+(?:[ \t]+[^\x00-\x7f]+)*")
_WORD_CHARACTERS = 10  # of up to four bytes each, which base64 makes 56 characters of: RFC 2047 §2 allows 75 in all
_ADDRESS_FIELDS = frozenset(
    f"{prefix}{name}" for prefix in ("", "resent-") for name in ("from", "sender", "reply-to", "to", "cc", "bcc")
)


def encode_bodies(content: bytes) -> bytes | None:
    """The content, CRLF line ends, with bodies of 7 bits; None for one that cannot be encoded."""
    encoded = _Encoder().entity(content, 0)
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


class _Encoder:
    """Encodes one message."""

    def __init__(self) -> None:
        self._left, self._delimiters_left = _MAX_ENTITIES, _MAX_DELIMITERS

    def entity(self, entity: bytes, depth: int) -> bytes | None:
        """One MIME entity, with all that is in it."""
        if entity.isascii():
            return entity
        header = split_header(entity)
        body = entity[header.body_offset :]
        if body.isascii():
            return entity
        self._left -= 1
        if depth >= _MAX_DEPTH or self._left < 0:
            return None
        kind, boundary = _type(entity, header.pieces)
        encoded: bytes | None
        if kind.startswith("multipart/"):
            encoded, encoding = self._multipart(body, boundary, depth), "7bit"
        elif kind in ("message/rfc822", "message/global", "message/news"):
            encoded, encoding = self.entity(body, depth + 1), "7bit"
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

    def _multipart(self, body: bytes, boundary: str, depth: int) -> bytes | None:
        if not boundary:
            return None
        pieces: list[bytes] = []
        position, is_inside = 0, False
        for start, end, is_last in _delimiters(body, b"--" + boundary.encode("utf-8", "replace")):
            piece = self._between(body[position:start], is_inside, depth)
            if piece is None:
                return None
            self._delimiters_left -= 1
            if self._delimiters_left < 0:
                return None
            pieces += [piece, body[start:end]]
            position, is_inside = end, not is_last
            if is_last:
                break
        last = self._between(body[position:], is_inside, depth)
        return None if last is None else b"".join((*pieces, last))

    def _between(self, piece: bytes, is_inside: bool, depth: int) -> bytes | None:
        """A part behind its delimiter line; what stands before the first and behind the last one nobody reads."""
        if not is_inside:
            return piece.translate(_QUESTION_MARKS)
        start = 2 if piece.startswith(b"\r\n") else 0
        part = self.entity(piece[start:], depth + 1)
        return None if part is None else piece[:start] + part


def _delimiters(body: bytes, marker: bytes) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whether it is the last) of each delimiter line, with the line end before it (RFC 2046 §5.1.1)."""
    position = body.find(marker)
    while position >= 0:
        is_at_line_start = position == 0 or body[position - 2 : position] == b"\r\n"
        match = _DELIMITER_END.match(body, position + len(marker)) if is_at_line_start else None
        if match is not None:
            yield max(0, position - 2), match.end(), match[1] is not None
        position = body.find(marker, position + len(marker))


def _leaf(body: bytes, kind: str, encoding: str) -> tuple[bytes | None, str]:
    if encoding == "quoted-printable":  # which it is not, but nearly
        high = len(body) - len(body.translate(None, _HIGH_BYTES))
        return (_HIGH.sub(_quoted, body) if high <= _MAX_STRAY else None), encoding
    if encoding == "base64":
        return body.translate(None, _HIGH_BYTES), encoding  # what is no base64 decoders pass over
    if encoding not in ("", "7bit", "8bit", "binary"):
        return None, encoding
    if kind.startswith("text/") or not kind:
        return to_crlf(binascii.b2a_qp(body, istext=True)), "quoted-printable"  # LF where the body has no line end
    lines = base64.encodebytes(body).replace(b"\n", b"\r\n")
    return lines, "base64"


def _quoted(match: re.Match[bytes]) -> bytes:
    return b"=" + match[0].hex("=").upper().encode("ascii")


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
        return raw.translate(_QUESTION_MARKS)
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
