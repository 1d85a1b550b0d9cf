"""policy/totp.py: RFC 6238's own table, drift, what people type."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.totp import PERIOD_S, code_at, new_recovery_codes, new_secret, step_of, tidy, uri

RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("at", "code"),  # RFC 6238, appendix B: the last six of eight digits
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_table_of_the_rfc(at: int, code: str) -> None:
    assert code_at(RFC_SECRET, at // PERIOD_S) == code
    assert step_of(RFC_SECRET, code, at) == at // PERIOD_S


@pytest.mark.parametrize(("off", "is_taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_a_step_off(off: int, is_taken: bool) -> None:
    now = 1_800_000_015.0
    step = int(now // PERIOD_S) + off
    assert step_of(RFC_SECRET, code_at(RFC_SECRET, step), now) == (step if is_taken else None)


@pytest.mark.parametrize("typed", ["287 082", " 287082\n", "287-082", "۲۸۷۰۸۲", "٢٨٧٠٨٢"])
def test_as_people_type_it(typed: str) -> None:
    assert step_of(RFC_SECRET, typed, 59) == 1


@given(st.text(max_size=50))
def test_whatever_is_typed(typed: str) -> None:
    found = step_of(RFC_SECRET, typed, 59)
    assert found is None or tidy(typed) in {code_at(RFC_SECRET, step) for step in (0, 1, 2)}


def test_secrets_and_recovery_codes() -> None:
    assert len(new_secret()) == 32 and new_secret() != new_secret()
    codes = new_recovery_codes()
    assert len(set(codes)) == 10 and all(len(tidy(one)) == 12 for one in codes)


def test_what_the_picture_says() -> None:
    said = uri("ABC", "سارا & co", "mx.example.ir")
    assert said.startswith("otpauth://totp/mx.example.ir:%D8%B3")
    assert said.endswith("?secret=ABC&issuer=mx.example.ir&digits=6&period=30")
    assert "&co" not in said and "%20%26%20co" in said
