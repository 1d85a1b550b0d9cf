"""Invariant: whatever the records, fields and names, each evaluation gives RFC 8601 words and printable reasons."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth import arc, dkim, dmarc, iprev, spf, trust
from gateway.auth.dmarc_record import parse_record
from gateway.auth.key import Conclusion, Key, Signature, parse_key, parse_signature, without_value
from gateway.auth.organisation import is_public_suffix, organisational_domain
from gateway.auth.seal import Sealer
from gateway.mail import parse
from gateway.mail.domain import to_a_label
from gateway.types import AuthResult, Client, DnsAnswer
from tests.builders import envelope
from tests.dkim_keys import rsa_key, rsa_record

SEALER = Sealer("darban.test", "s1", rsa_key(1024))
WORDS = frozenset("none neutral pass fail softfail temperror permerror policy".split())
STATUSES = ("noerror", "noerror", "noerror", "nodata", "nxdomain", "servfail", "timeout", "refused", "invalid")
SPF_TERMS = st.one_of(
    st.sampled_from(
        "a mx ptr all -all ~all ?all +a:example.org include:example.org redirect=example.org exists:%{i}.%{d} "
        "exp=e.example.org ip4:192.0.2.0/24 ip4:1/99 ip6:2001:db8::/32 ip6::: a/33//129 mx//0 ptr:example.org "
        "exists:%{l1r-}.%{p}.%{h} exists:%{s99999999999} include:%{d exists:%{ir}.%{v}.%{o2} %{ % a: : = v=spf1".split()
    ),
    st.text(st.characters(max_codepoint=0x17F), max_size=40),
)
SPF_RECORDS = st.lists(SPF_TERMS, max_size=12).map(lambda terms: ("v=spf1 " + " ".join(terms)).encode())
TAGS = (
    b"v=1 v=DKIM1 v=DMARC1 a=rsa-sha256 d=example.org s=s1 h=from bh=AAAA b=AAAA p=none p= p=AAAA k=ed25519 t=y:s "
    b"l=1 x=1 c=/ i==40@ pct=\xff ="
).split(b" ")
TAG_LISTS = st.lists(st.one_of(st.sampled_from(TAGS), st.binary(max_size=30)), max_size=14).map(b"; ".join)
TXT = st.one_of(SPF_RECORDS, TAG_LISTS, st.binary(max_size=60), st.just(rsa_record().encode()))
NAMES = st.one_of(
    st.sampled_from(["example.org", "mx.example.org.", "", ".", "a" * 70, "é.example"]), st.text(max_size=30)
)


class RandomResolver:
    """Answers each question once and for all, whatever hypothesis draws."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self._known: dict[tuple[str, str], DnsAnswer] = {}

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        key = (name, rdtype)
        if key not in self._known:
            self._known[key] = self._draw(rdtype)
        return self._known[key]

    def _draw(self, rdtype: str) -> DnsAnswer:
        status = self._data.draw(st.sampled_from(STATUSES))
        if status != "noerror":
            return DnsAnswer(status)
        kind = {
            "TXT": TXT,
            "A": st.sampled_from(["192.0.2.1", "198.51.100.1"]),
            "AAAA": st.sampled_from(["2001:db8::1", "::1"]),
            "MX": st.tuples(st.integers(0, 65_535), NAMES).map(lambda pair: f"{pair[0]} {pair[1]}."),
        }.get(rdtype, NAMES)
        return DnsAnswer("noerror", tuple(self._data.draw(st.lists(kind, min_size=1, max_size=12))))


def sound(result: AuthResult) -> None:
    assert result.result in WORDS
    assert result.reason.isprintable(), result.reason
    assert result.reason


@given(
    st.data(),
    st.one_of(st.just("sara@example.org"), st.text(max_size=40), st.just("")),
    st.one_of(st.just("mail.example.net"), st.text(max_size=40)),
    st.sampled_from(["192.0.2.1", "2001:db8::1", "fe80::1%eth0", "", "x", "::ffff:1.2.3.4"]),
)
def test_spf_and_iprev(data: st.DataObject, reverse_path: str, helo: str, address: str) -> None:
    resolver = RandomResolver(data)
    where = envelope(reverse_path=reverse_path, client=Client(address, helo=helo))
    sound(asyncio.run(spf.evaluate(where, resolver)))
    for further in asyncio.run(spf.Evaluation(where, resolver).helo()):
        sound(further)
    sound(asyncio.run(iprev.evaluate(where, resolver)))


@given(SPF_RECORDS)
def test_spf_records(record: bytes) -> None:
    class OneRecord:
        async def query(self, name: str, rdtype: str) -> DnsAnswer:
            return (
                DnsAnswer("noerror", (record,))
                if rdtype == "TXT"
                else DnsAnswer("noerror", ("192.0.2.9",) if rdtype == "A" else ())
            )

    sound(asyncio.run(spf.evaluate(envelope(), OneRecord())))


@given(
    st.data(), st.lists(st.one_of(TAG_LISTS, st.binary(max_size=80)), min_size=1, max_size=7), st.binary(max_size=80)
)
def test_dkim_and_dmarc(data: st.DataObject, signatures: list[bytes], rest: bytes) -> None:
    content = b"".join(b"DKIM-Signature: " + one.replace(b"\n", b" ") + b"\r\n" for one in signatures)
    message = parse(content + b"From: a@example.org\r\n" + rest)
    resolver = RandomResolver(data)
    results = asyncio.run(dkim.evaluate(message, resolver))
    sender = AuthResult("spf", "pass", data.draw(NAMES))
    sender, results, policy = asyncio.run(dmarc.evaluate(message, sender, results, resolver))
    for one in (*results, policy):
        sound(one)
        assert not one.is_aligned or one.result == "pass"


@given(st.one_of(TAG_LISTS, st.binary(max_size=200)))
def test_tag_lists(content: bytes) -> None:
    assert isinstance(parse_signature(b"DKIM-Signature:" + content), Signature | Conclusion)
    assert isinstance(parse_key(content), Key | Conclusion)
    assert without_value(content) == without_value(without_value(content))
    record = parse_record(content)
    assert record is None or {record.policy, record.nonexistent_policy} <= {"", *dmarc.POLICIES}


@given(NAMES)
def test_organisations(domain: str) -> None:
    domain = to_a_label(domain)
    assert domain.endswith(organisational_domain(domain))
    assert isinstance(is_public_suffix(domain), bool)


LONG = [
    b"v=spf1 " + b"ip4:198.51.100.1 " * 950,
    b"v=spf1 " + b"exists:%{" * 1500,
    b"v=spf1 " + (b"a:" + b"%{" * 250 + b" ") * 30,
    b"v=spf1 " + (b"exists:" + b"a." * 250 + b" ") * 30,
    b"v=spf1 " + (b"x=" + b"%{d}" * 125 + b" ") * 30,
    b"v=spf1 " + b" " * 60_000,
    b"v=DMARC1; " + b"p=none;" * 9000,
    b"v=DKIM1; " + b"p=A" * 20_000,
    b"v=DKIM1;" * 8000,
    b"=" * 60_000,
]


@pytest.mark.parametrize("record", LONG, ids=range(len(LONG)))
async def test_long_records_take_little_time(record: bytes) -> None:
    class OneRecord:
        async def query(self, name: str, rdtype: str) -> DnsAnswer:
            if rdtype == "TXT":
                return DnsAnswer("noerror", (record,))
            return DnsAnswer(
                "noerror", tuple(f"10 m{number}.example." for number in range(10)) if rdtype == "MX" else ()
            )

    content = b"DKIM-Signature: " + record + b"\r\nFrom: a@example.org\r\n\r\n"
    started = time.process_time()
    sound(await spf.evaluate(envelope(), OneRecord()))
    for result in await dkim.evaluate(parse(content), OneRecord()):
        sound(result)
    parse_key(record)
    sound((await dmarc.evaluate(parse(content), AuthResult("spf", "none"), (), OneRecord()))[2])
    assert time.process_time() - started < 1.0


ARC_FIELDS = st.sampled_from([b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results", b"Arc-Seal "])
ARC_TAGS = st.lists(
    st.one_of(
        st.sampled_from(b"i=1|i=2|i=1; x; none|cv=none|cv=pass|cv=fail|h=|h=from|c=relaxed/relaxed".split(b"|")),
        st.sampled_from(TAGS),
        st.binary(max_size=20),
    ),
    max_size=12,
).map(b"; ".join)


@given(st.data(), st.lists(st.tuples(ARC_FIELDS, ARC_TAGS), min_size=1, max_size=9), st.binary(max_size=80))
def test_arc(data: st.DataObject, fields: list[tuple[bytes, bytes]], rest: bytes) -> None:
    """Any fields give a chain that says why; sealing adds whole fields on top or nothing, and never raises."""
    head = b"".join(name + b": " + value.replace(b"\n", b" ").replace(b"\r", b" ") + b"\r\n" for name, value in fields)
    content = head + b"From: a@example.org\r\n" + rest
    chain = asyncio.run(arc.evaluate(parse(content), "192.0.2.1", RandomResolver(data)))
    sound(chain.result)
    assert bool(chain.sealers) is (chain.result.result == "pass")
    dmarc_result, sealed = trust.apply(AuthResult("dmarc", "fail", "example.org"), chain, {"example.org"})
    assert dmarc_result.result == "fail"
    assert sealed.result == chain.result.result
    once = SEALER.seal(content, "mx.darban.test; none", chain.result.result)
    assert once.endswith(content)
    assert SEALER.seal(content, "mx.darban.test; none", "pass").endswith(content)
