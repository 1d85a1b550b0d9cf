"""Hard cases: read from files, told by kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.classify.evaluate.cases import Case, load_cases, tell
from gateway.errors import InputError
from tests.builders import envelope

CASE = """\
# why it is hard
kind: good_words
expect: spam
language: en
reverse-path: <bounce@shop.example>

---
From: Shop <news@shop.example>
Date: Mon, 2 Mar 2026 10:00:00 +0000
Subject: hello

text
"""


def test_a_file_is_a_message_in_its_envelope(tmp_path: Path) -> None:
    (tmp_path / "good_words").mkdir()
    (tmp_path / "good_words" / "shop.case").write_text(CASE)
    (tmp_path / "good_words" / "plain.case").write_text(CASE.replace("reverse-path: <bounce@shop.example>\n", ""))
    plain, shop = load_cases(tmp_path)
    assert (shop.id, shop.kind, shop.is_spam, shop.language) == ("good_words/shop", "good_words", True, "en")
    assert shop.content.startswith(b"From: Shop <news@shop.example>\r\n") and shop.content.endswith(b"\r\n\r\ntext\r\n")
    assert (shop.envelope.reverse_path, plain.envelope.reverse_path) == ("bounce@shop.example", "news@shop.example")
    assert shop.envelope.received_at == 1772445605  # five seconds after it was written


@pytest.mark.parametrize(
    ("line", "instead", "says"),
    [
        ("kind: good_words\n", "", "needs lines 'kind:'"),
        ("expect: spam", "expect: good", "needs lines 'kind:'"),
        ("---\n", "--\n", "cannot read '--'"),
        ("\n---\n", "\n\n", "cannot read 'From: Shop"),
        ("expect: spam", "expect: ham\nexpect: spam", "cannot read 'expect: spam'"),
        ("language: en", "client: 192.0.2.1", "cannot read 'client: 192"),
    ],
)
def test_a_slip_of_the_pen_is_named(tmp_path: Path, line: str, instead: str, says: str) -> None:
    assert line in CASE
    (tmp_path / "odd.case").write_text(CASE.replace(line, instead, 1))
    with pytest.raises(InputError, match=r"odd\.case: " + re.escape(says)):
        load_cases(tmp_path)


def test_a_file_of_other_bytes_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.case").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"odd\.case: cannot be read"):
        load_cases(tmp_path)


def test_a_folder_without_cases_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.case files there"):
        load_cases(tmp_path)


def test_told_by_kind_and_judge() -> None:
    def case(name: str, kind: str, is_spam: bool) -> Case:
        return Case(name, kind, is_spam, "en", envelope(), b"")

    cases = [case("a", "qr", True), case("b", "qr", True), case("c", "order", False), case("d", "order", False)]
    spam, ham = tell(cases, {"model": [True, False, False, False], "gateway": [True, True, True, False]})
    assert (spam.kind, spam.is_spam, spam.cases, spam.right) == ("qr", True, 2, {"model": 1, "gateway": 2})
    assert spam.wrong == {"model": ("b",), "gateway": ()}
    assert (ham.kind, ham.is_spam, ham.cases, ham.right) == ("order", False, 2, {"model": 2, "gateway": 1})
    assert ham.wrong == {"model": (), "gateway": ("c",)}
