"""gateway/senders.py: what a process knows of entries, with the store up, slow to change, and down."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from gateway import senders as module
from gateway.errors import StoreError
from gateway.policy.senders import Limits
from gateway.senders import STALE, Senders
from gateway.types import AuthResult, History, Hit, SenderEntry
from tests.builders import envelope, message_bytes, verdict

AUTH = (AuthResult("dkim", "pass", "example.org", "s", is_aligned=True), AuthResult("dmarc", "pass", "example.org"))
CONTENT = message_bytes(From="Sara <Sara@example.org>")


class FakeSenders:
    """What the process asks of ports.SenderStore."""

    def __init__(self, *entries: SenderEntry) -> None:
        self.entries = list(entries)
        self.hits: dict[int, int] = {}
        self.is_down = False

    def since(self, revision: int, limit: int) -> Sequence[SenderEntry]:
        if self.is_down:
            raise StoreError("senders: database: OperationalError")
        return sorted((one for one in self.entries if one.revision > revision), key=lambda one: one.revision)[:limit]

    def count_hits(self, hits: Mapping[int, tuple[int, float]]) -> None:
        if self.is_down:
            raise StoreError("senders: database: OperationalError")
        for number, (count, _) in hits.items():
            self.hits[number] = self.hits.get(number, 0) + count


def entry(number: int, act: str = "allow", pattern: str = "sara@example.org", **changes: object) -> SenderEntry:
    values: dict = {"act": act, "pattern": pattern, "recipient": "", "expires_at": None, "by": "reza", "at": 0.0}
    return SenderEntry(**(values | {"number": number, "revision": number} | changes))


def make(store: FakeSenders) -> Senders:
    return Senders(store, Limits())  # type: ignore[arg-type]


async def test_no_entry_costs_nothing() -> None:
    known = make(FakeSenders())
    await known.start()
    assert known.rulings(envelope(), b"no look is taken", verdict()) == {}
    await known.close()


@pytest.mark.parametrize("history", [None, History(author="sara@example.org"), History()])
async def test_the_author_is_read_where_no_history_names_him(history: History | None) -> None:
    known = make(FakeSenders(entry(1)))
    await known.start()
    found = known.rulings(envelope(history=history), CONTENT, verdict(9.0, auth=AUTH))
    assert found["you@darban.test"].action == "accept"
    await known.close()


async def test_changes_come_in_pages_and_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 2)
    monkeypatch.setattr(module, "_FOLLOW_S", 0.01)
    store = FakeSenders(*(entry(number, pattern=f"a{number}@example.org") for number in range(1, 6)))
    known = make(store)
    await known.start()
    store.entries.append(entry(6))
    await asyncio.sleep(0.2)
    assert known.rulings(envelope(), CONTENT, verdict(9.0, auth=AUTH))["you@darban.test"].number == 6
    store.entries[-1] = entry(6, revision=7, is_removed=True)
    await asyncio.sleep(0.2)
    assert known.rulings(envelope(), CONTENT, verdict(9.0, auth=AUTH)) == {}
    await known.close()


async def test_a_store_that_is_down_leaves_what_was_known_and_loses_no_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FOLLOW_S", 0.01)
    store = FakeSenders(entry(1))
    known = make(store)
    await known.start()
    before = next(sample.value for sample in STALE.collect()[0].samples if sample.name.endswith("_total"))
    store.is_down = True
    found = known.rulings(envelope(), CONTENT, verdict(9.0, auth=AUTH))
    known.count(found.values())
    await asyncio.sleep(0.1)
    assert next(sample.value for sample in STALE.collect()[0].samples if sample.name.endswith("_total")) > before
    known.count(known.rulings(envelope(), CONTENT, verdict(9.0, auth=AUTH)).values())
    assert store.hits == {}
    store.is_down = False
    await asyncio.sleep(0.1)
    assert store.hits == {1: 2}
    await known.close()


async def test_a_start_without_the_store_delays_nothing_and_catches_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FOLLOW_S", 0.01)
    store = FakeSenders(entry(1))
    store.is_down = True
    known = make(store)
    await known.start()
    assert known.rulings(envelope(), CONTENT, verdict(9.0, auth=AUTH)) == {}
    store.is_down = False
    await asyncio.sleep(0.2)
    assert known.rulings(envelope(), CONTENT, verdict(9.0, auth=AUTH))["you@darban.test"].action == "accept"
    store.is_down = True
    await known.close()


async def test_malware_and_two_authors() -> None:
    known = make(FakeSenders(entry(1), entry(2, "block", "evil@example.net")))
    await known.start()
    hits = (Hit("ATTACHMENT_EXECUTABLE", 6.0, "A program"),)
    found = known.rulings(envelope(), CONTENT, verdict(9.0, auth=AUTH, hits=hits))
    assert found["you@darban.test"].reason == "reza's entry lets no malware in"
    two = message_bytes(From="Sara <sara@example.org>, evil@EXAMPLE.net")
    found = known.rulings(envelope(), two, verdict(0.0, auth=AUTH))
    assert found["you@darban.test"].action == "quarantine"
    twice = b"From: sara@example.org\r\n" + message_bytes(From="evil@example.net")
    assert known.rulings(envelope(), twice, verdict(0.0, auth=AUTH))["you@darban.test"].action == "quarantine"
    await known.close()
