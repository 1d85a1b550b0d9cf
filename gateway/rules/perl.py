"""Perl's regular expressions where PCRE2, as the pcre2 package sets it up, says the same thing differently.

Sources: perlre and perlrebackslash of Perl 5.36, pcre2pattern. The package sets PCRE2_ALT_BSUX, under which \\x{41} is
forty-one times "x" and \\xA is not a line feed: characters by number are written with two digits, or as themselves.
Nothing to do for look-around, possessive and atomic groups, named groups, \\K, \\h, \\R, \\z and recursion. What PCRE2
does not have at all (code blocks, (?[ ]) classes, \\b{wb}) fails to compile, and is reported as that.
"""

from __future__ import annotations

import re

_ESCAPE = (
    r"\\N\{U\+(?P<code>[0-9A-Fa-f]{1,8})\}|\\x\{\s*(?P<hex>[0-9A-Fa-f]{0,8})\s*\}|\\x(?P<short>[0-9A-Fa-f]{0,2})"
    r"|\\(?P<escaped>.)"
)
_POSIX = r"\[:\^?\w+:\]"
_PIECE = re.compile(  # a class is one piece: its literal "]" comes first, POSIX classes have brackets of their own
    rf"{_ESCAPE}|(?P<set>\[\^?\]?(?:\\.|{_POSIX}|[^\]\\])*\])|\{{,(?P<most>\d+)\}}|[^\\\[{{]+|.", re.DOTALL
)
_IN_SET = re.compile(rf"{_ESCAPE}|(?P<posix>{_POSIX})|(?P<bracket>\[)|[^\\\[]+|.", re.DOTALL)
_GROUP_NAME = re.compile(r"(?<!\\)\(\?P?[<'](?P<name>[A-Za-z_]\w*)[>']", re.ASCII)
_BACK_REFERENCE = re.compile(r"\\(?:[1-9]|g|k)|\(\?(?:R|[+-]?\d|&|P[=>])")
_CHANGES_CASE = frozenset("luLU")  # Perl resolves them in string literals, never in a pattern that is read
_BLANK_UNDER_X = frozenset("\x85\u200e\u200f\u2028\u2029")
FLAGS = frozenset("imsxnpaulgdoc")
_COMPILED_FLAGS = frozenset("imsx")


def translate(pattern: str, flags: str) -> tuple[str, str]:
    """The pattern and flags as PCRE2 takes them; the flags are of "imsx". Raises ValueError for what cannot be."""
    text = _PIECE.sub(_piece, pattern)
    return _prefix(pattern, flags) + text, "".join(sorted(set(flags) & _COMPILED_FLAGS))


def _piece(match: re.Match[str]) -> str:
    if match["set"]:
        return "[" + _IN_SET.sub(_in_set, match[0][1:])
    if match["most"]:
        return f"{{0,{match['most']}}}"
    return _escape(match)


def _in_set(match: re.Match[str]) -> str:
    return "\\[" if match["bracket"] else _escape(match)


def _escape(match: re.Match[str]) -> str:
    number = match["code"] if match["code"] is not None else match["hex"]
    if number is not None:
        return _character(int(number or "0", 16))
    if match["short"] is not None:
        return f"\\x{match['short']:0>2}"
    if match["escaped"] in _CHANGES_CASE:
        raise ValueError(f"\\{match['escaped']} does not exist in a pattern")
    return "/" if match["escaped"] == "/" else match[0]


def _character(number: int) -> str:
    if number <= 0xFF:
        return f"\\x{number:02x}"
    if 0xD800 <= number < 0xE000 or number > 0x10FFFF:
        raise ValueError(f"there is no character {number:x}")
    return "\\" + chr(number) if chr(number) in _BLANK_UNDER_X else chr(number)


def _prefix(pattern: str, flags: str) -> str:
    """Options that are only written inside a pattern: groups that do not count, names that come twice, /xx."""
    names = _GROUP_NAME.findall(pattern)
    options = "n" if "n" in flags and _BACK_REFERENCE.search(pattern) else ""
    options += "J" if len(names) != len(set(names)) else ""
    options += "xx" if flags.count("x") > 1 else ""
    return f"(?{options})" if options else ""
