"""Held messages: rows in the database, contents as blobs. The blob is on the disk before the row is committed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection, Engine, delete, func, insert, or_, select, update

from gateway.errors import InputError, StoreError
from gateway.mail.address import mention_of
from gateway.mail.search import folded
from gateway.ports import BlobStore
from gateway.stores import held_query
from gateway.stores.engine import faults, storable
from gateway.stores.schema import condemned, held, held_text, storage_key
from gateway.stores.vault import OVERHEAD, Key, SqlKeys, destroy, is_alive
from gateway.types import HeldKind, HeldMessage, HeldPage, HeldQuery, QuarantineState, Scope, Summary

_PLAIN = tuple(name for name in HeldMessage.__slots__ if name not in ("summary", "hits"))
_SUMMARY = tuple(Summary.__slots__)
CUT_OFF = "cut off while it was released: the next hop may have it"
_AT_ONCE = 500  # names in a statement
_MAX_PAGE = 1000


log = structlog.get_logger("darban.quarantine")


class _Place(NamedTuple):
    """Where a content is for one domain: the file's name, and its key where it is encrypted."""

    blob: str
    key: Key | None = None

    def columns(self) -> dict[str, str]:
        """Of the row."""
        return {"blob": self.blob, "storage_key": self.key.id if self.key else ""}


class SqlQuarantine:
    """Implements ports.QuarantineStore. With keys, new contents are encrypted."""

    def __init__(self, engine: Engine, blobs: BlobStore, keys: SqlKeys | None = None) -> None:
        self._engine = engine
        self._blobs = blobs
        self._keys = keys

    def hold(self, messages: Sequence[HeldMessage], content: bytes) -> None:
        """All or nothing. A row that is there already stays as it is, released and deleted ones too: it is a retry."""
        key = hashlib.sha256(content).hexdigest()
        if any(message.content_hash != key for message in messages):
            raise StoreError("quarantine: the content is not the one these rows name")
        with faults("quarantine"), self._read() as connection:
            fresh = _fresh(connection, messages)
        if fresh and not self._hold(fresh, content) and not self._hold(fresh, content):
            raise StoreError("quarantine: the storage key was destroyed meanwhile")

    def _hold(self, messages: Sequence[HeldMessage], content: bytes) -> bool:
        """False when a key was destroyed since this process read it: the next try has a new one."""
        places = {domain: self._place(domain, content) for domain in {message.domain for message in messages}}
        for place in places.values():
            self._put(place, content)
        with faults("quarantine"), self._engine.begin() as connection:
            fresh = _fresh(connection, messages)
            for place in sorted(places.values(), key=lambda one: one.blob):
                _lock(connection, place.blob)
                if place.key is not None and not is_alive(connection, place.key.id):
                    self._keys_needed().forget(place.key)
                    return False
                self._put(place, content)  # it may have gone with its last row since; now none can be taken away
            if fresh:
                connection.execute(insert(held), [_row(one) | places[one.domain].columns() for one in fresh])
                connection.execute(insert(held_text), [_text(one) for one in fresh])
        return True

    def _place(self, domain: str, content: bytes) -> _Place:
        content_hash = hashlib.sha256(content).hexdigest()
        if self._keys is None:
            return _Place(content_hash)
        key = self._keys.current(domain)
        return _Place(key.blob_name(content_hash), key)

    def _put(self, place: _Place, content: bytes) -> None:
        key, name = place.key, place.blob
        if key is None:
            self._blobs.write(name, len(content), lambda: content)
        else:
            self._blobs.write(name, len(content) + OVERHEAD, lambda: key.seal(content, name))

    def _keys_needed(self) -> SqlKeys:
        if self._keys is None:
            raise StoreError("quarantine: this content is encrypted; write [storage] encryption_key")
        return self._keys

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
        query = select(held.c.state, held.c.content_hash, held.c.blob, held.c.storage_key).where(held.c.id == held_id)
        with faults("quarantine"), self._read() as connection:
            row = connection.execute(query).first()
        if row is None or row.state == "deleted":
            raise StoreError(f"{held_id}: no content is kept")
        if not row.storage_key:
            return self._blobs.get(row.blob)
        content = self._keys_needed().get(row.storage_key).unseal(self._blobs.read(row.blob), row.blob)
        if hashlib.sha256(content).hexdigest() != row.content_hash:
            raise StoreError(f"blob {row.blob[:12]}: content does not match its hash")
        return content

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

    def of_messages(self, queue_ids: Sequence[str]) -> Sequence[HeldMessage]:
        """What was held under these queue ids, in whatever state it is."""
        with faults("quarantine"), self._read() as connection:
            rows = connection.execute(select(held).where(held.c.queue_id.in_(queue_ids))).mappings().all()
        return [_message(row) for row in rows]

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
        blob = ""
        with faults("quarantine"), self._engine.begin() as connection:
            done = connection.execute(update(held).where(*unchanged).values(**change)).rowcount
            if done and after == "deleted":
                blob = str(connection.scalar(select(held.c.blob).where(held.c.id == held_id)))
                _condemn(connection, blob)
        if blob:
            self._bury(blob)
        return bool(done)

    def give_up_releases(self, before: float) -> Sequence[str]:
        """Who began one stays written: a bulk job sends nothing again that it had begun."""
        lost = (held.c.state == "releasing", held.c.state_at < before)
        change = update(held).where(*lost).values(state="held", state_at=time.time(), note=CUT_OFF)
        with faults("quarantine"), self._engine.begin() as connection:
            return list(connection.scalars(change.returning(held.c.id)))

    def due(
        self, domain: str, state: QuarantineState, before: float, kind: HeldKind | None = None, limit: int = 100
    ) -> Sequence[str]:
        """Ids, oldest first: held ones received before, others in their state since before."""
        since = held.c.received_at if state == "held" else held.c.state_at
        query = select(held.c.id).where(held.c.domain == domain, held.c.state == state, since < before)
        query = query if kind is None else query.where(held.c.kind == kind)
        with faults("quarantine"), self._read() as connection:
            return list(connection.scalars(query.order_by(held.c.received_at).limit(limit)))

    def oldest(self, domain: str = "", limit: int = 100) -> Sequence[tuple[str, QuarantineState, int]]:
        """Id, state and bytes of what is released, then of what is held, oldest first; of a domain or of all."""
        chosen = [held.c.domain == domain] if domain else []
        found: list[tuple[str, QuarantineState, int]] = []
        with faults("quarantine"), self._read() as connection:
            for state in ("released", "held"):
                query = select(held.c.id, held.c.state, held.c.size_bytes).where(held.c.state == state, *chosen)
                rows = connection.execute(query.order_by(held.c.received_at).limit(limit - len(found)))
                found += [(row.id, row.state, row.size_bytes) for row in rows]
        return found

    def domains(self) -> Sequence[str]:
        """Those there are rows of, sorted."""
        with faults("quarantine"), self._read() as connection:
            return list(connection.scalars(select(held.c.domain).distinct().order_by(held.c.domain)))

    def sizes_of_domains(self) -> Mapping[str, int]:
        """Domain -> bytes of its contents as they were received, each once."""
        each = (
            select(held.c.domain, held.c.blob, func.max(held.c.size_bytes).label("size"))
            .where(held.c.state != "deleted")
            .group_by(held.c.domain, held.c.blob)
            .subquery()
        )
        query = select(each.c.domain, func.sum(each.c.size)).group_by(each.c.domain)
        with faults("quarantine"), self._read() as connection:
            return {str(domain): int(size) for domain, size in connection.execute(query)}

    def forget(self, domain: str, before: float, limit: int = 1000) -> int:
        """Take out rows of messages deleted before; how many went."""
        gone = select(held.c.id).where(held.c.domain == domain, held.c.state == "deleted", held.c.state_at < before)
        with faults("quarantine"), self._engine.begin() as connection:
            return connection.execute(delete(held).where(held.c.id.in_(gone.limit(limit)))).rowcount

    def finish_deletes(self) -> int:
        """Take away contents whose rows were deleted when the process or the disk failed; how many there were."""
        with faults("quarantine"), self._read() as connection:
            blobs = list(connection.scalars(select(condemned.c.blob).limit(_MAX_PAGE)))
        for blob in blobs:
            self._bury(blob)
        return len(blobs)

    def sweep(self, shard: int, older_than_s: float = 86_400.0) -> int:
        """Of one of the 256 folders of contents, take away those without a row: a hold that did not end left them."""
        names, swept = self._blobs.names(shard, older_than_s), 0
        for start in range(0, len(names), _MAX_PAGE):
            some = names[start : start + _MAX_PAGE]
            used = select(held.c.blob).where(held.c.blob.in_(some), held.c.state != "deleted")
            with faults("quarantine"), self._read() as connection:
                orphans = set(some) - set(connection.scalars(used))
            for name in orphans:
                if name.startswith("."):
                    self._blobs.discard(name)
                else:
                    self._bury(name)
            swept += len(orphans)
        return swept

    def encrypt(self, limit: int = 100) -> int:
        """Encrypt contents that are stored as they were received; how many rows were changed. Newest first."""
        if self._keys is None:
            return 0
        plain = select(held.c.id, held.c.domain, held.c.blob).where(held.c.storage_key == "", held.c.state != "deleted")
        with faults("quarantine"), self._read() as connection:
            rows = connection.execute(plain.limit(limit)).all()
        return sum(self._encrypt(*row) for row in rows)

    def _encrypt(self, held_id: str, domain: str, blob: str) -> bool:
        try:
            content = self._blobs.get(blob)
        except StoreError as error:  # the next look tries it again; others go on
            log.warning("not encrypted", held_id=held_id, error=str(error))
            return False
        place = self._place(domain, content)
        self._put(place, content)
        unchanged = [held.c.id == held_id, held.c.blob == blob, held.c.state != "deleted"]
        with faults("quarantine"), self._engine.begin() as connection:
            _lock(connection, place.blob)
            if place.key is None or not is_alive(connection, place.key.id):
                return False
            self._put(place, content)
            done = connection.execute(update(held).where(*unchanged).values(place.columns())).rowcount
            _condemn(connection, blob)
        self._bury(blob)
        return bool(done)

    def shred(self, domain: str, note: str) -> tuple[int, Sequence[str]]:
        """Delete all that is kept for the domain and destroy its keys; how many messages, and which keys.

        Raises InputError while one is being released."""
        chosen = [held.c.domain == domain, held.c.state != "deleted"]
        with faults("quarantine"), self._engine.begin() as connection:
            if connection.scalar(select(func.count()).where(held.c.domain == domain, held.c.state == "releasing")):
                raise InputError(f"{domain}: a message is being released; try again when that has ended")
            blobs = list(connection.scalars(select(held.c.blob).where(*chosen).distinct()))
            change = {"state": "deleted", "state_at": time.time(), "note": note}
            number = connection.execute(update(held).where(*chosen).values(change)).rowcount
            for blob in sorted(blobs):
                _condemn(connection, blob)
            keys = connection.scalars(select(storage_key.c.id).where(storage_key.c.domain == domain)).all()
            gone = [place for key in keys if (place := destroy(connection, key))]
        for blob in blobs:
            self._bury(blob)
        return number, gone

    def about(self, address: str, *, as_sender: bool) -> Sequence[HeldMessage]:
        """Messages to this address, and from it when that is asked for; oldest first."""
        columns = (held.c.recipient, held.c.reverse_path, held.c.author)
        asked = [one.icontains(address, autoescape=True) for one in (columns if as_sender else columns[:1])]
        with faults("quarantine"), self._read() as connection:
            rows = connection.execute(select(held).where(or_(*asked)).order_by(held.c.received_at)).mappings()
            found = [_message(row) for row in rows]
        named = mention_of(address)
        return [one for one in found if any(map(named.search, (one.recipient, one.reverse_path, one.summary.author)))]

    def erase(self, held_ids: Sequence[str]) -> int:
        """Take out the rows of deleted messages; how many went."""
        chosen = [held.c.id.in_(held_ids), held.c.state == "deleted"]
        with faults("quarantine"), self._engine.begin() as connection:
            return connection.execute(delete(held).where(*chosen)).rowcount

    def _bury(self, blob: str) -> None:
        """Take a condemned content away, unless a row needs it again. What fails is tried again by finish_deletes."""
        try:
            with faults("quarantine"), self._engine.begin() as connection:
                _lock(connection, blob)
                needed = select(func.count()).where(held.c.blob == blob, held.c.state != "deleted")
                if not connection.scalar(needed):
                    self._blobs.delete(blob)  # inside the transaction: no row can be added for it meanwhile
                connection.execute(delete(condemned).where(condemned.c.blob == blob))
        except StoreError as error:
            log.warning("content not taken away yet", blob=blob[:12], error=str(error))

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


def _fresh(connection: Connection, messages: Sequence[HeldMessage]) -> list[HeldMessage]:
    """Those without a row; of several with one id the last."""
    each = {message.id: message for message in messages}
    known = set(connection.scalars(select(held.c.id).where(held.c.id.in_(each))))
    return [message for held_id, message in each.items() if held_id not in known]


def _condemn(connection: Connection, blob: str) -> None:
    """Its last row may be deleted: noted with that, so that a crash before the file goes is made good."""
    _lock(connection, blob)
    if not connection.scalar(select(func.count()).where(condemned.c.blob == blob)):
        connection.execute(insert(condemned).values(blob=blob))


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
