from __future__ import annotations

import time

import authres
import pytest

from gateway.mail.authentication_results import authserv_id_of, parse, write
from gateway.types import AuthResult

OURS = "mx.example.ir"


@pytest.mark.parametrize(
    ("results", "value"),
    [
        ([], "mx.example.ir; none"),
        ([AuthResult("spf", "pass", "a.example", identity="mailfrom")], "mx.example.ir; spf=pass smtp.mailfrom=a.example"),
        ([AuthResult("spf", "none", "h.example", identity="helo")], "mx.example.ir; spf=none smtp.helo=h.example"),
        (
            [AuthResult("dkim", "fail", "a.example", "s1", "@a.example", reason="body (hash); differs")],
            "mx.example.ir; dkim=fail (body hash differs) header.d=a.example header.s=s1 header.i=@a.example",
        ),
        (
            [AuthResult("dmarc", "fail", "a.example", policy="reject")],
            "mx.example.ir; dmarc=fail (p=reject) header.from=a.example",
        ),
        ([AuthResult("iprev", "pass", "h.example", identity="192.0.2.1")], "mx.example.ir; iprev=pass policy.iprev=192.0.2.1"),
        ([AuthResult("iprev", "pass", identity="2001:db8::1")], 'mx.example.ir; iprev=pass policy.iprev="2001:db8::1"'),
        ([AuthResult("arc", "none", properties=(("x.y", "a b"),))], 'mx.example.ir; arc=none x.y="a b"'),
        ([AuthResult("spf", "pass", 'a"; dkim=pass', identity="mailfrom")], 'mx.example.ir; spf=pass smtp.mailfrom="a\\"; dkim=pass"'),
    ],
)  # fmt: skip
def test_write(results: list[AuthResult], value: str) -> None:
    assert write(OURS, results) == value


def test_no_result_can_forge_another() -> None:
    evil = 'x; dkim=pass (y) "z\r\nEvil: 1'
    for name in ("result", "domain", "selector", "identity", "policy", "reason"):
        value = write(OURS, [AuthResult(**{"method": "dkim", "result": "fail", name: evil})])  # type: ignore[arg-type]
        assert "\n" not in value
        assert [one.method for one in authres.AuthenticationResultsHeader.parse_value(value).results] == ["dkim"]


def test_write_then_parse() -> None:
    results = [
        AuthResult("iprev", "pass", "h.example", identity="192.0.2.1"),
        AuthResult("spf", "softfail", "a.example", identity="mailfrom", reason="~all"),
        AuthResult("dkim", "pass", "a.example", "s1", "@a.example"),
        AuthResult("dmarc", "pass", "a.example", policy="none"),
    ]
    assert parse(write(OURS, results)) == (
        OURS,
        (("iprev", "pass"), ("spf", "softfail"), ("dkim", "pass"), ("dmarc", "pass")),
    )


@pytest.mark.parametrize(
    ("value", "authserv_id"),
    [
        ("a.example; none", "a.example"),
        ('"a b"; none', "a b"),
        ("(c) a.example", "a.example"),
        ("bücher.example; none", "xn--bcher-kva.example"),
        ("", ""),
        ("()", ""),
        (";", ""),
        ('""', ""),
        ("((((", ""),
    ],
)
def test_authserv_id_of(value: str, authserv_id: str) -> None:
    assert authserv_id_of(value) == authserv_id


@pytest.mark.parametrize("unit", ["(", ")", '"', "\\", "; a=b", "()", "=?a?q?", " ", "a=b ", "(\\"])
def test_total_and_linear_on_hostile_text(unit: str) -> None:
    started = time.process_time()
    parse(unit * 100_000)
    parse("a.example; dkim=pass " + unit * 100_000)
    assert time.process_time() - started < 2.0
