"""gateway.auth.dmarc: RFC 7489."""

from __future__ import annotations

from collections import Counter

import pytest

from gateway.auth import dmarc
from gateway.auth.dmarc import Record
from gateway.mail import parse
from gateway.types import AuthResult
from tests.builders import message_bytes
from tests.fakes import FakeResolver, Zones

NO_SPF = AuthResult("spf", "none")


def spf(result: str = "pass", domain: str = "example.org") -> AuthResult:
    return AuthResult("spf", result, domain, identity="mailfrom")


def dkim(result: str = "pass", domain: str = "example.org") -> AuthResult:
    return AuthResult("dkim", result, domain, selector="s1")


def zones(record: str | bytes, domain: str = "example.org") -> Zones:
    return {f"_dmarc.{domain}": {"TXT": [record]}}


async def check(
    table: Zones, *results: AuthResult, author: str = "sara@example.org"
) -> tuple[AuthResult, tuple[AuthResult, ...], AuthResult]:
    sender = next((one for one in results if one.method == "spf"), NO_SPF)
    signatures = [one for one in results if one.method == "dkim"]
    return await dmarc.evaluate(parse(message_bytes(From=author)), sender, signatures, FakeResolver(table))


@pytest.mark.parametrize(
    ("record", "results", "result"),
    [
        ("v=DMARC1; p=reject", [], "fail"),
        ("v=DMARC1; p=reject", [spf()], "pass"),
        ("v=DMARC1; p=reject", [dkim()], "pass"),
        ("v=DMARC1; p=reject", [spf(domain="bounce.example.org")], "pass"),
        ("v=DMARC1; p=reject; aspf=s", [spf(domain="bounce.example.org")], "fail"),
        ("v=DMARC1; p=reject; aspf=s", [spf()], "pass"),
        ("v=DMARC1; p=reject; aspf=s", [dkim(domain="news.example.org")], "pass"),
        ("v=DMARC1; p=reject; adkim=s", [dkim(domain="news.example.org")], "fail"),
        ("v=DMARC1; p=reject", [spf(domain="example.net"), dkim(domain="example.com")], "fail"),
        ("v=DMARC1; p=reject", [dkim(domain="example.com"), dkim()], "pass"),
        ("v=DMARC1; p=reject", [dkim("policy")], "fail"),
        ("v=DMARC1; p=reject", [dkim("fail"), spf("softfail")], "fail"),
        ("v=DMARC1; p=reject", [dkim("temperror")], "temperror"),
        ("v=DMARC1; p=reject", [spf("temperror"), dkim()], "pass"),
        ("v=DMARC1; p=reject", [spf("temperror", "example.net")], "fail"),
        ("v=DMARC1; p=reject", [dkim(domain="org")], "fail"),
        ("v=DMARC1; p=reject", [dkim(domain="notexample.org")], "fail"),
        ("v=DMARC2; p=reject", [spf()], "none"),
    ],
)
async def test_results(record: str, results: list[AuthResult], result: str) -> None:
    sender, signatures, found = await check(zones(record), *results)
    assert (found.method, found.result, found.domain) == ("dmarc", result, "example.org")
    assert found.reason
    assert any(one.is_aligned for one in (sender, *signatures)) is (
        any(r.result == "pass" and r.domain == "example.org" for r in results) or result == "pass"
    )


async def test_alignment_is_said_without_a_policy_too() -> None:
    sender, (signature, other), found = await check({}, spf(domain="x.example.org"), dkim(), dkim(domain="example.net"))
    assert found.result == "none"
    assert (sender.is_aligned, signature.is_aligned, other.is_aligned) == (True, True, False)


@pytest.mark.parametrize(
    ("table", "author", "result", "policy"),
    [
        (zones("v=DMARC1; p=reject; sp=none"), "a@example.org", "fail", "reject"),
        (zones("v=DMARC1; p=reject; sp=none"), "a@sub.example.org", "fail", "none"),
        (zones("v=DMARC1; p=quarantine"), "a@sub.sub.example.org", "fail", "quarantine"),
        (zones("v=DMARC1; p=none", "sub.example.org"), "a@sub.example.org", "fail", "none"),
        (zones("v=DMARC1; p=reject; pct=0"), "a@example.org", "fail", "quarantine"),
        (zones("v=DMARC1; p=none; pct=0"), "a@example.org", "fail", "none"),
        (zones("v=DMARC1; rua=mailto:d@example.org"), "a@example.org", "fail", "none"),
        (zones("v=DMARC1; p=odd; rua=mailto:d@example.org"), "a@example.org", "fail", "none"),
        (zones("v=DMARC1; p=odd"), "a@example.org", "none", ""),
        (zones("v=DMARC1"), "a@example.org", "none", ""),
        (zones("p=reject; v=DMARC1"), "a@example.org", "none", ""),
        (zones(b"v=DMARC1; p=reject; x=\xff"), "a@example.org", "fail", "reject"),
        ({"_dmarc.example.org": {"TXT": ["v=DMARC1; p=reject", "v=DMARC1; p=none"]}}, "a@example.org", "none", ""),
        ({"_dmarc.example.org": {"TXT": ["v=spf1 -all", "v=DMARC1; p=reject"]}}, "a@example.org", "fail", "reject"),
        ({}, "a@example.org", "none", ""),
        ({"_dmarc.example.org": "timeout"}, "a@example.org", "temperror", ""),
        ({"_dmarc.sub.example.org": "servfail"}, "a@sub.example.org", "temperror", ""),
        ({"_dmarc.example.org": "servfail"}, "a@sub.example.org", "temperror", ""),
        (zones("v=DMARC1; p=reject", "xn--mnchen-3ya.example"), "a@münchen.example", "fail", "reject"),
        (zones("v=DMARC1; p=reject"), "a@b-c.d." + "x" * 60 + ".example.org", "fail", "reject"),
    ],
)
async def test_discovery(table: Zones, author: str, result: str, policy: str) -> None:
    _, _, found = await check(table, author=author)
    assert (found.result, found.policy) == (result, policy)


@pytest.mark.parametrize(
    "author", ["", "nobody", "<>", "a@localhost", "a@[192.0.2.1]", "a@example.org, b@example.net", "undisclosed:;"]
)
async def test_without_one_author_domain_nothing_passes(author: str) -> None:
    _, _, found = await check(zones("v=DMARC1; p=reject"), spf(), dkim(), author=author)
    assert (found.result, found.domain) == ("permerror", "")


@pytest.mark.parametrize(
    "author",
    [
        "<a@bank.example> <a@example.org>",
        "a@bank.example@example.org",
        "<a@bank.example@example.org>",
        "a@bank.example\0@example.org",
        "a\\@bank.example@example.org",
        "a@bank.example(a@example.org",
        "=?utf-8?q?a=40bank.example?=@example.org",
        '"' + "a, " * 1000 + '" <a@example.org>',
    ],
)
async def test_an_author_that_readers_disagree_about_never_passes(author: str) -> None:
    content = b"From: " + author.encode() + b"\r\nTo: you@darban.test\r\n\r\na\r\n"
    _, _, found = await dmarc.evaluate(parse(content), spf(), [dkim()], FakeResolver(zones("v=DMARC1; p=none")))
    assert (found.result, found.domain) == ("permerror", "")


@pytest.mark.parametrize(
    "author",
    [
        '"<a@bank.example>" <a@example.org>',
        "a@bank.example <a@example.org>",
        "سارا <سارا@example.org>",
        "Team: a@example.org, B <b@example.org>;",
        "Sara (at home) <a@example.org>",
        "a@example.org.",
    ],
)
async def test_odd_authors_of_one_reading_pass(author: str) -> None:
    content = b"From: " + author.encode() + b"\r\nTo: you@darban.test\r\n\r\na\r\n"
    _, _, found = await dmarc.evaluate(parse(content), spf(), [dkim()], FakeResolver(zones("v=DMARC1; p=none")))
    assert (found.result, found.domain) == ("pass", "example.org")


async def test_two_from_fields_never_pass() -> None:
    content = b"From: a@example.org\r\n" + message_bytes(From="a@example.org")
    _, _, found = await dmarc.evaluate(parse(content), spf(), [dkim()], FakeResolver(zones("v=DMARC1; p=reject")))
    assert found.result == "permerror"


async def test_two_authors_of_one_domain() -> None:
    _, _, found = await check(zones("v=DMARC1; p=reject"), spf(), author="a@example.org, b@example.org")
    assert found.result == "pass"


async def test_pct_spares_its_part() -> None:
    resolver = FakeResolver(zones("v=DMARC1; p=reject; pct=30"))
    messages = [parse(message_bytes(f"{number}\r\n")) for number in range(300)]
    found = Counter([(await dmarc.evaluate(message, NO_SPF, [], resolver))[2].policy for message in messages])
    assert 60 < found["reject"] < 120
    assert found["reject"] + found["quarantine"] == 300


@pytest.mark.parametrize(
    ("content", "record"),
    [
        (b"v=DMARC1;p=none", Record("none", "none", 100, False, False)),
        (b" v = DMARC1 ; P = Reject ; SP=None; adkim=S; aspf=r; pct=7", Record("reject", "none", 7, True, False)),
        (b"v=DMARC1; p=reject; p=none", Record("reject", "reject", 100, False, False)),
        (b"v=DMARC1; p=reject; pct=x; adkim=; ;;=;", Record("reject", "reject", 100, False, False)),
        (b"v=DMARC1; p=reject; pct=1000", Record("reject", "reject", 100, False, False)),
        (b"v=DMARC1; p=reject; sp=odd", None),
        (b"v=DMARC1; p=reject; sp=odd; rua=mailto:x@example.org", Record("none", "none", 100, False, False)),
        (b"v=DMARC1; p=", None),
        (b"", None),
    ],
)
def test_parse_record(content: bytes, record: Record | None) -> None:
    assert dmarc.parse_record(content) == record
