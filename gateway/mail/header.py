"""Header fields: where they begin and end, and their text with encoded-words decoded (RFC 5322 §2.2, RFC 2047).

Everything is total and linear: a field that follows no grammar still gives a text. Quirks that mail readers accept are
accepted: any mix of line ends, white space before the colon, encoded-words inside quotes or words, missing padding.
The header ends where the servers behind us see its end: at the empty line, or at a line that is no field.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

import pybase64

from gateway.mail.charset import decode
from gateway.types import HeaderField

MAX_FIELDS = 10_000
MAX_VALUE = 1 << 16  # bytes of one field that are decoded
_MAX_PADDING = 10_000  # "=" in the middle of base64; more of them are ignored
_EOL = r"(?>\r{0,2}\n|\r)"  # CRCRLF is the line end of a gateway that converted twice
_FIELD = re.compile(rf"([!-9;-~]{{1,256}})[ \t]*:[^\r\n]*{_EOL}?(?:[ \t][^\r\n]*{_EOL}?)*+".encode())
_USUAL_FIELD = re.compile(r"(?<!.)([!-9;-~]{1,256}):(.*\n(?:[ \t].*+\n?+)*+)")  # no CR alone; ends with a line end
_STRAY = re.compile(rf"[^\r\n]*{_EOL}?(?:[ \t][^\r\n]*{_EOL}?)*+".encode())
_EMPTY = re.compile(_EOL.encode())
_EMPTY_LINE = re.compile(f"{_EOL}{_EOL}".encode())
# What tells a header that goes on behind a stray line from text: a word, a colon, and no "//" of a URL
_GOES_ON = re.compile(rb"[A-Za-z][A-Za-z0-9-]{1,75}:(?!//)")
_ENVELOPE_LINE = re.compile(rf">?From [^\r\n]{{0,998}}{_EOL}".encode())  # RFC 4155: an mbox's line
_CHARSET = re.compile(rb"charset\s*=\s*[\"']?([A-Za-z0-9_.:+-]{1,40})", re.IGNORECASE)
_WORD = re.compile(
    r"=\?([A-Za-z0-9_.:()+-]{1,60})(?:\*[A-Za-z0-9-]{0,20})?\?([BbQq])\?((?>(?:[^?=]++|\?(?!=)|=(?!\?(?!=)))*))\?="
)
_QP = re.compile(rb"=([0-9A-Fa-f]{2})")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))


Piece = tuple[str, int, int]  # a field's name, start and end; name "" for a stray line where a field should be


class Header(NamedTuple):
    """Where a header's fields stand in the content."""

    pieces: list[Piece]
    end: int  # where the header ends, before the empty line
    body_offset: int  # behind the empty line
    has_envelope_line: bool = False  # an mbox "From " line, which is the first piece
    has_stray: bool = False  # lines that are no field stand among the fields
    is_cut: bool = False  # more than MAX_FIELDS

    @property
    def has_separator(self) -> bool:
        """Whether an empty line stands between header and body."""
        return self.body_offset > self.end


def split_header(content: bytes, start: int = 0, end: int | None = None) -> Header:
    """Find the fields. A stray line is passed over when a field follows it; else the body begins there."""
    end = len(content) if end is None else end
    return _split_usual(content, start, end) or _split_any(content, start, end)


def _split_usual(content: bytes, start: int, end: int) -> Header | None:
    """The same at half the cost, where all up to an empty line is fields and no CR stands alone; else None."""
    found = _usual_block(content, start, min(end, start + MAX_VALUE))
    if found is None:
        return None
    block, header_end, body_offset = found
    position, pieces = start, []
    for name, value in _USUAL_FIELD.findall(block.decode("latin-1")):
        began, position = position, position + len(name) + 1 + len(value)
        pieces.append((name, began, position))
    if position != header_end or len(pieces) >= MAX_FIELDS:  # there is something else between the fields
        return None
    return Header(pieces, header_end, body_offset)


def _usual_block(content: bytes, start: int, end: int) -> tuple[bytes, int, int] | None:
    """All up to the first empty line, that line's place, and the place behind it; None when a CR stands alone."""
    separator = content.find(b"\n\r\n", start, end)
    bare = content.find(b"\n\n", start, end if separator < 0 else separator)
    header_end = (separator if bare < 0 else bare) + 1
    block = content[start:header_end]
    if not block or block.count(b"\r") != block.count(b"\r\n"):
        return None
    return block, header_end, header_end + (1 if bare >= 0 else 2)


def _split_any(content: bytes, start: int, end: int) -> Header:
    has_envelope_line = _ENVELOPE_LINE.match(content, start, end) is not None
    has_stray = False
    pieces: list[Piece] = []
    position = start
    while position < end:
        if len(pieces) >= MAX_FIELDS:
            return _cut(content, pieces, position, end)
        match = _FIELD.match(content, position, end)
        if match is None:
            match = _EMPTY.match(content, position, end)
            if match is not None:
                return Header(pieces, position, match.end(), has_envelope_line, has_stray)
            is_envelope_line = has_envelope_line and position == start
            match = _STRAY.match(content, position, end)
            if match is None or not (is_envelope_line or _GOES_ON.match(content, match.end(), end)):
                return Header(pieces, position, position, has_envelope_line, has_stray)
            has_stray = has_stray or not is_envelope_line
            pieces.append(("", position, match.end()))
        else:
            pieces.append((match[1].decode("ascii"), position, match.end()))
        position = match.end()
    return Header(pieces, end, end, has_envelope_line, has_stray)


def _cut(content: bytes, pieces: list[Piece], position: int, end: int) -> Header:
    match = _EMPTY_LINE.search(content, position - 1, end)
    if match is None:
        return Header(pieces, end, end, is_cut=True)
    first = _EMPTY.match(content, match.start(), end)
    return Header(pieces, first.end() if first else match.end(), match.end(), is_cut=True)


def read_header(
    content: bytes, start: int = 0, end: int | None = None, room: int = MAX_VALUE
) -> tuple[Header, tuple[HeaderField, ...]]:
    """The header and its fields with their text. Encoded-words are decoded in the first `room` bytes only."""
    end = len(content) if end is None else end
    usual = _read_usual(content, start, end, min(room, MAX_VALUE))
    if usual is not None:
        return usual
    header = split_header(content, start, end)
    return header, tuple(_each_field(content, header, start + room))


def _read_usual(content: bytes, start: int, end: int, room: int) -> tuple[Header, tuple[HeaderField, ...]] | None:
    """The same at half the cost, for ASCII that is all fields up to an empty line, no CR alone; else None."""
    found = _usual_block(content, start, min(end, start + room))
    if found is None or not found[0].isascii():
        return None
    block, header_end, body_offset = found
    position, pieces, fields = start, [], []
    has_words = b"=?" in block
    for name, value in _USUAL_FIELD.findall(block.decode("ascii")):
        began, position = position, position + len(name) + 1 + len(value)
        pieces.append((name, began, position))
        text = value.strip()
        if "\n" in text:
            text = text.replace("\r", "").replace("\n", "")
        if has_words and "=?" in text:
            text = decode_words(text).strip(" \t")
        fields.append(HeaderField(name, content[began:position], text))
    if position != header_end or len(pieces) >= MAX_FIELDS:  # there is something else between the fields
        return None
    return Header(pieces, header_end, body_offset), tuple(fields)


def _each_field(content: bytes, header: Header, decoded_until: int) -> Iterator[HeaderField]:
    charset: str | None = None
    for name, start, end in header.pieces:
        if not name:
            continue
        raw = content[start:end]
        if not raw.isascii() and charset is None:
            charset = _declared_charset(content, header)
        value, read = raw[raw.index(b":") + 1 :], decode_text if end <= decoded_until else unfold
        yield HeaderField(name, raw, read(value, charset or ""))


def _declared_charset(content: bytes, header: Header) -> str:
    """Raw 8-bit header bytes are mostly in the body's charset."""
    match = _CHARSET.search(content, header.pieces[0][1], min(header.end, header.pieces[0][1] + MAX_VALUE))
    return match[1].decode("ascii") if match else ""


def decode_text(value: bytes, charset: str = "") -> str:
    """Unfolded, encoded-words decoded, outer white space removed; `charset` is for 8-bit bytes that are not UTF-8."""
    text = unfold(value, charset)
    return decode_words(text).strip(" \t") if "=?" in text else text


def unfold(value: bytes, charset: str = "") -> str:
    """One line, encoded-words as they are, outer white space removed (RFC 5322 §2.2.3)."""
    value = value[:MAX_VALUE]
    text = value.decode("ascii") if value.isascii() else decode(value, "" if _is_utf8(value) else charset)
    text = text.strip()
    return text.replace("\r", "").replace("\n", "") if "\n" in text or "\r" in text else text


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def written_value(field: HeaderField) -> str:
    """The unfolded value, encoded-words not yet decoded.

    Structured fields are read from it, lest an encoded comma, quote or semicolon forge structure (RFC 2047 §6.2).
    """
    if b"=?" not in field.raw:
        return field.text
    return unfold(field.raw[field.raw.index(b":") + 1 :])


def decode_words(text: str) -> str:
    """Encoded-words decoded; adjacent ones of one charset as one, as a character may be split between them."""
    text = text[:MAX_VALUE]
    pieces: list[str] = []
    pending, charset, position = bytearray(), "", 0
    for match in _WORD.finditer(text):
        name = match[1].lower()
        between = text[position : match.start()]
        if pending and (name != charset or not (between == "" or between.isspace())):
            pieces.append(decode(bytes(pending), charset))
            pending.clear()
        if not position or not between.isspace():  # RFC 2047 §6.2: white space between encoded-words is not shown
            pieces.append(between)
        pending += _word_bytes(match[2], match[3])
        charset, position = name, match.end()
    if pending:
        pieces.append(decode(bytes(pending), charset))
    pieces.append(text[position:])
    return "".join(pieces)


def _word_bytes(encoding: str, payload: str) -> bytes:
    raw = payload.encode("utf-8", "replace")
    if encoding in "Qq":
        return _QP.sub(lambda match: bytes((int(match[1], 16),)), raw.replace(b"_", b" "))
    return decode_base64(raw)


def decode_base64(raw: bytes) -> bytes:
    """Whatever base64 is in there: other bytes are ignored (RFC 2045 §6.8), padding in the middle ends nothing."""
    try:
        return pybase64.b64decode(raw.translate(None, b"\r\n"), validate=True)
    except (binascii.Error, ValueError):
        clean = raw.translate(None, _NOT_BASE64).rstrip(b"=")
        if clean.count(b"=") > _MAX_PADDING:
            clean = clean.replace(b"=", b"")
    return b"".join(_unpadded(run) for run in clean.split(b"="))


def _unpadded(run: bytes) -> bytes:
    if len(run) % 4 == 1:  # six bits are no byte
        run = run[:-1]
    return pybase64.b64decode(run + b"=" * (-len(run) % 4)) if run else b""
