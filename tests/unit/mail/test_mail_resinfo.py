"""mail/resinfo.py: results are what the grammar says, and nothing is one that a comment or a quote holds."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.authentication_results import write
from gateway.mail.resinfo import ResInfo, read
from gateway.types import AuthResult

PASS = ResInfo("dmarc", "pass", (("header.from", "bank.example"),))


@pytest.mark.parametrize(
    ("value", "results"),
    [
        ("mx.example; none", ()),
        (" mx.example 1 ; dmarc=pass header.from=bank.example", (PASS,)),
        ("mx.example; dmarc=pass header.from=bank.example;", (PASS,)),
        ("mx.example;\r\n dmarc = pass\r\n\theader . from = bank.example", (PASS,)),
        ("mx.example; DMARC/1=PASS Header.From=bank.example", (PASS,)),
        ("mx.example; dmarc=pass (p=reject (sp=none) dis=none)header.from=bank.example", (PASS,)),
        ('mx.example; dmarc=pass header.from="bank.example"', (PASS,)),
        ("mx.example; dmarc=pass action=none header.from=bank.example", (ResInfo("dmarc", "pass", (("action", "none"), *PASS.properties)),)),
        ('mx.example; spf=fail reason="not ours; dmarc=pass" smtp.mailfrom=<>', (ResInfo("spf", "fail", (("reason", "not ours; dmarc=pass"), ("smtp.mailfrom", "<>"))),)),
        ('mx.example; spf=pass smtp.mailfrom="a b"@x.example', (ResInfo("spf", "pass", (("smtp.mailfrom", "a b@x.example"),)),)),
        ("mx.example; dkim=pass header.b=ab/c+d=; dkim=fail header.d=y.example", (ResInfo("dkim", "pass", (("header.b", "ab/c+d="),)), ResInfo("dkim", "fail", (("header.d", "y.example"),)))),
        ("mx.example; spf=none smtp.mailfrom=", (ResInfo("spf", "none", (("smtp.mailfrom", ""),)),)),
        # what other readers might take for a result
        ("mx.example; spf=fail (; dmarc=pass header.from=bank.example)", (ResInfo("spf", "fail", ()),)),
        (r"mx.example; spf=fail (\) ; dmarc=pass header.from=bank.example)", (ResInfo("spf", "fail", ()),)),
        ('mx.example; spf=fail (a " b); dmarc=pass header.from=bank.example (c " d)', (ResInfo("spf", "fail", ()), PASS)),
        ("mx.example (; dmarc=pass header.from=bank.example); none", ()),
        # what cannot be read to its end
        ("", None),
        ("; dmarc=pass", None),
        ("mx.example; dmarc=pass (header.from=bank.example", None),
        ("mx.example; dmarc=pass) header.from=bank.example", None),
        ('mx.example; spf=pass smtp.mailfrom="x; dmarc=pass', None),
        ("mx.example; dmarc=pass header.from=bank.example x", None),
        ("mx.example; dmarc=pass,fail header.from=bank.example", None),
        ("mx.example; dmarc pass", None),
        (r"mx.example; dmarc=pass \; header.from=bank.example", None),
        ("mx.example; " + "a=b;" * 200, None),
        ("mx.example; a=b " + "(" * 30 + ")" * 30, None),
        ("mx.example; a=b " + "x" * 20_000, None),
    ],
)  # fmt: skip
def test_read(value: str, results: tuple[ResInfo, ...] | None) -> None:
    assert read(value) == results


def test_values() -> None:
    (result,) = read("x; dkim=pass header.d=a.example header.d=b.example") or ()
    assert (result.values("header.d"), result.values("header.s")) == (("a.example", "b.example"), ())


@given(st.text('ab.=;()"\\ \t/@<>é', max_size=60))
def test_any_text_gives_results_or_none(value: str) -> None:
    for result in read(value) or ():
        assert result.method.isascii() and result.result.isascii()
        assert result.method == result.method.lower()


TEXTS = st.text(max_size=30)


@given(st.lists(st.builds(AuthResult, st.sampled_from(["spf", "dkim", "dmarc", "arc", "iprev"]), st.sampled_from(["pass", "fail"]), TEXTS, TEXTS, TEXTS, reason=TEXTS, properties=st.just(())), max_size=4))  # fmt: skip
def test_what_we_write_is_read(results: list[AuthResult]) -> None:
    found = read(write("mx.example", results))
    assert found is not None
    assert [(one.method, one.result) for one in found] == [(one.method, one.result) for one in results]


@pytest.mark.parametrize("piece", ["(", "()", ' "', "a=", " a=b", "; a=b", "\\(", " ", "a . ", '""'])
def test_long_values_take_little_time(piece: str) -> None:
    started = time.process_time()
    read("mx.example; a=b" + piece * (16_000 // len(piece)))
    assert time.process_time() - started < 0.2
