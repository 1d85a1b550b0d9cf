"""Contents of held messages in PostgreSQL, for gateways that share one and have no folder in common.

A content is committed before a row names it, as a file is synced (stores/blobs.py), and taken away while its last row's
transaction goes on, by one of its own: SQLite, with its one writer, cannot do that. The engine is this store's own: who
waits for a connection of a pool and holds another one of it waits for himself, where many messages are held at once.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects.postgresql import insert

from gateway.errors import StoreError
from gateway.stores.engine import faults
from gateway.stores.schema import blob


class SqlBlobs:
    """Implements ports.BlobStore."""

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._now = now

    def write(self, name: str, size: int, content: Callable[[], bytes]) -> None:
        """What is there in this size stays; else `content` is asked for."""
        with faults("blob"):
            with self._engine.connect().execution_options(read_only=True) as connection:
                if connection.scalar(select(blob.c.size_bytes).where(blob.c.name == _checked(name))) == size:
                    return
            said = content()
            values = {"content": said, "size_bytes": len(said), "written_at": self._now()}
            change = insert(blob).values(name=name, **values)
            with self._engine.begin() as connection:
                connection.execute(change.on_conflict_do_update(index_elements=[blob.c.name], set_=values))

    def get(self, key: str) -> bytes:
        """Checked against its name."""
        content = self.read(key)
        if hashlib.sha256(content).hexdigest() != key:
            raise StoreError(f"blob {key[:12]}: content does not match its hash; it was changed or damaged")
        return content

    def read(self, name: str) -> bytes:
        """As it is."""
        query = select(blob.c.content).where(blob.c.name == _checked(name))
        with faults("blob"), self._engine.connect().execution_options(read_only=True) as connection:
            content = connection.scalar(query)
        if content is None:
            raise StoreError(f"blob {name[:12]}: is not there")
        return bytes(content)

    def delete(self, key: str) -> None:
        """Gone, or was not there."""
        with faults("blob"), self._engine.begin() as connection:
            connection.execute(delete(blob).where(blob.c.name == _checked(key)))

    def discard(self, name: str) -> None:
        """Nothing here is half written."""

    def names(self, shard: int, older_than_s: float) -> Sequence[str]:
        """Of one of 256 parts, what has been there for so long."""
        part = f"{shard % 256:02x}"
        mine = blob.c.name.between(part, part + "g")  # names are hexadecimal digits
        query = select(blob.c.name).where(mine, blob.c.written_at < self._now() - older_than_s)
        with faults("blobs"), self._engine.connect().execution_options(read_only=True) as connection:
            return list(connection.scalars(query))

    def check(self) -> None:
        """A block is written and not kept."""
        with faults("blobs"), self._engine.connect() as connection, connection.begin() as change:
            values = {"content": bytes(4096), "size_bytes": 4096, "written_at": self._now()}
            connection.execute(insert(blob).values(name=hashlib.sha256(b"check").hexdigest(), **values))
            change.rollback()


def _checked(name: str) -> str:
    if len(name) != 64 or not name.isalnum():
        raise StoreError("blob: not a key")
    return name
