from __future__ import annotations

from gateway.mail import parse
from gateway.mail.summary import clean, summarise


def test_summary_of_a_letter() -> None:
    content = "From: سارا <s@example.ir>\nSubject: =?utf-8?Q?a=0Ab?=\nMessage-ID: <1@x>\n\n".encode()
    summary = summarise(parse(content))
    assert (summary.author, summary.subject, summary.message_id) == ("سارا <s@example.ir>", "a b", "1@x")
    assert summary.size_bytes == len(content)


def test_summary_of_nothing() -> None:
    assert summarise(parse(b"")).author == ""


def test_bounds() -> None:
    summary = summarise(parse(b"From: " + b"x" * 5000 + b" <a@b.example>\nSubject: " + b"y" * 5000 + b"\n\n"))
    assert (len(summary.author), len(summary.subject)) == (200, 300)


def test_controls_and_overrides_are_gone_and_joiners_stay() -> None:
    assert clean("a\u202eb\x1b[31mc\u2066d\x00\x9be\u2028f", 100) == "a b [31mc d e f"
    assert clean("می\u200cخوانم", 100) == "می\u200cخوانم"
