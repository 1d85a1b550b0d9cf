"""Events on their way to webhooks: kept until they were taken, or given up. Several gateways share it. Blocking."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Engine, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert  # SQLite reads the same

from gateway.stores.engine import faults, storable
from gateway.stores.schema import audit, webhook_cursor, webhook_outbox
from gateway.types import Event, Posting

PostingState = Literal["waiting", "taken", "dead"]
_LEASE_S = 120.0  # longer than a try may take: a gateway that died has what it had in hand tried again
_TAKEN_KEPT_S = 3600.0  # so that what is told again meanwhile is known
_DEAD_KEPT_S = 30 * 86_400.0
_CURSOR = "audit"


class SqlOutbox:
    """Implements ports.Outbox."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, webhook: str, events: Sequence[tuple[Event, bytes]], max_waiting: int) -> int:
        """Events and their bodies; those known by their id are left as they are. How many found no room."""
        with faults("webhooks"), self._engine.begin() as connection:
            return _add(connection, webhook, events, max_waiting)

    def follow(self, number: int, to: Mapping[str, tuple[Sequence[tuple[Event, bytes]], int]]) -> Mapping[str, int]:
        """The same for each webhook, with where the audit log was read to, in one transaction. How many were lost."""
        with faults("webhooks"), self._engine.begin() as connection:
            lost = {name: _add(connection, name, events, room) for name, (events, room) in to.items()}
            moved = update(webhook_cursor).where(webhook_cursor.c.name == _CURSOR, webhook_cursor.c.number < number)
            connection.execute(moved.values(number=number))
        return lost

    def cursor(self) -> int:
        """The last entry of the audit log that was told; at first the last there is."""
        read = select(webhook_cursor.c.number).where(webhook_cursor.c.name == _CURSOR)
        with faults("webhooks"), self._read() as connection:
            number = connection.scalar(read)
        if number is not None:
            return int(number)
        with faults("webhooks"), self._engine.begin() as connection:
            last = connection.scalar(select(func.max(audit.c.number))) or 0
            connection.execute(insert(webhook_cursor).values(name=_CURSOR, number=last).on_conflict_do_nothing())
            return int(connection.scalar(read) or 0)

    def take(self, webhook: str, limit: int) -> Sequence[Posting]:
        """Those that are due, for us alone for a while; the longest waiting first."""
        now = time.time()
        box = webhook_outbox.c
        due = select(webhook_outbox).where(box.webhook == webhook, box.state == "waiting", box.next_at <= now)
        with faults("webhooks"), self._read() as connection:
            rows = connection.execute(due.order_by(box.next_at).limit(limit)).mappings().all()
        if not rows:
            return []
        with faults("webhooks"), self._engine.begin() as connection:
            return [_posting(row) for row in rows if _claim(connection, row, now)]

    def delivered(self, one: Posting) -> None:
        """It was taken."""
        self._settle(one, state="taken", tries=one.tries + 1, told="", next_at=time.time(), body=b"")

    def failed(self, one: Posting, told: str, next_at: float | None) -> None:
        """It was not, and is tried then; None: not any more."""
        state: PostingState = "waiting" if next_at is not None else "dead"
        self._settle(one, state=state, tries=one.tries + 1, told=storable(told)[:500], next_at=next_at or time.time())

    def dead(self, webhook: str = "", limit: int = 100) -> Sequence[Posting]:
        """Those given up, the newest first."""
        box = webhook_outbox.c
        query = select(webhook_outbox).where(box.state == "dead").order_by(box.born_at.desc()).limit(limit)
        with faults("webhooks"), self._read() as connection:
            rows = connection.execute(query.where(box.webhook == webhook) if webhook else query).mappings()
            return [_posting(row) for row in rows]

    def revive(self, webhook: str) -> int:
        """Those given up are tried again from now on; how many."""
        box, now = webhook_outbox.c, time.time()
        which = update(webhook_outbox).where(box.webhook == webhook, box.state == "dead")
        with faults("webhooks"), self._engine.begin() as connection:
            return connection.execute(which.values(state="waiting", tries=0, born_at=now, next_at=now)).rowcount

    def counts(self) -> Mapping[tuple[str, str], int]:
        """(webhook, state) -> how many."""
        box = webhook_outbox.c
        query = select(box.webhook, box.state, func.count()).group_by(box.webhook, box.state)
        with faults("webhooks"), self._read() as connection:
            return {(name, state): number for name, state, number in connection.execute(query)}

    def prune(self, webhooks: Iterable[str]) -> int:
        """Forget what was taken or given up long ago, and what waits for a webhook that is not there any more."""
        box, now = webhook_outbox.c, time.time()
        with faults("webhooks"), self._engine.begin() as connection:
            gone = connection.execute(
                delete(webhook_outbox).where(
                    ((box.state == "taken") & (box.next_at < now - _TAKEN_KEPT_S))
                    | ((box.state == "dead") & (box.next_at < now - _DEAD_KEPT_S))
                    | (box.webhook.not_in(list(webhooks)) & (box.next_at < now - _DEAD_KEPT_S))
                )
            )
            return gone.rowcount

    def _settle(self, one: Posting, **values: Any) -> None:
        box = webhook_outbox.c
        with faults("webhooks"), self._engine.begin() as connection:
            which = update(webhook_outbox).where(box.id == one.id, box.webhook == one.webhook, box.state == "waiting")
            connection.execute(which.values(values))

    def _read(self) -> Connection:
        return self._engine.connect().execution_options(read_only=True)


def _add(connection: Connection, webhook: str, events: Sequence[tuple[Event, bytes]], max_waiting: int) -> int:
    if not events:
        return 0
    box = webhook_outbox.c
    waiting = connection.scalar(select(func.count()).where(box.webhook == webhook, box.state == "waiting")) or 0
    fits = events[: max(0, max_waiting - waiting)]
    now = time.time()
    for event, body in fits:
        values: dict[str, Any] = {"id": event.id, "webhook": webhook, "type": event.type, "body": body}
        values |= {"state": "waiting", "born_at": now, "tries": 0, "next_at": now, "told": ""}
        connection.execute(insert(webhook_outbox).values(values).on_conflict_do_nothing())
    return len(events) - len(fits)


def _claim(connection: Connection, row: Mapping[Any, Any], now: float) -> bool:
    """Of two gateways one moves the time."""
    box = webhook_outbox.c
    mine = update(webhook_outbox).where(
        box.id == row["id"], box.webhook == row["webhook"], box.state == "waiting", box.next_at == row["next_at"]
    )
    return bool(connection.execute(mine.values(next_at=now + _LEASE_S)).rowcount)


def _posting(row: Mapping[Any, Any]) -> Posting:
    return Posting(**{name: row[name] for name in Posting.__slots__})
