"""Perl pattern literals, and the text they are matched against.

A pattern in ASCII is matched byte by byte, as SpamAssassin does; one with other letters is matched as UTF-8.
Both the pattern and the text of header, body and uri go through `fold`, so that Persian is matched however it was
typed: Arabic yeh and kaf become Persian, alef is one with its hamza and madda, digits ASCII; kashida, vowel signs and
invisible characters go; ZWNJ counts as a space. Forms made for display are the letters they show.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

import pcre2
from pcre2 import _cy

from gateway.mail.arabic import KASHIDA, MARKS, SAME_LETTER
from gateway.rules import perl
from gateway.rules.rule import Regex

MATCH_LIMIT = 200_000  # steps of the backtracking engine; about 10 ms
_FEW = 8  # so many searches cost less than one walk over the whole text
_CONTEXT = _cy.create_match_context()
_PAIRS = {"{": "}", "(": ")", "[": "]", "<": ">"}
_LITERAL = re.compile(r"(m|qr)?([^\w\s\\])", re.ASCII)
_FOLD = {
    **SAME_LETTER,
    **{char: str(index) for index, char in enumerate("۰۱۲۳۴۵۶۷۸۹")},
    **{char: str(index) for index, char in enumerate("٠١٢٣٤٥٦٧٨٩")},
    **dict.fromkeys(MARKS + KASHIDA, ""),
    **dict.fromkeys("\u00ad\u061c\u200b\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff", ""),
    **dict.fromkeys("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069", ""),
    "\u200c": " ",
    "\u00a0": " ",
}
_FOR_DISPLAY = map(chr, (*range(0xFB50, 0xFDFE), *range(0xFE70, 0xFEFD)))
_FOLD |= {
    char: "".join(_FOLD.get(part, part) for part in shown).strip()
    for char in _FOR_DISPLAY
    if (shown := unicodedata.normalize("NFKC", char)) != char
}
_FOLDED = re.compile(f"[{''.join(_FOLD)}]")


def fold(text: str) -> str:
    """The text as patterns with letters outside ASCII see it; see the module."""
    return text if text.isascii() else _FOLDED.sub(lambda match: _FOLD[match[0]], text)


def parse_literal(text: str) -> Regex:
    """/.../flags, or m (or qr) with any delimiter: m{...}flags, m<...>, m!...!. Raises ValueError in words.

    The pattern ends at the last closing delimiter that only flags follow, as in SpamAssassin.
    """
    match = _LITERAL.match(text)
    if match is None or (match[1] is None and match[2] != "/"):
        raise ValueError("a pattern must stand between slashes, or in m{...}")
    closing = _PAIRS.get(match[2], match[2])
    end = text.rfind(closing)
    if end < match.end():
        raise ValueError("the pattern has no end")
    flags = text[end + 1 :]
    if not set(flags) <= perl.FLAGS:
        raise ValueError(f"{flags.strip()[:40]!r} behind the pattern are not flags")
    pattern = text[match.end() : end]
    if closing == match[2] and _has_bare(pattern, closing):
        raise ValueError(f"the delimiter {closing} inside the pattern must be written \\{closing}")
    return Regex(*perl.translate(fold(pattern), flags))


def _has_bare(pattern: str, delimiter: str) -> bool:
    """Whether it stands there without a backslash."""
    return delimiter in pattern and re.search(rf"(?<!\\)(?:\\\\)*{re.escape(delimiter)}", pattern) is not None


def is_unicode(regex: Regex) -> bool:
    """Whether the pattern is about letters outside ASCII."""
    return not regex.text.isascii()


@lru_cache(maxsize=20_000)
def compile_confirming(regex: Regex) -> Any:
    """The backtracking engine's pattern, over bytes, with its step limit. Raises ValueError in words."""
    flags = pcre2.NOFLAG
    for letter, flag in (("i", pcre2.I), ("m", pcre2.M), ("s", pcre2.S), ("x", pcre2.X)):
        if letter in regex.flags:
            flags |= flag
    if is_unicode(regex):
        flags |= pcre2.U
    else:
        flags |= pcre2.A
    try:
        return pcre2.compile(f"(*LIMIT_MATCH={MATCH_LIMIT})".encode() + regex.text.encode("utf-8"), flags)
    except (pcre2.PatternError, pcre2.LibraryError, ValueError) as error:
        raise ValueError(f"pattern: {str(error).splitlines()[0]}") from None


def search(pattern: Any, subject: bytes, position: int = 0, group: int = 0) -> tuple[int, int] | None:
    """Span of the first match from there on, or of a group in it; None without one.

    Raises TimeoutError when the step limit is reached.

    Calls the binding's inner function: its Python layer costs six times the search (3.1 against 0.4 µs).
    """
    try:
        found = _cy.match(pattern._pcre2_code, subject, len(subject), position, _CONTEXT, 0)[0]
    except pcre2.LibraryError:
        raise TimeoutError("pattern gave up") from None
    return None if found is None else _cy.match_substring_span_bynumber(found, subject, group)


def count(pattern: Any, subject: bytes, most: int) -> int:
    """How often it matches, up to `most`. Raises TimeoutError when the step limit is reached."""
    if most <= _FEW:
        return _count_few(pattern, subject, most)
    try:
        return min(most, int(pattern.subn(b"", subject)[1]))  # the loop runs in C; finditer's costs ten times as much
    except pcre2.LibraryError:
        raise TimeoutError("pattern gave up") from None


def _count_few(pattern: Any, subject: bytes, most: int) -> int:
    found = position = 0
    while found < most and position <= len(subject):
        span = search(pattern, subject, position)
        if span is None:
            break
        found += 1
        position = span[1] + (span[0] == span[1])
    return found
