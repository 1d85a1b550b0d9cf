"""mail/search.py: what people type finds what was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.search import folded


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("كتابي", "کتابی"),
        ("می‌شود", "میشود"),
        ("آزاد", "ازاد"),
        ("۱۴۰۵", "1405"),
        ("٣", "3"),
        ("STRASSE", "straße"),
        ("ｆｒｅｅ", "Free"),
        ("سَلام", "سلام"),
        ("A@B.example", "a@b.EXAMPLE"),
    ],
)
def test_one_is_found_by_the_other(typed: str, written: str) -> None:
    assert folded(typed) == folded(written)


@given(st.text(max_size=100), st.text(max_size=20), st.text(max_size=100))
def test_a_part_in_ascii_is_found_in_any_text(before: str, part: str, after: str) -> None:
    """What stands beside it in other scripts may combine with it; a space keeps them apart."""
    part = "".join(char for char in part if char.isascii())
    assert folded(part) in folded(f"{before} {part} {after}")
