"""Who is let in: reverse DNS, HELO and DNS lists at RCPT, over a real nameserver; and the rows about who is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from gateway import admission
from gateway.admission import Admission, Lists
from gateway.checks.dns_list import DnsLists
from gateway.config.dns_lists import dns_lists
from gateway.config.settings import Defence, DnsList
from gateway.net.dns import CachingResolver
from gateway.policy.domains import ConfiguredDomains
from gateway.types import Client, DomainPolicy, Envelope, Outcome, Recipient, Reply
from tests.dns_server import DnsServer
from tests.memory import MemoryJournal

GOOD, NAMELESS, LYING, SILENT, LISTED, LISTED_LATER, BOTH = (f"45.83.64.{number}" for number in range(1, 8))
TRUSTED = "45.83.99.1"


def reversed_name(ip: str, zone: str) -> str:
    return f"{'.'.join(ip.split('.')[::-1])}.{zone}"


ZONES = {
    reversed_name(GOOD, "in-addr.arpa"): {"PTR": ["mx.good.example"]},
    reversed_name(LYING, "in-addr.arpa"): {"PTR": ["mx.good.example"]},
    reversed_name(SILENT, "in-addr.arpa"): "servfail",
    "mx.good.example": {"A": [GOOD]},
    **{
        reversed_name("127.0.0.2", zone): {"A": ["127.0.0.2"]} for zone in ("bad.example", "slow.example", "ok.example")
    },
    reversed_name("127.0.0.2", "broken.example"): {"A": ["127.0.0.2"]},
    reversed_name("127.0.0.1", "broken.example"): {"A": ["127.0.0.2"]},  # lists the whole world
    reversed_name(GOOD, "broken.example"): {"A": ["127.0.0.2"]},
    reversed_name(LISTED, "bad.example"): {"A": ["127.0.0.2"]},
    reversed_name(BOTH, "bad.example"): {"A": ["127.0.0.2"]},
    reversed_name(BOTH, "ok.example"): {"A": ["127.0.0.2"]},
    reversed_name(LISTED_LATER, "slow.example"): {"A": ["127.0.0.2"]},
    reversed_name(TRUSTED, "bad.example"): {"A": ["127.0.0.2"]},
}
TABLES = (
    DnsList(name="bad", zone="bad.example", at_rcpt="refuse"),
    DnsList(name="slow", zone="slow.example", at_rcpt="defer"),
    DnsList(name="broken", zone="broken.example", at_rcpt="refuse"),
    DnsList(name="ok", zone="ok.example", kind="allow"),
)


@pytest.fixture(scope="module")
def nameserver() -> Iterator[DnsServer]:
    with DnsServer(ZONES) as server:
        yield server


class Behind:
    """service.Gateway, which lets everybody in but no@darban.test."""

    def __init__(self) -> None:
        self.asked = 0

    def admit(self, client: Client, reverse_path: str) -> Reply | None:
        return Reply(450, "4.7.1", "later") if reverse_path == "much@example.org" else None

    async def screen(self, client: Client, reverse_path: str, recipient: Recipient) -> Reply | None:
        self.asked += 1
        if recipient.domain != "darban.test":
            return Reply(550, "5.7.1", "Relaying denied")
        return Reply(550, "5.1.1", "no such user") if recipient.address.startswith("no@") else None

    async def receive(self, envelope: Envelope, content: bytes) -> Outcome:
        return Outcome(envelope.queue_id, Reply(250, "2.0.0", "taken"), (), None)


def make(
    nameserver: DnsServer, tables: tuple[DnsList, ...] = (), timeout_s: float = 1.0, **defence: object
) -> Admission:
    resolver = CachingResolver([nameserver.address], timeout_s)
    specs = dns_lists(tables)
    answers = {name: one.at_rcpt or "allow" for one in specs for name in one.findings}
    return Admission(
        Behind(),
        policies=ConfiguredDomains([DomainPolicy("darban.test", "smtp://a:25")]),
        journal=MemoryJournal(),
        resolver=resolver,
        defence=Defence(**defence),  # type: ignore[arg-type]
        hostname="mx.darban.test",
        trusted=["45.83.99.0/24"],
        lists=Lists(DnsLists(specs, resolver), answers) if specs else None,
    )


async def said(one: Admission, ip: str, helo: str = "mx.good.example", to: str = "you@darban.test") -> str:
    reply = await one.screen(Client(ip, helo=helo), "sara@example.org", Recipient(to, to.rpartition("@")[2]))
    return f"{reply.code} {reply.enhanced}" if reply else ""


ALL_REFUSE = dict.fromkeys(("no_reverse_dns", "unconfirmed_reverse_dns", "helo_no_domain", "helo_ours"), "refuse")


@pytest.mark.parametrize(
    ("ip", "helo", "to", "expected"),
    [
        (GOOD, "mx.good.example", "you@darban.test", ""),
        (NAMELESS, "mx.good.example", "you@darban.test", "550 5.7.25"),
        (LYING, "mx.good.example", "you@darban.test", "550 5.7.25"),
        (SILENT, "mx.good.example", "you@darban.test", ""),  # DNS that fails refuses nobody
        (GOOD, "friend", "you@darban.test", "550 5.7.1"),
        (GOOD, "localhost", "you@darban.test", "550 5.7.1"),
        (GOOD, "45.83.64.1", "you@darban.test", "550 5.7.1"),
        (GOOD, "[45.83.64.1]", "you@darban.test", ""),  # RFC 5321 §4.1.3
        (GOOD, "MX.darban.TEST", "you@darban.test", "550 5.7.1"),
        (GOOD, "darban.test", "you@darban.test", "550 5.7.1"),
        (NAMELESS, "friend", "postmaster@darban.test", ""),
        (NAMELESS, "friend", "Abuse@darban.test", ""),
        (TRUSTED, "friend", "you@darban.test", ""),
        (NAMELESS, "mx.good.example", "you@elsewhere.example", "550 5.7.1"),
        (GOOD, "mx.good.example", "no@darban.test", "550 5.1.1"),
    ],
)
async def test_who_is_refused(nameserver: DnsServer, ip: str, helo: str, to: str, expected: str) -> None:
    assert await said(make(nameserver, **ALL_REFUSE), ip, helo, to) == expected


@pytest.mark.parametrize("ip", [NAMELESS, LYING, SILENT, LISTED])
async def test_nobody_is_refused_by_default(nameserver: DnsServer, ip: str) -> None:
    one = make(nameserver)
    assert await said(one, ip, "friend") == ""
    assert one._known == {}  # nor asked about


async def test_defer_is_4xx(nameserver: DnsServer) -> None:
    assert await said(make(nameserver, no_reverse_dns="defer"), NAMELESS) == "450 4.7.25"


@pytest.mark.parametrize(
    ("ip", "expected"),
    [(GOOD, ""), (LISTED, "554 5.7.1"), (LISTED_LATER, "450 4.7.1"), (BOTH, ""), (TRUSTED, ""), ("127.0.0.2", "")],
)
async def test_dns_lists_at_rcpt(nameserver: DnsServer, ip: str, expected: str) -> None:
    """A list that lists the whole world is off; one that allows is heard."""
    assert await said(make(nameserver, TABLES), ip) == expected


async def test_a_client_is_asked_about_once_and_before_the_next_hop(nameserver: DnsServer) -> None:
    one = make(nameserver, TABLES)
    assert await said(one, LISTED) == "554 5.7.1"
    before = len(nameserver.queries)
    heard = await asyncio.gather(*(said(one, LISTED, to=f"r{number}@darban.test") for number in range(20)))
    assert set(heard) == {"554 5.7.1"}
    assert len(nameserver.queries) == before
    assert one._service.asked == 0  # type: ignore[attr-defined]


async def test_silent_dns_refuses_nobody_and_is_waited_for_once(
    nameserver: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "WAIT_S", 0.3)
    nameserver.behaviours["*"] = "silent"
    try:
        one = make(nameserver, TABLES, timeout_s=5.0, **ALL_REFUSE)
        started = time.monotonic()
        heard = await asyncio.gather(*(said(one, LISTED, to=f"r{number}@darban.test") for number in range(10)))
        assert set(heard) == {""}
        assert time.monotonic() - started < 2
    finally:
        nameserver.behaviours.clear()


async def test_doubtful_clients(nameserver: DnsServer) -> None:
    one = make(nameserver, greeting_delay_s=1.0)
    assert [await one.is_doubtful(ip) for ip in (GOOD, NAMELESS, LYING, SILENT)] == [False, True, True, False]


async def test_refusals_are_rows(nameserver: DnsServer) -> None:
    one = make(nameserver, TABLES, no_reverse_dns="refuse")
    for to in ("no@darban.test", "you@elsewhere.example"):
        await said(one, GOOD, to=to)
    await said(one, NAMELESS)
    one.admit(Client(GOOD), "much@example.org")
    rows = one._journal.rows  # type: ignore[attr-defined]
    assert [(row.action, row.reason, row.recipient) for row in rows] == [
        ("reject", "unknown recipient", "no@darban.test"),
        ("reject", "relaying denied", "you@elsewhere.example"),
        ("reject", "reverse dns", "you@darban.test"),
        ("tempfail", "rate", ""),
    ]
    for _ in range(100):
        await said(one, GOOD, to="no@darban.test")
    assert len(rows) < 10
    one.close()
    assert rows[-1].reason.endswith("more like this: unknown recipient")


@pytest.mark.parametrize(
    "table",
    [
        DnsList(preset="surbl", at_rcpt="refuse"),
        DnsList(preset="dnswl-org", at_rcpt="refuse"),
        DnsList(name="x", zone="x.example", asked=("received",), at_rcpt="defer"),
    ],
)
def test_only_lists_of_clients_decide_at_rcpt(table: DnsList) -> None:
    from gateway.errors import ConfigError

    with pytest.raises(ConfigError, match="at_rcpt: only for a list of kind ip"):
        dns_lists([table])
