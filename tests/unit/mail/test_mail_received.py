"""mail/received.py: what one Received field tells of the client."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.received import Hop, count_hops, parse_received, tells_of_no_hop

DATE = "; Mon, 2 Mar 2026 10:00:00 +0000"


@pytest.mark.parametrize(
    ("value", "hop"),
    [
        (
            "from mail.example.org (mx1.example.org [192.0.2.1]) by mx.test (Postfix) with ESMTPS id 4ABC for <you@darban.test>",
            Hop("192.0.2.1", "mx1.example.org", "mail.example.org", "mx.test", id="4ABC"),
        ),
        ("from pc (unknown [192.0.2.1]) by mx.test (Postfix) with SMTP id 4ABC", Hop("192.0.2.1", "", "pc", "mx.test", id="4ABC")),
        (
            "from pc (IDENT:sara@dsl.example.org [192.0.2.1] (may be forged)) by mx.test (8.11.6/8.11.6) with SMTP id h2F0",
            Hop("192.0.2.1", "dsl.example.org", "pc", "mx.test", "sara", id="h2F0"),
        ),
        (
            "from pc ([192.0.2.1]) (authenticated bits=0) by mx.test (8.12.5/8.12.5) with ESMTP id g9JL",
            Hop("192.0.2.1", "", "pc", "mx.test", id="g9JL", auth="Sendmail"),
        ),
        (
            "from dsl.example.org ([192.0.2.1] helo=pc) by mx.test with esmtp (Exim 4.96) (envelope-from <sara@example.org>) id 1hkk-AB",
            Hop("192.0.2.1", "dsl.example.org", "pc", "mx.test", "", "sara@example.org", "1hkk-AB"),
        ),
        (
            "from [192.0.2.1] (helo=pc ident=sara) by mx.test with smtp (Exim 4.96) id 1hkk-AB",
            Hop("192.0.2.1", "", "pc", "mx.test", "sara", id="1hkk-AB"),
        ),
        ("from dsl.example.org (HELO pc) (sara@192.0.2.1) by mx.test with SMTP", Hop("192.0.2.1", "dsl.example.org", "pc", "mx.test", "sara")),
        ("from unknown (HELO pc) (192.0.2.1) by mx.test with SMTP", Hop("192.0.2.1", "", "pc", "mx.test")),
        ("from mx1.example.org (192.0.2.1) by mx.test with SMTP", Hop("192.0.2.1", "mx1.example.org", "mx1.example.org", "mx.test")),
        (
            "from a.example ([2001:db8::1]) by b.example ([fe80::1%3]) with mapi id 15.20.1",
            Hop("2001:db8::1", "", "a.example", "b.example"),
        ),
        ("from pc ([192.0.2.1] RDNS failed) by mx.test with Microsoft SMTPSVC(6.0.3790.0)", Hop("192.0.2.1", "", "pc", "mx.test")),
        ("from pc [192.0.2.1] by mx.test (SMTPD32-7.07) id A4CE", Hop("192.0.2.1", "", "pc", "mx.test", id="A4CE")),
        ("from [192.0.2.1] by web.test via HTTP", Hop("192.0.2.1", by="web.test")),
        ("from 192.0.2.1 by web.test with HTTP", Hop("192.0.2.1", by="web.test", auth="HTTP")),
        ("from ([192.0.2.1]) by mx.test with ESMTP id 4", Hop("192.0.2.1", by="mx.test")),
        ("from (pc [192.0.2.1]) by mx.test with ESMTP id 400", Hop("192.0.2.1", "", "pc", "mx.test", id="400")),
        ("from dsl.example.org(192.0.2.1) by mx.test via smap (V1.3) id xma", Hop("192.0.2.1", "dsl.example.org", "", "mx.test", id="xma")),
        ("from pc ([::ffff:192.0.2.1]) by mx.test with ESMTPSA id 400", Hop("192.0.2.1", "", "pc", "mx.test", id="400", auth="ESMTPSA")),
        ("from pc (odd thing [[192.0.2.1]]) by mx.test with ESMTP", Hop("192.0.2.1", "", "pc", "mx.test")),
        ("by mx.test (Postfix, from userid 1000) id 4ABC", None),
        ("from sara by mx.test with local (Exim 4.96) id 1hkk", None),
        ("from pop.example.org [192.0.2.1] by pc with POP3", None),
        ("from mx1.example.org by mx.test with SMTP id 4ABC", None),
        ("from pc (dsl.example.org [192.0.2.999]) by mx.test", None),
        ("from pc (dsl.example.org [192.0.2.1])", None),
        ("(qmail 27981 invoked by uid 225)", None),
        ("", None),
    ],
)  # fmt: skip
def test_shapes(value: str, hop: Hop | None) -> None:
    assert parse_received(value + DATE) == hop


@pytest.mark.parametrize(
    ("value", "need_not"),
    [
        ("(qmail 27981 invoked by uid 225)", True),
        ("by mx.test (Postfix, from userid 1000) id 4ABC", True),
        ("", True),
        ("from pc by mx.test with SMTP id 4ABC", True),
        ("from pc by mx.test", True),
        ("from pc by mx.test (Postfix) id 4ABC", True),
        ("from pc by mx.test id 4ABC", False),
        ("from pc id 4ABC", True),
        ("from pc id 4ABC by mx.test (DragonFly Mail Agent)", False),
        ("from pc (unverified) by mx.test (Clearswift) with ESMTP", True),
        ("from sara@example.org by mx.test id 4ABC", True),
        ("(from sara@localhost) by mx.test (8.12.11/Submit) id 4ABC", True),
        ("from localhost (localhost [local]) by mx.test (OpenSMTPD) with ESMTPA", True),
        ("from localhost (localhost [local]); by mx.test (OpenSMTPD) with ESMTPA", False),
        ("from mail pickup service by mx.test with Microsoft SMTPSVC", True),
        ("from sara by mx.test with local (Exim 4.96)", True),
        ("from pc (dsl.example.org [192.0.2.999]) by mx.test with SMTP", False),
        ("from pc (dsl.example.org [192.0.2.1])", False),
        ("FROM pc BY mx.test WITH local", False),
    ],
)  # fmt: skip
def test_what_gives_no_hop_need_not_or_cannot_be_read(value: str, need_not: bool) -> None:
    assert parse_received(value + DATE) is None
    assert tells_of_no_hop(value + DATE) is need_not


@pytest.mark.parametrize(
    ("ip", "is_private"),
    [
        ("10.1.2.3", True), ("172.31.0.1", True), ("172.32.0.1", False), ("192.168.0.1", True), ("127.0.0.1", True),
        ("100.64.0.1", True), ("100.128.0.1", False), ("192.0.2.1", False), ("fe80::1", True), ("::1", True), ("2001:db8::1", False),
    ],
)  # fmt: skip
def test_private(ip: str, is_private: bool) -> None:
    assert Hop(ip).is_private is is_private


@given(st.text(max_size=200) | st.text("from by()[]@:.=0123456789 HELO", max_size=200).map("from {}".format))
def test_total(value: str) -> None:
    hop = parse_received(value)
    assert isinstance(tells_of_no_hop(value), bool)
    if hop is not None:
        assert isinstance(hop.is_private, bool)
        assert not set("[]()<> ") & set(hop.helo + hop.rdns + hop.by)


@pytest.mark.parametrize(
    "unit", ["(", "[", "1.", "a ", "a@", "(a@", "by ", "[1.2.3.4] ", "(HELO ", " (a [", "id ", "helo="]
)
def test_linear(unit: str) -> None:
    value = f"from {unit * 2000} by x with SMTP"
    started = time.process_time()
    for _ in range(10):
        parse_received(value)
        tells_of_no_hop(value)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("content", "hops"),
    [
        (b"", 0),
        (b"Received: a\r\nRECEIVED: b\r\nSubject: Received: c\r\nX-Received: d\r\n\r\nReceived: e\r\n", 2),
        (b"received: a\n\tReceived: folded\nreceived: b\n\nReceived: c\n", 2),
        (b"Received: a\r\n" * 100_000, 80_660),  # no further than the first MiB
    ],
)
def test_hops_are_counted_in_the_header(content: bytes, hops: int) -> None:
    assert count_hops(content) == hops
