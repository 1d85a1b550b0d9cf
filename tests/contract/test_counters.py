"""Every implementation of ports.Counters passes the same suite: SQLite, a real PostgreSQL and a real Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis
from sqlalchemy import Engine, text

from gateway.errors import ConfigError, StoreError
from gateway.ports import Counters
from gateway.stores.counters import SqlCounters
from gateway.stores.engine import make_engine
from gateway.stores.redis_counters import WITHIN_S, open_redis
from tests import postgres
from tests.database import migrated
from tests.fakes import FakeClock
from tests.redis_server import RedisServer, redis_server


@dataclass
class Kept:
    """Counters, and their time."""

    counters: Counters
    clock: FakeClock
    redis: Redis | None = None

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        if self.redis is not None:  # its time is the machine's: what each key has left is taken from it
            for key in self.redis.scan_iter():
                self.redis.pexpire(key, cast("int", self.redis.pttl(key)) - round(seconds * 1000))


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as one:
        yield one


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    clock = FakeClock()
    if request.param == "redis":
        url = request.getfixturevalue("server").url
        with Redis.from_url(url) as redis:
            redis.flushdb()
            yield Kept(open_redis(url), clock, redis)
        return
    url = f"sqlite:///{tmp_path}/darban.db"
    if request.param == "postgresql":
        url = postgres.fresh_database(request.getfixturevalue("postgres_server"))
    engine = make_engine(migrated(url))
    yield Kept(SqlCounters(engine, clock.now), clock)
    engine.dispose()


def test_counters(kept: Kept) -> None:
    counters = kept.counters
    assert [counters.add("k", 2.0, 10), counters.add("k", 1.0, 10), counters.get("k")] == [2.0, 3.0, 3.0]
    kept.advance(11)
    assert counters.get("k") == 0.0
    assert counters.add("k", 1.0, 10) == 1.0


def test_many_counters_at_once(kept: Kept) -> None:
    counters = kept.counters
    counters.add_many({}, 10)
    assert counters.get_many([]) == {}
    counters.add_many({"b": 2.0, "a": 1.5}, 10)
    kept.advance(5)
    counters.add_many({"b": -0.5, "c": 1e25}, 10)
    assert counters.get_many(["a", "b", "c", "d"]) == {"a": 1.5, "b": 1.5, "c": 1e25}
    kept.advance(6)  # "a" was not touched again
    assert counters.get_many(["a", "b"]) == {"b": 1.5}
    counters.add_many({"a": 1.0}, 10)
    assert counters.get("a") == 1.0


@pytest.mark.parametrize("amount", [2.0**-3, 1.1, 2.0**100 * 1.1, 2.0**900, -0.0, 123456789.123456789])
def test_an_amount_comes_back_as_it_was(kept: Kept, amount: float) -> None:
    """What decays is a power of two that grows for 80 years."""
    kept.counters.add_many({"k": amount}, 10)
    assert kept.counters.get("k") == pytest.approx(amount, rel=1e-15)


def test_what_can_be_read_without_waiting(engine: Engine) -> None:
    counters = SqlCounters(engine, lambda: 100.0)
    counters.add_many({"a": 1.5, "b": 2.0}, 10)
    peeked = [counters.peek_many(["a", "b", "c"])]
    with engine.begin() as connection:  # another process writes, and has not committed
        connection.execute(text("DELETE FROM counter"))
        peeked.append(counters.peek_many(["a", "b", "c"]))
    peeked.append(counters.peek_many(["a", "b", "c"]))
    if engine.dialect.name == "sqlite":
        assert peeked == [{"a": 1.5, "b": 2.0}, {"a": 1.5, "b": 2.0}, {}]
    else:
        assert peeked == [None, None, None]


def test_a_redis_is_never_beside_us(server: RedisServer) -> None:
    assert open_redis(server.url).peek_many(["a"]) is None


def test_more_keys_than_a_statement_takes(kept: Kept) -> None:
    many = {f"k{number}": float(number) for number in range(1200)}
    kept.counters.add_many(many, 10)
    assert kept.counters.get_many([*many, "other"]) == many
    assert kept.counters.remove([*many, "other"]) == 1200
    assert kept.counters.get_many([*many]) == {}
    assert kept.counters.remove([]) == 0


def test_the_least_of_one_kind_are_pruned(kept: Kept) -> None:
    counters = kept.counters
    counters.add_many({f"r:{number}": float(number) for number in range(20)} | {"q:1": 0.0, "s:1": 0.0}, 10)
    assert counters.prune("r:", 20) == 0
    assert counters.prune("r:", 5) == 15
    left = counters.get_many([f"r:{number}" for number in range(20)] + ["q:1", "s:1"])
    assert sorted(left) == ["q:1", "r:15", "r:16", "r:17", "r:18", "r:19", "s:1"]


def test_many_are_pruned_whatever_they_are_called(kept: Kept) -> None:
    """As many as do not come on one page, half of them alike; and letters that are more than themselves in patterns."""
    counters = kept.counters
    counters.add_many({f"[r%_*:{number}": float(number // 1500) for number in range(3000)} | {"r%_*:": 0.0}, 10)
    assert counters.prune("[r%_*:", 1600) == 1400
    assert counters.prune("[r%_*:", 1600) == 0
    left = counters.get_many([f"[r%_*:{number}" for number in range(3000)])
    assert sum(left.values()) == 1500.0 and len(left) == 1600, "the larger ones stay"
    assert counters.get_many(["r%_*:"]) == {"r%_*:": 0.0}


def test_nobodys_addition_is_lost(kept: Kept) -> None:
    counters = kept.counters

    def add(number: int) -> None:
        for _ in range(20):
            counters.add_many({f"k{one % 7}": 1.0 for one in range(number, number + 5)}, 100)
            counters.add("alone", 1.0, 100)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.get("alone") == 80.0
    assert sum(counters.get_many([f"k{one}" for one in range(7)]).values()) == 400.0


# --- a Redis that fails -------------------------------------------------------------------------------------------------


def test_a_redis_that_dies_and_comes_back() -> None:
    with redis_server() as server:
        counters = open_redis(server.url)
        counters.add_many({"k": 1.0}, 100)
        assert server.kill()
        for ask in (lambda: counters.get("k"), lambda: counters.add("k", 1.0, 100), lambda: counters.prune("k", 0)):
            with pytest.raises(StoreError, match=r"^counters: redis: ConnectionError: "):
                ask()
        server.start()
        assert counters.get("k") == 0.0, "it kept nothing, and no stale connection is in the way"
        counters.add_many({"k": 2.0}, 100)  # the script is not known there any more
        assert counters.get("k") == 2.0


def test_a_redis_that_stands_still_is_given_up(server: RedisServer) -> None:
    counters = open_redis(server.url)
    counters.add_many({"k": 1.0}, 100)
    with server.standing_still():
        for one in (counters, open_redis(server.url)):  # with a connection, and without
            began = time.monotonic()
            with pytest.raises(StoreError, match="redis: TimeoutError"):
                one.get("k")
            assert time.monotonic() - began < 3 * WITHIN_S
    assert counters.get("k") == 1.0, "a late reply is nobody else's"


def test_a_redis_that_is_full_says_so() -> None:
    with redis_server("--maxmemory", "4mb", "--maxmemory-policy", "noeviction") as server:
        counters = open_redis(server.url)
        with pytest.raises(StoreError, match="redis: OutOfMemoryError: "):
            for start in range(0, 100_000, 1000):
                counters.add_many({f"k{number}": 1.0 for number in range(start, start + 1000)}, 100)
        assert counters.get("k0") == 1.0


def test_a_password(tmp_path: Path) -> None:
    with redis_server("--requirepass", "a word") as server:
        for password in ("", "another"):
            with pytest.raises(StoreError, match="redis: Authentication"):
                open_redis(server.url, password).get("k")
        assert open_redis(server.url, "a word").get("k") == 0.0


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://h:port/0", "Port could not be cast to integer"),
        ("redis://h:70000/0", "Port out of range"),
        ("http://h", "scheme"),
        ("redis://h/0?colour=red", "colour"),
    ],
)
def test_what_is_no_redis(url: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"^\\[storage\\] redis: .*{told}"):
        open_redis(url)


def test_a_client_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(cast("Any", sys.modules), "redis", None)
    with pytest.raises(ConfigError, match=r"pip install 'darban\[redis\]'"):
        open_redis("redis://h")
