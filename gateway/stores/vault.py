"""Contents of held messages at rest: AES-256-GCM under a random key each, that under a key of its domain and month.

The month's key is in the database, wrapped by the master key, which is in a file and nowhere else. When a month's key
is destroyed, what it locked cannot be read again; `SqlKeys.rewrap` with a new master does the same to copies of the
database (docs/privacy.md). A file's name is made with the month's key too: it is the same for the same content, so a
retry makes no second copy, and it tells nobody without the key which content that is.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import ColumnElement, Connection, Engine, func, insert, select, update

from gateway.errors import StoreError
from gateway.stores.engine import faults
from gateway.stores.schema import held, storage_key

_MAGIC = b"DARBAN\x01\n"
_NONCE, _TAG, _KEY = 12, 16, 32
_WRAPPED = _NONCE + _KEY + _TAG
OVERHEAD = len(_MAGIC) + _WRAPPED + _NONCE + _TAG
_LOCK = 0x44415243  # "DARC": keys are made and rewrapped by one at a time
_WHAT = "storage keys"


@dataclass(frozen=True, slots=True)
class Key:
    """A domain's key of one month."""

    id: str
    secret: bytes

    def blob_name(self, content_hash: str) -> str:
        """The name of the file with this content."""
        return hmac.new(self._part("name"), content_hash.encode(), hashlib.sha256).hexdigest()

    def seal(self, content: bytes, name: str) -> bytes:
        """Encrypted, bound to its name."""
        one, bound = secrets.token_bytes(_KEY), self._bound(name)
        return _MAGIC + _encrypt(self._part("wrap"), one, bound) + _encrypt(one, content, bound)

    def unseal(self, sealed: bytes, name: str) -> bytes:
        """The content. Raises StoreError when it was changed or is another's."""
        start = len(_MAGIC)
        try:
            if not sealed.startswith(_MAGIC):
                raise InvalidTag
            one = _decrypt(self._part("wrap"), sealed[start : start + _WRAPPED], self._bound(name))
            return _decrypt(one, sealed[start + _WRAPPED :], self._bound(name))
        except (InvalidTag, ValueError):
            raise StoreError(f"blob {name[:12]}: cannot be decrypted; the file was changed or damaged") from None

    def _part(self, use: str) -> bytes:
        return hmac.new(self.secret, f"darban {use}".encode(), hashlib.sha256).digest()

    def _bound(self, name: str) -> bytes:
        return f"{self.id}|{name}".encode()


class SqlKeys:
    """The keys, one a domain and month (UTC). `masters` reads the master key file: the first wraps, any unwraps."""

    def __init__(
        self, engine: Engine, masters: Callable[[], Sequence[bytes]], now: Callable[[], float] = time.time
    ) -> None:
        self._engine = engine
        self._masters = masters
        self._now = now
        self._known: dict[str, Key] = {}
        self._current: dict[tuple[str, str], Key] = {}
        self._guard = threading.Lock()

    def current(self, domain: str) -> Key:
        """This month's; made when there is none. On the disk before it is used. Raises StoreError."""
        place = (domain, month(self._now()))
        with self._guard:
            if place not in self._current:
                self._current = {at: key for at, key in self._current.items() if at[1] == place[1]}
                self._current[place] = self._find_or_make(*place)
            return self._current[place]

    def get(self, key_id: str) -> Key:
        """Raises StoreError when it was destroyed, or the master key is not the one it was wrapped by."""
        with self._guard:
            if key_id not in self._known:
                self._known[key_id] = self._read(key_id)
            return self._known[key_id]

    def forget(self, key: Key) -> None:
        """It is destroyed: the next message gets a new one."""
        with self._guard:
            self._current = {at: one for at, one in self._current.items() if one.id != key.id}
            self._known.pop(key.id, None)

    def destroy_unused(self) -> Sequence[str]:
        """Of months that are over, those no kept message needs. Returns "domain YYYY-MM" of each."""
        gone = []
        idle = select(storage_key.c.id).where(
            storage_key.c.wrapped.isnot(None), storage_key.c.period < month(self._now()), ~_is_used(storage_key.c.id)
        )
        with faults(_WHAT), self._engine.connect().execution_options(read_only=True) as connection:
            found = list(connection.scalars(idle))
        for key_id in found:
            with faults(_WHAT), self._engine.begin() as connection:
                place = destroy(connection, key_id)
            if place:
                gone.append(place)
                self.forget(Key(key_id, b""))
        return gone

    def rewrap(self) -> int:
        """Wrap every key by the first master; how many there are. What else is in the master key file can go then."""
        first, *others = self._masters()
        with faults(_WHAT), self._engine.begin() as connection:
            _lock(connection)
            rows = connection.execute(select(storage_key).where(storage_key.c.wrapped.isnot(None))).mappings().all()
            for row in rows:
                secret = _unwrap([first, *others], row["wrapped"], row["id"])
                wrapped = _encrypt(first, secret, row["id"].encode())
                connection.execute(update(storage_key).where(storage_key.c.id == row["id"]).values(wrapped=wrapped))
        return len(rows)

    def _find_or_make(self, domain: str, period: str) -> Key:
        query = select(storage_key.c.id, storage_key.c.wrapped).where(
            storage_key.c.domain == domain, storage_key.c.period == period, storage_key.c.wrapped.isnot(None)
        )
        with faults(_WHAT), self._engine.begin() as connection:
            _lock(connection)
            masters = self._masters()  # inside: a rotation of the master key waits for us, or we see its new one
            row = connection.execute(query).first()
            if row is not None:
                return Key(row.id, _unwrap(masters, row.wrapped, row.id))
            key = Key(secrets.token_hex(16), secrets.token_bytes(_KEY))
            wrapped = _encrypt(masters[0], key.secret, key.id.encode())
            values = {"id": key.id, "domain": domain, "period": period, "wrapped": wrapped, "created_at": self._now()}
            connection.execute(insert(storage_key).values(values))
        return key

    def _read(self, key_id: str) -> Key:
        with faults(_WHAT), self._engine.connect().execution_options(read_only=True) as connection:
            wrapped = connection.scalar(select(storage_key.c.wrapped).where(storage_key.c.id == key_id))
        if wrapped is None:
            raise StoreError(f"storage key {key_id[:12]}: was destroyed; what it locked cannot be read any more")
        return Key(key_id, _unwrap(self._masters(), wrapped, key_id))


def is_alive(connection: Connection, key_id: str) -> bool:
    """Whether it may lock something more; it cannot be destroyed before this transaction ends."""
    query = select(storage_key.c.id).where(storage_key.c.id == key_id, storage_key.c.wrapped.isnot(None))
    return connection.scalar(query.with_for_update(read=True)) is not None


def destroy(connection: Connection, key_id: str) -> str:
    """Destroy a key no kept message needs; "domain YYYY-MM", or "" when one does."""
    # its row first: whoever holds a message now has it, or finds it destroyed
    row = connection.execute(select(storage_key).where(storage_key.c.id == key_id).with_for_update()).mappings().one()
    if row["wrapped"] is None or connection.scalar(select(_is_used(key_id))):
        return ""
    change = {"wrapped": None, "destroyed_at": time.time()}
    connection.execute(update(storage_key).where(storage_key.c.id == key_id).values(change))
    return f"{row['domain']} {row['period']}"


def month(at: float) -> str:
    """YYYY-MM, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m")


def _is_used(key_id: ColumnElement[str] | str) -> ColumnElement[bool]:
    return select(held.c.id).where(held.c.storage_key == key_id, held.c.state != "deleted").exists()


def _unwrap(masters: Sequence[bytes], wrapped: bytes, key_id: str) -> bytes:
    for master in masters:
        try:
            return _decrypt(master, wrapped, key_id.encode())
        except InvalidTag:
            continue
    raise StoreError(f"storage key {key_id[:12]}: [storage] encryption_key is not the one it was wrapped by")


def _encrypt(key: bytes, text: bytes, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, text, bound)


def _decrypt(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], bound)


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
