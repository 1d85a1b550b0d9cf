"""gateway.net.dns over a real socket on loopback."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from gateway.errors import ConfigError
from gateway.net import dns_client
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


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        ("wrong-then-right", "noerror"),
        ("no-edns", "noerror"),
        ("authentic", "noerror"),
        ("wrong-id", "timeout"),
        ("wrong-question", "timeout"),
        ("garbage", "timeout"),
        ("truncate-only", "timeout"),
        ("lame", "servfail"),
        ("too-much", "servfail"),
    ],
)
async def test_a_nameserver_that_misbehaves(behaviour: str, status: str) -> None:
    with DnsServer(ZONES, {"example.org": behaviour}) as server:
        started = time.monotonic()
        answer = await ask("example.org", "A", server, timeout_s=0.4)
    assert answer.status == status
    assert answer.is_authentic == (behaviour == "authentic")
    assert time.monotonic() - started < 2.0


@pytest.mark.parametrize("behaviour", ["silent", "wrong-id", "garbage", "truncate-only", "lame", "servfail", "refused"])
async def test_the_next_nameserver_answers_for_one_that_does_not(behaviour: str) -> None:
    zones = {"example.org": behaviour} if behaviour in ("servfail", "refused") else ZONES
    with DnsServer(zones, {"*": behaviour}) as bad, DnsServer(ZONES) as good:
        resolver = CachingResolver([bad.address, good.address], timeout_s=1.5)
        answer = await resolver.query("example.org", "A")
        await resolver.close()
    assert answer.status == "noerror"


async def test_a_late_answer_to_an_earlier_try_counts() -> None:
    with DnsServer(ZONES, {"*": Slow(0.5)}) as late, DnsServer(ZONES, {"*": "silent"}) as dead:
        resolver = CachingResolver([late.address, dead.address], timeout_s=1.2)
        answer = await resolver.query("example.org", "A")
        await resolver.close()
    assert answer.status == "noerror"


async def test_a_silent_nameserver_is_asked_last_for_a_while() -> None:
    with DnsServer(ZONES, {"*": "silent"}) as dead, DnsServer(ZONES) as alive:
        resolver = CachingResolver([dead.address, alive.address], timeout_s=0.6)
        for number in range(8):
            assert (await resolver.query(f"n{number}.example.org", "A")).status == "nxdomain"
        await resolver.close()
    assert len(dead.queries) == 3


@pytest.mark.parametrize(
    ("name", "status", "ttl_s"), [("absent.example.org", "nxdomain", 30), ("_dmarc.example.org", "nodata", 30)]
)
async def test_no_is_kept_as_long_as_the_zone_says(name: str, status: str, ttl_s: int) -> None:
    now = 100.0
    with DnsServer(ZONES) as server:
        resolver = CachingResolver([server.address], 1.0, monotonic=lambda: now)
        for rdtype in ("A", "A", "AAAA", "AAAA"):
            answer = await resolver.query(name, rdtype)
            assert (answer.status, answer.ttl_s) == (status, ttl_s)
        assert len(server.queries) == (1 if status == "nxdomain" else 2)  # RFC 2308 §5: no name, no type
        now += 30.0
        await resolver.query(name, "A")
        assert len(server.queries) == (2 if status == "nxdomain" else 3)
        await resolver.close()


async def test_a_dangling_alias_says_nothing_of_the_other_types() -> None:
    zones = {"alias.example.org": {"CNAME": ["absent.example.org"], "TXT": ["here"]}}
    with DnsServer(zones) as server:
        resolver = CachingResolver([server.address], 1.0)
        assert (await resolver.query("alias.example.org", "A")).status == "nxdomain"
        assert (await resolver.query("alias.example.org", "TXT")).status == "noerror"
        await resolver.close()


async def test_the_breaker_opens_when_nothing_answers_and_closes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_client, "PROBE_S", 0.1)
    with DnsServer(ZONES, {"*": "silent"}) as server:
        resolver = CachingResolver([server.address], 0.15)
        for number in range(dns_client.SILENT_BEFORE_PROBE):
            assert resolver.trouble() == ""
            assert (await resolver.query(f"n{number}.example.org", "A")).status == "timeout"
        await until(lambda: resolver.trouble() != "")
        assert server.address in resolver.trouble()
        asked = len([one for one in server.queries if one[0]])
        for number in range(50):
            assert (await resolver.query(f"m{number}.example.org", "A")).status == "timeout"
        assert len([one for one in server.queries if one[0]]) == asked  # at once, without asking
        server.behaviours.clear()
        await until(lambda: resolver.trouble() == "")
        assert (await resolver.query("m1.example.org", "A")).status == "nxdomain"  # what was not asked was not kept
        await resolver.close()


async def test_whether_anything_answers_is_asked_anew() -> None:
    with DnsServer(ZONES, {"*": "silent"}) as server:
        resolver = CachingResolver([server.address], 0.2)
        assert not await resolver.is_answering()
        server.behaviours.clear()
        assert await resolver.is_answering()
        await resolver.close()


async def test_names_whose_own_servers_are_silent_do_not_open_the_breaker() -> None:
    zones = ZONES | {f"n{number}.example.org": {"A": ["192.0.2.7"]} for number in range(20)}
    with DnsServer(zones, {f"n{number}.example.org": "silent" for number in range(20)}) as server:
        resolver = CachingResolver([server.address], 0.1)
        for number in range(20):
            assert (await resolver.query(f"n{number}.example.org", "A")).status == "timeout"
            assert resolver.trouble() == ""
        assert ("", "NS", "udp") in server.queries
        assert (await resolver.query("example.org", "A")).status == "noerror"
        await resolver.close()


async def test_one_question_too_many_ends_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_client, "ACTIVE_MAX", 10)
    with DnsServer(ZONES, {f"n{number}.example.org": "silent" for number in range(30)}) as server:
        resolver = CachingResolver([server.address], 20.0)
        waiting = [asyncio.create_task(resolver.query(f"n{number}.example.org", "A")) for number in range(30)]
        await until(lambda: sum(task.done() for task in waiting) >= 20)
        assert not any(task.done() for task in waiting[21:])  # one more for the breaker's probe
        assert (await resolver.query("example.org", "A")).status == "noerror"
        await resolver.close()
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {"timeout"}


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "behaviour", ["", "truncate", "wrong-then-right", "no-edns", "silent", "garbage", "truncate-only"]
)
def test_the_loop_of_the_scorers_answers_alike(behaviour: str) -> None:
    with DnsServer(ZONES, {"example.org": behaviour}) as server:
        answer = uvloop.run(ask("example.org", "A", server, timeout_s=0.4))
        refused = uvloop.run(ask("example.org", "A", _Nobody(server), timeout_s=0.4))
    assert answer.status == ("timeout" if behaviour in ("silent", "garbage", "truncate-only") else "noerror")
    assert refused.status == "timeout"


class _Nobody:
    """Where nothing listens."""

    def __init__(self, server: DnsServer) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{taken.getsockname()[1]}"


async def test_id_and_port_of_each_question_cannot_be_guessed() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(5.0)
        resolver = CachingResolver([f"127.0.0.1:{listening.getsockname()[1]}"], 0.2)
        await asyncio.gather(*(resolver.query(f"n{number}.example.org", "A") for number in range(40)))
        await resolver.close()
        seen = [listening.recvfrom(2048) for _ in range(40)]
    assert len({packet[:2] for packet, _ in seen}) > 35  # RFC 5452 §9.2
    assert len({port for _, (_, port) in seen}) > 35


async def test_the_systems_nameservers_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    with DnsServer({}, {"*": "silent"}) as dead, DnsServer(ZONES) as alive:
        named = [("127.0.0.1", dead.port)]
        monkeypatch.setattr("gateway.net.dns.system_nameservers", lambda: named)
        resolver = CachingResolver([], 0.2, monotonic=lambda: now)
        assert (await resolver.query("example.org", "A")).status == "timeout"
        named = [("127.0.0.1", alive.port)]  # the machine has moved
        now = 31.0
        assert (await resolver.query("example.org", "A")).status == "noerror"
        await resolver.close()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nameserver 192.0.2.1\nnameserver 2001:db8::1\n", [("192.0.2.1", 53), ("2001:db8::1", 53)]),
        ("# none\nnameserver\nnameserver example.org\nsearch example.org\n", [("127.0.0.1", 53)]),
        (None, [("127.0.0.1", 53)]),
    ],
)
def test_the_systems_nameservers(tmp_path: Path, text: str | None, found: list[tuple[str, int]]) -> None:
    if text is not None:
        (tmp_path / "resolv.conf").write_text(text)
    assert dns_client.system_nameservers(tmp_path / "resolv.conf") == found


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
        (DnsAnswer("nxdomain"), 5),
        (DnsAnswer("nxdomain", ttl_s=900), 900),
        (DnsAnswer("nxdomain", ttl_s=10**6), 10_800),
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
