from __future__ import annotations

import time

import pytest

from gateway.mail import parse
from gateway.mail.html import MAX_LINKS
from gateway.types import Link

LETTER = """From: "Sara Rahimi" <s.rahimi@example.ir>
Sender: office@example.ir
Reply-To: Sara <sara@example.org>
To: a@example.com, b@example.com
Cc: c@example.com
Subject: =?utf-8?B?2LPZhNin2YU=?=
Date: Mon, 21 Sep 2026 14:13:20 +0000
Message-ID: < 1.2@example.ir >
Content-Type: text/plain; charset=utf-8

سلام، http://example.com/a است.
""".replace("\n", "\r\n").encode()


def test_a_letter() -> None:
    parsed = parse(LETTER)
    assert parsed.raw == LETTER
    assert LETTER[parsed.body_offset :].startswith("سلام".encode())
    assert len(parsed.fields) == 9
    assert parsed.subject == "سلام"
    assert parsed.message_id == "1.2@example.ir"
    assert parsed.date == 1_790_000_000.0
    assert [(one.display_name, one.address) for one in parsed.author] == [("Sara Rahimi", "s.rahimi@example.ir")]
    assert [one.address for one in parsed.sender] == ["office@example.ir"]
    assert [one.address for one in parsed.reply_to] == ["sara@example.org"]
    assert [one.address for one in parsed.to] == ["a@example.com", "b@example.com", "c@example.com"]
    assert parsed.text == "سلام، http://example.com/a است."
    assert parsed.links == (Link("http://example.com/a", "http://example.com/a", "text"),)
    assert parsed.defects == ()


def test_every_from_field_gives_authors_and_the_first_subject_counts() -> None:
    parsed = parse(b"From: a@x.example\nFrom: b@y.example, c@z.example\nSubject: 1\nsubject: 2\n\n")
    assert [one.address for one in parsed.author] == ["a@x.example", "b@y.example", "c@z.example"]
    assert parsed.subject == "1"


def test_both_alternatives_and_hidden_text() -> None:
    parsed = parse(
        b"Subject: s\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\nplain\n--b\nContent-Type: text/html\n\n"
        b"<p>html</p><p hidden>secret</p>\n--b--\n"
    )
    assert parsed.text == "plain\n\nhtml"
    assert parsed.hidden_text == "secret"


@pytest.mark.parametrize(
    ("content", "defects"),
    [
        (b"", ("BODY_MISSING",)),
        (b"Subject: x", ("BODY_MISSING",)),
        (b"Subject: x\r\n\r\n", ()),
        (b"Subject: x\nHello you\n\nbye", ("HEADER_UNENDED",)),
        (b"Subject: x\nstray\nTo: y\n\n", ("HEADER_MALFORMED",)),
        (b" stray\nTo: y\n\n", ("HEADER_MALFORMED",)),
        (b"From x@y Mon Nov 23\nTo: y\n\n", ("HEADER_MBOX_LINE",)),
        (b"To: y\n\n\0", ("MESSAGE_HAS_NUL",)),
        (b"A: b\n" * 10_001 + b"\n", ("HEADER_TOO_MANY_FIELDS",)),
    ],
)
def test_defects(content: bytes, defects: tuple[str, ...]) -> None:
    assert parse(content).defects == defects


def test_text_of_a_message_whose_header_never_ended_is_seen() -> None:
    assert parse(b"Subject: x\nHello you\n\nbye").text == "Hello you\n\nbye"


@pytest.mark.parametrize(
    ("html", "links"),
    [
        (b'<a href="http://x.example/">http://bank.example/</a>', [("http://x.example/", "http://bank.example/", "anchor")]),
        (b"see http://x.example/", [("http://x.example/", "http://x.example/", "text")]),
        (b'<a href="http://x.example/">t</a> http://x.example/ ', [("http://x.example/", "t", "anchor")]),
        (b'<a href="http://x.example/">t</a>' * 3, [("http://x.example/", "t", "anchor")]),
    ],
)  # fmt: skip
def test_links_of_html(html: bytes, links: list[tuple[str, str, str]]) -> None:
    parsed = parse(b"Content-Type: text/html\n\n" + html)
    assert list(parsed.links) == [Link(*link) for link in links]  # type: ignore[arg-type]


def test_links_are_bounded() -> None:
    def many(number: int) -> bytes:
        return b"\n" + b"\n".join(b"http://x.example/%d" % i for i in range(number))

    assert parse(many(MAX_LINKS)).defects == ()
    cut = parse(many(MAX_LINKS + 1))
    assert cut.defects == ("MESSAGE_TOO_MANY_LINKS",)
    assert len(cut.links) == MAX_LINKS


@pytest.mark.parametrize(
    "content",
    [
        b"From: " + b"a@b.example, " * 100_000,
        b"From: a@b.example\n" * 100_000,
        b"To: " + b'"' * 500_000,
        b"Date: " + b"1 " * 500_000,
        b"Message-ID: " + b"<" * 500_000,
        b"A: " + b"\xe9\n " * 200_000,
        b"A: \xe9" + b"x" * 60 + b"\n",
        b"\xe9" * 60 + b": \xe9\n",
        (b"A: \xe9\xe8" + b"x\xff" * 60 + b"\n") * 5_000,
        b"\r" * 1_000_000,
        b"\n" * 1_000_000,
        b"A:" + b"\r\n " * 300_000,
        b"\0" * 1_000_000,
        b"A" * 1_000_000,
        b"A: b\r\r\r\r" * 100_000,
        b": " * 300_000,
    ],
    ids=range(16),
)
def test_linear_on_hostile_headers(content: bytes) -> None:
    started = time.process_time()
    parse(content)
    assert time.process_time() - started < 2.0
