"""Held messages: rows in the database, contents as blobs. The blob is on the disk before the row is committed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, insert, or_, select, update

from gateway.errors import StoreError
from gateway.ports import BlobStore
from gateway.stores.engine import faults
from gateway.stores.schema import held
from gateway.types import HeldMessage, HeldQuery, QuarantineState, Scope, Summary

_PLAIN = tuple(name for name in HeldMessage.__slots__ if name != "summary")
_SUMMARY = tuple(Summary.__slots__)
_MAX_PAGE = 1000


class SqlQuarantine:
    """Implements ports.QuarantineStore."""

    def __init__(self, engine: Engine, blobs: BlobStore) -> None:
        self._engine = engine
        self._blobs = blobs

    def hold(self, messages: Sequence[HeldMessage], content: bytes) -> None:
        """All or nothing. A row that is there already stays as it is, released and deleted ones too: it is a retry."""
        if not messages:
            return
        key = self._blobs.put(content)
        if any(message.content_hash != key for message in messages):
            raise StoreError("quarantine: the content is not the one these rows name")
        with faults("quarantine"), self._engine.begin() as connection:
            ids = [message.id for message in messages]
            known = set(connection.scalars(select(held.c.id).where(held.c.id.in_(ids))))
            fresh = {message.id: message for message in messages if message.id not in known}
            if fresh:
                _lock(connection, key)
                self._blobs.put(content)  # it may have gone with its last row since; now none can be taken away
                connection.execute(insert(held), [_row(message) for message in fresh.values()])

    def get(self, held_id: str) -> HeldMessage | None:
        """By the whole id."""
        with faults("quarantine"), self._read() as connection:
            row = connection.execute(select(held).where(held.c.id == held_id)).mappings().first()
        return None if row is None else _message(row)

    def find(self, prefix: str) -> list[str]:
        """Ids that begin with this, two at most: enough to see whether it is the only one."""
        with faults("quarantine"), self._read() as connection:
            query = select(held.c.id).where(held.c.id.startswith(prefix, autoescape=True)).limit(2)
            return list(connection.scalars(query))

    def content(self, held_id: str) -> bytes:
        """The message as it was received."""
        message = self.get(held_id)
        if message is None or message.state == "deleted":
            raise StoreError(f"{held_id}: no content is kept")
        return self._blobs.get(message.content_hash)

    def list(self, query: HeldQuery) -> tuple[Sequence[HeldMessage], int]:
        """One page, newest first, and how many there are in all."""
        conditions = _conditions(query)
        page = (
            select(held)
            .where(*conditions)
            .order_by(held.c.received_at.desc(), held.c.id)
            .limit(max(1, min(query.limit, _MAX_PAGE)))
            .offset(max(0, query.offset))
        )
        with faults("quarantine"), self._read() as connection:
            rows = connection.execute(page).mappings().all()
            total = connection.scalar(select(func.count()).select_from(held).where(*conditions))
        return [_message(row) for row in rows], int(total or 0)

    def neighbours(self, query: HeldQuery, message: HeldMessage) -> tuple[str, str]:
        """Two look-ups in the order of `list`; the message itself need not be in the list any more."""
        at, key = held.c.received_at, held.c.id
        before = or_(at > message.received_at, and_(at == message.received_at, key < message.id))
        after = or_(at < message.received_at, and_(at == message.received_at, key > message.id))
        some = select(key).where(*_conditions(query)).limit(1)
        with faults("quarantine"), self._read() as connection:
            newer = connection.scalar(some.where(before).order_by(at, key.desc()))
            older = connection.scalar(some.where(after).order_by(at.desc(), key))
        return newer or "", older or ""

    def of_contents(self, content_hashes: Sequence[str]) -> Mapping[str, str]:
        """Of several messages with one content the newest."""
        query = select(held.c.content_hash, held.c.id).where(held.c.content_hash.in_(content_hashes))
        with faults("quarantine"), self._read() as connection:
            return {row[0]: row[1] for row in connection.execute(query.order_by(held.c.received_at, held.c.id))}

    def transition(
        self,
        held_id: str,
        before: Sequence[QuarantineState],
        after: QuarantineState,
        note: str = "",
        at: float | None = None,
    ) -> bool:
        """Compare-and-set. A deleted message's content goes with the last row that needs it."""
        change = {"state": after, "state_at": time.time()} | ({"note": note} if note else {})
        unchanged = [held.c.id == held_id, held.c.state.in_(before)] + ([] if at is None else [held.c.state_at == at])
        with faults("quarantine"), self._engine.begin() as connection:
            done = connection.execute(update(held).where(*unchanged).values(**change)).rowcount
            orphan = None
            if done and after == "deleted":
                key = connection.scalar(select(held.c.content_hash).where(held.c.id == held_id))
                _lock(connection, str(key))
                others = select(func.count()).where(held.c.content_hash == key, held.c.state != "deleted")
                orphan = None if connection.scalar(others) else key
            if orphan:
                self._blobs.delete(orphan)  # inside the transaction: no other row can be added for it meanwhile
        return bool(done)

    def counts(self) -> Mapping[str, int]:
        """State -> number of messages."""
        with faults("quarantine"), self._read() as connection:
            rows = connection.execute(select(held.c.state, func.count()).group_by(held.c.state)).all()
        return {str(row[0]): int(row[1]) for row in rows}

    def check(self) -> None:
        """A block in the blobs' folder, and a transaction that may write."""
        self._blobs.check()
        with faults("quarantine"), self._engine.begin() as connection:
            connection.execute(select(held.c.id).limit(1))

    def _read(self) -> Connection:
        return self._engine.connect().execution_options(read_only=True)


def _lock(connection: Connection, key: str) -> None:
    """Rows of this content are added or its blob deleted by one transaction at a time. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(int(key[:15], 16))))


def _conditions(query: HeldQuery) -> list[ColumnElement[bool]]:
    conditions = _in_scope(query.scope)
    if query.state:
        conditions.append(held.c.state == query.state)
    if query.domain:
        conditions.append(held.c.domain == query.domain)
    if query.text:
        columns = (held.c.subject, held.c.author, held.c.reverse_path, held.c.recipient, held.c.queue_id)
        conditions.append(or_(*(column.icontains(query.text, autoescape=True) for column in columns)))
    return conditions


def _in_scope(scope: Scope) -> list[ColumnElement[bool]]:
    if scope.is_all:
        return []
    named = [one for one in scope.domains if not one.startswith("*.")]
    below = [held.c.domain.endswith(one[1:], autoescape=True) for one in scope.domains if one.startswith("*.")]
    return [or_(held.c.domain.in_(named), func.lower(held.c.recipient).in_(scope.addresses), *below)]


def _row(message: HeldMessage) -> dict[str, Any]:
    row = {name: getattr(message, name) for name in _PLAIN}
    row |= {name: getattr(message.summary, name) for name in _SUMMARY}
    return {name: _storable(value) for name, value in row.items()}


def _storable(value: Any) -> Any:
    """No database takes lone surrogates, PostgreSQL no NUL."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
    return value


def _message(row: Mapping[Any, Any]) -> HeldMessage:
    summary = Summary(**{name: row[name] for name in _SUMMARY})
    return HeldMessage(summary=summary, **{name: row[name] for name in _PLAIN})
