"""Skeletons: what looks alike is equal, what does not is not."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import confusable
from gateway.mail.confusable import (
    are_hard_twins,
    has_mixed_scripts,
    is_disguised_latin,
    skeleton,
    twin,
    without_invisible,
)

ROOT = Path(__file__).parents[3]
_TEXT = st.text(max_size=60) | st.text(st.sampled_from("abilmrnvw01доαοеІіیيکكهةأآ\u200c\u0301\u0654-"), max_size=30)


@pytest.mark.parametrize(
    ("shown", "meant"),
    [
        ("ехаmple", "example"),  # Cyrillic
        ("yοur", "your"),  # Greek omicron
        ("éxämplé", "example"),
        ("ｅｘａｍｐｌｅ", "example"),  # full width
        ("𝐞𝐱𝐚𝐦𝐩𝐥𝐞", "example"),  # mathematical
        ("exa\u200bmp\u00adle", "example"),
        ("аррӏе", "apple"),
        ("ıstanbul", "istanbul"),
        ("EXAMPLE", "example"),
        ("şirket", "sirket"),
        ("شركت", "شرکت"),  # kaf
        ("ايران", "ایران"),  # yeh
        ("نامه‌رسان", "نامهرسان"),  # ZWNJ
        ("أحمد", "احمد"),
        ("فاطمة", "فاطمه"),
        ("مؤسسه", "موسسه"),
        ("۱۲۳", "١٢٣"),
    ],
)
def test_what_looks_the_same_has_one_skeleton(shown: str, meant: str):
    assert skeleton(shown) == skeleton(meant)
    assert twin(shown) == twin(meant)
    assert are_hard_twins(shown, meant)


@pytest.mark.parametrize(
    ("shown", "meant", "is_hard"),
    [
        ("examp1e", "example", True),
        ("g00d", "good", True),
        ("1nfo", "info", True),
        ("dornain", "domain", True),
        ("vvork", "work", True),
        ("mall", "mail", False),
        ("clear", "dear", False),
        ("5afe", "safe", False),
    ],
)
def test_twins_within_ascii(shown: str, meant: str, is_hard: bool):
    assert skeleton(shown) != skeleton(meant)
    assert twin(shown) == twin(meant)
    assert are_hard_twins(shown, meant) is is_hard


@pytest.mark.parametrize(
    ("one", "other"), [("sara", "sera"), ("پارس", "بارس"), ("شیر", "سیر"), ("دربان", "دربار"), ("кот", "kot2")]
)
def test_what_a_reader_tells_apart_is_not_equal(one: str, other: str):
    assert twin(one) != twin(other)


@given(_TEXT)
def test_skeleton_and_twin_are_idempotent(text: str):
    assert skeleton(skeleton(text)) == skeleton(text)
    assert twin(twin(text)) == twin(text)
    assert skeleton(text.upper()) is not None


@given(st.text(st.characters(codec="ascii"), max_size=60))
def test_a_skeleton_of_ascii_is_the_text(text: str):
    assert skeleton(text) == text.lower()


@given(_TEXT)
def test_the_invisible_does_not_count(text: str):
    assert skeleton("\u200b".join(text)) == skeleton(without_invisible(text))


@pytest.mark.parametrize(
    ("label", "is_mixed"),
    [
        ("exаmple", True),  # Latin and Cyrillic
        ("αbc", True),
        ("example", False),
        ("пример", False),
        ("sony日本", False),
        ("دربان-mail", False),
        ("é", False),
        ("12а3", False),
    ],
)
def test_mixed_scripts(label: str, is_mixed: bool):
    assert has_mixed_scripts(label) is is_mixed


@pytest.mark.parametrize(
    ("label", "is_disguised"),
    [("аррӏе", True), ("apple", False), ("пример", False), ("со", False), ("دربان", False), ("exаmple", False)],
)
def test_a_whole_word_in_disguise(label: str, is_disguised: bool):
    assert is_disguised_latin(label) is is_disguised


def test_the_table_is_the_generators_and_says_whose_it_is():
    head, *rows = Path(confusable.__file__).with_name("confusables.txt").read_text("utf-8").split("\n", 3)
    assert "confusables.txt, Unicode" in rows[0]
    assert "Unicode-3.0" in rows[1]
    assert "Permission is hereby granted" in (ROOT / "gateway/mail/confusables-LICENSE.txt").read_text("utf-8")
    assert head.startswith("#")
    lines = rows[2].splitlines()
    assert len(lines) > 150
    assert all(re.fullmatch(r"[^\t]+\t[^\t]+", line) for line in lines)


def test_the_generator_keeps_letters_that_look_like_others():
    table = runpy.run_path(str(ROOT / "docs" / "generate_confusables.py"))["table"]
    data = (
        "# Version: 17.0.0\n"
        "0430 ;\t0061 ;\tMA\t# Cyrillic a\n"
        "0142 ;\t006C 0338 ;\tMA\t# l with stroke: without its diacritic\n"
        "06CC ;\t0649 ;\tMA\t# Farsi yeh\n"
        "1D41A ;\t0061 ;\tMA\t# mathematical: a compatibility mapping has it\n"
        "2010 ;\t002D ;\tMA\t# a hyphen is no letter\n"
        "4E00 ;\t30FC ;\tMA\t# of other scripts\n"
        "006D ;\t0072 006E ;\tMA\t# ASCII\n"
    )
    text = table(data)
    assert "Unicode 17.0.0" in text
    assert text.splitlines()[3:] == ["a\tа", "l\tł", "ى\tی"]
