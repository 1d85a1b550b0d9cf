"""gateway.auth.dmarc_record: RFC 9989 §4.7 and §4.8."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.dmarc_record import (
    MAX_URIS,
    POLICIES,
    Record,
    ReportUri,
    is_record,
    milder,
    parse_record,
    report_uris,
)

RUA = (ReportUri("x@example.org"),)


@pytest.mark.parametrize(
    ("content", "record"),
    [
        (b"v=DMARC1;p=none", Record("none", "none", "none")),
        (
            b" v = DMARC1 ; P = Reject ; SP=None; adkim=S; aspf=r; pct=7",
            Record(
                "reject", "none", "none", is_dkim_strict=True, percent=7
            ),
        ),
        (b"v=DMARC1; p=reject; p=none", Record("reject", "reject", "reject")),
        (b"v=DMARC1; p=reject; pct=x; adkim=; ;;=;", Record("reject", "reject", "reject")),
        (b"v=DMARC1; p=reject; pct=1000", Record("reject", "reject", "reject")),
        (
            b"v=DMARC1; p=none; np=reject",
            Record("none", "none", "reject"),
        ),
        (
            b"v=DMARC1; p=none; sp=quarantine; t=y; psd=n",
            Record(
                "none",
                "quarantine",
                "quarantine",
                is_testing=True,
                psd="n"
            ),
        ),
        (b"v=DMARC1; p=none; t=x; psd=maybe", Record("none", "none", "none")),
        (b"v=DMARC1; p=none; PSD=Y", Record("none", "none", "none", psd="y")),
        # §4.10.1: a bad p=, sp= or np=
        (b"v=DMARC1; p=reject; sp=odd", Record("", "", "")),
        (b"v=DMARC1; p=reject; np=odd", Record("", "", "")),
        (
            b"v=DMARC1; p=reject; sp=odd; rua=mailto:x@example.org",
            Record("none", "none", "none", reports_to=RUA, is_stand_in=True),
        ),
        (b"v=DMARC1; rua=mailto:x@example.org", Record("none", "none", "none", reports_to=RUA, is_stand_in=True)),
        (b"v=DMARC1; p=reject; sp=; rua=mailto:x@example.org", Record("none", "none", "none", reports_to=RUA, is_stand_in=True)),
        (b"v=DMARC1; rua=nobody", Record("", "", "")),
        (b"v=DMARC1; p=; psd=y", Record("", "", "", psd="y")),
        (b"v=DMARC1", Record("", "", "")),
        # fo= needs ruf=
        (b"v=DMARC1; p=none; fo=1:d", Record("none", "none", "none")),
        (
            b"v=DMARC1; p=none; fo=1:d; ruf=mailto:x@example.org",
            Record("none", "none", "none", failure_options="1:d"),
        ),
        (
            b"v=DMARC1; p=none; fo=0:1; ruf=mailto:x@example.org",
            Record("none", "none", "none"),
        ),
        (b"v=DMARC1; p=reject; x=\xff", Record("reject", "reject", "reject")),
        (b"", None),
        (b"v=DMARC2; p=none", None),
        (b"v=dmarc1; p=none", None),
        (b"v=DMARC1x; p=none", None),
        (b"p=none; v=DMARC1", None),
    ],
)  # fmt: skip
def test_parse_record(content: bytes, record: Record | None) -> None:
    assert parse_record(content) == record
    assert is_record(content) is (record is not None)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("", ()),
        ("mailto:d@example.org", (ReportUri("d@example.org"),)),
        (" mailto:a@example.org , MAILTO:b@example.net ", (ReportUri("a@example.org"), ReportUri("b@example.net"))),
        ("mailto:d@example.org!10m", (ReportUri("d@example.org", 10 << 20),)),
        ("mailto:d@example.org!50K", (ReportUri("d@example.org", 50 << 10),)),
        ("mailto:d@example.org!", ()),
        ("mailto:d@example.org!10x", ()),
        ("mailto:d%2Bx@example.org?subject=x", (ReportUri("d+x@example.org"),)),
        ("mailto:d@example.org%0d%0aBcc:x@example.net", ()),
        ("mailto:d@münchen.example", (ReportUri("d@xn--mnchen-3ya.example"),)),
        ("mailto:a@b@example.org", ()),
        ("mailto:d@localhost", ()),
        ("mailto:d", ()),
        ("mailto:", ()),
        ("d@example.org", ()),
        ("https://example.org/reports!1g", (ReportUri("", 1 << 30),)),
        ("mailto:a@example.org,,nonsense,mailto:b@example.org", (ReportUri("a@example.org"), ReportUri("b@example.org"))),
    ],
)  # fmt: skip
def test_report_uris(value: str, found: tuple[ReportUri, ...]) -> None:
    assert report_uris(value) == found


def test_addresses_are_bounded() -> None:
    assert len(report_uris(",".join(f"mailto:d{number}@example.org" for number in range(500)))) == MAX_URIS


@given(st.text(max_size=60) | st.from_regex(r"mailto:[a-z%0-9<>\"@.!,? ]{0,40}", fullmatch=True))
def test_any_address_can_stand_in_a_header_and_in_smtp(value: str) -> None:
    for one in report_uris(value):
        assert re.fullmatch(r"(?:[^\s<>\"@,;:()\[\]\\]+@[a-z0-9_-]+(?:\.[a-z0-9_-]+)+)?", one.address, re.ASCII)
        assert one.address.isascii()
        assert one.address.isprintable()


def test_milder() -> None:
    assert [milder(one) for one in POLICIES] == ["none", "none", "quarantine"]
