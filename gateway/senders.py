"""The senders that people allow and block, as a process that judges mail knows them: all in memory, followed.

Never on the path of custody. Once in _FOLLOW_S what changed is asked for, in a thread; a store that is down leaves what
was known last in force, which is logged and counted. How often each entry was of use is written on the same occasion;
what a process that dies had not written is forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from gateway.actions.danger import kind_of
from gateway.errors import StoreError
from gateway.metrics import Counter
from gateway.policy.senders import Judged, Limits, SenderTable, rulings, sender_of
from gateway.ports import SenderStore
from gateway.types import Envelope, Ruling, SenderEntry, Verdict

RULED = Counter(
    "darban_senders_total", "Recipients for whom an entry on the sender decided, or did not count.", ["what"]
)
STALE = Counter("darban_senders_stale_total", "Times that changes of allowed and blocked senders could not be read.")

_FOLLOW_S = 2.0
_PAGE = 1000  # taken in at once: 3 ms
_EXPIRED_EVERY_S = 3600.0
FORGOTTEN_S = 3600.0  # a removed entry is kept so long, so that every listener hears of it
_SHOWN_S = 90 * 86_400.0  # one that has ended
_PURGE_EVERY_S = 600.0
_MAX_WAITING = 10_000  # entries with hits to write

log = structlog.get_logger("darban.senders")


class Senders:
    """One for a process; `start` it inside the loop."""

    def __init__(
        self,
        store: SenderStore,
        limits: Limits,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._limits = limits
        self._now = now
        self._table = SenderTable()
        self._revision = 0
        self._is_current: bool | None = None  # None: never asked yet
        self._asked_at = now()
        self._expired_at = now()
        self._hits: dict[int, tuple[int, float]] = {}
        self._task: asyncio.Task[None] | None = None
        for what in ("allow", "block", "passed over"):
            RULED.labels(what)

    async def start(self) -> None:
        """Read all entries, then follow. A store that is down delays nothing."""
        await self._follow()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write what waits, if the store takes it now."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(StoreError):
            await asyncio.to_thread(self._store.count_hits, self._hits)

    def rulings(self, envelope: Envelope, content: bytes, verdict: Verdict) -> Mapping[str, Ruling]:
        """Recipient's address -> what an entry says; most messages have none. Never waits."""
        if not len(self._table):
            return {}
        sender = sender_of(envelope, content, verdict.auth)
        judged = Judged(verdict.score, kind_of(verdict.hits) == "malware")
        return rulings(self._table, sender, envelope.recipients, self._now(), judged, self._limits)

    def count(self, rulings: Collection[Ruling]) -> None:
        """They were acted upon."""
        for one in rulings:
            RULED.labels({None: "passed over", "accept": "allow"}.get(one.action, "block")).inc()
            if one.action is not None and (one.number in self._hits or len(self._hits) < _MAX_WAITING):
                self._hits[one.number] = (self._hits.get(one.number, (0, 0.0))[0] + 1, self._now())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_FOLLOW_S)
            await self._follow()

    async def _follow(self) -> None:
        hits, self._hits = self._hits, {}
        try:
            if hits:
                await asyncio.to_thread(self._store.count_hits, hits)
                hits = {}
            if self._now() - self._asked_at > FORGOTTEN_S / 2:  # what was removed meanwhile may be forgotten
                self._table, self._revision = SenderTable(), 0
            while changed := await asyncio.to_thread(self._store.since, self._revision, _PAGE):
                self._take(changed)
            self._asked_at = self._now()
            self._tell(is_current=True)
        except StoreError as error:
            STALE.inc()
            self._tell(is_current=False, error=str(error))
            for number, (count, at) in hits.items():
                self._hits[number] = (self._hits.get(number, (0, 0.0))[0] + count, at)
        if self._now() - self._expired_at > _EXPIRED_EVERY_S:
            self._expired_at = self._now()
            self._table.forget_expired(self._expired_at)

    def _take(self, changed: Sequence[SenderEntry]) -> None:
        now = self._now()
        for entry in changed:
            self._table.take(entry, now)
        self._revision = changed[-1].revision

    def _tell(self, *, is_current: bool, error: str = "") -> None:
        """Once when it fails, and once when it works again."""
        if is_current != self._is_current and is_current:
            log.info("senders known", entries=len(self._table))
        elif is_current != self._is_current:
            log.warning("senders as known before", entries=len(self._table), error=error)
        self._is_current = is_current


async def purge_senders(store: SenderStore) -> None:
    """For ever, in one process: entries that ended are shown for a while, and then forgotten."""
    while True:
        try:
            gone = await asyncio.to_thread(store.purge, FORGOTTEN_S, _SHOWN_S)
            if gone:
                log.info("forgot senders", entries=gone)
        except StoreError as error:
            log.warning("senders not purged", error=str(error))
        await asyncio.sleep(_PURGE_EVERY_S)
