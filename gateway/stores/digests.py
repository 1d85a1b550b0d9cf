"""Digests: which were sent and what they listed, the keys their links are signed with, and who wants none.

A message is in a reader's digest once: it is listed again only when the digest it was in did not go out. Claiming comes
before sending and settling after it; a claim nobody settled is given up, never sent again, and what it listed comes in
the next. Contents are never here.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, delete, exists, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from gateway.errors import StoreError
from gateway.stores.engine import faults, storable
from gateway.stores.schema import digest, digest_item, digest_key, digest_stop, held
from gateway.types import Digest, DigestSending

KEY_S = 30 * 86_400  # a key signs so long
KEPT_S = 120 * 86_400  # digests and keys; longer than links last ([digest] link_days)
_COLUMNS = tuple(Digest.__slots__)
_MAILBOX = func.lower(held.c.recipient)


class SqlDigests:
    """Implements ports.DigestStore."""

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._now = now

    # --- sending ------------------------------------------------------------------------------------------------------

    def pending(self, domain: str, reader: str, since: float, until: float) -> Mapping[str, int]:
        """By the index of states and times."""
        to = literal(reader) if reader else _MAILBOX
        stopped = exists().where(digest_stop.c.mailbox == _MAILBOX, digest_stop.c.reader == to)
        query = (
            select(_MAILBOX, func.count())
            .where(_of_domain(domain), *_open(to, since, until), ~stopped)
            .group_by(_MAILBOX)
        )
        with faults("digests"), self._read() as connection:
            return {row[0]: int(row[1]) for row in connection.execute(query)}

    def preview(self, one: Digest, since: float, at_most: int) -> Sequence[str]:
        """What claim would list."""
        with faults("digests"), self._read() as connection:
            return list(connection.scalars(_wanted(one, since, at_most)))

    def claim(self, one: Digest, since: float, at_most: int) -> Sequence[str]:
        """One of several runs that ask at the same time is given any."""
        values = {name: storable(getattr(one, name)) for name in _COLUMNS}
        state = {"state": "sending", "state_at": self._now(), "note": ""}
        try:
            with faults("digests"), self._engine.begin() as connection:
                _lock(connection, one)
                before = connection.scalar(select(digest.c.state).where(digest.c.id == one.id))
                if before not in (None, "failed"):
                    return ()
                connection.execute(delete(digest_item).where(digest_item.c.digest_id == one.id))
                ids = list(connection.scalars(_wanted(one, since, at_most)))
                if not ids:
                    return ()
                if before is None:
                    connection.execute(insert(digest).values(**values, **state))
                else:
                    connection.execute(update(digest).where(digest.c.id == one.id).values(**values, **state))
                connection.execute(insert(digest_item), [{"digest_id": one.id, "held_id": held_id} for held_id in ids])
                return ids
        except StoreError as error:
            if isinstance(error.__cause__, IntegrityError):  # another run was first
                return ()
            raise

    def settle(self, digest_id: str, state: DigestSending, note: str) -> None:
        """The end of a claim."""
        values = {"state": state, "state_at": self._now(), "note": storable(note[:300])}
        with faults("digests"), self._engine.begin() as connection:
            connection.execute(
                update(digest).where(digest.c.id == digest_id, digest.c.state == "sending").values(**values)
            )

    def give_up(self, before: float) -> Sequence[Digest]:
        """Each claim is given up by one run only."""
        old = (digest.c.state == "sending") & (digest.c.state_at < before)
        note = "whoever sent it ended before it was noted"
        with faults("digests"), self._engine.begin() as connection:
            found = [_digest(row) for row in connection.execute(select(digest).where(old).with_for_update()).mappings()]
            if found:
                values = {"state": "unknown", "state_at": self._now(), "note": note}
                connection.execute(update(digest).where(old).values(**values))
        return found

    def purge(self) -> None:
        """Digests, with what they listed, and keys that no link in force is signed with."""
        end = self._now() - KEPT_S
        with faults("digests"), self._engine.begin() as connection:
            gone = select(digest.c.id).where(digest.c.state_at < end)
            connection.execute(delete(digest_item).where(digest_item.c.digest_id.in_(gone)))
            connection.execute(delete(digest).where(digest.c.state_at < end))
            connection.execute(delete(digest_key).where(digest_key.c.made_at < end))

    # --- links --------------------------------------------------------------------------------------------------------

    def get(self, digest_id: str) -> Digest | None:
        """By its id."""
        with faults("digests"), self._read() as connection:
            row = connection.execute(select(digest).where(digest.c.id == digest_id)).mappings().first()
        return None if row is None else _digest(row)

    def key(self, number: int) -> bytes | None:
        """None for one that is not kept."""
        with faults("digests"), self._read() as connection:
            found = connection.scalar(select(digest_key.c.secret).where(digest_key.c.number == number))
        return None if found is None else bytes(found)

    def signing_key(self) -> tuple[int, bytes]:
        """A new one every month."""
        newest = select(digest_key).order_by(digest_key.c.number.desc()).limit(1)
        with faults("digests"), self._read() as connection:
            row = connection.execute(newest).mappings().first()
        if row is not None and self._now() - row["made_at"] < KEY_S:
            return row["number"], bytes(row["secret"])
        made = {"number": 1 if row is None else row["number"] + 1, "secret": secrets.token_bytes(32)}
        try:
            with faults("digests"), self._engine.begin() as connection:
                connection.execute(insert(digest_key).values(**made, made_at=self._now()))
        except StoreError as error:
            if isinstance(error.__cause__, IntegrityError):  # another process was first
                return self.signing_key()
            raise
        return int(made["number"]), bytes(made["secret"])

    # --- who wants none -----------------------------------------------------------------------------------------------

    def is_stopped(self, mailbox: str, reader: str) -> bool:
        """Whether this reader wants no digests of this mailbox."""
        row = (digest_stop.c.mailbox == mailbox) & (digest_stop.c.reader == reader)
        with faults("digests"), self._read() as connection:
            return connection.scalar(select(digest_stop.c.at).where(row)) is not None

    def stop(self, mailbox: str, reader: str, *, is_stopped: bool) -> None:
        """Idempotent."""
        row = (digest_stop.c.mailbox == mailbox) & (digest_stop.c.reader == reader)
        with faults("digests"), self._engine.begin() as connection:
            connection.execute(delete(digest_stop).where(row))
            if is_stopped:
                connection.execute(insert(digest_stop).values(mailbox=mailbox, reader=reader, at=self._now()))

    # --- one person's -------------------------------------------------------------------------------------------------

    def about(self, address: str) -> Sequence[Digest]:
        """Those of this mailbox, and those that went to this reader, oldest first."""
        theirs = (digest.c.mailbox == address) | (digest.c.reader == address)
        with faults("digests"), self._read() as connection:
            rows = connection.execute(select(digest).where(theirs).order_by(digest.c.at, digest.c.id)).mappings()
            return [_digest(row) for row in rows]

    def erase(self, address: str) -> int:
        """The same, what they listed, and who wanted no more; how many digests went. Their links do nothing then."""
        theirs = (digest.c.mailbox == address) | (digest.c.reader == address)
        with faults("digests"), self._engine.begin() as connection:
            gone = select(digest.c.id).where(theirs)
            connection.execute(delete(digest_item).where(digest_item.c.digest_id.in_(gone)))
            stopped = (digest_stop.c.mailbox == address) | (digest_stop.c.reader == address)
            connection.execute(delete(digest_stop).where(stopped))
            return connection.execute(delete(digest).where(theirs)).rowcount

    def _read(self) -> Connection:
        return self._engine.connect().execution_options(read_only=True)


def _open(to: ColumnElement[str], since: float, until: float) -> list[ColumnElement[bool]]:
    """Held messages of that time that were in no digest to this reader."""
    told = (
        exists()
        .where(digest_item.c.held_id == held.c.id, digest.c.id == digest_item.c.digest_id)
        .where(digest.c.reader == to, digest.c.state.in_(("sent", "sending")))
    )
    return [held.c.state == "held", held.c.received_at > since, held.c.received_at <= until, ~told]


def _wanted(one: Digest, since: float, at_most: int) -> Any:
    """The ids; what is most likely wanted first."""
    conditions = [literal(one.mailbox) == _MAILBOX, *_open(literal(one.reader), since, one.at)]
    return select(held.c.id).where(*conditions).order_by(held.c.score, held.c.id).limit(at_most)


def _of_domain(domain: str) -> ColumnElement[bool]:
    below = domain.startswith("*.")
    return held.c.domain.endswith(domain[1:], autoescape=True) if below else held.c.domain == domain


def _lock(connection: Connection, one: Digest) -> None:
    """One digest of a mailbox and reader is claimed at a time. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        named = hashlib.sha256(f"digest\0{one.mailbox}\0{one.reader}".encode("utf-8", "replace")).digest()
        connection.execute(select(func.pg_advisory_xact_lock(int.from_bytes(named[:8], "big", signed=True))))


def _digest(row: Mapping[Any, Any]) -> Digest:
    return Digest(**{name: row[name] for name in _COLUMNS})
