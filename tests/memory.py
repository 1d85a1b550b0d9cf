"""The ports in memory, for tests of the rooms above them: what they were given can be looked at."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gateway.errors import ScorerError, StoreError
from gateway.types import (
    Envelope,
    HeldMessage,
    HeldPage,
    HeldQuery,
    JournalRow,
    QuarantineState,
    Recipient,
    Reply,
    Verdict,
)

TAKEN = Reply(250, "2.0.0", "taken")


class MemoryQuarantine:
    """ports.QuarantineStore. `is_down` makes every write fail."""

    def __init__(self) -> None:
        self.rows: dict[str, HeldMessage] = {}
        self.contents: dict[str, bytes] = {}
        self.is_down = False

    def hold(self, messages: Sequence[HeldMessage], content: bytes) -> None:
        if self.is_down:
            raise StoreError("down")
        for message in messages:
            assert message.content_hash == hashlib.sha256(content).hexdigest()
            self.rows.setdefault(message.id, message)
            self.contents[message.content_hash] = content

    def get(self, held_id: str) -> HeldMessage | None:
        return self.rows.get(held_id)

    def content(self, held_id: str) -> bytes:
        if self.is_down:
            raise StoreError("down")
        return self.contents[self.rows[held_id].content_hash]

    def list(self, query: HeldQuery) -> HeldPage:
        rows = [row for row in self.rows.values() if not query.state or row.state == query.state]
        return HeldPage(rows, len(rows), False, "")

    def of_contents(self, content_hashes: Sequence[str]) -> Mapping[str, str]:
        return {row.content_hash: row.id for row in self.rows.values() if row.content_hash in content_hashes}

    def transition(
        self,
        held_id: str,
        before: Sequence[QuarantineState],
        after: QuarantineState,
        note: str = "",
        at: float | None = None,
        by: str = "",
    ) -> bool:
        row = self.rows[held_id]
        if row.state not in before or at not in (None, row.state_at):
            return False
        self.rows[held_id] = replace(row, state=after, state_at=time.time(), state_by=by, note=note or row.note)
        return True

    def give_up_releases(self, before: float) -> Sequence[str]:
        lost = [row for row in self.rows.values() if row.state == "releasing" and row.state_at < before]
        self.rows.update((row.id, replace(row, state="held", state_at=time.time())) for row in lost)
        return [row.id for row in lost]

    def counts(self) -> Mapping[str, int]:
        return Counter(row.state for row in self.rows.values())

    def check(self) -> None:
        if self.is_down:
            raise StoreError("down")


class MemoryCounters:
    """ports.Counters that never expire."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.is_down = False

    def add(self, key: str, amount: float, ttl_s: float) -> float:
        self.add_many({key: amount}, ttl_s)
        return self.values[key]

    def get(self, key: str) -> float:
        return self.get_many((key,)).get(key, 0.0)

    def add_many(self, amounts: Mapping[str, float], ttl_s: float) -> None:
        if self.is_down:
            raise StoreError("down")
        for key, amount in amounts.items():
            self.values[key] = self.values.get(key, 0.0) + amount

    def peek_many(self, keys: Sequence[str]) -> Mapping[str, float] | None:
        return None

    def get_many(self, keys: Sequence[str]) -> Mapping[str, float]:
        if self.is_down:
            raise StoreError("down")
        return {key: self.values[key] for key in keys if key in self.values}

    def prune(self, prefix: str, keep: int) -> int:
        mine = sorted((value, key) for key, value in self.values.items() if key.startswith(prefix))
        for _, key in mine[: max(0, len(mine) - keep)]:
            del self.values[key]
        return max(0, len(mine) - keep)


class MemoryNextHop:
    """ports.NextHop: `says` maps an address to a reply; what it took stands in `taken`, by address."""

    def __init__(self, says: Callable[[str], Reply] | None = None) -> None:
        self.says = says or (lambda _: TAKEN)
        self.taken: list[tuple[str, bytes]] = []
        self.envelopes: list[Envelope] = []

    async def verify(self, recipient: Recipient) -> Reply:
        return self.says(recipient.address)

    async def deliver(self, envelope: Envelope, content: bytes, recipients: Sequence[Recipient]) -> Mapping[str, Reply]:
        self.envelopes.append(envelope)
        replies = {one.address: self.says(one.address) for one in recipients}
        self.taken += [(address, content) for address, reply in replies.items() if reply.code // 100 == 2]
        return replies

    async def close(self) -> None:
        pass


class MemoryJournal:
    """ports.Journal."""

    def __init__(self) -> None:
        self.rows: list[JournalRow] = []

    def record(self, rows: Sequence[JournalRow]) -> None:
        self.rows += rows


class FixedScorer:
    """ports.Scorer that has made up its mind."""

    def __init__(self, verdict: Verdict | None) -> None:
        self.verdict = verdict

    async def score(self, envelope: Envelope, content: bytes) -> Verdict:
        if self.verdict is None:
            raise ScorerError("no scorer answers")
        return self.verdict
