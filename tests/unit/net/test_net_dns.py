"""gateway.net.dns over a real socket on loopback."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from gateway.errors import ConfigError
from gateway.net.dns import AnswerCache, CachingResolver, OfflineResolver, canonical_name
from gateway.types import DnsAnswer
from tests.dns_server import DnsServer, Slow

ZONES = {
    "example.org": {
        "A": ["192.0.2.1", "192.0.2.2"],
        "AAAA": ["2001:db8::1"],
        "MX": ["10 MX.example.org", "0 ."],
        "TXT": [b"x" * 600, "second \u00e9"],
        "NS": ["ns.example.org"],
    },
    "www.example.org": {"CNAME": ["Example.org"]},
    "1.2.0.192.in-addr.arpa": {"PTR": ["Mail.Example.org"]},
    "_dmarc.example.org": {"TXT": ["v=DMARC1; p=none"]},
    "xn--mgbh0fb.example": {"A": ["192.0.2.9"]},
    "broken.example.org": "servfail",
    "closed.example.org": "refused",
}


async def ask(name: str, rdtype: str, server: DnsServer, **options: object) -> DnsAnswer:
    resolver = CachingResolver([server.address], **({"timeout_s": 1.0} | options))
    try:
        return await resolver.query(name, rdtype)
    finally:
        await resolver.close()


@pytest.mark.parametrize(
    ("name", "rdtype", "status", "records"),
    [
        ("example.org", "A", "noerror", ("192.0.2.1", "192.0.2.2")),
        ("EXAMPLE.org.", "AAAA", "noerror", ("2001:db8::1",)),
        ("example.org", "MX", "noerror", ("10 mx.example.org.", "0 .")),
        ("example.org", "TXT", "noerror", (b"x" * 600, "second \u00e9".encode())),
        ("example.org", "NS", "noerror", ("ns.example.org.",)),
        ("www.example.org", "A", "noerror", ("192.0.2.1", "192.0.2.2")),
        ("www.example.org", "CNAME", "noerror", ("example.org.",)),
        ("www.example.org", "PTR", "nodata", ()),
        ("1.2.0.192.in-addr.arpa", "PTR", "noerror", ("mail.example.org.",)),
        ("_dmarc.example.org", "TXT", "noerror", (b"v=DMARC1; p=none",)),
        ("مثال.example", "A", "noerror", ("192.0.2.9",)),
        ("broken.example.org", "A", "servfail", ()),
        ("closed.example.org", "A", "refused", ()),
        ("absent.example.org", "A", "nxdomain", ()),
        ("_dmarc.example.org", "A", "nodata", ()),
        ("example.org", "SRV", "invalid", ()),
        ("", "A", "invalid", ()),
        (".", "A", "invalid", ()),
        ("a..example.org", "A", "invalid", ()),
        ("a" * 64 + ".example.org", "A", "invalid", ()),
        ("a." * 130 + "org", "A", "invalid", ()),
        ("a b.example.org", "A", "invalid", ()),
        ("a\n.example.org", "A", "invalid", ()),
        ("\ud800.example.org", "A", "invalid", ()),
        ("\u200b.example.org", "A", "invalid", ()),
    ],
)
async def test_answers(name: str, rdtype: str, status: str, records: tuple[object, ...]) -> None:
    with DnsServer(ZONES) as server:
        answer = await ask(name, rdtype, server)
    assert (answer.status, set(answer.records)) == (status, set(records))


async def test_truncated_answers_are_fetched_over_tcp() -> None:
    with DnsServer(ZONES, {"example.org": "truncate"}) as server:
        answer = await ask("example.org", "A", server)
    assert answer.records == ("192.0.2.1", "192.0.2.2")
    assert [protocol for _, _, protocol in server.queries] == ["udp", "tcp"]


async def test_a_silent_server_costs_the_time_out_and_not_more() -> None:
    with DnsServer(ZONES, {"example.org": "silent"}) as server:
        started = time.monotonic()
        answer = await ask("example.org", "A", server, timeout_s=0.3)
    assert answer.status == "timeout"
    assert time.monotonic() - started < 0.6


async def test_nobody_listening_is_a_time_out() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    resolver = CachingResolver([f"127.0.0.1:{port}"], 0.3)
    assert (await resolver.query("example.org", "A")).status == "timeout"
    await resolver.close()


async def test_the_next_nameserver_is_asked_within_the_time() -> None:
    with DnsServer(ZONES, {"example.org": "silent"}) as dead, DnsServer(ZONES) as alive:
        resolver = CachingResolver([dead.address, alive.address], timeout_s=0.9)
        answer = await resolver.query("example.org", "A")
        await resolver.close()
    assert answer.status == "noerror"


async def test_answers_are_cached_for_their_ttl() -> None:
    now = 100.0
    with DnsServer(ZONES, ttl_s=1) as server:
        resolver = CachingResolver([server.address], 1.0, monotonic=lambda: now)
        first = await resolver.query("example.org", "A")
        assert await resolver.query("Example.ORG.", "A") is first
        now += 1.0
        assert await resolver.query("example.org", "A") is not first
        await resolver.close()


async def test_without_a_cache_every_question_is_asked() -> None:
    with DnsServer(ZONES) as server:
        resolver = CachingResolver([server.address], 1.0, cache=False)
        for _ in range(2):
            assert (await resolver.query("example.org", "A")).status == "noerror"
        await resolver.close()
        assert len(server.queries) == 2


@pytest.mark.parametrize("cache", [True, False])
async def test_questions_side_by_side_share_one_look_up(cache: bool) -> None:
    with DnsServer(ZONES, {"example.org": Slow(0.05)}) as server:
        resolver = CachingResolver([server.address], 1.0, cache=cache)
        impatient = asyncio.create_task(resolver.query("example.org", "A"))
        await asyncio.sleep(0)
        impatient.cancel()
        answers = await asyncio.gather(*(resolver.query("example.org", "A") for _ in range(20)))
        await resolver.close()
    assert {answer.status for answer in answers} == {"noerror"}
    assert len(server.queries) == 1


async def test_close_answers_those_who_wait() -> None:
    with DnsServer(ZONES, {"example.org": "silent"}) as server:
        resolver = CachingResolver([server.address], 5.0)
        waiting = asyncio.create_task(resolver.query("example.org", "A"))
        await asyncio.sleep(0.02)
        await resolver.close()
        assert (await asyncio.wait_for(waiting, 1.0)).status == "timeout"
        assert (await resolver.query("www.example.org", "A")).status == "noerror"
        await resolver.close()


def test_a_second_loop_opens_anew() -> None:
    with DnsServer(ZONES) as server:
        resolver = CachingResolver([server.address], 1.0)
        assert asyncio.run(resolver.query("example.org", "A")).status == "noerror"
        assert asyncio.run(resolver.query("example.org", "MX")).status == "noerror"
        asyncio.run(resolver.close())


@pytest.mark.parametrize(
    ("answer", "lifetime_s"),
    [
        (DnsAnswer("noerror", ("192.0.2.1",), 30), 30),
        (DnsAnswer("noerror", ("192.0.2.1",), 10**9), 86_400),
        (DnsAnswer("nodata", ttl_s=20), 20),
        (DnsAnswer("nxdomain"), 60),
        (DnsAnswer("servfail"), 5),
        (DnsAnswer("timeout"), 5),
        (DnsAnswer("refused"), 5),
    ],
)
def test_how_long_answers_live(answer: DnsAnswer, lifetime_s: int) -> None:
    now = 0.0
    cache = AnswerCache(10_000, lambda: now)
    cache.put(("example.org", "A"), answer)
    now = lifetime_s - 0.1
    assert cache.get(("example.org", "A")) is answer
    now = float(lifetime_s)
    assert cache.get(("example.org", "A")) is None
    assert len(cache) == 0


def test_the_cache_is_bounded_and_forgets_what_was_not_used() -> None:
    cache = AnswerCache(3_000, lambda: 0.0)
    cache.put(("kept", "A"), DnsAnswer("noerror", ("192.0.2.1",), 60))
    for number in range(100):
        cache.put((f"n{number}", "TXT"), DnsAnswer("noerror", (b"x" * 200,), 60))
        assert cache.get(("kept", "A")) is not None
    assert len(cache) < 8
    cache.put(("huge", "TXT"), DnsAnswer("noerror", (b"x" * 5_000,), 60))
    assert len(cache) == 0
    cache.put(("small", "A"), DnsAnswer("nxdomain"))
    assert len(cache) == 1


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:5353", "::1", "[::1]", "[::1]:5353"])
def test_nameservers(text: str) -> None:
    CachingResolver([text])


@pytest.mark.parametrize(
    "text", ["dns.example", "dns.example:53", "127.0.0.1:0", "127.0.0.1:99999", "[::1]:x", "", ":53"]
)
def test_odd_nameservers_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="nameservers"):
        CachingResolver([text])


@pytest.mark.parametrize(("name", "canonical"), [("A.Example.", "a.example"), ("_x.é.example", "_x.xn--9ca.example")])
def test_canonical_name(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical


async def test_offline() -> None:
    assert (await OfflineResolver().query("example.org", "A")).status == "timeout"
