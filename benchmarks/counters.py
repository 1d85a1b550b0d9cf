"""What the memory of senders costs by where it lies: SQLite, and a PostgreSQL and a Redis of its own.

    python -m benchmarks.counters [--keys 100000] [--out FILE]

Look-ups of 12 keys, what a message asks for, and 1,000 additions together, among so many keys as long as the real ones.
CPU of this process and wall time, in microseconds, the median of the rounds; for Redis also its memory for a key.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from benchmarks.machine import describe
from gateway.ports import Counters
from gateway.stores.counters import SqlCounters
from gateway.stores.engine import make_engine, migrate
from gateway.stores.redis_counters import open_redis
from tests.postgres import fresh_database, server
from tests.redis_server import redis_server

_ASKED, _ADDED = 12, 1000
_TTL_S = 86_400.0


@contextmanager
def places() -> Iterator[dict[str, Counters]]:
    """Name -> counters."""
    with tempfile.TemporaryDirectory() as folder, server(is_durable=True) as cluster, redis_server() as redis:
        made: dict[str, Counters] = {"redis": open_redis(redis.url)}
        for name, url in (("sqlite", f"sqlite:///{folder}/darban.db"), ("postgresql", fresh_database(cluster))):
            migrate(url)
            made[name] = SqlCounters(make_engine(url))
        yield made


def measure(work: Callable[[], object], rounds: int) -> dict[str, float]:
    """Microseconds."""
    cpu, wall = [], []
    for _ in range(rounds):
        began, at = time.process_time_ns(), time.perf_counter_ns()
        work()
        cpu.append((time.process_time_ns() - began) / 1000)
        wall.append((time.perf_counter_ns() - at) / 1000)
    return {"cpu_us": round(statistics.median(cpu), 1), "wall_us": round(statistics.median(wall), 1)}


def main() -> None:
    """Print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    chance = random.Random(1)
    keys = [f"r:{chance.getrandbits(96):024x}" for _ in range(given.keys)]
    table: dict[str, dict[str, float]] = {}
    with places() as all_of:
        for name, counters in all_of.items():
            counters.add_many({key: chance.random() * 2**80 for key in keys}, _TTL_S)
            asked = measure(lambda there=counters: there.get_many(chance.sample(keys, _ASKED)), 1000)  # type: ignore[misc]
            added = measure(
                lambda there=counters: there.add_many(dict.fromkeys(chance.sample(keys, _ADDED), 1.5), _TTL_S),
                50,  # type: ignore[misc]
            )
            table[name] = {f"look-up {kind}": value for kind, value in asked.items()}
            table[name] |= {f"1,000 added {kind}": value for kind, value in added.items()}
            print(name, table[name])
        counters = all_of["redis"]
        client: Redis = counters._client  # type: ignore[attr-defined]
        full = int(client.info()["used_memory"])  # type: ignore[index]
        client.flushdb()
        table["redis"]["bytes a key"] = round((full - int(client.info()["used_memory"])) / given.keys)  # type: ignore[index]
    print("redis:", table["redis"]["bytes a key"], "bytes a key")
    if given.out:
        given.out.write_text(json.dumps({"machine": describe(), "keys": given.keys, **table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
