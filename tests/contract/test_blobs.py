"""Every implementation of ports.BlobStore passes the same suite, alone and under the quarantine: files, PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, update

from gateway.errors import StoreError
from gateway.ports import BlobStore
from gateway.stores import vault
from gateway.stores.blobs import FileBlobs
from gateway.stores.engine import make_engine
from gateway.stores.quarantine import SqlQuarantine
from gateway.stores.schema import blob
from gateway.stores.sql_blobs import SqlBlobs
from tests import postgres
from tests.contract.test_stores import CONTENT, held
from tests.database import migrated

LARGE = bytes(range(256)) * 40_000
NAME = sha256(CONTENT).hexdigest()


@dataclass
class World:
    """A database, and contents in it or beside it."""

    engine: Engine
    blobs: BlobStore
    folder: Path | None

    def quarantine(self, blobs: BlobStore | None = None) -> SqlQuarantine:
        return SqlQuarantine(self.engine, blobs or self.blobs)

    def number(self) -> int:
        if self.folder is not None:
            return sum(one.is_file() for one in self.folder.rglob("*"))
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(blob)) or 0

    def damage(self, name: str) -> None:
        if self.folder is not None:
            next(self.folder.rglob(name)).write_bytes(b"changed")
        else:
            with self.engine.begin() as connection:
                connection.execute(update(blob).where(blob.c.name == name).values(content=b"changed"))


@pytest.fixture(params=["files", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    url = f"sqlite:///{tmp_path}/darban.db"
    if request.param == "postgresql":
        url = postgres.fresh_database(request.getfixturevalue("postgres_server"))
    engine, own = make_engine(migrated(url)), make_engine(url)
    folder = tmp_path / "blobs" if request.param == "files" else None
    yield World(engine, FileBlobs(f"file://{folder}") if folder else SqlBlobs(own), folder)
    engine.dispose()
    own.dispose()


def never() -> bytes:
    raise AssertionError("what is there is not asked for again")


def test_what_is_written_is_read(world: World) -> None:
    blobs = world.blobs
    for content in (b"", b"x", b"\0\xff\r\n", LARGE):
        name = sha256(content).hexdigest()
        blobs.write(name, len(content), lambda content=content: content)  # type: ignore[misc]
        blobs.write(name, len(content), never)
        assert blobs.get(name) == blobs.read(name) == content
    assert world.number() == 4
    blobs.check()
    assert world.number() == 4, "the check leaves nothing behind"
    blobs.delete(name)
    blobs.delete(name)
    with pytest.raises(StoreError, match=f"^blob {name[:12]}: "):
        blobs.read(name)


def test_another_size_is_written_anew(world: World) -> None:
    """Half of it, of a disk that failed; or another key's seal of it."""
    world.blobs.write(NAME, 4, lambda: b"half")
    world.blobs.write(NAME, 5, lambda: b"whole")
    assert world.blobs.read(NAME) == b"whole"
    with pytest.raises(StoreError, match="does not match its hash"):
        world.blobs.get(NAME)


@pytest.mark.parametrize("name", ["", "x", "../" * 21 + "x", "a" * 63, "a" * 65, "a" * 63 + "%", "a" * 63 + "/"])
def test_what_is_no_name(world: World, name: str) -> None:
    for act in (world.blobs.read, world.blobs.delete, lambda name: world.blobs.write(name, 1, lambda: b"x")):
        with pytest.raises(StoreError, match="not a key"):
            act(name)


def test_names_come_in_256_parts(world: World) -> None:
    names = [sha256(str(number).encode()).hexdigest() for number in range(60)] + ["0" * 64, "f" * 64, "ff" + "0" * 62]
    for name in names:
        world.blobs.write(name, 1, lambda: b"x")
    parts = [world.blobs.names(shard, -10.0) for shard in range(256)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(name.startswith(f"{shard:02x}") for shard, part in enumerate(parts) for name in part)
    assert not any(world.blobs.names(shard, 10.0) for shard in range(256)), "younger than that"


def test_many_write_and_read_at_once(world: World) -> None:
    """Also the same one, and more at a time than a pool has connections."""
    quarantine, faults = world.quarantine(), list[Exception]()

    def hold(number: int) -> None:
        content = CONTENT if number % 2 else f"message {number}".encode() * 1000
        try:
            quarantine.hold([held(number, content)], content)
            assert quarantine.content(held(number).id) == content
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(1, 41)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert world.number() == 21


def test_the_last_delete_takes_the_content(world: World) -> None:
    quarantine = world.quarantine()
    quarantine.hold([held(1), held(2)], CONTENT)
    quarantine.transition(held(1).id, ["held"], "deleted")
    assert quarantine.content(held(2).id) == CONTENT
    quarantine.transition(held(2).id, ["held"], "deleted")
    assert world.number() == 0
    with pytest.raises(StoreError, match="no content is kept"):
        quarantine.content(held(2).id)


def test_content_that_is_deleted_while_it_is_held_again_is_kept(world: World) -> None:
    """The last row of a content is deleted between the look at its blob and the new row: the new row needs it."""

    class Interrupted:
        def __getattr__(self, name: str) -> object:
            return getattr(world.blobs, name)

        def write(self, name: str, size: int, content: Callable[[], bytes]) -> None:
            world.blobs.write(name, size, content)
            if not deleted:
                deleted.append(store.transition(held(1).id, ["held"], "deleted"))
                assert world.number() == 0

    deleted: list[bool] = []
    store = world.quarantine()
    store.hold([held(1)], CONTENT)
    world.quarantine(Interrupted()).hold([held(2)], CONTENT)  # type: ignore[arg-type]
    assert deleted == [True]
    assert store.content(held(2).id) == CONTENT


def test_a_damaged_blob_is_not_given_out(world: World) -> None:
    quarantine = world.quarantine()
    quarantine.hold([held()], CONTENT)
    world.damage(held().content_hash)
    with pytest.raises(StoreError, match="does not match its hash"):
        quarantine.content(held().id)


def test_what_no_row_names_is_swept(world: World) -> None:
    quarantine = world.quarantine()
    quarantine.hold([held(1)], CONTENT)
    world.blobs.write("0" * 64, 26, lambda: b"of a hold that did not end")
    assert sum(quarantine.sweep(shard) for shard in range(256)) == 0, "younger than a day"
    assert sum(quarantine.sweep(shard, -10.0) for shard in range(256)) == 1
    assert world.number() == 1
    assert quarantine.content(held(1).id) == CONTENT


def test_what_is_encrypted(world: World) -> None:
    quarantine = SqlQuarantine(world.engine, world.blobs, vault.SqlKeys(world.engine, lambda: [bytes(32)]))
    quarantine.hold([held(1)], CONTENT)
    assert quarantine.content(held(1).id) == CONTENT
    (name,) = [name for shard in range(256) for name in world.blobs.names(shard, -10.0)]
    assert name != NAME and CONTENT not in world.blobs.read(name)
