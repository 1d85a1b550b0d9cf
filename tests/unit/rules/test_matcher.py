"""How many patterns come into hyperscan's databases: what it refuses late is found all the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.rules import matcher as made_by
from gateway.rules.matcher import Matcher
from gateway.rules.rule import Regex

REGEXES = [Regex("invoice", ""), Regex(r"(\w)\1z", ""), Regex("(?!a)a", ""), Regex(r"caf\xc3\xa9", "i")]


def test_more_than_one_database() -> None:
    """Each pattern keeps its number, whichever part it is in."""
    words = [f"w{number}x" for number in range(2 * made_by._HIGH_AT_ONCE + 3)]
    matcher = Matcher([Regex(rf"{word}\xc3\xa9", "") for word in words], None)
    for number, word in enumerate(words):
        assert set(matcher.candidates(f" {word}é ".encode()).ends) == {number}


@pytest.mark.parametrize("row", [b"abc", b"a|b", rb"\d{3,}"])
def test_what_hyperscan_reads(row: bytes) -> None:
    assert made_by._reads([(row, 0, 0)])
    assert made_by._takes([(row, 0, 0)])


@pytest.mark.parametrize("row", [rb"(a)\1", rb"a(?=b)", b"a)", b"["])
def test_what_hyperscan_does_not_read(row: bytes) -> None:
    assert not made_by._reads([(row, 0, 0)])
    assert not made_by._takes([(row, 0, 0)])


def test_a_pattern_it_reads_and_does_not_take_is_found_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Matcher(REGEXES, None)
    monkeypatch.setattr(made_by, "_reads", lambda _: True)
    assert Matcher(REGEXES, None).alone == before.alone
    _assert_finds(Matcher(REGEXES, None))


def test_patterns_it_takes_one_by_one_and_not_together_are_all_found_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_one = made_by._compile

    def refuse_many(rows: Sequence[made_by._Row]) -> Any:
        return None if len(rows) > 1 else compile_one(rows)

    monkeypatch.setattr(made_by, "_compile", refuse_many)
    matcher = Matcher(REGEXES, None)
    assert not matcher.exact & {0, 1, 2}  # 3 is alone in its database
    _assert_finds(matcher)


def _assert_finds(matcher: Matcher) -> None:
    for number, text in ((0, b"an invoice"), (1, b"buzzz"), (3, b"a caf\xc3\xa9")):
        assert number in matcher.candidates(text).ends
        assert matcher.find(number, text) is not None
    assert matcher.find(2, b"aaa") is None
