"""Bytes of any declared or undeclared charset -> text. Total; never raises, never gives a lone surrogate.

A declared charset that fits is believed, since that is what the reader sees; then UTF-8; then, for bodies only, a guess
that the caller makes (mime.guess_charset); at the very end replacement characters.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from functools import lru_cache

# Labels as mail readers take them (WHATWG Encoding, "Names and labels"), and supersets for what senders mislabel
_ALIASES = {
    "gb2312": "gb18030", "gbk": "gb18030", "gb-2312-80": "gb18030", "cp936": "gb18030",
    "ks-c-5601-1987": "cp949", "ks-c-5601": "cp949", "ksc5601": "cp949", "euc-kr": "cp949",
    "shift-jis": "cp932", "sjis": "cp932", "windows-31j": "cp932", "big5": "big5hkscs",
    "iso-8859-1": "cp1252", "iso8859-1": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "ansi": "cp1252",
    "iso-8859-9": "cp1254", "iso-8859-8-i": "iso-8859-8", "iso-8859-8-e": "iso-8859-8", "iso-8859-6-i": "iso-8859-6",
    "tis-620": "cp874", "iso-8859-11": "cp874", "koi8-ru": "koi8-u", "macintosh": "mac-roman",
    "us-ascii": "utf-8", "ascii": "utf-8", "ansi-x3.4-1968": "utf-8", "unknown": "utf-8", "unknown-8bit": "utf-8",
    "default": "utf-8", "utf8": "utf-8", "cp65001": "utf-8", "unicode-1-1-utf-8": "utf-8", "utf8mb4": "utf-8",
    "unicode-1-1-utf-7": "utf-7", "unicode": "utf-16", "ucs-2": "utf-16", "": "utf-8",
}  # fmt: skip
# ASCII, and the blank, dashes, quotes and signs that are the same in all of Windows' code pages
_PLAIN = bytes(range(0x80)) + b"\xa0\xa9\xad\x82\x84\x85\x91\x92\x93\x94\x95\x96\x97\x99"
_CODE_PAGE = re.compile(r"(?:windows|win|ibm|cp|ms)-?([0-9]{3,5})")
# Python's other codecs are no charsets (base64, unicode_escape), or take quadratic time (punycode, idna)
_IS_CHARSET = re.compile(
    r"utf|iso|cp[0-9]|koi8|big5|gb|hz|euc|shift|mac|viscii|kz|ptcp|johab|windows-31j|arabic|greek|cyrillic|hebrew|l[0-9]"
)
# ASCII bytes mean something else in these
_NOT_ASCII = frozenset(("utf-7", "hz", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"))

_MAX_LABEL = 100

Guess = Callable[[bytes], str | None]


def codec_of(charset: str) -> str | None:
    """The codec's name for a declared charset, None when there is none."""
    return _find_codec(charset) if len(charset) <= _MAX_LABEL else None


@lru_cache(maxsize=1024)
def _find_codec(charset: str) -> str | None:
    name = charset.strip(" \t\r\n\"';").lower().replace("_", "-").removeprefix("x-")
    code_page = _CODE_PAGE.fullmatch(name)
    name = f"cp{code_page[1]}" if code_page else name
    name = _ALIASES.get(name, name)
    if not _IS_CHARSET.match(name):
        return None
    try:
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        return None


def decode(content: bytes, charset: str = "", guess: Guess | None = None) -> str:
    """Text of the bytes, without a byte order mark.

    Args:
        charset: as declared; "" when nothing was.
        guess: asked for a charset when the declared one and UTF-8 do not fit; None: do not guess.
    """
    codec = codec_of(charset)
    if content.isascii() and codec not in _NOT_ASCII and b"\x1b" not in content:
        return content.decode("ascii")
    for name in (codec, "utf-8"):
        text = _try(content, name)
        if text is not None:
            return text.removeprefix("\ufeff")
    if codec is None or codec == "utf-8":
        codec = _misfit(content, guess)
    return _whole(content.decode(codec, "replace"), codec).removeprefix("\ufeff")


def _misfit(content: bytes, guess: Guess | None) -> str:
    """A few signs are Windows'; mostly UTF-8 with a broken sequence or two is UTF-8; else the guess, else what the West
    used.
    """
    if not content.translate(None, _PLAIN):
        return "cp1252"
    text = content.decode("utf-8", "replace")
    if text.count("\N{REPLACEMENT CHARACTER}") * 50 < len(text):
        return "utf-8"
    return (guess(content) if guess else None) or "cp1252"


def _try(content: bytes, codec: str | None) -> str | None:
    if codec is None:
        return None
    try:
        return _whole(content.decode(codec), codec)
    except (UnicodeError, ValueError):
        return None


def _whole(text: str, codec: str) -> str:
    """UTF-7 can spell half a surrogate pair, which no later step could encode again."""
    if codec != "utf-7":
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
