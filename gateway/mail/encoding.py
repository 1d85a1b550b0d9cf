"""Content-Transfer-Encodings: base64, quoted-printable (RFC 2045 §6) and uuencode.

Total: what does not decode is kept or left out. Linear.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

from gateway.mail.header import decode_base64

UUENCODED = frozenset(("x-uuencode", "uuencode", "x-uue", "uue"))
ENCODINGS = UUENCODED | {"7bit", "8bit", "binary", "base64", "quoted-printable"}

# Soft line breaks that a2b_qp does not know: it swallows the line behind "=" CR, keeps "=" with white space behind, and
# takes "==" for one sign that breaks nothing
_ODD_BREAK = re.compile(rb"=(?:[ \t]++[\r\n]|\r(?!\n)|=)")
_MAX_ODD = 1_000_000
_BLANKS_AT_END = re.compile(r"(?<![ \t])[ \t]++(?=\r?\n|\Z)")
_SOFT_BREAK = re.compile(r"=[ \t]*+(?:\r?\n|\r)")
_BEGIN = re.compile(rb"(?:^|(?<=[\r\n]))begin [0-7]{3,4} ([^\r\n]{1,255})(?:\r?\n|\r)")
_END = re.compile(rb"[\r\n]end[ \t]*(?=[\r\n]|$)")


class Enclosure(NamedTuple):
    """A uuencoded file inside a text."""

    name: bytes
    start: int  # of the "begin" line
    end: int  # behind the word "end"


def decode_bytes(raw: bytes, encoding: str) -> bytes:
    """The bytes without their encoding. Never raises."""
    if encoding == "base64":
        return decode_base64(raw)
    if encoding == "quoted-printable":
        if _has_blanks_at_end(raw) or _ODD_BREAK.search(raw):  # as text, since joining bytes takes 80 bytes a piece
            text = _BLANKS_AT_END.sub("", raw.decode("latin-1"), _MAX_ODD)
            raw = _SOFT_BREAK.sub("", text, _MAX_ODD).encode("latin-1")
        return binascii.a2b_qp(raw) if b"=" in raw else raw
    if encoding in UUENCODED:
        return b"".join(_uuencoded_lines(raw))
    return raw


def _has_blanks_at_end(raw: bytes) -> bool:
    """Whether a line ends in blanks: somebody on the way added them (RFC 2045 §6.7). One search, tabs being rare."""
    end = b"\r\n" if b"\r" in raw else b"\n"
    return b" " + end in raw or (b"\t" in raw and b"\t" + end in raw) or raw[-1:] in (b" ", b"\t")


def find_enclosures(text: bytes) -> Iterator[Enclosure]:
    """Uuencoded files in a text: "begin 644 name", at least one line that decodes, "end"."""
    position = 0
    while match := _BEGIN.search(text, position):
        end = _END.search(text, match.end() - 1)
        if end is None:
            return
        first = text[match.end() : match.end() + 100].splitlines()[:1]
        if first and _line(first[0]):
            yield Enclosure(match[1], match.start(), end.end())
            position = end.end()
        else:
            position = match.end()


def _uuencoded_lines(raw: bytes) -> Iterator[bytes]:
    has_begun = False
    for line in raw.splitlines():
        if not has_begun:
            has_begun = line.startswith(b"begin ")
        elif line.strip() == b"end":
            return
        else:
            yield _line(line)


def _line(line: bytes) -> bytes:
    """One line's bytes, b"" for none. Some encoders add a check byte: only the length's worth is read."""
    if not line:
        return b""
    length = (((line[0] - 32) & 63) * 4 + 5) // 3
    try:
        return binascii.a2b_uu(line[:length])
    except binascii.Error:
        return b""
