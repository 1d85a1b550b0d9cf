"""gateway.auth.dmarc: RFC 9989, and RFC 7489's mode."""

from __future__ import annotations

from collections import Counter

import pytest

from gateway.auth import dmarc
from gateway.auth.dmarc import Discovery
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
    table: Zones, *results: AuthResult, author: str = "sara@example.org", discovery: Discovery = "tree_walk"
) -> tuple[AuthResult, tuple[AuthResult, ...], AuthResult]:
    sender = next((one for one in results if one.method == "spf"), NO_SPF)
    signatures = [one for one in results if one.method == "dkim"]
    message = parse(message_bytes(From=author))
    return await dmarc.evaluate(message, sender, signatures, FakeResolver(table), discovery)


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
        (zones("v=DMARC1; p=reject; pct=0"), "a@example.org", "fail", "reject"),
        (zones("v=DMARC1; p=reject; sp=quarantine; np=none"), "a@example.org", "fail", "reject"),
        (zones("v=DMARC1; rua=mailto:d@example.org"), "a@example.org", "fail", "none"),
        (zones("v=DMARC1; p=odd; rua=mailto:d@example.org"), "a@example.org", "fail", "none"),
        (zones("v=DMARC1; p=odd"), "a@example.org", "permerror", ""),
        (zones("v=DMARC1; p=reject; np=odd"), "a@sub.example.org", "permerror", ""),
        (zones("v=DMARC1"), "a@example.org", "permerror", ""),
        (zones("p=reject; v=DMARC1"), "a@example.org", "none", ""),
        (zones(b"v=DMARC1; p=reject; x=\xff"), "a@example.org", "fail", "reject"),
        ({"_dmarc.example.org": {"TXT": ["v=DMARC1; p=reject", "v=DMARC1; p=none"]}}, "a@example.org", "none", ""),
        ({"_dmarc.example.org": {"TXT": ["v=spf1 -all", "v=DMARC1; p=reject"]}}, "a@example.org", "fail", "reject"),
        ({}, "a@example.org", "none", ""),
        ({"_dmarc.example.org": "timeout"}, "a@example.org", "temperror", ""),
        ({"_dmarc.sub.example.org": "servfail"}, "a@sub.example.org", "temperror", ""),
        ({"_dmarc.example.org": "servfail"}, "a@sub.example.org", "temperror", ""),
        ({"_dmarc.org": "servfail"}, "a@sub.example.org", "temperror", ""),
        (zones("v=DMARC1; p=reject") | {"_dmarc.org": "servfail"}, "a@sub.example.org", "fail", "reject"),
        (zones("v=DMARC1; p=reject; psd=y", "org"), "a@example.org", "fail", "reject"),
        (zones("v=DMARC1; p=none; sp=quarantine; np=reject; psd=y", "org"), "a@example.org", "fail", "reject"),
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
        "b@example.org <a@example.org>",
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


EXISTS: Zones = {"here.example.org": {"A": ["192.0.2.1"]}, "a.empty.example.org": {"A": ["192.0.2.1"]}}


@pytest.mark.parametrize(
    ("author", "record", "policy"),
    [
        ("a@here.example.org", "v=DMARC1; p=none; sp=quarantine; np=reject", "quarantine"),
        ("a@gone.example.org", "v=DMARC1; p=none; sp=quarantine; np=reject", "reject"),
        ("a@empty.example.org", "v=DMARC1; p=none; sp=quarantine; np=reject", "quarantine"),  # NOERROR: it exists
        ("a@a.gone.example.org", "v=DMARC1; p=none; sp=quarantine; np=reject", "reject"),
        ("a@gone.example.org", "v=DMARC1; p=none; sp=quarantine", "quarantine"),
        ("a@gone.example.org", "v=DMARC1; p=none; np=reject", "reject"),
        ("a@here.example.org", "v=DMARC1; p=none; np=reject", "none"),
        ("a@gone.example.org", "v=DMARC1; p=reject; np=none", "none"),
        ("a@silent.example.org", "v=DMARC1; p=none; np=reject", "none"),
        ("a@silent.example.org", "v=DMARC1; p=reject; np=none", "none"),
        ("a@example.org", "v=DMARC1; p=none; np=reject", "none"),
    ],
)
@pytest.mark.parametrize("discovery", ["tree_walk", "public_suffix_list"])
async def test_subdomains_that_do_not_exist(author: str, record: str, policy: str, discovery: Discovery) -> None:
    table = zones(record) | EXISTS | {"silent.example.org": "timeout"}
    _, _, found = await check(table, author=author, discovery=discovery)
    assert (found.result, found.policy) == ("fail", policy)


async def test_existence_is_asked_only_where_it_matters() -> None:
    for record in ("v=DMARC1; p=reject", "v=DMARC1; p=reject; sp=none; np=none"):
        resolver = FakeResolver(zones(record))
        await dmarc.evaluate(parse(message_bytes(From="a@x.example.org")), NO_SPF, [], resolver)
        assert ("x.example.org", "TXT") not in resolver.queries


@pytest.mark.parametrize(
    ("record", "results", "author", "policy", "override"),
    [
        ("v=DMARC1; p=reject; t=y", [], "a@example.org", "quarantine", "policy_test_mode"),
        ("v=DMARC1; p=quarantine; t=y", [], "a@example.org", "none", "policy_test_mode"),
        ("v=DMARC1; p=none; t=y", [], "a@example.org", "none", ""),
        ("v=DMARC1; p=none; sp=reject; t=y", [], "a@x.example.org", "quarantine", "policy_test_mode"),
        ("v=DMARC1; p=none; np=reject; t=y", [], "a@x.example.org", "quarantine", "policy_test_mode"),
        ("v=DMARC1; p=reject; t=n", [], "a@example.org", "reject", ""),
        ("v=DMARC1; p=reject; t=y", [dkim()], "a@example.org", "quarantine", ""),  # nothing to override
    ],
)
async def test_test_mode(record: str, results: list[AuthResult], author: str, policy: str, override: str) -> None:
    _, _, found = await check(zones(record), *results, author=author)
    assert (found.policy, found.override) == (policy, override)


BANKS = zones("v=DMARC1; p=reject; psd=y", "bank.example") | zones("v=DMARC1; p=reject", "giant.bank.example")
DEEP = "a.b.c.d.e.f.g.h.i.j.k.example.com"
TWO = zones("v=DMARC1; p=reject", "example.com") | zones("v=DMARC1; p=none", "signing.example.com")


@pytest.mark.parametrize(
    ("table", "author", "sender", "signer", "aligned"),
    [
        # B.1, with a record at example.com
        (TWO, "example.com", "example.com", "example.com", (True, True)),
        (TWO, "example.com", "child.example.com", "example.net", (True, False)),
        (TWO, "child.example.com", "example.net", "example.com", (False, True)),
        # B.4.1, B.4.2, B.4.3
        (TWO, "example.com", "example.com", "signing.example.com", (True, True)),
        (TWO, DEEP, "example.com", "signing.example.com", (True, True)),
        (BANKS, "giant.bank.example", "mail.giant.bank.example", "mail.mega.bank.example", (True, False)),
        # §4.4's table
        (TWO, "news.example.com", "foo.example.com", "foo.example.net", (True, False)),
        # an organisation of its own inside another
        (
            zones("v=DMARC1; p=none") | zones("v=DMARC1; p=none; psd=n", "dept.example.org"),
            "example.org",
            "dept.example.org",
            "x.dept.example.org",
            (False, False),
        ),
        (
            zones("v=DMARC1; p=none") | zones("v=DMARC1; p=none; psd=n", "dept.example.org"),
            "a.dept.example.org",
            "example.org",
            "x.dept.example.org",
            (False, True),
        ),
        # strangers under a suffix that does not say psd=y
        (zones("v=DMARC1; p=none", "co.uk"), "bank.co.uk", "evil.co.uk", "bank.co.uk", (False, True)),
        (zones("v=DMARC1; p=none", "com"), "bank.com", "evil.com", "com", (False, False)),
        # names that only look alike
        (TWO, "example.com", "notexample.com", "example.com.evil.com", (False, False)),
    ],
)
async def test_alignment_by_the_tree_walk(
    table: Zones, author: str, sender: str, signer: str, aligned: tuple[bool, bool]
) -> None:
    spf_result, (signature,), found = await check(table, spf(domain=sender), dkim(domain=signer), author=f"a@{author}")
    assert (spf_result.is_aligned, signature.is_aligned) == aligned
    assert found.result == ("pass" if any(aligned) else "fail")


async def test_the_modes_differ_where_the_list_and_the_records_do() -> None:
    table = zones("v=DMARC1; p=reject", "example.org") | zones("v=DMARC1; p=none; psd=n", "dept.example.org")
    for discovery, result in (("tree_walk", "fail"), ("public_suffix_list", "pass")):
        _, _, found = await check(table, dkim(domain="example.org"), author="a@dept.example.org", discovery=discovery)  # type: ignore[arg-type]
        assert found.result == result


@pytest.mark.parametrize(
    ("table", "results", "result"),
    [
        ({"_dmarc.mail.example.org": "timeout"}, [dkim(domain="mail.example.org")], "temperror"),
        ({"_dmarc.mail.example.org": "timeout"}, [dkim(domain="mail.example.org"), dkim()], "pass"),
        ({"_dmarc.esp.org": "timeout"}, [dkim(domain="esp.org")], "fail"),  # cannot belong to example.org
        ({"_dmarc.org": "timeout"}, [dkim(domain="mail.example.org")], "pass"),
        ({}, [spf("temperror", "mail.example.org")], "temperror"),
        ({}, [spf("temperror", "esp.org")], "fail"),
    ],
)
async def test_an_organisation_that_cannot_be_looked_up(table: Zones, results: list[AuthResult], result: str) -> None:
    _, _, found = await check(zones("v=DMARC1; p=reject") | table, *results)
    assert found.result == result


async def test_when_the_authors_organisation_is_not_known_strangers_still_fail() -> None:
    table = zones("v=DMARC1; p=reject", "mail.example.org") | {"_dmarc.example.org": "timeout"}
    _, _, found = await check(table, dkim(domain="esp.org"), author="a@mail.example.org")
    assert found.result == "fail"
    _, _, found = await check(table, dkim(domain="example.org"), author="a@mail.example.org")
    assert found.result == "temperror"


async def test_a_plain_message_costs_one_look_up() -> None:
    resolver = FakeResolver(zones("v=DMARC1; p=reject"))
    _, _, found = await dmarc.evaluate(parse(message_bytes()), spf(), [dkim(), dkim(domain="esp.net")], resolver)
    assert found.result == "pass"
    assert resolver.queries == [("_dmarc.example.org", "TXT")]


async def test_look_ups_are_bounded() -> None:
    resolver = FakeResolver(zones("v=DMARC1; p=reject"))
    deep = [dkim(domain=f"a.b.c.d.e.f.g.h.{number}.example.org") for number in range(50)]
    await dmarc.evaluate(
        parse(message_bytes(From=f"a@{'x.' * 60}example.org")), spf(domain="example.org"), deep, resolver
    )
    assert len(resolver.queries) <= 8 + 8 * dmarc.MAX_DOMAINS
    assert len(set(resolver.queries)) == len(resolver.queries)


async def test_the_result_names_the_policy_that_applies() -> None:
    record = "v=DMARC1; p=reject; rua=mailto:d@example.org"
    _, _, found = await check(zones(record), author="a@x.example.org")
    assert (found.policy_domain, found.policy_record) == ("example.org", f"treewalk {record}")
    _, _, found = await check(zones(record), author="a@x.example.org", discovery="public_suffix_list")
    assert (found.policy_domain, found.policy_record) == ("example.org", f"psl {record}")
    _, _, found = await check({})
    assert (found.policy_domain, found.policy_record) == ("", "")


async def test_pct_spares_its_part_in_the_old_mode() -> None:
    resolver = FakeResolver(zones("v=DMARC1; p=reject; pct=30"))
    messages = [parse(message_bytes(f"{number}\r\n")) for number in range(300)]
    results = [(await dmarc.evaluate(one, NO_SPF, [], resolver, "public_suffix_list"))[2] for one in messages]
    found = Counter([one.policy for one in results])
    assert 60 < found["reject"] < 120
    assert found["reject"] + found["quarantine"] == 300
    assert {one.override for one in results if one.policy == "quarantine"} == {"other"}
    assert {(await dmarc.evaluate(one, NO_SPF, [], resolver))[2].policy for one in messages} == {"reject"}
    resolver = FakeResolver(zones("v=DMARC1; p=none; pct=0"))
    _, _, spared = await dmarc.evaluate(messages[0], NO_SPF, [], resolver, "public_suffix_list")
    assert (spared.policy, spared.override) == ("none", "")
