"""mail/reading.py: From fields that all readers part alike, and those they do not (tests/cases/spoofing has more)."""

from __future__ import annotations

import time
from email.utils import getaddresses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail.address import domain_of, parse_mailboxes
from gateway.mail.reading import MAX_LENGTH, has_one_reading

PIECES = st.sampled_from(
    [
        *'"<>()[],;:@\\ .%! ',
        *(
            "a@b.example",
            "h@i.example",
            "<c@d.example>",
            "<j@k.example>",
            '"e"',
            '"n@o.example"',
            "(x)",
            "(l@m.example)",
        ),
        *("=?utf-8?q?f=40g.example?=", "name", "@p.example"),
    ]
)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a@example.org",
        "<a@example.org>",
        "Ann Lee <a@example.org>",
        '"Lee, Ann" <a@example.org>',
        '"a@bank.example" <a@example.org>',
        '"<a@bank.example>" <a@example.org>',
        "b@example.org <a@example.org>",
        "Re: offer <a@example.org>",
        "[List] Ann (home) <a@example.org>",
        "Ann \\o/ <a@example.org>",
        "DOMAIN\\ann <a@example.org>",
        "Ann :-) <a@example.org>",
        "Ann ;-) <a@example.org>",
        "a@example.org (Ann (A) Lee)",
        "a@example.org (a@example.org)",
        "a@example.org, , Ann <b@example.org>,",
        "Team: a@example.org, B <b@example.org>;",
        "undisclosed-recipients:;",
        "MAILER-DAEMON",
        "MAILER-DAEMON <>",
        "Mail Delivery Subsystem <MAILER-DAEMON>",
        "Smith, Ann <a@example.org>",
        "Ann a@example.org",
        "a @ example.org",
        "< a@example.org >",
        "<a(home)@example.org(host)>",
        "<a@shop(comment).  example>",
        '"quoted local"@example.org',
        '<"odd\'local"@example.org>',
        "a@[192.0.2.1]",
        "a@[IPv6:2001:db8::1]",
        "a@example.org.",
        "a@bücher.example",
        "سارا <سارا@مثال.ایران>",
        "=?utf-8?q?a=40bank.example?= <a@example.org>",
        "=?utf-8?q?Ann_=3Ca=40example.org=3E?= <a@example.org>",
        "<a=b.example@example.org>",
        "<bounce+a=b.example@example.org>",
        "<a%b@example.org>",
    ],
)
def test_one_reading(value: str) -> None:
    assert has_one_reading(value)


@pytest.mark.parametrize(
    "value",
    [
        "<@relay.example:a@example.org>",
        '"a@b"@example.org',
        "a@bank.example <a@example.org>",
        'Ann [x] "a@bank.example" <a@example.org>',
        '"a@bank.example"',
        '"a@bank.example" a@example.org',
        "<a@bank.example> <a@example.org>",
        "<a@example.org> a@bank.example",
        "<a@example.org> =?utf-8?q?a=40bank.example?=",
        "a@bank.example a@example.org",
        "a@bank.example, b@bank.example c@example.org",
        "a@bank.example: a@example.org;",
        "a@bank.example(a@example.org",
        "a(b@bank.example)@example.org",
        "(<a@bank.example>) a@example.org",
        "<a(b@bank.example)@example.org>",
        "<a%bank.example@example.org>",
        "<bank.example!a@example.org>",
        "<a@bank.example .example.org>",
        "a@bank .example.org",
        "a@bank.example\\@example.org",
        "a@bank.example\0 <a@example.org>",
        "a@bank.example\u2028<a@example.org>",
        "a＠bank.example@example.org",
        "Ann <a@bank.example\ufffd@example.org>",
        "=?utf-8?q?a=40bank.example?=",
        "=?utf-8?q?=3Ca=40bank.example=3E?= <a@example.org>",
        "=?utf-8?q?a=0A?= <a@example.org>",
        "<a@xn--bank-.example>",
        "a@xn--bank-.example",
        '"Ann <a@example.org>',
        "Ann <a@example.org",
        "Ann> <a@example.org>",
        "Ann <a@example.org>" + " " * MAX_LENGTH,
    ],
)
def test_several_readings(value: str) -> None:
    assert not has_one_reading(value)


@given(st.lists(PIECES, max_size=7).map("".join))
@settings(max_examples=1500)
def test_one_reading_is_that_of_another_program(value: str) -> None:
    """Python's own reader finds no domain of the DNS that ours does not."""
    if has_one_reading(value):
        ours = {box.domain for box in parse_mailboxes(value)}
        theirs = {domain_of(address) for _, address in getaddresses([value])}
        assert {domain for domain in theirs if "." in domain} <= ours or ours <= {""}


@given(st.text(max_size=200))
def test_any_text_is_answered(value: str) -> None:
    assert has_one_reading(value) in (True, False)


@pytest.mark.parametrize(
    "unit", ['"', '\\"', "(", "((", "<", "<(", '<"', "=?", "@", " @", ":", "a:", "a ", ".", "%.", "("]
)
def test_linear_on_hostile_text(unit: str) -> None:
    started = time.process_time()
    for before in ("", "a", "<", "(", '"'):
        has_one_reading((before + unit * MAX_LENGTH)[:MAX_LENGTH])
    assert time.process_time() - started < 0.5
