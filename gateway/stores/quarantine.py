"""Held messages: rows in the database, contents as blobs. The blob is on the disk before the row is committed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from gateway.errors import StoreError
from gateway.mail.search import folded
from gateway.ports import BlobStore
from gateway.stores import held_query
from gateway.stores.engine import faults, storable
from gateway.stores.schema import held, held_text
from gateway.types import HeldMessage, HeldPage, HeldQuery, QuarantineState, Scope, Summary

_PLAIN = tuple(name for name in HeldMessage.__slots__ if name not in ("summary", "hits"))
_SUMMARY = tuple(Summary.__slots__)
_AT_ONCE = 500  # names in a statement


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
                connection.execute(insert(held_text), [_text(message) for message in fresh.values()])

    def get(self, held_id: str) -> HeldMessage | None:
        """By the whole id."""
        with faults("quarantine"), self._read() as connection:
            row = connection.execute(select(held).where(held.c.id == held_id)).mappings().first()
        return None if row is None else _message(row)

    def several(self, held_ids: Sequence[str]) -> Mapping[str, HeldMessage]:
        """Id -> message, of those that there are."""
        found: dict[str, HeldMessage] = {}
        with faults("quarantine"), self._read() as connection:
            for start in range(0, len(held_ids), _AT_ONCE):
                some = held.c.id.in_(held_ids[start : start + _AT_ONCE])
                found |= {row["id"]: _message(row) for row in connection.execute(select(held).where(some)).mappings()}
        return found

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

    def list(self, query: HeldQuery) -> HeldPage:
        """One page. Raises InputError for an `after` that is none."""
        with faults("quarantine"), self._read() as connection:
            found = held_query.find(connection, query)
        by_id = self.several(found.ids)
        messages = [by_id[one] for one in found.ids if one in by_id]
        return HeldPage(messages, found.total, found.is_floor, found.next)

    def neighbours(self, query: HeldQuery, message: HeldMessage) -> tuple[str, str]:
        """The message itself need not be in the list any more."""
        with faults("quarantine"), self._read() as connection:
            return held_query.neighbours(connection, query, message)

    def ids(self, query: HeldQuery, at_most: int) -> Sequence[str]:
        """Of all that match, in order, but so many at most."""
        with faults("quarantine"), self._read() as connection:
            return held_query.all_ids(connection, query, at_most)

    def mark(self) -> int:
        """The number of the newest row."""
        with faults("quarantine"), self._read() as connection:
            return int(connection.scalar(select(func.max(held_text.c.number))) or 0)

    def count(self, query: HeldQuery, at_most: int) -> int:
        """How many match, if fewer than `at_most`."""
        with faults("quarantine"), self._read() as connection:
            return held_query.count(connection, query, at_most)

    def sizes(self, query: HeldQuery, campaigns: Sequence[str]) -> Mapping[str, int]:
        """Campaign -> how many of it match; of more than a thousand, a thousand and one."""
        with faults("quarantine"), self._read() as connection:
            return held_query.sizes(connection, query, campaigns)

    def changed(self, scope: Scope, since: float, at_most: int) -> Sequence[HeldMessage]:
        """Messages of the scope that somebody acted on since then, the newest first."""
        conditions = [held.c.state_at > since, held.c.state != "held", *held_query.in_scope(scope)]
        page = select(held).where(*conditions).order_by(held.c.state_at.desc()).limit(at_most)
        with faults("quarantine"), self._read() as connection:
            return [_message(row) for row in connection.execute(page).mappings()]

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
        by: str = "",
    ) -> bool:
        """Compare-and-set. A deleted message's content goes with the last row that needs it."""
        change = {"state": after, "state_at": time.time(), "state_by": by} | ({"note": note} if note else {})
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


def _row(message: HeldMessage) -> dict[str, Any]:
    row = {name: getattr(message, name) for name in _PLAIN}
    row |= {name: getattr(message.summary, name) for name in _SUMMARY}
    row["hits"] = " ".join(message.hits)
    return {name: storable(value) for name, value in row.items()}


def _text(message: HeldMessage) -> dict[str, str]:
    summary = message.summary
    texts = {
        "sender": folded(f"{summary.author} {message.reverse_path}"),
        "recipient": folded(message.recipient),
        "words": folded(f"{summary.subject} {message.queue_id} {summary.message_id}"),
        "hits": f" {' '.join(message.hits)} ",
    }
    return {"held_id": message.id} | {name: storable(text) for name, text in texts.items()}


def _message(row: Mapping[Any, Any]) -> HeldMessage:
    summary = Summary(**{name: row[name] for name in _SUMMARY})
    return HeldMessage(summary=summary, hits=tuple(row["hits"].split()), **{name: row[name] for name in _PLAIN})
