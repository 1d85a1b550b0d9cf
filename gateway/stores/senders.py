"""Senders that people allow and block. Each change takes the next revision under a lock on the one row that counts
them, so whoever asks for what changed since his revision misses nothing: that is how listeners follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Integer,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from gateway.errors import InputError
from gateway.mail.address import domain_of
from gateway.stores.engine import faults, storable
from gateway.stores.schema import sender, sender_revision
from gateway.types import Scope, SenderEntry, SenderQuery

MAX_ENTRIES = 100_000  # every listener has them in memory
_MAX_PAGE = 1000
_KEY = ("act", "pattern", "recipient", "network")
_PLAIN = tuple(name for name in SenderEntry.__slots__ if name != "is_removed")
_SAID = ("act", "pattern", "recipient", "network", "expires_at", "by", "at", "note", "held_id")


class SqlSenders:
    """Implements ports.SenderStore."""

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._now = now

    def add(self, entry: SenderEntry) -> SenderEntry:
        """What was said before about the same is replaced; how often it was of use is kept."""
        return self.add_all([entry])[0]

    def add_all(self, entries: Sequence[SenderEntry]) -> Sequence[SenderEntry]:
        """All, or none."""
        with faults("senders"), self._engine.begin() as connection:
            revision = _next_revision(connection, len(entries))
            numbers = [self._put(connection, entry, revision + place) for place, entry in enumerate(entries)]
            self._check_room(connection)
            rows = [
                connection.execute(select(sender).where(sender.c.number == number)).mappings().one()
                for number in numbers
            ]
        return [_entry(row) for row in rows]

    def _put(self, connection: Connection, entry: SenderEntry, revision: int) -> int:
        said = {name: storable(getattr(entry, name)) for name in _SAID} | {"revision": revision}
        number = connection.scalar(select(sender.c.number).where(*(sender.c[name] == said[name] for name in _KEY)))
        if number is None:
            fresh = said | {"recipient_domain": _domain(entry.recipient), "hits": 0}
            return int(connection.execute(insert(sender).values(fresh)).inserted_primary_key[0])  # type: ignore[index]
        connection.execute(update(sender).where(sender.c.number == number).values(said | {"removed_at": None}))
        return int(number)

    def get(self, number: int, scope: Scope) -> SenderEntry | None:
        """By its number."""
        query = select(sender).where(sender.c.number == number, sender.c.removed_at.is_(None), *_in_scope(scope))
        with faults("senders"), self._read() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _entry(row)

    def list(self, query: SenderQuery) -> tuple[Sequence[SenderEntry], int]:
        """Expired ones too, until they are purged."""
        conditions = [sender.c.removed_at.is_(None), *_in_scope(query.scope)]
        if query.act:
            conditions.append(sender.c.act == query.act)
        if query.is_in_force:
            conditions.append(self._in_force())
        if query.text:
            columns = (sender.c.pattern, sender.c.recipient, sender.c.note, sender.c.by)
            text = storable(query.text)
            conditions.append(or_(*(column.icontains(text, autoescape=True) for column in columns)))
        page = select(sender).where(*conditions).order_by(sender.c.number.desc())
        if query.before is not None:
            page = page.where(sender.c.number < query.before)
        with faults("senders"), self._read() as connection:
            rows = connection.execute(page.limit(max(1, min(query.limit, _MAX_PAGE)))).mappings().all()
            total = connection.scalar(select(func.count()).select_from(sender).where(*conditions))
        return [_entry(row) for row in rows], int(total or 0)

    def remove(self, number: int, scope: Scope) -> bool:
        """It stays as a row for a while, so that every listener hears of it."""
        which = [sender.c.number == number, sender.c.removed_at.is_(None), *_in_scope(scope)]
        with faults("senders"), self._engine.begin() as connection:
            change = {"removed_at": self._now(), "revision": _next_revision(connection)}
            return bool(connection.execute(update(sender).where(*which).values(**change)).rowcount)

    def fitting(self, patterns: Collection[str], recipients: Collection[str]) -> Sequence[SenderEntry]:
        """By the index of their key."""
        named = sender.c.pattern.in_([*map(storable, patterns)]), sender.c.recipient.in_([*map(storable, recipients)])
        query = select(sender).where(*named, sender.c.removed_at.is_(None), self._in_force())
        with faults("senders"), self._read() as connection:
            return [_entry(row) for row in connection.execute(query.order_by(sender.c.number)).mappings()]

    def since(self, revision: int, limit: int = 5000) -> Sequence[SenderEntry]:
        """Each entry once, as it is now."""
        query = select(sender).where(sender.c.revision > revision).order_by(sender.c.revision).limit(limit)
        with faults("senders"), self._read() as connection:
            return [_entry(row) for row in connection.execute(query).mappings()]

    def count_hits(self, hits: Mapping[int, tuple[int, float]]) -> None:
        """In one transaction."""
        if not hits:
            return
        which, last = sender.c.number == bindparam("which"), sender.c.last_hit_at
        more = sender.c.hits + bindparam("more", type_=Integer)
        is_newer = or_(last.is_(None), last <= bindparam("last"))
        changes = (  # other listeners may have told of later ones
            update(sender).where(which, ~is_newer).values(hits=more),
            update(sender).where(which, is_newer).values(hits=more, last_hit_at=bindparam("last")),
        )
        rows = [{"which": number, "more": count, "last": at} for number, (count, at) in sorted(hits.items())]
        with faults("senders"), self._engine.begin() as connection:
            for change in changes:
                connection.execute(change, rows)

    def purge(self, removed_s: float, ended_s: float) -> int:
        """Who follows has to ask more often than every `removed_s`."""
        now = self._now()
        old = or_(sender.c.removed_at < now - removed_s, sender.c.expires_at < now - ended_s)
        with faults("senders"), self._engine.begin() as connection:
            return connection.execute(delete(sender).where(old)).rowcount

    def about(self, address: str, *, as_sender: bool) -> Sequence[SenderEntry]:
        """Those about mail to this address (lower case), and those its account said; about its mail too if asked."""
        with faults("senders"), self._read() as connection:
            query = select(sender).where(_names(address, as_sender=as_sender)).order_by(sender.c.number)
            return [_entry(row) for row in connection.execute(query).mappings()]

    def erase(self, address: str, pseudonym: str, *, as_sender: bool) -> int:
        """Remove those about mail to it, or from it; put another name where its account said others. How many."""
        with faults("senders"), self._engine.begin() as connection:
            named = _names(address, as_sender=as_sender)
            numbers = connection.scalars(select(sender.c.number).where(named).order_by(sender.c.number)).all()
            revision = _next_revision(connection, len(numbers))
            for place, number in enumerate(numbers):
                which = update(sender).where(sender.c.number == number)
                connection.execute(which.values(revision=revision + place))
                about = sender.c.recipient == address
                about = or_(about, sender.c.pattern == address) if as_sender else about
                connection.execute(which.where(about).values(removed_at=self._now(), note="", held_id=""))
                connection.execute(which.where(func.lower(sender.c.by) == address).values(by=pseudonym))
        return len(numbers)

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _check_room(self, connection: Connection) -> None:
        """Raises InputError when more count than may."""
        counts = [sender.c.removed_at.is_(None), self._in_force()]
        if (connection.scalar(select(func.count()).select_from(sender).where(*counts)) or 0) > MAX_ENTRIES:
            raise InputError(f"{MAX_ENTRIES:,} senders are allowed or blocked, as many as there may be; remove some")

    def _in_force(self) -> ColumnElement[bool]:
        return or_(sender.c.expires_at.is_(None), sender.c.expires_at > self._now())

    def _read(self) -> Connection:
        return self._engine.connect().execution_options(read_only=True)


def _next_revision(connection: Connection, count: int = 1) -> int:
    """The first of so many. Its row is locked until the end of the transaction: they become visible in their order."""
    connection.execute(update(sender_revision).values(revision=sender_revision.c.revision + count))
    return int(connection.scalar(select(sender_revision.c.revision)) or 0) - count + 1


def _domain(recipient: str) -> str:
    return domain_of(recipient) if "@" in recipient else recipient


def _in_scope(scope: Scope) -> list[ColumnElement[bool]]:
    """The entries about mail of the scope alone: not those for everybody, nor of a domain for who has one address."""
    if scope.is_all:
        return []
    named = [one for one in scope.domains if not one.startswith("*.")]
    below = [
        sender.c.recipient_domain.endswith(one[1:], autoescape=True) for one in scope.domains if one.startswith("*.")
    ]
    about = or_(sender.c.recipient_domain.in_(named), sender.c.recipient.in_(scope.addresses), *below)
    return [sender.c.recipient != "", about]


def _names(address: str, *, as_sender: bool) -> ColumnElement[bool]:
    about = or_(sender.c.recipient == address, func.lower(sender.c.by) == address)
    about = or_(about, sender.c.pattern == address) if as_sender else about
    return and_(about, sender.c.removed_at.is_(None))


def _entry(row: Mapping[Any, Any]) -> SenderEntry:
    return SenderEntry(is_removed=row["removed_at"] is not None, **{name: row[name] for name in _PLAIN})
