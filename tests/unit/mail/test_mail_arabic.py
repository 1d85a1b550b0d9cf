"""Letters that stand for one another: a letter is the same however it is composed."""

from __future__ import annotations

import unicodedata

import pytest

from gateway.mail.arabic import KASHIDA, MARKS, SAME_LETTER

COMPOSED = [char for char in map(chr, range(0x600, 0x700)) if len(unicodedata.normalize("NFD", char)) > 1]


def folded(text: str) -> str:
    return "".join(SAME_LETTER.get(char, char) for char in text if char not in MARKS)


@pytest.mark.parametrize("char", [char for char in COMPOSED if char not in "ۂۓ"], ids=ascii)  # Urdu's are left alone
def test_a_letter_and_its_parts_are_one(char: str) -> None:
    assert folded(char) == folded(unicodedata.normalize("NFD", char))


def test_each_ends_at_once_and_marks_are_marks() -> None:
    assert not SAME_LETTER.keys() & set(SAME_LETTER.values())
    assert {unicodedata.category(mark) for mark in MARKS} == {"Mn"}
    assert unicodedata.name(KASHIDA) == "ARABIC TATWEEL"
