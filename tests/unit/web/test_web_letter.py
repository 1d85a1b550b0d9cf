"""web/letter.py: what a digest says, in both languages, and that nothing of a stranger's is more than text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.digest.quarantine import MOST_ITEMS
from gateway.types import DigestItem, DigestLetter, HeldMessage
from gateway.web.letter import letter_writer
from tests.digests import HOSTILE, content_of, held_message, site

WRITE = letter_writer(site())
MESSAGES = [
    held_message(1, "بانک ملی <a@bank.example>", "رمز شما"),
    held_message(2, f"{HOSTILE} <b@c.example>", HOSTILE),
    held_message(3, "x@supplier.example", "invoice_\u202efdp.exe", kind="malware"),
    held_message(4, "", "", verdict_json='{"hits": []}'),
]
VOID = {"meta", "br"}
ALLOWED = set("html head meta title style body table tr td h1 p bdi strong br a".split())


class Structure(HTMLParser):
    """Tags with what matters of them, well nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize(("language", "told"), [("en", "words read like those of spam"), ("fa", "واژه‌های هرزنامه")])
@pytest.mark.parametrize("kind", ["spam", "phishing", "malware"])
def test_the_classifiers_opinion_is_told_in_plain_words(kind: str, language: str, told: str) -> None:
    hits = [{"name": "CLASSIFIER", "score": 4.0, "description": "The trained classifier's opinion", "evidence": []}]
    letter, _ = write(language, held_message(1, "a@b.example", "x", kind=kind, verdict_json=json.dumps({"hits": hits})))
    assert told in letter.html and told in letter.text
    assert "opinion" not in letter.html


def test_reasons_behind_the_first_go_on_in_the_sentence() -> None:
    hits = [
        {"name": name, "score": 4.0, "description": description, "evidence": []}
        for name, description in (("CLASSIFIER", "x"), ("ATTACHMENT_EXECUTABLE", "An attached program"))
    ]
    held = held_message(1, "a@b.example", "x", kind="malware", verdict_json=json.dumps({"hits": hits}))
    letter, _ = write("en", held)
    assert "Its words read like those of spam; an attached program" in letter.text


def test_an_address_is_not_torn_by_the_name_before_it() -> None:
    letter, _ = write("fa", held_message(1, "a@b.example", "x"))
    assert ".address { display: inline-block; }" in letter.html


def write(language: str, *messages: HeldMessage, more: int = 0) -> tuple[DigestLetter, Structure]:
    letter = WRITE(content_of(language, *messages, more=more))
    return letter, Structure(letter.html)


@pytest.mark.parametrize(
    ("language", "direction", "subject", "said", "day"),
    [
        ("en", "ltr", "4 messages held", "It may do harm. Only an admin can release it.", "2026-11-27 10:30"),
        (
            "fa",
            "rtl",
            "۴ پیام نگه داشته شد",
            "ممکن است آسیب برساند. فقط مدیر می‌تواند آن را آزاد کند.",
            "۱۴۰۵/۰۹/۰۶ ۱۰:۳۰",
        ),
    ],
)
def test_the_letter(language: str, direction: str, subject: str, said: str, day: str) -> None:
    letter, page = write(language, *MESSAGES)
    assert letter.subject == subject
    assert page.all("html")[0] == {"lang": language, "dir": direction}
    assert {one["dir"] for one in page.all("table")} == {direction}  # some readers drop it from <html> and <body>
    side = "right" if direction == "rtl" else "left"
    assert {one["align"] for one in page.all("td") if "align" in one} == {side, "center"}
    assert all(one["dir"] == "auto" for one in page.all("td") if "dir" in one)
    acts = [one["href"].rpartition("/")[2] for one in page.all("a")]
    assert acts == [
        "Q1-release", "Q1-spam", "Q1-look", "Q2-release", "Q2-spam", "Q2-look", "Q3-spam", "Q3-look",
        "Q4-release", "Q4-spam", "Q4-look", "stop",
    ]  # fmt: skip
    words = "".join(page.text)
    for form in (words, letter.text):
        assert form.count(said) == 1
        assert form.count(day) == 4
        assert form.count("invoice_[U+202E]fdp.exe") == 1
        assert form.count(HOSTILE) == 2
    assert all(f"https://mx.test/digest/{act}" in letter.text for act in acts)
    assert ("<script" in letter.html, "\u202e" in letter.html + letter.text) == (False, False)


@pytest.mark.parametrize(
    ("language", "more", "said"),
    [("en", 1, "1 more is held"), ("en", 1200, "1200 more are held"), ("fa", 12, "۱۲ پیام دیگر"), ("en", 0, "")],
)
def test_how_many_more(language: str, more: int, said: str) -> None:
    letter, page = write(language, MESSAGES[0], more=more)
    words = "".join(page.text)
    assert (said in letter.text, said in words) == (True, True)
    assert language == "fa" or "were not delivered. If you miss one" in words
    assert ("more" in letter.text.partition("A button")[0]) == (language == "en" and more > 0)


def test_one_message() -> None:
    assert write("en", MESSAGES[0])[0].subject == "1 message held"


def test_what_an_entry_blocks_says_so() -> None:
    """Not what its text would have been held for."""
    blocked = held_message(5, "news@tours.example", "Tours", reason="blocked by sara's entry until 2026-12-27")
    letter = write("en", blocked)[0]
    assert "blocked by sara's entry until 2026-12-27" in letter.text
    assert "Looks like spam" not in letter.text


def test_nothing_is_loaded() -> None:
    letter, page = write("fa", *MESSAGES)
    assert {tag for tag, _ in page.tags} <= ALLOWED
    assert not re.search(r"url\(|@import|src=|javascript:", letter.html)


def test_gmail_shows_all_of_it() -> None:
    """It cuts HTML at 102 kB."""
    one = held_message(
        1, "A Sender's Name <somebody@some.domain.example>", "A subject of sixty characters, as most have"
    )
    content = content_of("fa", *[one] * MOST_ITEMS)
    urls = dict.fromkeys(content.items[0].urls, "https://mx.example.ir/digest/" + "A" * 76)
    content = replace(content, items=tuple(DigestItem(item.held, urls) for item in content.items))
    assert len(WRITE(content).html.encode()) < 102_000


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60), st.text(max_size=60))
def test_texts_of_strangers_stay_text(author: str, subject: str) -> None:
    plain = write("fa", MESSAGES[0])[1]
    page = write("fa", held_message(1, author, subject))[1]
    assert [tag for tag, _ in page.tags if tag != "bdi"] == [tag for tag, _ in plain.tags if tag != "bdi"]
    assert [one["href"] for one in page.all("a")] == [one["href"] for one in plain.all("a")]
