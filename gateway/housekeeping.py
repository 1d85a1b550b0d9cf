"""What the admin process does by itself, on a schedule: releases that a dead process left come back, what is too old or
too much goes, encryption catches up, keys nobody needs are destroyed, the audit log's head is signed.

Each message goes in a transaction of its own, in the states of policy/custody.py; what is being released is left. A
process that is killed in between leaves rows that are true, and files that the next look takes away.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import Counter as CounterMetric
from prometheus_client import Gauge

from gateway.errors import StoreError
from gateway.policy.custody import RELEASE_LOST_S
from gateway.policy.retention import DAY_S, Retention
from gateway.stores.audit import SqlAudit
from gateway.stores.quarantine import CUT_OFF, SqlQuarantine
from gateway.stores.vault import SqlKeys
from gateway.types import AuditHead, HeldKind, QuarantineState

_SIGN_EVERY_S = 300.0
_BATCH = 100
_KINDS: Sequence[HeldKind] = ("spam", "phishing", "malware")

EXPIRED = CounterMetric("darban_retention_expired_total", "Messages whose content was deleted, by why.", ["why"])
FAILURES = CounterMetric("darban_retention_failures_total", "Looks of the retention that the store ended.")
SIZE = Gauge("darban_quarantine_bytes", "Contents in the quarantine.", multiprocess_mode="mostrecent")
RAN = Gauge("darban_retention_last_run_timestamp_seconds", "The last whole look.", multiprocess_mode="mostrecent")

log = structlog.get_logger("darban.housekeeping")


class Housekeeping:
    """The quarantine's retention. Blocking but for `run`."""

    def __init__(
        self,
        quarantine: SqlQuarantine,
        retention: Retention,
        audit: SqlAudit,
        keys: SqlKeys | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._quarantine = quarantine
        self._retention = retention
        self._audit = audit
        self._keys = keys
        self._now = now
        self._shards = itertools.cycle(range(256))

    async def run(self, every_s: float) -> None:
        """For ever. Every step is a small batch in a thread: the pages and the log go on meanwhile."""
        while True:
            try:
                steps = self.steps()
                while await asyncio.to_thread(next, steps, "done") != "done":
                    pass
                RAN.set(self._now())
            except StoreError as error:
                FAILURES.inc()
                log.warning("retention", error=str(error))
            await asyncio.sleep(every_s)

    def steps(self) -> Iterator[None]:
        """One whole look, a batch a step. Raises StoreError."""
        for held_id in self._quarantine.give_up_releases(self._now() - RELEASE_LOST_S):
            log.warning("release cut off", held_id=held_id)
            self._audit.append("darban", "release", held_id, f"held: {CUT_OFF}", client="retention")
        self._quarantine.finish_deletes()
        yield
        counted: Counter[tuple[str, str]] = Counter()  # (domain, why) -> messages
        for domain in self._quarantine.domains():
            yield from self._expire(domain, counted)
        yield from self._cap(counted)
        self._tell(counted)
        while self._quarantine.encrypt(_BATCH):
            yield
        self._quarantine.sweep(next(self._shards))
        yield
        for place in self._keys.destroy_unused() if self._keys is not None else ():
            self._audit.append(
                "darban", "destroy key", detail=place, domain=place.partition(" ")[0], client="retention"
            )

    def _expire(self, domain: str, counted: Counter[tuple[str, str]]) -> Iterator[None]:
        now, keep_s = self._now(), self._retention.keep_s
        for kind in _KINDS:
            note = f"expired: kept for {keep_s(domain, kind) / DAY_S:g} days"
            while found := self._quarantine.due(domain, "held", now - keep_s(domain, kind), kind, _BATCH):
                if not self._delete([(held_id, "held") for held_id in found], note, domain, kind, counted):
                    break
                yield
        note = f"content deleted {keep_s(domain, 'released') / DAY_S:g} days after the release"
        while found := self._quarantine.due(domain, "released", now - keep_s(domain, "released"), limit=_BATCH):
            if not self._delete([(held_id, "released") for held_id in found], note, domain, "released", counted):
                break
            yield
        while self._quarantine.forget(domain, now - keep_s(domain, "rows")):
            yield

    def _cap(self, counted: Counter[tuple[str, str]]) -> Iterator[None]:
        """Where there is too much: what was released goes first, then the oldest."""
        sizes = self._quarantine.sizes_of_domains()  # every row's: added up again only when something went
        for domain in list(sizes):
            sizes = yield from self._shrink(domain, self._retention.size_of(domain), sizes, counted)
        sizes = yield from self._shrink("", self._retention.max_size, sizes, counted)
        SIZE.set(sum(sizes.values()))

    def _shrink(
        self, domain: str, limit: int, sizes: Mapping[str, int], counted: Counter[tuple[str, str]]
    ) -> Generator[None, None, Mapping[str, int]]:
        """To the limit of a domain, or of all; the sizes then."""
        while limit and (surplus := (sizes.get(domain, 0) if domain else sum(sizes.values())) - limit) > 0:
            found = []
            for held_id, state, size in self._quarantine.oldest(domain, _BATCH):
                if surplus <= 0:
                    break
                found.append((held_id, state))
                surplus -= size
            if not self._delete(found, _FULL, domain, "size", counted):
                break
            yield
            sizes = self._quarantine.sizes_of_domains()
        return sizes

    def _delete(
        self,
        found: Sequence[tuple[str, QuarantineState]],
        note: str,
        domain: str,
        why: str,
        counted: Counter[tuple[str, str]],
    ) -> int:
        """How many went: those in another state by now are somebody's."""
        gone = sum(self._quarantine.transition(held_id, (state,), "deleted", note) for held_id, state in found)
        EXPIRED.labels(why).inc(gone)
        counted[domain, why] += gone
        return gone

    def _tell(self, counted: Counter[tuple[str, str]]) -> None:
        for (domain, why), number in counted.items():
            if number:
                log.info("expired", domain=domain, why=why, messages=number)
                self._audit.append("darban", "expire", "", f"{number} {why}", domain=domain, client="retention")


_FULL = "expired: the quarantine was full"


async def sign_now_and_then(audit: SqlAudit, key: Ed25519PrivateKey, every_s: float = _SIGN_EVERY_S) -> None:
    """Sign the audit log's head when it has moved, and say it in the structured log: who cuts entries off has to change
    that too. For ever."""
    while True:
        try:
            await asyncio.to_thread(sign_head, audit, key)
        except StoreError as error:
            log.warning("audit log not signed", error=str(error))
        await asyncio.sleep(every_s)


def sign_head(audit: SqlAudit, key: Ed25519PrivateKey) -> AuditHead | None:
    """Once. Blocking. Raises StoreError."""
    head = audit.sign(key)
    if head is not None:
        log.info("audit head", number=head.number, hash=head.hash, at=head.at, key=head.key, signature=head.signature)
    return head
