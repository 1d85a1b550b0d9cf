"""Every expression of the package means the same on each Python that it is for."""

from __future__ import annotations

import importlib
import pkgutil
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import gateway

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from re import _constants, _parser  # type: ignore[attr-defined]

_ONE = {_constants.IN, _constants.LITERAL, _constants.NOT_LITERAL, _constants.ANY}


_REPEATS = {_constants.MAX_REPEAT, _constants.POSSESSIVE_REPEAT}


def may_fail_inside(group: Any) -> bool:
    """Whether it can match its beginning and then fail: all but a character of a set, and what may be left out."""
    first, *others = group
    return first[0] not in _ONE or any(op not in _REPEATS or given[0] > 0 for op, given in others)


def possessive_groups(tree: Any) -> Iterator[Any]:
    """Possessive repeats of what may fail inside."""
    for op, given in tree:
        if op is _constants.POSSESSIVE_REPEAT and may_fail_inside(given[2]):
            yield given
        stack = [given]
        while stack:
            one = stack.pop()
            if isinstance(one, _parser.SubPattern):
                yield from possessive_groups(one)
            elif isinstance(one, tuple | list):
                stack.extend(one)


def is_safe(pattern: re.Pattern[Any]) -> bool:
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    return not list(possessive_groups(_parser.parse(text, pattern.flags & ~re.UNICODE)))


def modules() -> list[str]:
    found = pkgutil.walk_packages(gateway.__path__, "gateway.")
    return [one.name for one in found if ".migrations" not in one.name and not one.name.endswith("__main__")]


@pytest.mark.parametrize("name", modules())
def test_no_group_is_repeated_possessively(name: str) -> None:
    """Before Python 3.11.5, Debian 12's 3.11.2 among them, such a group may match what it does not, and the other way
    round (CPython issue 106052): encoded-words stayed undecoded there. An atomic group, `(?>(?:...)*)`, is right.
    """
    patterns = {key: one for key, one in vars(importlib.import_module(name)).items() if isinstance(one, re.Pattern)}
    assert [key for key, one in patterns.items() if not is_safe(one)] == []


@pytest.mark.parametrize(
    ("pattern", "safe"),
    [
        (r"(?:ab?c)*+", False),
        (r"x((?:ab|c)++)", False),
        (r"(?>(?:ab?c)*)", True),
        (r"[a-z]++\.?+.*+a++", True),
        (r"(?:[ \t].*\n?)*+", True),
        (r"(?:[ \t].*\n)*+", False),
        (r"(?:a{2,3}b?)++", False),
    ],
)
def test_what_is_looked_for(pattern: str, safe: bool) -> None:
    assert is_safe(re.compile(pattern)) is safe
