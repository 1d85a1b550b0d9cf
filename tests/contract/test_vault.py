"""Contents at rest: encrypted by a key of domain and month, unreadable when that is destroyed; SQLite and PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from gateway.errors import InputError, StoreError
from gateway.stores.blobs import FileBlobs
from gateway.stores.engine import make_engine, migrate
from gateway.stores.quarantine import SqlQuarantine
from gateway.stores.schema import condemned, storage_key
from gateway.stores.vault import OVERHEAD, Key, SqlKeys
from gateway.types import HeldMessage
from tests.contract.test_stores import CONTENT, held
from tests.fakes import FakeClock
from tests.postgres import fresh_database

MONTH_S = 31 * 86_400.0


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/darban.db"
    else:
        url = fresh_database(request.getfixturevalue("postgres_server"))
    migrate(url)
    made = make_engine(url)
    yield made
    made.dispose()


class World:
    """A quarantine with keys, its clock and its files."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        self.clock = FakeClock()
        self.masters = [secrets.token_bytes(32)]
        self.blobs = FileBlobs(f"file://{folder}/blobs")
        self.keys = self.new_keys()
        self.store = SqlQuarantine(engine, self.blobs, self.keys)
        self.plain = SqlQuarantine(engine, self.blobs)

    def new_keys(self) -> SqlKeys:
        """As another process has them."""
        return SqlKeys(self.engine, lambda: self.masters, self.clock.now)

    def other(self) -> SqlQuarantine:
        return SqlQuarantine(self.engine, self.blobs, self.new_keys())

    def files(self) -> list[Path]:
        return sorted(one for one in (self.folder / "blobs").rglob("*") if one.is_file())


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    return World(engine, tmp_path)


def of(number: int, domain: str) -> HeldMessage:
    return held(number, domain=domain)


def test_a_content_is_one_file_a_domain_and_tells_nothing(world: World) -> None:
    world.store.hold([of(1, "a.test"), of(2, "a.test"), of(3, "b.test")], CONTENT)
    world.other().hold([of(1, "a.test"), of(4, "a.test")], CONTENT)
    assert len(world.files()) == 2
    for file in world.files():
        assert file.stat().st_size == len(CONTENT) + OVERHEAD
        assert CONTENT[:8] not in file.read_bytes()
        assert file.name != held(1).content_hash
    assert [world.other().content(held(n).id) for n in (1, 2, 3, 4)] == [CONTENT] * 4
    for n in (1, 2, 4):
        assert world.store.transition(held(n).id, ["held"], "deleted")
    assert len(world.files()) == 1
    assert world.store.content(held(3).id) == CONTENT


def test_a_retry_in_another_month_makes_no_second_copy(world: World) -> None:
    world.store.hold([of(1, "a.test")], CONTENT)
    world.clock.advance(MONTH_S)
    world.other().hold([of(1, "a.test")], CONTENT)
    assert len(world.files()) == 1
    world.store.hold([of(2, "a.test")], CONTENT)
    assert len(world.files()) == 2


def test_a_changed_file_or_another_ones_is_not_given_out(world: World) -> None:
    world.store.hold([of(1, "a.test")], CONTENT)
    world.store.hold([of(2, "b.test")], CONTENT)
    first, second = world.files()
    second.write_bytes(first.read_bytes())
    first.write_bytes(first.read_bytes()[:-1] + b"\0")
    for n in (1, 2):
        with pytest.raises(StoreError, match="cannot be decrypted"):
            world.store.content(held(n).id)


def test_a_key_goes_when_its_month_is_over_and_nothing_needs_it(world: World) -> None:
    world.store.hold([of(1, "a.test"), of(2, "b.test")], CONTENT)
    world.store.transition(held(1).id, ["held"], "deleted")
    assert world.keys.destroy_unused() == []  # the month is not over
    world.clock.advance(MONTH_S)
    assert [place.split()[0] for place in world.keys.destroy_unused()] == ["a.test"]
    assert world.store.content(held(2).id) == CONTENT
    with world.engine.connect() as connection:
        rows = connection.execute(select(storage_key).order_by(storage_key.c.domain)).mappings().all()
    assert [(row["wrapped"] is None, row["destroyed_at"] is None) for row in rows] == [(True, False), (False, True)]


def test_what_is_shredded_is_unreadable_in_copies_too(world: World) -> None:
    world.store.hold([of(1, "a.test"), of(2, "b.test")], CONTENT)
    copies = {file: file.read_bytes() for file in world.files()}
    assert world.store.shred("a.test", "gone")[0] == 1
    for file, content in copies.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    with world.engine.begin() as connection:  # a row of a copy too
        connection.execute(text("UPDATE held_message SET state = 'held'"))
    with pytest.raises(StoreError, match="was destroyed"):
        world.other().content(held(1).id)
    assert world.other().content(held(2).id) == CONTENT


def test_nothing_is_shredded_under_a_release(world: World) -> None:
    world.store.hold([of(1, "a.test")], CONTENT)
    world.store.transition(held(1).id, ["held"], "releasing")
    with pytest.raises(InputError, match="being released"):
        world.store.shred("a.test", "gone")
    assert world.store.content(held(1).id) == CONTENT


def test_a_process_with_a_destroyed_key_in_memory_loses_no_mail(world: World) -> None:
    """It would lock a message with a key that is nowhere any more."""
    listener = world.other()
    listener.hold([of(1, "a.test")], CONTENT)
    world.store.shred("a.test", "gone")
    listener.hold([of(2, "a.test")], CONTENT)
    assert world.other().content(held(2).id) == CONTENT


def test_a_new_master_key(world: World) -> None:
    world.store.hold([of(1, "a.test")], CONTENT)
    with world.engine.connect() as connection:
        backup = connection.scalar(select(storage_key.c.wrapped))
    old = world.masters[0]
    world.masters = [secrets.token_bytes(32), old]
    assert world.keys.rewrap() == 1
    world.masters.pop()
    assert world.other().content(held(1).id) == CONTENT
    world.other().hold([of(2, "b.test")], CONTENT)
    assert world.other().content(held(2).id) == CONTENT
    with world.engine.begin() as connection:
        connection.execute(storage_key.update().where(storage_key.c.domain == "a.test").values(wrapped=backup))
    with pytest.raises(StoreError, match="not the one it was wrapped by"):
        world.other().content(held(1).id)


def test_what_is_stored_plain_is_encrypted_later(world: World) -> None:
    world.plain.hold([of(1, "a.test"), of(2, "b.test")], CONTENT)
    world.plain.hold([held(3, b"other")], b"other")
    world.plain.transition(held(3).id, ["held"], "deleted")
    assert world.store.encrypt(1) == 1
    assert len(world.files()) == 2  # the plain one is needed still
    assert world.store.encrypt(1) == 1
    assert world.store.encrypt(1) == 0
    assert all(held(1).content_hash != file.name for file in world.files())
    assert [world.store.content(held(n).id) for n in (1, 2)] == [CONTENT] * 2
    with pytest.raises(StoreError, match="encryption_key"):
        world.plain.content(held(1).id)


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_a_crash_between_the_row_and_the_file_is_made_good(
    world: World, monkeypatch: pytest.MonkeyPatch, is_encrypted: bool
) -> None:
    store = world.store if is_encrypted else world.plain
    store.hold([of(1, "a.test"), of(2, "b.test")], CONTENT)

    def fail(key: str) -> None:
        raise StoreError("no disk")

    monkeypatch.setattr(world.blobs, "delete", fail)
    for n in (1, 2):
        assert store.transition(held(n).id, ["held"], "deleted")
    assert store.get(held(1).id).state == "deleted"  # type: ignore[union-attr]
    assert world.files()
    monkeypatch.undo()
    assert store.finish_deletes() == (2 if is_encrypted else 1)
    assert world.files() == []
    assert store.finish_deletes() == 0
    with world.engine.connect() as connection:
        assert connection.execute(select(condemned)).all() == []


def test_files_without_a_row_are_swept(world: World) -> None:
    world.plain.hold([held(1)], CONTENT)
    orphan = "0" * 64
    world.blobs.write(orphan, 26, lambda: b"of a hold that did not end")
    half = world.files()[0].parent / f".{orphan}.1.00"
    half.write_bytes(b"half")
    assert sum(world.plain.sweep(shard) for shard in range(256)) == 0  # younger than a day
    assert sum(world.plain.sweep(shard, -1.0) for shard in range(256)) == 2
    assert world.plain.content(held(1).id) == CONTENT
    assert len(world.files()) == 1


def test_what_is_bound_cannot_be_moved() -> None:
    one, other = Key("1", bytes(32)), Key("2", bytes(32))
    sealed = one.seal(b"x", "name")
    assert one.unseal(sealed, "name") == b"x"
    for key, name in ((one, "else"), (other, "name")):
        with pytest.raises(StoreError):
            key.unseal(sealed, name)
    for short in (b"", sealed[:20], sealed[:-1]):
        with pytest.raises(StoreError):
            one.unseal(short, "name")
