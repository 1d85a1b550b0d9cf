"""The form of a message: line ends, NUL, the header's limits."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.settings import Smtp
from gateway.listeners.content import receive
from gateway.mail.header import split_header

SMALL = Smtp(max_header_size=2000, max_header_field_size=500, max_header_fields=20)


@pytest.mark.parametrize(
    ("content", "goes_on", "manner"),
    [
        (b"Subject: a\r\n\r\nb\r\n", b"Subject: a\r\n\r\nb\r\n", ()),
        (b"", b"", ()),
        (b"a\nb\r\n", b"a\r\nb\r\n", ("SMTP_BARE_LINE_END",)),
        (b"a\rb\r\n", b"a\r\nb\r\n", ("SMTP_BARE_LINE_END",)),
        (b"a\r\r\nb\r\n", b"a\r\nb\r\n", ("SMTP_BARE_LINE_END",)),
        (b"a\0b\r\n", b"ab\r\n", ("SMTP_NUL",)),
        (b"a\r\0\nb\r\n", b"a\r\nb\r\n", ("SMTP_NUL",)),
        (b"a\0\nb\r\n", b"a\r\nb\r\n", ("SMTP_NUL", "SMTP_BARE_LINE_END")),
    ],
)
def test_form(content: bytes, goes_on: bytes, manner: tuple[str, ...]) -> None:
    assert receive(content, Smtp()) == (goes_on, manner, None)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"A: b\r\n" * 20 + b"\r\n" + b"body: x\r\n" * 100, 0),
        (b"A: b\r\n" * 21 + b"\r\nbody\r\n", 550),
        (b"A: b\r\n" * 21, 550),  # a header without a body
        (b"A: b\r\n c\r\n" * 15 + b"\r\n", 0),  # folded lines are no fields
        (b"A: " + b"x" * 480 + b"\r\n\r\nbody\r\n", 0),
        (b"A: " + b"x" * 500 + b"\r\n\r\nbody\r\n", 552),
        (b"A: b\r\n" + b" x\r\n" * 200 + b"\r\nbody\r\n", 552),
        ((b"A: " + b"x" * 400 + b"\r\n") * 5 + b"\r\n", 552),
        (b"just text, as long as it likes " * 100 + b"\r\n", 0),  # no header at all
        (b"just text\r\n" * 1000, 0),
        (b"\r\n" + b"A: b\r\n" * 100, 0),  # an empty header
    ],
)
def test_limits_of_the_header(content: bytes, code: int) -> None:
    refused = receive(content, SMALL).refused
    assert (refused.code if refused else 0) == code


@given(
    st.lists(
        st.sampled_from([b"A: b\r\n", b" c\r\n", b"text\r\n", b"\r\n", b"A: " + b"x" * 300 + b"\r\n"]), max_size=60
    )
)
def test_the_quick_look_never_lets_in_what_the_exact_one_would_not(lines: list[bytes]) -> None:
    content = b"".join(lines)
    header = split_header(content)
    fields = [stop - start for name, start, stop in header.pieces if name]
    is_over = header.end > 2000 or len(fields) > 20
    assert (receive(content, SMALL).refused is not None) or not is_over


def test_hostile_headers_take_linear_time() -> None:
    for content in (
        b"a:\r\n" * 1_000_000,
        b"A: " + b"x" * (4 << 20),
        b"\n" * (4 << 20),
        b"\0\r" * (2 << 20),
        b"a:\r" * 1_000_000,
    ):
        started = time.process_time()
        receive(content, Smtp())
        assert time.process_time() - started < 3
