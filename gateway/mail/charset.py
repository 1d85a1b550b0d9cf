"""Bytes of any declared or undeclared charset -> text. Total; never raises.

UTF-8 is tried first where it is declared, absent or wrong; a declared single-byte charset is believed; what fits
nothing is guessed from a bounded prefix (slow, so last), and at the very end decoded with replacement characters.
"""

from __future__ import annotations

import codecs
import re

_GUESS_BYTES = 4096
_GUESS_MIN_BYTES = 48  # fewer say nothing about a language
_ALIASES = {
    "gb2312": "gb18030", "gbk": "gb18030", "gb_2312-80": "gb18030", "x-gbk": "gb18030",
    "ks_c_5601-1987": "cp949", "ks_c_5601": "cp949", "euc-kr": "cp949",
    "shift-jis": "cp932", "x-sjis": "cp932", "shift_jis": "cp932", "sjis": "cp932",
    "iso-8859-1": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "us-ascii": "utf-8", "ascii": "utf-8",
    "iso-8859-9": "cp1254", "iso-8859-8-i": "iso-8859-8", "iso-8859-6-i": "iso-8859-6", "tis-620": "cp874",
    "unicode-1-1-utf-7": "utf-7", "utf8": "utf-8", "utf-8": "utf-8", "unicode": "utf-16", "x-unknown": "utf-8",
    "unknown-8bit": "utf-8", "default": "utf-8", "ansi": "cp1252", "macintosh": "mac-roman", "x-mac-roman": "mac-roman",
    "cp-850": "cp850", "cp-1256": "cp1256", "x-windows-1256": "cp1256", "": "utf-8",
}  # fmt: skip
# codecs that are not charsets, or that can blow up
_TEXT_ONLY = re.compile(
    r"(?i)^(utf|iso|cp|windows|koi8|big5|gb|hz|euc|shift|mac|latin|tis|viscii|kz|ptcp|johab|ks|cs|ibm|arabic|greek|"
    r"cyrillic|hebrew|l[0-9])"
)


def codec_of(charset: str) -> str | None:
    """The codec's name for a declared charset, None when there is none."""
    name = charset.strip().strip("\"'").lower().replace("_", "-") if charset else ""
    name = _ALIASES.get(name) or _ALIASES.get(charset.strip().lower()) or name
    if not _TEXT_ONLY.match(name):
        return None
    try:
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        return None


def decode(content: bytes, charset: str = "") -> str:
    """Text of the bytes."""
    if content.isascii() and b"\x1b" not in content:
        codec = codec_of(charset)
        if codec in (None, "utf-8") or codec not in ("utf-7", "hz", "utf-16", "utf-32"):
            return content.decode("ascii")
    codec = codec_of(charset)
    for name in dict.fromkeys((codec, "utf-8")):
        text = _try(content, name)
        if text is not None:
            return text
    if codec is not None and codec != "utf-8":
        return content.decode(codec, "replace")
    return _guess(content)


def _try(content: bytes, codec: str | None) -> str | None:
    if codec is None:
        return None
    try:
        return content.decode(codec)
    except (UnicodeError, ValueError):
        return None


def _guess(content: bytes) -> str:
    """Mostly UTF-8 with a broken sequence or two is UTF-8; else what the first bytes look like."""
    text = content.decode("utf-8", "replace")
    if text.count("\N{REPLACEMENT CHARACTER}") * 50 < len(text):
        return text
    if len(content) < _GUESS_MIN_BYTES:
        return content.decode("cp1252", "replace")
    from charset_normalizer import from_bytes

    best = from_bytes(content[:_GUESS_BYTES], steps=3, chunk_size=256).best()
    codec = codec_of(best.encoding) if best is not None else None
    return content.decode(codec or "cp1252", "replace")
