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


# --- both identities ---------------------------------------------------------------------------------------------------

TWO: Zones = {
    "example.org": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
    "mx.example.net": {"TXT": ["v=spf1 ip4:198.51.100.1 -all"]},
    "mine.example.net": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
    "slow.example.net": "timeout",
    "local.example.net": {"TXT": ["v=spf1 exists:%{l}.%{o}.%{h}.u.example -all"]},
    "postmaster.local.example.net.local.example.net.u.example": {"A": ["127.0.0.2"]},
}


@pytest.mark.parametrize(
    ("sender", "helo", "ip", "results"),
    [
        ("a@example.org", "mine.example.net", "192.0.2.1", ["pass", "pass"]),
        ("a@example.org", "mx.example.net", "192.0.2.1", ["pass", "fail"]),
        ("a@example.org", "mx.example.net", "198.51.100.1", ["fail", "pass"]),
        ("a@example.org", "MX.example.net.", "198.51.100.1", ["fail", "pass"]),
        ("a@example.org", "slow.example.net", "192.0.2.1", ["pass", "temperror"]),
        ("a@example.org", "nobody.example.net", "192.0.2.1", ["pass", "none"]),
        ("a@example.org", "localhost", "192.0.2.1", ["pass", "none"]),
        ("a@example.org", "[192.0.2.1]", "192.0.2.1", ["pass", "none"]),
        ("a@example.org", "local.example.net", "192.0.2.1", ["pass", "pass"]),  # the local part is postmaster
        ("a@example.org", "mine.example.net", "::ffff:192.0.2.1", ["pass", "pass"]),
        ("a@example.org", "mine.example.net", "2001:db8::1", ["fail", "fail"]),
        ("", "mine.example.net", "192.0.2.1", ["pass"]),  # the main identity is HELO itself
        ("", "mx.example.net", "192.0.2.1", ["fail"]),
        ("a@example.org", "", "192.0.2.1", ["pass"]),
        ("a@example.org", "mine.example.net", "", ["none"]),
    ],
)
async def test_both_identities(sender: str, helo: str, ip: str, results: list[str]) -> None:
    where = envelope(reverse_path=sender, client=Client(ip, helo=helo))
    evaluation = spf.Evaluation(where, FakeResolver(TWO))
    found = (await evaluation.main(), *await evaluation.helo())
    for further in found[1:]:
        assert further.identity == "helo" and further.domain and further.reason
    assert [one.result for one in found] == results
    assert found[0].identity == ("mailfrom" if sender else "helo")


async def test_the_identities_share_their_answers() -> None:
    zones = {"example.org": {"TXT": ["v=spf1 a:mx.example.net -all"], "A": ["192.0.2.1"]}}
    resolver = FakeResolver(zones)
    where = envelope(reverse_path="a@example.org", client=Client("192.0.2.1", helo="example.org"))
    evaluation = spf.Evaluation(where, resolver)
    found = (await evaluation.main(), *await evaluation.helo())
    assert [one.result for one in found] == ["fail", "fail"]
    assert len(resolver.queries) == len(set(resolver.queries)) == 2


async def test_a_costly_helo_record_is_left() -> None:
    names = [f"{term}.example" for term in "abcdefghij"]
    zones: dict = {name: {"MX": [f"{n} m{n}.{name}" for n in range(10)]} for name in names}
    zones |= {f"m{n}.{name}": {"A": ["198.51.100.1"]} for n in range(10) for name in names}
    costly = {"TXT": [f"v=spf1 {' '.join(f'mx:{name}' for name in names)} -all"]}
    zones |= {"costly.example": costly, "example.org": costly}
    resolver = FakeResolver(zones)
    evaluation = spf.Evaluation(envelope(client=Client("192.0.2.1", helo="costly.example")), resolver)
    (further,) = await evaluation.helo()
    assert (further.result, len(resolver.queries) <= spf.MAX_FURTHER + 1) == ("permerror", True)
    assert (await evaluation.main()).result == "fail"  # the RFC's limits are those of the main identity


# --- explanations ------------------------------------------------------------------------------------------------------


def says(result: AuthResult) -> str:
    return result.reason.partition(' says: "')[2].removesuffix('"')


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["Not from here."], "Not from here."),
        (["%{i} is none of %{d}'s, %{s}"], "192.0.2.1 is none of example.org's, sara@example.org"),
        (["%{l}%%%_%-%{o2}%{dr}"], "sara% %20example.orgorg.example"),
        (["%{c} told %{r} %{h}"], "192.0.2.1 told mx.darban.test mail.example.net"),
        (["See http://%{d}/why?s=%{S}"], "See http://example.org/why?s=sara%40example.org"),
        (["%{p}"], "unknown"),
        (["not 100%%"], "not 100%"),
        (["%{v} %{ir} %{L}"], "in-addr 1.2.0.192 sara"),
        (["A. long. one. " * 25], ("A. long. one. " * 25)[:200]),
        (['quoted "words"'], "quoted 'words'"),
        (["line\r\nX-Evil: 1 \x1b[31m\x00"], "line??X-Evil: 1 ?[31m?"),
        (["one", "two"], ""),
        ([], ""),
        ([""], ""),
        (["unclosed %{d"], ""),
        (["%(d)"], ""),
        (["%{x}"], ""),
        (["%{d0}"], ""),
        (["100%"], ""),
        (["caf\u00e9"], ""),
        ("timeout", ""),
        ("servfail", ""),
        ("nxdomain", ""),
    ],
)
async def test_explanations(texts: list[str] | str, words: str) -> None:
    entry = texts if isinstance(texts, str) else {"TXT": texts}
    found = await check(txt("v=spf1 -all exp=why.%{d}") | {"why.example.org": entry})
    assert found.result == "fail"
    assert says(found) == words
    assert found.reason.startswith("192.0.2.1 is not permitted by example.org, by -all")
    assert found.reason.isprintable() and len(found.reason) < 400


@pytest.mark.parametrize(
    ("zones", "result", "words"),
    [
        (txt("v=spf1 +all exp=why.example.org"), "pass", ""),
        (txt("v=spf1 ~all exp=why.example.org"), "softfail", ""),
        (txt("v=spf1 -all EXP=why.example.org"), "fail", "because"),
        (txt("v=spf1 exp=why.example.org -all"), "fail", "because"),
        (txt("v=spf1 exp=%{p}.example.org -all"), "fail", ""),
        (txt("v=spf1 -all exp=why.example.org exp=why.example.org"), "permerror", ""),
        (txt("v=spf1 -all exp="), "permerror", ""),
        (txt("v=spf1 -all exp=why"), "permerror", ""),
        # RFC 7208 §6.2: redirect's target explains for itself, an include's does not
        (txt("v=spf1 redirect=i.example exp=why.example.org", i__example={"TXT": ["v=spf1 -all"]}), "fail", ""),
        (txt("v=spf1 redirect=i.example", i__example={"TXT": ["v=spf1 -all exp=why.example.org"]}), "fail", "because"),
        (txt("v=spf1 include:i.example -all", i__example={"TXT": ["v=spf1 -all exp=why.example.org"]}), "fail", ""),
        (
            txt("v=spf1 include:i.example -all exp=why.example.org", i__example={"TXT": ["v=spf1 -all exp=x.example"]}),
            "fail",
            "because",
        ),
    ],
)
async def test_who_explains_and_when(zones: Zones, result: str, words: str) -> None:
    resolver = FakeResolver(zones | {"why.example.org": {"TXT": ["because"]}})
    found = await spf.evaluate(envelope(reverse_path="sara@example.org"), resolver)
    assert (found.result, says(found)) == (result, words)
    if result != "fail":
        assert ("why.example.org", "TXT") not in resolver.queries


async def test_the_further_identity_is_not_explained() -> None:
    zones = txt("v=spf1 -all exp=why.%{d}") | {
        "why.example.org": {"TXT": ["because"]},
        "mail.example.net": {"TXT": ["v=spf1 -all exp=why.%{d}"]},
        "why.mail.example.net": {"TXT": ["never read"]},
    }
    resolver = FakeResolver(zones)
    where = envelope(reverse_path="sara@example.org", client=Client("192.0.2.1", helo="mail.example.net"))
    evaluation = spf.Evaluation(where, resolver)
    main, (further,) = await evaluation.main(), await evaluation.helo()
    assert further.result == "fail" and not says(further)
    assert says(await evaluation.explain(main)) == "because"
    assert ("why.mail.example.net", "TXT") not in resolver.queries


# --- where pyspf 2.0.14 differs from the RFC; docs/rfc.md names these -----------------------------------------------------

LABEL = "a" * 64
UNKNOWN = "v=spf1 moo=1 moo=2 ip4:192.0.2.1 -all"


def looks_up(times: int, end: str, further: str = "-all") -> Zones:
    """A record of so many terms that look up and do not match, and then these; i.example permits everyone."""
    zones = txt("v=spf1 " + "a:e.example " * times + end, e__example={"A": ["192.0.2.9"]})
    return zones | {"i.example": {"TXT": ["v=spf1 +all"]}, "i2.example": {"TXT": [f"v=spf1 {further}"]}}


@pytest.mark.parametrize(
    ("zones", "sender", "ip", "result"),
    [
        pytest.param(txt("v=spf1 +all"), f"x@{LABEL}.example.org", "192.0.2.1", "none", id="a label too long"),
        pytest.param(txt("v=spf1 +all"), f"x@{'b.' * 130}example.org", "192.0.2.1", "none", id="a name too long"),
        pytest.param(txt(f"v=spf1 exists:{LABEL}.e.example -all"), "x@example.org", "192.0.2.1", "fail", id="an expanded label too long"),
        pytest.param(txt("v=spf1 exists:%{l}.e.example -all"), "a\\9@example.org", "192.0.2.1", "fail", id="an escape in a name"),
        pytest.param(txt("v=spf1 ip6:fe80::/10 -all"), "x@example.org", "fe80::1%eth0", "pass", id="an address with a scope"),
        pytest.param({"localhost": {"TXT": ["v=spf1 +all"]}}, "x@localhost", "192.0.2.1", "none", id="a domain of one label"),
        pytest.param({"example.org": {"TXT": ["v=spf1 ptr -all"]}, PTR: {"PTR": ["a.example.org"]}, "a.example.org": "servfail"}, "x@example.org", "192.0.2.1", "fail", id="a failing look-up of a PTR name"),
        pytest.param(txt(UNKNOWN), "x@example.org", "192.0.2.1", "pass", id="an unknown modifier twice"),
        pytest.param(txt("v=spf1 REDIRECT=i.example", i__example={"TXT": ["v=spf1 +all"]}), "x@example.org", "192.0.2.1", "pass", id="a modifier in capitals"),
        pytest.param(looks_up(10, "ip4:192.0.2.1 redirect=i.example"), "x@example.org", "192.0.2.1", "pass", id="a redirect that is not followed"),
        pytest.param(looks_up(10, "redirect=i.example"), "x@example.org", "192.0.2.1", "permerror", id="a redirect as the 11th look-up"),
        pytest.param(looks_up(9, "redirect=i.example"), "x@example.org", "192.0.2.1", "pass", id="a redirect as the 10th look-up"),
        pytest.param(looks_up(0, "redirect=i2.example", "redirect=i.example"), "x@example.org", "192.0.2.1", "pass", id="a redirect of a redirect"),
        pytest.param(txt("v=spf1 exists:%{d0}.e.example +all"), "x@example.org", "192.0.2.1", "permerror", id="a macro of no labels"),
        pytest.param(txt("v=spf1 exists:%{dx}.e.example +all"), "x@example.org", "192.0.2.1", "permerror", id="an unknown transformer"),
        pytest.param(txt("v=spf1 exists:%{d!}.e.example +all"), "x@example.org", "192.0.2.1", "permerror", id="an unknown delimiter"),
        pytest.param(txt("v=spf1 exists:%{d.e.example +all"), "x@example.org", "192.0.2.1", "permerror", id="a macro that does not end"),
        pytest.param(txt("v=spf1 exists:%{iR}.e.example -all") | {"1.2.0.192.e.example": {"A": ["127.0.0.2"]}}, "x@example.org", "192.0.2.1", "pass", id="a transformer in capitals"),
    ],
)  # fmt: skip
async def test_defects_of_pyspf(zones: Zones, sender: str, ip: str, result: str) -> None:
    assert (await check(zones, sender, ip)).result == result


async def test_pyspfs_clock_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `querytime` replaces the limit of each look-up, so that one dead server took 21.9 s. Ours waits for nothing."""
    monkeypatch.setattr(spf.pyspf, "DNSLookup", lambda *_, **__: pytest.fail("pyspf asked by itself"))
    zones = {"example.org": {"TXT": ["v=spf1 a mx include:i.example -all"], "A": "timeout", "MX": "timeout"}}
    resolver = FakeResolver(zones)
    found = await spf.evaluate(envelope(reverse_path="x@example.org"), resolver)
    assert found.result == "temperror"
    assert len(resolver.queries) == 2  # the first term that cannot be looked up ends it (RFC 7208 §4.4)
