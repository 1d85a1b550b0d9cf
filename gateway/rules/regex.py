"""Perl pattern literals, and the text they are matched against.

A pattern in ASCII is matched byte by byte, as SpamAssassin does; one with other letters is matched as UTF-8.
Both the pattern and the text of header, body and uri go through `fold`, so that Persian is matched however it was
typed: Arabic yeh and kaf become Persian, digits ASCII, kashida and vowel signs go, ZWNJ counts as a space, and
invisible characters go.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import pcre2

from gateway.rules.rule import Regex

MATCH_LIMIT = 200_000  # steps of the backtracking engine; about 10 ms
_PAIRS = {"{": "}", "(": ")", "[": "]", "<": ">"}
_LITERAL = re.compile(r"(m)?([^\w\s])", re.ASCII)
_FOLD = {
    **dict(zip("يىئكةۀ", "ییئکهه", strict=True)),
    **{char: str(index) for index, char in enumerate("۰۱۲۳۴۵۶۷۸۹")},
    **{char: str(index) for index, char in enumerate("٠١٢٣٤٥٦٧٨٩")},
    **{chr(code): "" for code in (*range(0x64B, 0x653), 0x670)},  # vowel signs
    **dict.fromkeys("\u0640\u00ad\u200b\u200d\u200e\u200f\u2060\ufeff", ""),
    "\u200c": " ",
    "\u00a0": " ",
}
_FOLDED = re.compile(f"[{''.join(_FOLD)}]")


def fold(text: str) -> str:
    """The text as patterns with letters outside ASCII see it; see the module."""
    return text if text.isascii() else _FOLDED.sub(lambda match: _FOLD[match[0]], text)


def parse_literal(text: str) -> Regex:
    """/.../flags, m{...}flags or m!...!flags. Raises ValueError in words."""
    match = _LITERAL.match(text)
    if match is None or (match[1] is None and match[2] != "/"):
        raise ValueError("a pattern must stand between slashes, or in m{...}")
    opening = match[2]
    end = _end_of(text, match.end(), opening, _PAIRS.get(opening, opening))
    flags = text[end + 1 :].strip()
    if "#" in flags:
        flags = flags.partition("#")[0].strip()
    if not set(flags) <= set("imsxougan"):
        raise ValueError(f"unknown flags {flags!r} behind the pattern")
    pattern = text[match.end() : end]
    if opening == "/" or opening in "!#,%~@'|":
        pattern = pattern.replace("\\" + opening, opening if opening not in "|" else "\\|")
    return Regex(fold(pattern), "".join(sorted(set(flags) & set("imsx"))))


def _end_of(text: str, start: int, opening: str, closing: str) -> int:
    """Where the pattern ends: the last closing delimiter that only flags follow."""
    depth, index = 1, start
    while index < len(text):
        char = text[index]
        if char == "\\":
            index += 2
            continue
        if char == closing:
            depth -= 1
            if depth == 0:
                return index
        elif char == opening:
            depth += 1
        index += 1
    raise ValueError("the pattern has no end")


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


def search(pattern: Any, subject: bytes, position: int = 0) -> tuple[int, int] | None:
    """Span of the first match from there on; None without one. Raises TimeoutError when the step limit is reached."""
    try:
        match = pattern.search(subject, position)
    except pcre2.LibraryError:
        raise TimeoutError("pattern gave up") from None
    return None if match is None else match.span()
