"""ports.SenderStore on SQLite and a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.errors import InputError, StoreError
from gateway.stores import senders as store_module
from gateway.stores.engine import make_engine, migrate
from gateway.stores.senders import SqlSenders
from gateway.types import Scope, SenderEntry, SenderQuery
from tests.fakes import FakeClock
from tests.postgres import fresh_database

ALL = Scope(is_all=True)
NOW = 1_800_000_000.0


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/d.db" if is_sqlite else fresh_database(request.getfixturevalue("postgres_server"))
    migrate(url)
    made = make_engine(url)
    yield made
    made.dispose()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def store(engine: Engine, clock: FakeClock) -> SqlSenders:
    return SqlSenders(engine, clock.now)


def entry(pattern: str = "a@example.org", recipient: str = "you@ours.test", **changes: object) -> SenderEntry:
    values: dict = {
        "act": "allow",
        "pattern": pattern,
        "recipient": recipient,
        "expires_at": NOW + 100,
        "by": "sara",
        "at": NOW,
    }
    return SenderEntry(**(values | changes))  # fmt: skip


def test_what_is_said_is_found_again(store: SqlSenders) -> None:
    said = entry(note="سلام \0 \ud800", held_id="a" * 32, network="192.0.2.0/24")
    made = store.add(said)
    assert (made.number > 0, made.revision, made.hits, made.last_hit_at, made.is_removed) == (True, 1, 0, None, False)
    assert made.note == "سلام \N{REPLACEMENT CHARACTER} ?"
    assert store.get(made.number, ALL) == made
    assert store.list(SenderQuery()) == ([made], 1)
    assert store.get(made.number + 1, ALL) is None


def test_the_same_again_replaces_and_keeps_its_number_and_hits(store: SqlSenders) -> None:
    first = store.add(entry())
    store.count_hits({first.number: (2, NOW + 1)})
    again = store.add(entry(by="reza", expires_at=None, note="why"))
    assert (again.number, again.by, again.expires_at, again.hits) == (first.number, "reza", None, 2)
    assert again.revision > first.revision
    other = [store.add(entry(act="block")), store.add(entry(network="192.0.2.0/24")), store.add(entry(recipient=""))]
    assert len({one.number for one in other} | {first.number}) == 4
    assert store.remove(first.number, ALL)
    assert not store.remove(first.number, ALL)
    assert store.get(first.number, ALL) is None
    assert store.add(entry()).number == first.number
    assert store.list(SenderQuery())[1] == 4


@pytest.mark.parametrize(
    ("scope", "seen"),
    [
        (ALL, {"you@ours.test", "me@ours.test", "ours.test", "a@sub.ours.test", "others.test", ""}),
        (Scope(), set()),
        (Scope(addresses=("you@ours.test",)), {"you@ours.test"}),
        (Scope(domains=("ours.test",)), {"you@ours.test", "me@ours.test", "ours.test"}),
        (Scope(domains=("*.ours.test",)), {"a@sub.ours.test"}),
        (Scope(domains=("ours.test", "others.test")), {"you@ours.test", "me@ours.test", "ours.test", "others.test"}),
        (Scope(domains=("", "%")), set()),
        (Scope(addresses=("",)), set()),
    ],
)
def test_the_scope_is_asked_in_the_store(store: SqlSenders, scope: Scope, seen: set[str]) -> None:
    recipients = ("you@ours.test", "me@ours.test", "ours.test", "a@sub.ours.test", "others.test", "")
    numbers = {one: store.add(entry(recipient=one)).number for one in recipients}
    found, total = store.list(SenderQuery(scope=scope))
    assert ({one.recipient for one in found}, total) == (seen, len(seen))
    for recipient, number in numbers.items():
        assert (store.get(number, scope) is not None) == (recipient in seen)
        assert store.remove(number, scope) == (recipient in seen)


def test_what_fits_a_sender_and_is_in_force(store: SqlSenders, clock: FakeClock) -> None:
    said = [
        entry(),
        entry("example.org", ""),
        entry(".org", "ours.test"),
        entry("b@example.org"),
        entry(recipient="me@ours.test"),
    ]
    made = store.add_all([*said, entry("gone.example"), entry("ended.example", expires_at=NOW + 1)])
    store.remove(made[5].number, ALL)
    clock.advance(10)
    patterns = {"a@example.org", "example.org", ".org", "gone.example", "ended.example", "\0 \ud800"}
    found = store.fitting(patterns, {"you@ours.test", "ours.test", ""})
    assert [one.pattern for one in found] == ["a@example.org", "example.org", ".org"]
    assert store.fitting((), ("",)) == []


def test_a_page_its_filters_and_the_next(store: SqlSenders) -> None:
    made = [store.add(entry(f"a{number}@example.org")) for number in range(5)]
    block = store.add(entry("b_%@example.org", act="block", note="phish", expires_at=NOW))
    page, total = store.list(SenderQuery(limit=2))
    assert ([one.number for one in page], total) == ([block.number, made[4].number], 6)
    page, total = store.list(SenderQuery(limit=2, before=page[-1].number))
    assert ([one.number for one in page], total) == ([made[3].number, made[2].number], 6)
    for query, count in (
        (SenderQuery(act="block"), 1),
        (SenderQuery(text="A3@EXAMPLE"), 1),
        (SenderQuery(text="_%@"), 1),
        (SenderQuery(text="phish"), 1),
        (SenderQuery(text="ours.test"), 6),
        (SenderQuery(text="\0\ud800"), 0),
        (SenderQuery(is_in_force=True), 5),
    ):
        assert store.list(query)[1] == count


def test_who_follows_misses_nothing(store: SqlSenders) -> None:
    assert store.since(0) == []
    first, second = store.add(entry("a@example.org")), store.add(entry("b@example.org"))
    assert [one.number for one in store.since(0)] == [first.number, second.number]
    assert [one.number for one in store.since(0, limit=1)] == [first.number]
    assert store.since(second.revision) == []
    store.remove(first.number, ALL)
    (gone,) = store.since(second.revision)
    assert (gone.number, gone.is_removed) == (first.number, True)
    store.count_hits({second.number: (1, NOW)})
    assert store.since(gone.revision) == []


def test_changes_at_once_have_revisions_of_their_own(store: SqlSenders) -> None:
    def add(which: int) -> None:
        for number in range(5):
            store.add(entry(f"{which}-{number}@example.org"))

    threads = [threading.Thread(target=add, args=(which,)) for which in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    revisions = [one.revision for one in store.since(0)]
    assert revisions == list(range(1, 21))


def test_hits_add_up_and_the_last_is_the_last(store: SqlSenders) -> None:
    one, other = store.add(entry("a@example.org")), store.add(entry("b@example.org"))
    store.count_hits({})
    store.count_hits({one.number: (2, NOW + 5), other.number: (1, NOW)})
    store.count_hits({one.number: (3, NOW + 2), 999_999: (1, NOW)})
    found = {entry.number: (entry.hits, entry.last_hit_at) for entry in store.list(SenderQuery())[0]}
    assert found == {one.number: (5, NOW + 5), other.number: (1, NOW)}


def test_old_ones_are_forgotten(store: SqlSenders, clock: FakeClock) -> None:
    store.remove(store.add(entry("a@example.org")).number, ALL)
    kept = store.add(entry("b@example.org", expires_at=None))
    store.add(entry("c@example.org", expires_at=NOW + 50))
    clock.advance(100)
    assert store.purge(100.0, 50.0) == 0
    clock.advance(1)
    assert store.purge(100.0, 100.0) == 1
    assert store.purge(100.0, 50.0) == 1
    assert [one.number for one in store.since(0)] == [kept.number]


def test_a_person_is_erased(store: SqlSenders) -> None:
    you, me = "you@ours.test", "me@ours.test"
    mine, said, about, other = (
        store.add(entry("a@example.org", you)),
        store.add(entry("b@example.org", me, by="You@ours.test")),
        store.add(entry(you, me)),
        store.add(entry("c@example.org", me)),
    )
    assert [one.number for one in store.about(you, as_sender=False)] == [mine.number, said.number]
    assert [one.number for one in store.about(you, as_sender=True)] == [mine.number, said.number, about.number]
    assert store.erase(you, "erased:1", as_sender=False) == 2
    assert store.get(mine.number, ALL) is None
    left = store.get(said.number, ALL)
    assert left and (left.by, left.revision > other.revision) == ("erased:1", True)
    assert store.erase(you, "erased:1", as_sender=True) == 1
    assert store.get(about.number, ALL) is None
    assert store.erase("nobody@ours.test", "erased:2", as_sender=True) == 0


def test_there_is_room_for_so_many(store: SqlSenders, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_ENTRIES", 2)
    first = store.add(entry("a@example.org", expires_at=NOW + 1))
    store.add(entry("b@example.org"))
    with pytest.raises(InputError, match="as many as there may be"):
        store.add(entry("c@example.org"))
    store.add(entry("a@example.org", note="the same again takes no room"))
    store.remove(first.number, ALL)
    store.add(entry("c@example.org", expires_at=NOW + 1))
    clock.advance(2)
    store.add(entry("d@example.org"))


def test_a_database_that_is_gone_is_a_store_error(tmp_path: Path) -> None:
    store = SqlSenders(make_engine(f"sqlite:///{tmp_path}/none/d.db"))
    for ask in (
        lambda: store.add(entry()), lambda: store.get(1, ALL), lambda: store.list(SenderQuery()), lambda: store.since(0),
        lambda: store.remove(1, ALL), lambda: store.count_hits({1: (1, NOW)}), lambda: store.purge(1.0, 1.0),
        lambda: store.about("a", as_sender=True), lambda: store.erase("a", "b", as_sender=True),
    ):  # fmt: skip
        with pytest.raises(StoreError, match="senders"):
            ask()
