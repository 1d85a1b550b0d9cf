"""Text as the model sees it: an array of folded characters, one look-up in a table for the whole text.

Case, accents and styled forms go (NFKC, small capitals, the bare letter); digits become 0; every white space a space;
invisible characters vanish. Persian and Arabic: hamza, madda, kashida and vowel signs go, letters that look alike are
one; ZWNJ joins a word (it vanishes too, so that می‌شود is one word). URLs and addresses go: their hosts are features of
their own.
What stood there before is not forgotten: invisible characters inside Latin words and look-alikes of Latin letters are
counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.mail.arabic import KASHIDA, MARKS, SAME_LETTER

Codes = NDArray[np.uint8] | NDArray[np.uint32]  # ASCII as it is, other code points times 256; + WORD inside words
MAX_CHARACTERS = 12_500
_ZWNJ = "\u200c"
_BLANKS = re.compile(r"[^\S\x1e]+")
_JOINER = re.compile("(?<=[\u0600-\u06ff])\u200c(?=[\u0600-\u06ff])")
FIELD_END = "\x1e"  # white space that stays what it is
WORD = 0x80
_LETTER = 1 << 20  # marks, while the table is made, the code points that words are made of
_GONE, _SEVERAL, _SPACE = 0, 1, 32  # what a code point may fold to besides another
_LIMIT = 0x20000  # code points from here on (rare ideographs, tags) are taken for invisible
_SMALL_CAPITALS = "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ"  # there is none of x
_FOLD = {
    **{ord(other): _LETTER + ord(letter) for other, letter in SAME_LETTER.items()},
    **dict.fromkeys(map(ord, MARKS + KASHIDA), _GONE),
    **dict.fromkeys([*range(0x300, 0x370), *range(0xFE00, 0xFE10)], _GONE),
    **dict.fromkeys([0xAD, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F)], _GONE),
    **dict.fromkeys([*range(0x2060, 0x2070), 0xFEFF], _GONE),
    **dict.fromkeys([0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, 0xFFA0], _GONE),  # without a form
    **{ord(a): _LETTER + ord(b) for a, b in zip(_SMALL_CAPITALS, "abcdefghijklmnopqrstuvwyz", strict=True)},
    **{start + place: _LETTER + 97 + place for start in (0x1F150, 0x1F170) for place in range(26)},  # white on black
    # would fold to several characters, and are too common for that
    **{ord(a): ord(b) for a, b in zip("…™´¨¯¸", ". '   ", strict=True)},
    **dict.fromkeys(map(ord, "¼½¾"), _LETTER + 48),
    **dict.fromkeys(map(ord, "'’"), _LETTER + ord("'")),
    **dict.fromkeys(map(ord, "-‐‑"), _LETTER + ord("-")),
    **{ord(a): _LETTER + ord(b) for a, b in zip("ıɡɑ", "iga", strict=True)},
}
# look-alikes of Latin letters, folded inside words that have Latin letters too
_TWINS = dict(
    zip(map(ord, "асеорхуіјѕԁһԛԝвнкмтαοριυβεζηκμντχγ"), map(ord, "aceopxyijsdhqwbhkmtaopiubezhkmvtxy"), strict=True)
)
_FOLDED_RANGES = ((0, 0x3400), (0xA640, 0xABC0), (0xFB00, 0x10000), (0x1D400, 0x1D800), (0x1F100, 0x1F200))
_MAX_ADDRESSES, _MAX_EXPANDED = 200, 1000  # of each kind; what is beyond stays as it is
_URL_REST = re.compile(r"\S{1,2000}")
_MAIL_DOMAIN = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63})+")
_LOCAL_PART = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-"


@dataclass(frozen=True, slots=True)
class Text:
    """A text folded."""

    codes: Codes  # (n,) a space at either end
    invisible: int  # invisible characters between ASCII letters
    twins: int  # look-alikes inside Latin words
    original: str  # what was folded, a space at either end, without what fell out below
    kept: NDArray[np.bool_] | None = None  # of the original's characters, those that are in codes; None: all

    def with_digits(self, number: int) -> Codes:
        """The first codes, where a digit is itself, whatever script it is of."""
        codes = self.codes[:number]
        if codes.itemsize == 1:
            return np.frombuffer(self.original[:number].encode("ascii").translate(_ASCII_WITH_DIGITS), dtype=np.uint8)
        written = np.frombuffer(self.original.encode("utf-32-le", "replace"), dtype="<u4")
        written = (written if self.kept is None else written[self.kept])[:number]
        shown: NDArray[np.uint32] = codes + _DIGITS.take(written, mode="clip")
        return shown

    def shown(self, start: int, end: int) -> str:
        """The folded characters from start to end."""
        codes = self.codes[start:end]
        if codes.itemsize == 1:
            return codes.tobytes().translate(_UNMARKED).decode("ascii")
        return "".join([chr(code >> 8 or code & ~WORD) for code in codes.tolist()])

    def written(self, start: int, end: int) -> str:
        """What stood there before it was folded, without characters that nobody sees but a joiner inside a word."""
        if self.kept is not None:
            places = self.kept.nonzero()[0]
            start, end = int(places[start]), int(places[end - 1]) + 1
        shown = self.original[start:end]
        if shown.isprintable():
            return shown
        joined = _JOINER.split(shown)
        return _ZWNJ.join(["".join(filter(str.isprintable, _BLANKS.sub(" ", part))) for part in joined])


def normalise(text: str) -> Text:
    """Fold the first MAX_CHARACTERS. Never raises."""
    text = text[:MAX_CHARACTERS]
    if text.isascii():
        text = f" {text} "
        return Text(np.frombuffer(text.encode().translate(_ASCII), dtype=np.uint8), 0, 0, text)
    raw, codes = _gather(text)
    invisible, present = 0, None
    if codes.min() <= _SEVERAL:
        if (codes == _SEVERAL).any():
            text = _EXPANDING.sub(lambda match: _EXPANSIONS[match[0]], text, _MAX_EXPANDED)[:MAX_CHARACTERS]
            raw, codes = _gather(text)
        present = codes != _GONE
        invisible = _invisible(raw, ~present)
        codes = codes[present]
    codes, twins = _untwin(codes)
    return Text(codes, invisible, twins, f" {text} ", present)


def _gather(text: str) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    raw = np.frombuffer(f" {text} ".encode("utf-32-le", "replace"), dtype="<u4")
    return raw, _TABLE.take(raw, mode="clip")


def _invisible(raw: NDArray[np.uint32], gone: NDArray[np.bool_]) -> int:
    lower = raw | 32
    latin = (lower >= 97) & (lower <= 122)
    accent = ((raw - _ACCENTS) < _ACCENTS_SPAN) & (raw != _GRAPHEME_JOINER)  # below them it wraps around
    return int(np.count_nonzero(latin[:-2] & (gone & ~accent)[1:-1] & latin[2:]))


def _untwin(codes: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], int]:
    """Look-alikes replaced inside words that hold Latin letters too, and how many."""
    foreign = (codes - _FOREIGN) < _FOREIGN_SPAN  # below it wraps around
    if not foreign.any():
        return codes, 0
    latin = (codes >= WORD + 97) & (codes <= WORD + 122)
    if not latin.any():
        return codes, 0
    edges = word_edges(codes)
    starts = edges[0::2] + 1
    mixed = np.logical_or.reduceat(latin, starts) & np.logical_or.reduceat(foreign, starts)
    inside = np.zeros(len(codes), dtype=np.int8)
    inside[starts[mixed]] = 1
    inside[edges[1::2][mixed] + 1] -= 1
    twins = foreign & np.cumsum(inside, dtype=np.int8).astype(bool)
    return np.where(twins, _UNTWINNED.take(codes >> 8, mode="clip"), codes), int(np.count_nonzero(twins))


def word_edges(codes: Codes) -> NDArray[np.intp]:
    """In turn: what stands before a word, and its last character."""
    is_word = codes.astype(np.uint8, copy=False) >= WORD
    edges: NDArray[np.intp] = (is_word[1:] != is_word[:-1]).nonzero()[0]
    return edges


def without_addresses(text: str) -> str:
    """The text without URLs and mail addresses."""
    for mark, bounds in (("://", _url), ("www.", _bare_url), ("@", _mail_address)):
        if mark in text:
            text = " ".join(_between(text, mark, bounds))
    return text


def _between(text: str, mark: str, bounds: Callable[[str, int, int], tuple[int, int]]) -> Iterator[str]:
    kept, at = 0, text.find(mark)
    for _ in range(_MAX_ADDRESSES):
        if at < 0:
            break
        start, end = bounds(text, at, kept)
        if end > at:
            yield text[kept:start]
            kept = end
        at = text.find(mark, max(at + len(mark), end))
    yield text[kept:]


def _url(text: str, at: int, floor: int) -> tuple[int, int]:
    scheme = text[max(floor, at - 5) : at].lower()
    length = 4 if scheme.endswith("http") else 5 if scheme == "https" else 3 if scheme.endswith("ftp") else 0
    rest = _URL_REST.match(text, at + 3) if length else None
    return at - length, rest.end() if rest else at


def _bare_url(text: str, at: int, floor: int) -> tuple[int, int]:
    rest = _URL_REST.match(text, at)
    return at, rest.end() if rest and (at == floor or not text[at - 1].isalnum()) else at


def _mail_address(text: str, at: int, floor: int) -> tuple[int, int]:
    before = text[max(floor, at - 64) : at]
    local = len(before) - len(before.rstrip(_LOCAL_PART))
    domain = _MAIL_DOMAIN.match(text, at + 1)
    return at - local, domain.end() if local and domain else at


def _folded(code: int) -> int:
    """What this code point becomes."""
    if code in _FOLD:
        return _FOLD[code]
    char = chr(code)
    if char == FIELD_END:
        return code
    if char.isspace() or code < 32:
        return _SPACE
    composed = unicodedata.normalize("NFKC", char)
    if len(composed) > 1:
        return _SEVERAL
    if composed.isdecimal():
        return _LETTER + 48
    bare = unicodedata.normalize("NFD", composed.lower())
    has_accents = all("\u0300" <= mark < "\u0370" for mark in bare[1:])
    first = bare[0] if has_accents else composed.lower()[0]
    return _FOLD.get(ord(first), ord(first)) | (_LETTER if first.isalnum() else 0)


def _table() -> NDArray[np.uint32]:
    """Code point -> what it becomes. Letters are named one by one only where they fold."""
    table = np.arange(_LIMIT, dtype=np.uint32)
    table[0x3400:0xD800] |= _LETTER
    table[0xF900:0x1F000] |= _LETTER
    for start, end in _FOLDED_RANGES:
        table[start:end] = [_folded(code) for code in range(start, end)]
    table[-1] = _GONE
    points = table & (_LETTER - 1)
    codes: NDArray[np.uint32] = np.where(points < 128, points, points << 8)
    codes[table >= _LETTER] |= WORD
    return codes


def _digits() -> NDArray[np.uint8]:
    """Code point -> the value of the digit it folds to; 0 for all others."""
    digits = np.zeros(_LIMIT, dtype=np.uint8)
    for code in (_TABLE == WORD + 48).nonzero()[0].tolist():
        digits[code] = unicodedata.decimal(unicodedata.normalize("NFKC", chr(code))[0], 0)
    return digits


def _untwinned() -> NDArray[np.uint32]:
    table = _TABLE[:0x530].copy()
    for foreign, latin in _TWINS.items():
        table[foreign] = WORD + latin
    return table


_TABLE = _table()
_UNTWINNED = _untwinned()
_DIGITS = _digits()
_ASCII = _TABLE[:128].astype(np.uint8).tobytes().ljust(256)
_ASCII_WITH_DIGITS = _ASCII[:48] + bytes(range(WORD + 48, WORD + 58)) + _ASCII[58:]
_UNMARKED = bytes(range(WORD)) * 2
_ACCENTS, _ACCENTS_SPAN, _GRAPHEME_JOINER = np.uint32(0x300), np.uint32(0x70), 0x34F
_FOREIGN, _FOREIGN_SPAN = np.uint32(0x370 << 8), np.uint32((0x530 - 0x370) << 8)  # Greek and Cyrillic
# only these are expanded: NFKC of a whole text is quadratic in its runs of combining marks
_EXPANSIONS = {
    chr(code): unicodedata.normalize("NFKC", chr(code)) for code in (_TABLE == _SEVERAL).nonzero()[0].tolist()
}
_EXPANDING = re.compile(f"[{re.escape(''.join(_EXPANSIONS))}]")
