"""gateway.auth.spf: RFC 7208, and what is corrected around pyspf."""

from __future__ import annotations

import asyncio

import pytest

from gateway.auth import spf
from gateway.types import AuthResult, Client, DnsAnswer
from tests.builders import envelope
from tests.fakes import FakeResolver, Zones

PTR = "1.2.0.192.in-addr.arpa"


async def check(
    zones: Zones, sender: str = "sara@example.org", ip: str = "192.0.2.1", helo: str = "mail.example.net"
) -> AuthResult:
    return await spf.evaluate(envelope(reverse_path=sender, client=Client(ip, helo=helo)), FakeResolver(zones))


def txt(record: str | bytes, **others: dict) -> Zones:
    return {"example.org": {"TXT": [record], "A": ["192.0.2.1"], "MX": ["10 mx.example.org"]}} | {
        name.replace("__", "."): entry for name, entry in others.items()
    }


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", "pass"),
        ("V=SPF1 IP4:192.0.2.1 -ALL", "pass"),
        ("v=spf1 ip4:198.51.100.0/24 -all", "fail"),
        ("v=spf1 ip4:198.51.100.0/24 ~all", "softfail"),
        ("v=spf1 ip4:198.51.100.0/24 ?all", "neutral"),
        ("v=spf1 ip4:198.51.100.0/24", "neutral"),
        ("v=spf1", "neutral"),
        ("v=spf1  a   -all ", "pass"),
        ("v=spf1 mx -all", "fail"),
        ("v=spf1 -a +all", "fail"),
        ("v=spf1 exists:%{d} -all", "pass"),
        ("v=spf1 exists:%{ir}.%{v}._spf.%{d2} -all", "fail"),
        ("v=spf1 ip6:2001:db8::/32 -all", "fail"),
        ("v=spf1 redirect=other.example.net", "permerror"),
        ("v=spf1 include:other.example.net -all", "permerror"),
        ("v=spf1 ip4:192.0.2.1 -all moo", "permerror"),
        ("v=spf1 ip4:192.0.2 -all", "permerror"),
        ("v=spf1 a:single -all", "permerror"),
        ("v=spf1 a:%{d -all", "permerror"),
        ("v=spf1 exp=%{p -all", "permerror"),
        ("v=spf1 exp=explain.example.org -all", "fail"),
        ("v=spf10 -all", "none"),
        ("something else", "none"),
        (b"v=spf1 \xff -all", "permerror"),
        (b"\xff", "none"),
        ("v=spf1 " + "ip4:192.0.2.1 " * 2000, "permerror"),
        ("v=spf1 exists:" + "%{" * 300 + " -all", "permerror"),
    ],
)
async def test_records(record: str | bytes, result: str) -> None:
    found = await check(txt(record))
    assert (found.method, found.result, found.domain, found.identity) == ("spf", result, "example.org", "mailfrom")
    assert found.reason.isprintable() and found.reason


@pytest.mark.parametrize(
    ("zones", "result"),
    [
        ({}, "none"),
        ({"example.org": {"TXT": ["v=spf1 -all", "v=spf1 +all"]}}, "permerror"),
        ({"example.org": "servfail"}, "temperror"),
        ({"example.org": "timeout"}, "temperror"),
        ({"example.org": "refused"}, "temperror"),
        (txt("v=spf1 include:i.example -all", i__example={"TXT": ["v=spf1 ip4:192.0.2.1 -all"]}), "pass"),
        (txt("v=spf1 include:i.example ~all", i__example={"TXT": ["v=spf1 -all"]}), "softfail"),
        (txt("v=spf1 include:i.example -all", i__example={"TXT": "timeout"}), "temperror"),
        (txt("v=spf1 redirect=i.example", i__example={"TXT": ["v=spf1 -all"]}), "fail"),
        (txt("v=spf1 redirect=example.org"), "permerror"),
        (txt("v=spf1 mx -all", mx__example__org={"A": ["192.0.2.1"]}), "pass"),
        (txt("v=spf1 mx -all", mx__example__org={"A": "timeout"}), "temperror"),
        ({"example.org": {"TXT": ["v=spf1 mx -all"], "MX": [f"{n} m{n}.example" for n in range(11)]}}, "permerror"),
        (txt("v=spf1 exists:a.example exists:b.example ip4:192.0.2.1 -all"), "pass"),
        (txt("v=spf1 exists:a.example exists:b.example exists:c.example ip4:192.0.2.1 -all"), "permerror"),
        (txt("v=spf1 " + "a:e.example " * 10 + "-all", e__example={"A": ["192.0.2.9"]}), "fail"),
        (txt("v=spf1 " + "a:e.example " * 11 + "-all", e__example={"A": ["192.0.2.9"]}), "permerror"),
        (txt("v=spf1 a:%{h} -all", mail__example__net={"A": ["192.0.2.1"]}), "pass"),
        (txt("v=spf1 exists:%{l}.u.example -all", sara__u__example={"A": ["127.0.0.2"]}), "pass"),
    ],
)
async def test_zones(zones: Zones, result: str) -> None:
    assert (await check(zones)).result == result


@pytest.mark.parametrize(
    ("names", "result"),
    [
        ({"good.example.org": {"A": ["192.0.2.1"]}}, "pass"),
        ({"good.example.org": "timeout"}, "fail"),  # RFC 7208 §5.5: skipped, not temperror
        ({"bad.example.org": "timeout", "good.example.org": {"A": ["192.0.2.1"]}}, "pass"),
        ({"good.example.org": {"A": ["192.0.2.2"]}}, "fail"),
    ],
)
async def test_ptr(names: Zones, result: str) -> None:
    zones = {"example.org": {"TXT": ["v=spf1 ptr -all"]}, PTR: {"PTR": list(names)}, **names}
    assert (await check(zones)).result == result


async def test_ptr_that_cannot_be_looked_up_does_not_match() -> None:
    assert (await check({"example.org": {"TXT": ["v=spf1 ptr -all"]}, PTR: "timeout"})).result == "fail"


@pytest.mark.parametrize(
    ("sender", "helo", "identity", "domain", "result"),
    [
        ("", "mail.example.org", "helo", "mail.example.org", "pass"),
        ("", "MAIL.example.org.", "helo", "mail.example.org", "pass"),
        ("", "localhost", "helo", "localhost", "none"),
        ("", "[192.0.2.1]", "helo", "[192.0.2.1]", "none"),
        ("", "", "helo", "", "none"),
        ("", "a" * 1000, "helo", "a" * 255, "none"),
        ("x@com", "mail.example.org", "mailfrom", "com", "none"),
        ("x@mail.Example.ORG", "h", "mailfrom", "mail.example.org", "pass"),
        ("@mail.example.org", "h", "mailfrom", "mail.example.org", "pass"),
        ("a@b@mail.example.org", "h", "mailfrom", "mail.example.org", "pass"),
        ("no-domain", "mail.example.org", "mailfrom", "", "none"),
        ("x@" + "a" * 64 + ".example.org", "h", "mailfrom", "a" * 64 + ".example.org", "none"),
        ("x@a..example.org", "h", "mailfrom", "", "none"),
        ("سارا@mail.example.org", "h", "mailfrom", "mail.example.org", "pass"),
        ("\udcff\x00@mail.example.org", "h", "mailfrom", "mail.example.org", "pass"),
    ],
)
async def test_identities(sender: str, helo: str, identity: str, domain: str, result: str) -> None:
    zones = {
        "mail.example.org": {"TXT": ["v=spf1 ip4:192.0.2.1 exists:%{l}.%{h}.example -all"]},
        "com": {"TXT": ["v=spf1 +all"]},
    }
    found = await check(zones, sender=sender, helo=helo)
    assert (found.identity, found.result) == (identity, result)
    assert found.domain == domain or (not domain and not found.domain) or domain.startswith("a" * 255)


@pytest.mark.parametrize(
    ("ip", "result"),
    [
        ("2001:db8::1", "pass"),
        ("2001:db8::1%eth0", "pass"),
        ("fe80::1%eth0", "fail"),
        ("::ffff:192.0.2.1", "pass"),
        ("127.0.0.1", "fail"),
        ("", "none"),
        ("unix:/run/socket", "none"),
    ],
)
async def test_client_addresses(ip: str, result: str) -> None:
    assert (await check(txt("v=spf1 ip6:2001:db8::/32 ip4:192.0.2.1 -all"), ip=ip)).result == result


async def test_the_reason_names_the_term() -> None:
    assert (
        "by include:i.example"
        in (await check(txt("v=spf1 include:i.example -all", i__example={"TXT": ["v=spf1 +all"]}))).reason
    )


async def test_a_helo_that_is_no_name_is_no_name_in_a_macro_either() -> None:
    assert (await check(txt("v=spf1 a:%{H} -all"), helo="JOHN'S LAPTOP")).result == "fail"


async def test_a_local_part_in_utf8_never_matches_a_macro() -> None:
    zones = txt("v=spf1 exists:%{l}.u.example -all") | {"xn--mgbh0fb.u.example": {"A": ["127.0.0.2"]}}
    assert (await check(zones, sender="مثال@example.org")).result == "fail"


async def test_an_expanded_name_is_cut_on_the_left() -> None:
    local = ".".join(["label" * 4] * 15)
    zones = txt("v=spf1 exists:%{l}.u.example -all")
    resolver = FakeResolver(zones)
    await spf.evaluate(envelope(reverse_path=f"{local}@example.org"), resolver)
    name, rdtype = resolver.queries[-1]
    assert rdtype == "A" and 200 < len(name) <= 253 and name.endswith(".u.example")


async def test_each_answer_is_asked_for_once() -> None:
    zones = txt("v=spf1 include:i.example include:i2.example mx a -all")
    zones = {
        **zones,
        "i.example": {"TXT": ["v=spf1 a:i2.example -all"]},
        "i2.example": {"TXT": ["v=spf1 ~all"], "A": ["192.0.2.8"]},
    }
    resolver = FakeResolver(zones)
    found = await spf.evaluate(envelope(reverse_path="a@example.org"), resolver)
    assert found.result == "pass" and len(resolver.queries) == len(set(resolver.queries)) == 7


async def test_evaluations_side_by_side_do_not_mix() -> None:
    class Waiting(FakeResolver):
        async def query(self, name: str, rdtype: str) -> DnsAnswer:
            await asyncio.sleep(0)
            return await super().query(name, rdtype)

    zones = {f"d{number}.example": {"TXT": [f"v=spf1 include:i{number}.example -all"]} for number in range(20)} | {
        f"i{number}.example": {"TXT": [f"v=spf1 {'+' if number % 2 else '-'}all"]} for number in range(20)
    }
    resolver = Waiting(zones)
    found = await asyncio.gather(
        *(spf.evaluate(envelope(reverse_path=f"a@d{number}.example"), resolver) for number in range(20))
    )
    assert [one.result for one in found] == ["fail", "pass"] * 10
