"""Acts on many held messages: the job goes on in the background, message by message, and says what became of each.

Everything that is known stands in the store. A message is "doing" before anything is done about it, so a process that
dies leaves at most one message per job in doubt; whoever goes on looks at the quarantine what became of that one, and
sends nothing again: a release that was under way is told as "unknown". Several gateways may work on one job.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from uuid import uuid4

import structlog

from gateway.errors import InputError, StoreError
from gateway.ports import BulkStore, QuarantineStore
from gateway.review import Review, Reviewed
from gateway.types import BulkAct, BulkItem, BulkJob, HeldMessage, ItemState

MOST = 10_000  # messages of one job
_LOOK_S = 5.0  # for jobs that another gateway took
_AT_A_TIME = 20  # messages of one job, then the next job has its turn
_FAILURES = 5  # deferred in a row: the next hop is away, and each try takes its time
_FOREIGN_S = 900.0  # longer than any hand-over: the gateway that had it is gone
Record = Callable[[str, str, str, str], object]  # account, act, held id, detail

log = structlog.get_logger("darban.bulk")


class Bulk:
    """For the pages; run by the admin process."""

    def __init__(
        self, *, store: BulkStore, quarantine: QuarantineStore, review: Review, record: Record, runner: str
    ) -> None:
        """`record` is the audit log; `runner` names this gateway among several, the same after a restart."""
        self._store = store
        self._quarantine = quarantine
        self._review = review
        self._record = record
        self._runner = runner
        self._failures: Counter[str] = Counter()
        self._news = asyncio.Event()

    async def start(self, account: str, act: BulkAct, held_ids: Sequence[str], *, about: str, learns: bool) -> str:
        """The id of the job that does it. Raises InputError for no messages or too many, StoreError."""
        ids = list(dict.fromkeys(held_ids))
        if not ids or len(ids) > MOST:
            raise InputError(f"choose 1 to {MOST} messages")
        job = BulkJob(uuid4().hex, account, act, about, learns, time.time(), "running", {"waiting": len(ids)})
        await asyncio.to_thread(self._store.add, job, ids)
        self._news.set()
        return job.id

    async def go_on(self, job_id: str) -> bool:
        """With a job that stopped; False when it did not."""
        done = await asyncio.to_thread(self._store.turn, job_id, "stopped", "running")
        self._failures.pop(job_id, None)
        self._news.set()
        return done

    async def stop(self, job_id: str) -> bool:
        """After the message in hand; False when it was not running."""
        return await asyncio.to_thread(self._store.turn, job_id, "running", "stopped", "person")

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                is_idle = not await self.step()
            except StoreError as error:
                log.warning("bulk acts wait for the store", error=str(error))
                is_idle = True
            if is_idle:
                self._news.clear()
                try:
                    await asyncio.wait_for(self._news.wait(), _LOOK_S)
                except TimeoutError:
                    continue

    async def step(self) -> bool:
        """A few messages of each job; False when there was nothing to do. Raises StoreError."""
        for item in await asyncio.to_thread(self._store.left, self._runner, _FOREIGN_S):
            await asyncio.to_thread(self._recover, item)
        worked = False
        for job_id in await asyncio.to_thread(self._store.running):
            for _ in range(_AT_A_TIME):
                taken = await asyncio.to_thread(self._store.take, job_id, self._runner)
                if taken is None:
                    await asyncio.to_thread(self._finish, job_id)
                    break
                worked = True
                if not await self._do(taken):
                    break
        return worked

    async def _do(self, item: BulkItem) -> bool:
        """One message; False when the job is not to go on."""
        job = await asyncio.to_thread(self._store.get, item.job)
        if job is None or job.state != "running":
            await asyncio.to_thread(self._store.settle, item, "waiting")
            return False
        try:
            done = await self._act(job, item.held_id)
        except InputError:
            held = await asyncio.to_thread(self._quarantine.get, item.held_id)
            await asyncio.to_thread(self._store.settle, item, "gone", _standing(held))
            return True
        state = _result(job.act, done.held)
        await asyncio.to_thread(self._record, job.account, job.act, item.held_id, done.told)
        await asyncio.to_thread(self._store.settle, item, state, done.held.note)
        is_deferred = state == "refused" and done.held.note.startswith("4")
        self._failures[job.id] = self._failures[job.id] + 1 if is_deferred else 0
        if self._failures[job.id] < _FAILURES:
            return True
        await asyncio.to_thread(self._store.turn, job.id, "running", "stopped", "next hop")
        return False

    async def _act(self, job: BulkJob, held_id: str) -> Reviewed:
        if job.act == "release":
            return await self._review.release(held_id, job.account, learns=job.learns)
        if job.act == "spam":
            return await asyncio.to_thread(self._review.spam, held_id, job.account)
        return Reviewed(await asyncio.to_thread(self._review.delete, held_id, job.account))

    def _finish(self, job_id: str) -> None:
        """When nobody has a message of it in hand."""
        job = self._store.get(job_id)
        if job is None or job.counts.get("waiting") or job.counts.get("doing"):
            return
        if self._store.turn(job_id, "running", "done"):
            self._failures.pop(job_id, None)
            log.info("bulk act done", job=job_id, account=job.account, act=job.act, counts=dict(job.counts))

    def _recover(self, item: BulkItem) -> None:
        """What became of a message that was in hand when its process died."""
        job = self._store.get(item.job)
        held = self._quarantine.get(item.held_id)
        if job is not None:
            state = _recovered(job, item, held)
            self._store.settle(item, state, "" if held is None or state in ("waiting", "unknown") else _standing(held))


def _result(act: BulkAct, held: HeldMessage) -> ItemState:
    return "done" if held.state == ("released" if act == "release" else "deleted") else "refused"


def _recovered(job: BulkJob, item: BulkItem, held: HeldMessage | None) -> ItemState:
    if held is None:
        return "gone"
    is_of_job = held.state_at >= item.at and held.state_by == job.account
    if held.state == "held":
        return "refused" if is_of_job else "waiting"  # it was tried, or nothing was begun
    if not is_of_job:
        return "gone"
    return "unknown" if held.state == "releasing" else _result(job.act, held)


def _standing(held: HeldMessage | None) -> str:
    """The next hop's words about a message that was not there to be acted on, or was acted on before."""
    return "" if held is None else held.note
