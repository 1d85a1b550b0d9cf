"""checks/dns_list.py: what is asked, what an answer means, and lists that are dead, blocked or say yes to everything."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Iterable
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.checks.dns_list import (
    BELIEVED_S,
    LINKS_MAX,
    SILENT_MESSAGES,
    TEST_EVERY_S,
    TEST_OFF_S,
    DnsLists,
    read_answer,
)
from gateway.config.dns_lists import DnsListSpec, dns_lists
from gateway.config.settings import DnsList
from gateway.net.dns import CachingResolver, canonical_name
from gateway.types import Client, DnsAnswer, DnsStatus, Finding, MailObject, Missing
from tests.builders import mail, message_bytes
from tests.dns_server import DnsServer, Slow
from tests.fakes import FakeResolver, Zones

LISTED, CLEAN = "203.0.114.7", "203.0.114.8"
TABLE = {"name": "my", "zone": "bl.example", "returns": {"127.0.0.2": "SPAM", "127.0.0.4-7": "BOT"}}
GOOD: Zones = {"2.0.0.127.bl.example": {"A": ["127.0.0.2"]}, "7.114.0.203.bl.example": {"A": ["127.0.0.5"]}}
FOUND = Finding("DNSBL_MY_BOT", (f"the client {LISTED} is on my (127.0.0.5)",))


def specs(*tables: dict) -> tuple[DnsListSpec, ...]:
    return dns_lists([DnsList.model_validate(table) for table in tables])


def came_from(ip: str, content: bytes = b"", **changes: object) -> MailObject:
    return mail(content or message_bytes(), client=Client(ip, helo="mx.sender.org"), **changes)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Asked:
    """A check over zones that may change."""

    def __init__(self, zones: Zones, *tables: dict) -> None:
        self.resolver = FakeResolver(zones)
        self.clock = Clock()
        self.lists = DnsLists(specs(*(tables or (TABLE,))), self.resolver, ("own.org",), self.clock)

    async def __call__(self, ip: str = LISTED, **changes: object) -> list[Finding | Missing]:
        return list(await self.lists.check(came_from(ip, **changes), self.resolver))

    async def later(self, seconds: float) -> None:
        """Time passes, and what is due in the background is done."""
        self.clock.now += seconds
        await self(CLEAN)
        for _ in range(20):
            await asyncio.sleep(0)


async def test_a_listing_names_list_label_and_code() -> None:
    asked = Asked(GOOD)
    assert await asked() == [FOUND]
    assert await asked(CLEAN) == []
    assert asked.lists.states() == {"my": ""}
    assert asked.lists.findings == ("DNSBL_MY_SPAM", "DNSBL_MY_BOT")


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (["127.255.255.254"], "asked through a public resolver"),
        (["127.255.255.252"], "the zone's name is wrong"),
        (["127.255.255.255"], "asked too often"),
        (["127.255.255.1"], "an error of the list"),
        (["127.0.0.1"], "it refuses (127.0.0.1)"),
        (["198.51.100.7"], "somebody answers for names that are not there"),
        (["127.0.0.2", "127.0.0.1"], "it refuses"),
        (["127.0.0.2", "10.0.0.1"], "no list's answer"),
        (["127.0.0.99"], "it refuses (127.0.0.99)"),
    ],
)
async def test_what_is_never_a_listing_switches_the_list_off(records: list[str], why: str) -> None:
    asked = Asked(GOOD | {"7.114.0.203.bl.example": {"A": records}}, TABLE | {"refusals": ["127.0.0.99"]})
    (missing,) = await asked()
    assert isinstance(missing, Missing)
    assert missing.what.startswith("dns list my: switched off: ")  # "dns": policy does not raise the action for it
    assert why in missing.what
    assert why in asked.lists.states()["my"]
    queries = len(asked.resolver.queries)
    assert await asked() == [missing]
    assert len(asked.resolver.queries) == queries  # it is not asked any more


async def test_a_list_that_is_off_comes_back_by_itself() -> None:
    asked = Asked(GOOD | {"7.114.0.203.bl.example": {"A": ["127.255.255.255"]}})
    await asked()
    asked.resolver.zones = GOOD
    await asked.later(TEST_OFF_S[0] - 1)
    assert asked.lists.states()["my"]
    await asked.later(2)
    assert asked.lists.states() == {"my": ""}
    assert await asked() == [FOUND]


async def test_a_refusing_list_is_tested_less_and_less_often() -> None:
    asked = Asked({"2.0.0.127.bl.example": {"A": ["127.255.255.255"]}})
    await asked()
    tests = 0
    for _ in range(360):  # an hour
        before = len(asked.resolver.queries)
        await asked.later(10)
        tests += len(asked.resolver.queries) > before
    assert 5 <= tests <= 10


@pytest.mark.parametrize(
    ("zones", "why"),
    [
        ({}, "its test entry 127.0.0.2 is not listed"),
        (GOOD | {"1.0.0.127.bl.example": {"A": ["127.0.0.2"]}}, "says yes to everything"),
        (GOOD | {"2.0.0.127.bl.example": "servfail"}, "it does not answer (servfail)"),
        (GOOD | {"1.0.0.127.bl.example": "timeout"}, "it does not answer (timeout)"),
        (GOOD | {"2.0.0.127.bl.example": {"A": ["127.255.255.254"]}}, "public resolver"),
        (GOOD | {"2.0.0.127.bl.example": {"A": ["192.0.2.1"]}}, "no list's answer"),
    ],
)
async def test_a_list_is_believed_only_when_its_test_entries_are_right(zones: Zones, why: str) -> None:
    asked = Asked(zones)
    (missing,) = await asked()
    assert isinstance(missing, Missing)
    assert why in missing.what


async def test_the_test_entries_are_looked_at_again() -> None:
    asked = Asked(GOOD)
    assert await asked() == [FOUND]
    asked.resolver.zones = GOOD | {"1.0.0.127.bl.example": {"A": ["127.0.0.2"]}}  # the domain was given up and sold
    asked.clock.now += BELIEVED_S
    assert await asked() == [FOUND]
    asked.clock.now += 1
    (missing,) = await asked()  # the test is done before a listing is believed
    assert "says yes to everything" in str(missing)


async def test_a_list_is_tested_on_a_schedule_though_it_lists_nobody() -> None:
    asked = Asked(GOOD)
    await asked(CLEAN)
    asked.resolver.zones = {}
    await asked.later(TEST_EVERY_S - 1)
    assert asked.lists.states() == {"my": ""}
    await asked.later(1)
    assert "is not listed" in asked.lists.states()["my"]


async def test_a_list_that_begins_to_list_the_world_is_found_out_though_its_test_entries_are_cached() -> None:
    zones = dict(GOOD)
    with DnsServer(zones, negative_ttl_s=3600) as server:
        resolver, clock = CachingResolver([server.address], 2.0), Clock()
        lists = DnsLists(specs(TABLE), resolver, (), clock)
        assert list(await lists.check(came_from("203.0.114.50"), resolver)) == []
        server.zones = GOOD | {"*.bl.example": {"A": ["127.0.0.2"]}}
        clock.now += BELIEVED_S + 1
        (missing,) = await lists.check(came_from("203.0.114.51"), resolver)
        assert "says yes to everything" in str(missing)
        await resolver.close()


async def test_ipv6_test_entries() -> None:
    table = TABLE | {"has_ipv6": True}
    nibbles = ".".join(reversed(ipaddress.ip_address("::ffff:7f00:2").packed.hex()))
    six = {f"{nibbles}.bl.example": {"A": ["127.0.0.2"]}}
    client = ".".join(reversed(ipaddress.ip_address("2a00::5").packed.hex()))
    listed = {f"{client}.bl.example": {"A": ["127.0.0.2"]}}
    asked = Asked(GOOD | six | listed, table)
    assert await asked() == [FOUND]
    assert await asked("2a00::5") == [Finding("DNSBL_MY_SPAM", ("the client 2a00::5 is on my (127.0.0.2)",))]
    for zones in (GOOD | listed, GOOD | six | listed | {f"1{nibbles[1:]}.bl.example": {"A": ["127.0.0.2"]}}):
        asked = Asked(zones, table)
        assert await asked() == [FOUND]  # the other half is good
        (missing,) = await asked("2a00::5")
        assert isinstance(missing, Missing)
        assert missing.what.startswith("dns list my: not asked about IPv6: it")


@pytest.mark.parametrize("status", ["servfail", "timeout", "refused"])
async def test_a_silent_list_is_named_and_then_switched_off(status: str) -> None:
    asked = Asked(GOOD)
    await asked(CLEAN)
    asked.resolver.zones = {"bl.example": status, "7.114.0.203.bl.example": status}
    for _ in range(SILENT_MESSAGES - 1):
        assert await asked() == [Missing(f"dns list my: 1 of 1 not answered ({status})")]
    assert await asked() == [Missing(f"dns list my: switched off: it does not answer ({status})")]
    asked.resolver.zones = GOOD
    await asked.later(TEST_OFF_S[0])
    assert await asked() == [FOUND]


async def test_a_message_that_asks_too_much_is_not_the_lists_fault() -> None:
    class Spent:
        async def query(self, name: str, rdtype: str) -> DnsAnswer:
            return DnsAnswer("limit")

    asked = Asked(GOOD)
    await asked()
    for _ in range(SILENT_MESSAGES + 1):
        found = await asked.lists.check(came_from(LISTED), Spent())
        assert found == [Missing("dns list my: 1 of 1 not answered (limit)")]
    assert asked.lists.states() == {"my": ""}


@given(st.lists(st.ip_addresses(v=4) | st.ip_addresses(network="127.0.0.0/8"), min_size=1, max_size=4))
def test_only_answers_inside_the_lists_network_are_listings(answers: Iterable[ipaddress.IPv4Address]) -> None:
    (spec,) = specs({"name": "my", "zone": "bl.example"})
    reading = read_answer(spec, DnsAnswer("noerror", tuple(map(str, answers))))
    is_one = all(
        one in ipaddress.ip_network("127.0.0.0/8")
        and one not in ipaddress.ip_network("127.255.255.0/24")
        and str(one) != "127.0.0.1"
        for one in answers
    )
    assert bool(reading.listed) == is_one != bool(reading.refusal)


# --- over a real nameserver -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zones", "behaviours", "why"),
    [
        ({"*.bl.example": {"A": ["127.0.0.2"]}}, {}, "says yes to everything"),
        ({"*.bl.example": {"A": ["198.51.100.7"]}}, {}, "somebody answers"),
        ({"*.bl.example": {"A": ["127.255.255.254"]}}, {}, "public resolver"),
        ({"*.bl.example": "servfail"}, {}, "it does not answer (servfail)"),
        ({"*.bl.example": "refused"}, {}, "it does not answer (refused)"),
        ({}, {}, "not listed"),
        (GOOD, {"*": "silent"}, "it does not answer"),
        (GOOD, {"*": "wrong-id"}, "it does not answer"),
        (GOOD, {"*": "lame"}, "it does not answer (servfail)"),
    ],
)
async def test_no_broken_list_lists_anybody(zones: Zones, behaviours: dict, why: str) -> None:
    with DnsServer(zones, behaviours) as server:
        resolver = CachingResolver([server.address], 0.3)
        lists = DnsLists(specs(TABLE), resolver)
        for _ in range(2):
            found = list(await lists.check(came_from(LISTED), resolver))
            assert [type(one) for one in found] == [Missing]
        assert why in str(found[0])
        await resolver.close()


async def test_lists_are_asked_side_by_side_and_a_slow_one_holds_up_nobody() -> None:
    slow = TABLE | {"name": "slow", "zone": "slow.example", "timeout_s": 0.2}
    zones = GOOD | {name.replace("bl.", "slow."): entry for name, entry in GOOD.items()}
    with DnsServer(zones, {name: Slow(0.5) for name in zones if "slow" in name}) as server:
        resolver = CachingResolver([server.address], 2.0)
        lists = DnsLists(specs(TABLE, slow), resolver)
        first = list(await lists.check(came_from(LISTED), resolver))
        assert first == [FOUND, Missing("dns list slow: its test entries did not answer yet")]
        await asyncio.sleep(1.0)  # late answers are kept: the next message has them
        second = list(await lists.check(came_from(LISTED), resolver))
        assert second == [FOUND, Finding("DNSBL_SLOW_BOT", (f"the client {LISTED} is on slow (127.0.0.5)",))]
        await resolver.close()


async def test_a_message_that_is_given_up_leaves_no_question_behind() -> None:
    ended = []

    class Hanging:
        async def query(self, name: str, rdtype: str) -> DnsAnswer:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(name)
            raise AssertionError

    lists = DnsLists(specs(TABLE | {"timeout_s": 9}), FakeResolver(GOOD))
    waiting = asyncio.create_task(lists.check(came_from(LISTED), Hanging()))  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0.01)
    assert ended == ["7.114.0.203.bl.example"]


# --- what is asked about --------------------------------------------------------------------------------------------


async def labels(
    kind: str, content: bytes = b"", ip: str = LISTED, asked: Iterable[str] = (), **more: object
) -> set[str]:
    """What stands before the zone in the questions, test entries left out."""
    changes = {name: more.pop(name) for name in ("reverse_path",) if name in more}
    table = {"name": "my", "zone": "bl.example", "kind": kind, "asked": list(asked)} | more
    one = Asked({}, table)
    await one(ip, content=content, **changes)
    await one.later(0)
    names = {name.removesuffix(".bl.example") for name, _ in one.resolver.queries}
    six = {name for name in names if name.endswith((".f.f.f.f" + ".0" * 20, ".invalid"))}
    return names - six - {"2.0.0.127", "1.0.0.127", "test", "invalid", "8.114.0.203"}


@pytest.mark.parametrize(
    ("ip", "more", "expected"),
    [
        (LISTED, {}, {"7.114.0.203"}),
        ("::ffff:203.0.114.7", {}, {"7.114.0.203"}),
        ("10.0.0.1", {}, set()),
        ("127.0.0.1", {}, set()),
        ("192.168.1.1", {}, set()),
        ("", {}, set()),
        ("no address", {}, set()),
        ("fe80::1%eth0", {"has_ipv6": True}, set()),
        ("2a00:1450:4001::5", {}, set()),
    ],
)
async def test_which_clients_are_asked_about(ip: str, more: dict, expected: set[str]) -> None:
    assert await labels("ip", ip=ip, **more) == expected


async def test_an_ipv6_client_is_asked_about_nibble_by_nibble() -> None:
    found = await labels("ip", ip="2a00:1450:4001::5", has_ipv6=True)
    assert "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.4.0.5.4.1.0.0.a.2" in found


async def test_hops_of_received_fields() -> None:
    content = message_bytes(Received="from a (a [203.0.114.9]) by b; Mon, 21 Sep 2026 13:33:20 +0000")
    assert await labels("ip", content, asked=["client", "received"]) == {"7.114.0.203", "9.114.0.203"}
    assert await labels("ip", content) == {"7.114.0.203"}


@pytest.mark.parametrize(
    ("reverse_path", "author", "expected"),
    [
        ("x@mail.sender.co.uk", "a@www.author.ir", {"sender.co.uk", "author.ir", "sender.org"}),
        ("", "a@sub.own.org", {"sender.org"}),
        ("x@gmail.com", "a@example.org", {"sender.org"}),
        ("x@[192.0.2.1]", "a@localhost", {"sender.org"}),
        ("x@darban.test", "a@نامه.ir", {"sender.org", "xn--mgb4dbg.ir"}),
    ],
)
async def test_which_senders_domains_are_asked_about(reverse_path: str, author: str, expected: set[str]) -> None:
    assert await labels("domain", message_bytes(From=author), reverse_path=reverse_path) == expected


async def test_which_links_are_asked_about() -> None:
    body = "http://www.spammer.ir/x http://a.b.other.co.uk http://203.0.114.77/ http://10.0.0.1/ http://google.com/ http://own.org http://[2a00::1]/"
    assert await labels("url", message_bytes(body)) == {"spammer.ir", "other.co.uk", "77.114.0.203"}
    assert await labels("domain", message_bytes(body), asked=["link"]) == {"spammer.ir", "other.co.uk"}


async def test_many_links_cost_no_more_than_some_and_neither_end_is_safe() -> None:
    body = " ".join(f"http://n{number}.ir/" for number in range(200))
    found = await labels("url", message_bytes(body))
    assert len(found) == LINKS_MAX
    assert {"n0.ir", "n199.ir"} <= found


async def test_nothing_to_ask_asks_nothing() -> None:
    one = Asked(GOOD)
    assert await one("127.0.0.1") == []
    assert one.resolver.queries == []


class RandomAnswers:
    """Says anything; every name it hears can be asked."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        assert rdtype == "A"
        assert canonical_name(name) == name or len(name) > 253
        status = self.random.choice(get_args(DnsStatus))
        records = [str(ipaddress.IPv4Address(self.random.getrandbits(32))), f"127.0.0.{self.random.randrange(256)}"]
        records = records[self.random.randrange(2) :]
        return DnsAnswer(status, tuple(records)) if status == "noerror" else DnsAnswer(status)


HOSTILE = st.sampled_from(
    [
        "http://",
        "[::1]",
        "1.2.3.4",
        "0x7f000001",
        "a@b",
        "xn--",
        "..",
        "%00",
        "نامه.ir",
        "a" * 300,
        "::",
        "from ",
        " by ",
        "@",
        "\0",
    ]
)
WORDS = st.lists(HOSTILE | st.text(max_size=20), max_size=6).map("".join)


@given(WORDS, WORDS, WORDS, st.lists(WORDS, max_size=4), st.sampled_from([LISTED, "2a00::1", "::", "x"]), st.integers())
def test_any_message_and_any_answers(
    helo: str, reverse_path: str, author: str, links: list[str], ip: str, seed: int
) -> None:
    """Invariant: findings and what is missing, in few words; nothing raises, and only names are asked for."""
    tables = [
        {"name": "a", "zone": "a.example", "asked": ["client", "received"], "has_ipv6": True},
        {"name": "b", "zone": "b.example", "kind": "domain", "asked": ["author", "reverse_path", "helo", "link"]},
        {"name": "c", "zone": "c.example", "kind": "url"},
    ]
    content = message_bytes(" ".join(f"http://{link}/" for link in links), From=author, Received=helo)
    around = mail(content, client=Client(ip, helo=helo), reverse_path=reverse_path)
    resolver = RandomAnswers(seed)
    lists = DnsLists(specs(*tables), resolver)
    for _ in range(2):
        for one in asyncio.run(_all(lists, around, resolver)):
            words = one.what if isinstance(one, Missing) else " ".join(one.evidence)
            assert isinstance(one, Missing) or one.name in lists.findings
            assert 0 < len(words) < 1000
            words.encode()


async def _all(lists: DnsLists, around: MailObject, resolver: RandomAnswers) -> list[Finding | Missing]:
    return list(await lists.check(around, resolver))
