"""Perl's regular expressions where PCRE2 says the same thing differently (perlre of Perl 5.36, pcre2pattern).

Nothing to do for look-around, possessive and atomic groups, named groups, \\K, \\h, \\R, \\z and recursion. What PCRE2
does not have at all (code blocks, (?[ ]) classes, \\b{wb}) fails to compile, and is reported as that.
"""

from __future__ import annotations

import re

_ESCAPE = r"\\N\{U\+(?P<code>[0-9A-Fa-f]{1,6})\}|\\(?P<escaped>.)"
_POSIX = r"\[:\^?\w+:\]"
_PIECE = re.compile(  # a class is one piece: its literal "]" comes first, POSIX classes have brackets of their own
    rf"{_ESCAPE}|(?P<set>\[\^?\]?(?:\\.|{_POSIX}|[^\]\\])*\])|\{{,(?P<most>\d+)\}}|[^\\\[{{]+|.", re.DOTALL
)
_IN_SET = re.compile(rf"{_ESCAPE}|(?P<posix>{_POSIX})|(?P<bracket>\[)|[^\\\[]+|.", re.DOTALL)
_GROUP_NAME = re.compile(r"(?<!\\)\(\?P?[<'](?P<name>[A-Za-z_]\w*)[>']", re.ASCII)
_BACK_REFERENCE = re.compile(r"\\(?:[1-9]|g|k)|\(\?(?:R|[+-]?\d|&|P[=>])")
_WIDE = re.compile(r"\\x\{0*[1-9A-Fa-f][0-9A-Fa-f]{2,}\}")
FLAGS = frozenset("imsxnpaulgdoc")
_COMPILED_FLAGS = frozenset("imsx")


def translate(pattern: str, flags: str) -> tuple[str, str]:
    """The pattern and flags as PCRE2 takes them; the flags are of "imsx"."""
    text = _PIECE.sub(_piece, pattern)
    return _prefix(pattern, flags) + text, "".join(sorted(set(flags) & _COMPILED_FLAGS))


def is_wide(pattern: str) -> bool:
    """Whether it names characters beyond one byte by number, \\x{200c}."""
    return _WIDE.search(pattern) is not None


def _piece(match: re.Match[str]) -> str:
    if match["set"]:
        return "[" + _IN_SET.sub(_in_set, match[0][1:])
    if match["most"]:
        return f"{{0,{match['most']}}}"
    return _escape(match)


def _in_set(match: re.Match[str]) -> str:
    return "\\[" if match["bracket"] else _escape(match)


def _escape(match: re.Match[str]) -> str:
    if match["code"]:
        return f"\\x{{{match['code']}}}"
    return "/" if match["escaped"] == "/" else match[0]


def _prefix(pattern: str, flags: str) -> str:
    """Options that are only written inside a pattern: groups that do not count, names that come twice, /xx."""
    names = _GROUP_NAME.findall(pattern)
    options = "n" if "n" in flags and _BACK_REFERENCE.search(pattern) else ""
    options += "J" if len(names) != len(set(names)) else ""
    options += "xx" if flags.count("x") > 1 else ""
    return f"(?{options})" if options else ""
