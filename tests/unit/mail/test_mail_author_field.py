"""mail/author_field.py: the author from the header alone is the author of the parsed message, or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import parse
from gateway.mail.author_field import address_of, peek_author
from tests.check_case import load_cases

MESSAGES = [case.mail.message.raw for case in load_cases()]


@pytest.mark.parametrize(
    ("head", "author"),
    [
        (b"From: Sara <Sara@Example.ORG>\r\n", "sara@example.org"),
        (b"Subject: a\r\nFROM : sara@example.org\r\n", "sara@example.org"),
        (b"From: Sara\r\n <sara@example.org>\r\n", "sara@example.org"),
        ("From: a@مثال.ایران\r\n".encode(), "a@xn--mgbh0fb.xn--mgba3a4f16a"),
        (b"From: a@example.org, b@example.org\r\n", ""),
        (b"From: a@example.org\r\nFrom: a@example.org\r\n", ""),
        (b"From: nobody\r\n", ""),
        (b"Subject: a\r\n", ""),
        (b"Subject: a\r\n\r\nFrom: sara@example.org\r\n", ""),
        (b"From: " + b"a" * 400 + b"@example.org\r\n", ""),
        (b"From: " + b"a " * 3000 + b"<a@example.org>\r\n", ""),
        (b"X: " + b"a" * 70_000 + b"\r\nFrom: sara@example.org\r\n", ""),
        (b"From: sar\xe9 <sar\xe9@example.org>\r\nContent-Type: text/plain; charset=latin-1\r\n", ""),
        (b"", ""),
    ],
)
def test_read_author(head: bytes, author: str) -> None:
    assert peek_author(head) == author


@pytest.mark.parametrize("content", MESSAGES)
def test_both_readings_agree(content: bytes) -> None:
    assert peek_author(content) == address_of(parse(content).author)


@given(st.binary(max_size=300) | st.lists(st.sampled_from(["From", ":", "a@b.org", "<", ">", ",", "\r\n", "\0", "\xe9", "=?utf-8?Q?a=40b?="]), max_size=12).map(lambda words: " ".join(words).encode("latin-1")))  # fmt: skip
def test_any_bytes_name_the_parsed_author_or_none(content: bytes) -> None:
    found = peek_author(content)
    assert found in ("", address_of(parse(content).author))
