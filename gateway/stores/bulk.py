"""Acts on many held messages: one row for the job, one for each message, each change of theirs a transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, or_, select, update

from gateway.stores.engine import faults, storable
from gateway.stores.schema import bulk_item as item
from gateway.stores.schema import bulk_job as job
from gateway.types import BulkItem, BulkJob, BulkState, ItemState

_WHAT = "bulk acts"
_LONGEST = 500  # characters of what a next hop said
_PLAIN = ("id", "account", "act", "about", "learns", "at", "state", "stopped_for")


class SqlBulk:
    """Implements ports.BulkStore."""

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._now = now

    def add(self, one: BulkJob, held_ids: Sequence[str]) -> None:
        """All of it, or nothing."""
        rows = [
            {"job": one.id, "number": number, "held_id": held_id, "state": "waiting", "at": one.at}
            for number, held_id in enumerate(held_ids)
        ]
        with faults(_WHAT), self._engine.begin() as connection:
            connection.execute(insert(job).values({name: storable(getattr(one, name)) for name in _PLAIN}))
            if rows:
                connection.execute(insert(item), rows)

    def get(self, job_id: str) -> BulkJob | None:
        """The job, and how far it is."""
        with faults(_WHAT), self._read() as connection:
            row = connection.execute(select(job).where(job.c.id == job_id)).mappings().first()
            return None if row is None else _job(connection, row)

    def list(self, account: str, limit: int) -> Sequence[BulkJob]:
        """The newest first."""
        mine = [job.c.account == account] if account else []
        query = select(job).where(*mine).order_by(job.c.at.desc()).limit(limit)
        with faults(_WHAT), self._read() as connection:
            return [_job(connection, row) for row in connection.execute(query).mappings().all()]

    def items(self, job_id: str, *, after: int = -1, limit: int = 200) -> Sequence[BulkItem]:
        """In order."""
        query = select(item).where(item.c.job == job_id, item.c.number > after).order_by(item.c.number).limit(limit)
        with faults(_WHAT), self._read() as connection:
            return [BulkItem(**row) for row in connection.execute(query).mappings()]

    def running(self) -> Sequence[str]:
        """The oldest first."""
        query = select(job.c.id).where(job.c.state == "running").order_by(job.c.at, job.c.id)
        with faults(_WHAT), self._read() as connection:
            return list(connection.scalars(query))

    def take(self, job_id: str, runner: str) -> BulkItem | None:
        """Another gateway may be quicker: then the next one after that."""
        waiting = select(item).where(item.c.job == job_id, item.c.state == "waiting").order_by(item.c.number).limit(1)
        values = {"state": "doing", "at": self._now(), "runner": runner}
        while True:
            with faults(_WHAT), self._engine.begin() as connection:
                row = connection.execute(waiting).mappings().first()
                if row is None:
                    return None
                change = update(item).where(*_is(row["job"], row["number"]), item.c.state == "waiting")
                if connection.execute(change.values(**values)).rowcount:
                    return BulkItem(**(dict(row) | values))

    def settle(self, one: BulkItem, state: ItemState, said: str = "") -> None:
        """Only what is in hand."""
        change = update(item).where(*_is(one.job, one.number), item.c.state == "doing")
        with faults(_WHAT), self._engine.begin() as connection:
            connection.execute(change.values(state=state, said=storable(said[:_LONGEST]), at=self._now()))

    def left(self, runner: str, older_than_s: float) -> Sequence[BulkItem]:
        """What a process that is no more had in hand."""
        is_left = or_(item.c.runner == runner, item.c.at < self._now() - older_than_s)
        query = select(item).join(job, job.c.id == item.c.job).where(item.c.state == "doing", is_left)
        with faults(_WHAT), self._read() as connection:
            return [BulkItem(**row) for row in connection.execute(query).mappings()]

    def turn(self, job_id: str, before: BulkState, after: BulkState, stopped_for: str = "") -> bool:
        """Compare-and-set."""
        change = update(job).where(job.c.id == job_id, job.c.state == before)
        with faults(_WHAT), self._engine.begin() as connection:
            return bool(connection.execute(change.values(state=after, stopped_for=stopped_for)).rowcount)

    def _read(self) -> Connection:
        return self._engine.connect().execution_options(read_only=True)


def _is(job_id: str, number: int) -> list[Any]:
    return [item.c.job == job_id, item.c.number == number]


def _job(connection: Connection, row: Mapping[Any, Any]) -> BulkJob:
    query = select(item.c.state, func.count()).where(item.c.job == row["id"]).group_by(item.c.state)
    counts = {state: int(number) for state, number in connection.execute(query)}
    return BulkJob(counts=counts, **{name: row[name] for name in _PLAIN})
