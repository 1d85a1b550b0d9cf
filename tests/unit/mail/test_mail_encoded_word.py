"""mail/encoded_word.py: what is written is what readers see (RFC 2047)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.encoded_word import encode_name, encode_words
from gateway.mail.header import decode_words


@given(st.text(st.characters(min_codepoint=32, exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp", "Zs", "Cn", "Co"))))
def test_written_and_read(text: str) -> None:
    written = encode_words(text)
    assert written.isascii()
    assert all(len(line) <= 76 for line in written.split("\r\n ")) or text.isascii()
    assert decode_words(written.replace("\r\n ", " ")) == text


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Darban", '"Darban"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("a\r\nBcc: x", '"aBcc: x"'),
        ("می\u200cنا", "=?utf-8?b?2YXbjOKAjNmG2Kc=?="),
    ],
)
def test_names(name: str, written: str) -> None:
    assert encode_name(name) == written
