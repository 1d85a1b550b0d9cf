"""Tells webhooks what happens: from the message log's rows and the audit log into the outbox, from there by HTTP.

Runs in the admin process, never on the path of custody. An event is in the outbox before its row counts as stored, and
the audit log is read from where it was read to: a process that dies loses none, and tells what it is not sure of again,
under the same id.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Gauge

from gateway.errors import StoreError
from gateway.metrics import Counter
from gateway.net.webhook import Answer, WebhookClient
from gateway.policy.webhook import (
    KEPT_S,
    body_of,
    event_of_act,
    event_of_row,
    header_fields,
    is_for,
    wait_s,
)
from gateway.ports import AuditLog, Outbox
from gateway.types import Event, EventType, LogRow, Posting

_LOOK_S = 1.0
_PRUNE_S = 600.0
_BATCH = 20
_AT_ONCE = 4  # posts to one webhook
_LONGEST_PAUSE_S = 300.0
_ENTRIES = 200

POSTS = Counter("darban_webhook_posts_total", "Posts to webhooks by result.", ["webhook", "result"])
LOST = Counter("darban_webhook_lost_total", "Events that found no room in a webhook's queue.", ["webhook"])
DEAD = Counter("darban_webhook_dead_total", "Events given up after three days.", ["webhook"])
WAITING = Gauge(
    "darban_webhook_waiting", "Events that wait for a webhook.", ["webhook"], multiprocess_mode="mostrecent"
)

log = structlog.get_logger("darban.webhook")


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook as configured, with its keys."""

    name: str
    url: str
    keys: tuple[bytes, ...]
    events: tuple[EventType, ...] = ()
    domains: tuple[str, ...] = ()
    allow_private: bool = False
    timeout_s: float = 10.0
    max_waiting: int = 10_000


class Webhooks:
    """Of one gateway; composed in gateway/app."""

    def __init__(
        self,
        targets: Sequence[Target],
        outbox: Outbox,
        audit: AuditLog,
        client: WebhookClient,
        subject: Callable[[str], str] = str,
    ) -> None:
        """`subject` says what of a message's subject is told."""
        self._targets = targets
        self._outbox = outbox
        self._audit = audit
        self._client = client
        self._subject = subject
        for one in targets:  # series that are there from the start can be alarmed on
            LOST.labels(one.name)
            DEAD.labels(one.name)
            for result in ("taken", "failed"):
                POSTS.labels(one.name, result)

    def take_rows(self, rows: Sequence[LogRow]) -> None:
        """What became of messages. Blocking. Raises StoreError: then nothing is lost when the rows come again."""
        events = [event for row in rows if (event := event_of_row(row, self._subject)) is not None]
        for target in self._targets:
            self._lost(target.name, self._outbox.add(target.name, _for(target, events), target.max_waiting))

    async def run(self) -> None:
        """For ever."""
        if self._targets:
            await asyncio.gather(self._follow(), self._keep(), *(self._serve(target) for target in self._targets))

    # --- acts ---------------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            try:
                while await asyncio.to_thread(self.follow_once):
                    continue
            except StoreError as error:
                log.warning("webhooks wait for the audit log", error=str(error))
            await asyncio.sleep(_LOOK_S)

    def follow_once(self) -> bool:
        """Entries of the audit log that came since; whether there may be more. Blocking. Raises StoreError."""
        entries = self._audit.since(self._outbox.cursor(), _ENTRIES)
        if not entries:
            return False
        events = [event for entry in entries if (event := event_of_act(entry)) is not None]
        told = {target.name: (_for(target, events), target.max_waiting) for target in self._targets}
        lost = self._outbox.follow(entries[-1].number, told)
        for name, number in lost.items():
            self._lost(name, number)
        return len(entries) == _ENTRIES

    def _lost(self, name: str, number: int) -> None:
        if number:
            LOST.labels(name).inc(number)
            log.warning("webhook's queue is full", webhook=name, lost=number)

    # --- posting ------------------------------------------------------------------------------------------------------

    async def _serve(self, target: Target) -> None:
        """One webhook's queue. After a failure the others wait too: each failed try takes its time."""
        failures = 0
        while True:
            try:
                batch = await asyncio.to_thread(self._outbox.take, target.name, 1 if failures else _BATCH)
                if batch and await self._post_all(target, batch):
                    failures = 0
                    continue
                failures += bool(batch)
            except StoreError as error:
                log.warning("webhooks wait for the store", webhook=target.name, error=str(error))
            pause_s = min(_LONGEST_PAUSE_S, 2.0 ** min(failures, 10)) if failures else _LOOK_S
            await asyncio.sleep(pause_s)

    async def _post_all(self, target: Target, batch: Sequence[Posting]) -> bool:
        """Whether all were taken."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(posting: Posting) -> bool:
            async with gate:
                return await self.post(target, posting)

        return all(await asyncio.gather(*(one(posting) for posting in batch)))

    async def post(self, target: Target, posting: Posting) -> bool:
        """One try, and what came of it in the outbox. Raises StoreError."""
        answer = await send(self._client, target, posting.id, posting.body)
        POSTS.labels(target.name, "taken" if answer.is_taken else "failed").inc()
        if answer.is_taken:
            await asyncio.to_thread(self._outbox.delivered, posting)
            return True
        next_at = self._next(posting, answer)
        if next_at is None:
            DEAD.labels(target.name).inc()
        said = log.info if next_at else log.warning
        said("webhook", webhook=target.name, id=posting.id, type=posting.type, told=answer.told, given_up=not next_at)
        await asyncio.to_thread(self._outbox.failed, posting, answer.told, next_at)
        return False

    def _next(self, posting: Posting, answer: Answer) -> float | None:
        wait = max(wait_s(posting.tries + 1, random.random()), answer.retry_after_s)  # noqa: S311 - no secret
        next_at = time.time() + wait
        return next_at if next_at < posting.born_at + KEPT_S else None

    async def _keep(self) -> None:
        """Figures, and an end for old rows."""
        pruned_at = 0.0
        while True:
            try:
                counts = await asyncio.to_thread(self._outbox.counts)
                for target in self._targets:
                    WAITING.labels(target.name).set(counts.get((target.name, "waiting"), 0))
                if time.time() - pruned_at > _PRUNE_S:
                    await asyncio.to_thread(self._outbox.prune, [one.name for one in self._targets])
                    pruned_at = time.time()
            except StoreError as error:
                log.warning("webhooks wait for the store", error=str(error))
            await asyncio.sleep(10 * _LOOK_S)


async def send(client: WebhookClient, target: Target, event_id: str, body: bytes) -> Answer:
    """One signed post. Never raises."""
    fields = header_fields(target.keys, event_id, int(time.time()), body)
    return await client.post(target.url, body, fields, allow_private=target.allow_private, timeout_s=target.timeout_s)


def _for(target: Target, events: Sequence[Event]) -> list[tuple[Event, bytes]]:
    return [(event, body_of(event)) for event in events if is_for(event, target.events, target.domains)]
