"""Results in Authentication-Results and ARC-Authentication-Results fields, read strictly (RFC 8601 §2.2).

Something is decided by them (auth/trust.py), so a field that cannot be read to its end gives nothing at all: what is
hidden from one reader in a comment or a quoted string must not be a result for another. One liberty is taken, as large
senders need it: a property may lack its ptype ("action=none").

Linear; never raises. Limits: MAX_FIELD characters, MAX_RESULTS results, comments nested MAX_DEPTH deep.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_FIELD = 16_384
MAX_RESULTS = 100
MAX_DEPTH = 20

_OUTSIDE = re.compile(r'"(?>(?:[^"\\]++|\\.)*)"|[();]|[^"\\();]++', re.DOTALL)
_IN_COMMENT = re.compile(r"\\.|[()]|[^\\()]++", re.DOTALL)  # a quote is a letter there (RFC 5322 §3.2.2)
_RESULT = re.compile(r"([a-z][a-z0-9_-]*)(?: ?/ ?[0-9]+)? ?= ?([a-z][a-z0-9_-]*)(?= |\Z)", re.IGNORECASE)
_PROPERTY = re.compile(
    r' ([a-z][a-z0-9_-]*(?: ?\. ?[a-z0-9_-]+)?) ?= ?((?>(?:"(?>(?:[^"\\]++|\\.)*)")?)[^ "]*+)(?= |\Z)', re.IGNORECASE
)
_QUOTED = re.compile(r'"((?>(?:[^"\\]++|\\.)*))"')


class ResInfo(NamedTuple):
    """One method's result. Names are lower-case, values as they were written, without quotes."""

    method: str
    result: str
    properties: tuple[tuple[str, str], ...]

    def values(self, name: str) -> tuple[str, ...]:
        """Every value of the property of this name."""
        return tuple(value for given, value in self.properties if given == name)


def read(value: str) -> tuple[ResInfo, ...] | None:
    """The results behind the authserv-id; None when the value follows no grammar.

    Args:
        value: what stands behind the colon, or behind "i=1;" of an ARC-Authentication-Results.
    """
    statements = _statements(value)
    if statements is None or not statements[0] or len(statements) > MAX_RESULTS:
        return None
    results: list[ResInfo] = []
    for text in statements[1:]:
        if not text or text == "none":
            continue
        found = _result(text)
        if found is None:
            return None
        results.append(found)
    return tuple(results)


def _statements(value: str) -> list[str] | None:
    """What semicolons part, each on one line with single spaces, without comments; None when something stays open."""
    if len(value) > MAX_FIELD:
        return None
    statements: list[str] = []
    pieces: list[str] = []
    depth = position = 0
    while position < len(value):
        match = (_IN_COMMENT if depth else _OUTSIDE).match(value, position)
        if match is None:  # a quote that is never closed, a backslash that quotes nothing
            return None
        piece, position = match[0], match.end()
        if piece in ("(", ")"):
            depth += 1 if piece == "(" else -1
            pieces.append(" ")
            if not 0 <= depth <= MAX_DEPTH:
                return None
        elif not depth and piece == ";":
            statements.append(_single_spaced(pieces))
            pieces.clear()
        elif not depth:
            pieces.append(piece)
    return None if depth else [*statements, _single_spaced(pieces)]


def _single_spaced(pieces: list[str]) -> str:
    return " ".join("".join(pieces).split())


def _result(text: str) -> ResInfo | None:
    match = _RESULT.match(text)
    if match is None:
        return None
    properties: list[tuple[str, str]] = []
    position = match.end()
    while position < len(text):
        found = _PROPERTY.match(text, position)
        if found is None:
            return None
        properties.append((found[1].replace(" ", "").lower(), _QUOTED.sub(_unquoted, found[2])))
        position = found.end()
    return ResInfo(match[1].lower(), match[2].lower(), tuple(properties))


def _unquoted(match: re.Match[str]) -> str:
    return re.sub(r"\\(.)", r"\1", match[1])
