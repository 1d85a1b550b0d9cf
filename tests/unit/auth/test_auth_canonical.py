"""gateway.auth.canonical: RFC 6376 §3.4."""

from __future__ import annotations

import time

import pytest

from gateway.auth.canonical import CanonicalMessage, canonical_body, canonical_field
from gateway.mail import parse


@pytest.mark.parametrize(
    ("body", "simple", "relaxed"),
    [
        (b"", b"\r\n", b""),
        (b"\r\n", b"\r\n", b""),
        (b"\r\n\r\n\r\n", b"\r\n", b""),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),  # RFC 6376 §3.4.5
        (b"abc", b"abc\r\n", b"abc\r\n"),
        (b"abc \t", b"abc \t\r\n", b"abc\r\n"),
        (b" \t ", b" \t \r\n", b""),
        (b" \r\n \r\n", b" \r\n \r\n", b""),
        (b"a\r\n \r\n", b"a\r\n \r\n", b"a\r\n"),
        (b"a\nb\n\n", b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"a\r\r\n\r\n", b"a\r\r\n", b"a\r\r\n"),
        (b"a\r\n\r", b"a\r\n\r\r\n", b"a\r\n\r\r\n"),
        (b"\ta\t\tb", b"\ta\t\tb\r\n", b" a b\r\n"),
    ],
)
def test_body(body: bytes, simple: bytes, relaxed: bytes) -> None:
    assert canonical_body(body, "simple") == simple
    assert canonical_body(body, "relaxed") == relaxed


@pytest.mark.parametrize(
    ("field", "simple", "relaxed"),
    [
        (b"A: X\r\n", b"A: X\r\n", b"a:X\r\n"),
        (b"B : Y\t\r\n\tZ  \r\n", b"B : Y\t\r\n\tZ  \r\n", b"b:Y Z\r\n"),  # RFC 6376 §3.4.5
        (b"Subject:\r\n folded\r\n", b"Subject:\r\n folded\r\n", b"subject:folded\r\n"),
        (b"Subject: a\n b\n", b"Subject: a\r\n b\r\n", b"subject:a b\r\n"),
        (b"Subject: end", b"Subject: end\r\n", b"subject:end\r\n"),
        (b"Subject:", b"Subject:\r\n", b"subject:\r\n"),
    ],
)
def test_field(field: bytes, simple: bytes, relaxed: bytes) -> None:
    assert canonical_field(field, "simple") == simple
    assert canonical_field(field, "relaxed") == relaxed


def test_fields_are_taken_from_the_bottom() -> None:
    message = CanonicalMessage(parse(b"X: 1\r\nY: 2\r\nX: 3\r\n\r\n"))
    assert message.fields(["x", "y", "z", "x", "x"], "relaxed") == b"x:3\r\ny:2\r\nx:1\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b" " * (1 << 21),
        b" \t" * (1 << 20),
        b"\r\n" * (1 << 20),
        b"\r" * (1 << 21),
        b"\n" * (1 << 20),
        b"a \r\n" * (1 << 19),
        b"  a" * (1 << 19),
    ],
)
def test_hostile_bodies_take_linear_time(body: bytes) -> None:
    started = time.process_time()
    canonical_body(body, "relaxed")
    canonical_body(body, "simple")
    assert time.process_time() - started < 1.0
