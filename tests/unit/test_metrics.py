"""What is counted waits for a moment and is never lost, nor different from what prometheus-client would have said."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from gateway import metrics

BUCKETS = (-1.0, 0.0, 0.5, 2.0)
Samples = list[tuple[str, float]]


def exposed(client: type, samples: Samples, *, in_loop: bool) -> bytes:
    registry = CollectorRegistry()
    counter = client.Counter("c_total", "c", ["name"], registry=registry)
    histogram = client.Histogram("h", "h", ["name"], buckets=BUCKETS, registry=registry)

    def count() -> None:
        for name, value in samples:
            counter.labels(name).inc(abs(value))
            histogram.labels(name).observe(value)

    async def inside() -> None:
        count()

    if in_loop:
        asyncio.run(inside())
    else:
        count()
    lines = generate_latest(registry).splitlines()
    return b"\n".join(line for line in lines if b"_created" not in line)


@given(
    samples=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([*BUCKETS, 0.25, 7.0, -3.0])), max_size=20),
    in_loop=st.booleans(),
)
def test_what_is_told_is_what_the_client_tells(samples: Samples, in_loop: bool) -> None:
    assert exposed(metrics, samples, in_loop=in_loop) == exposed(prometheus_client, samples, in_loop=False)


def waiting_counter() -> tuple[metrics.Counter, CollectorRegistry]:
    registry = CollectorRegistry()
    return metrics.Counter("c_total", "c", registry=registry), registry


def written(counter: metrics.Counter) -> float:
    return counter._value.get()


async def test_it_is_written_within_a_moment() -> None:
    counter, _ = waiting_counter()
    counter.inc()
    counter.inc(2)
    assert written(counter) == 0.0
    await asyncio.sleep(metrics.FLUSH_S * 3)
    assert written(counter) == 3.0
    counter.inc()
    await asyncio.sleep(metrics.FLUSH_S * 3)
    assert written(counter) == 4.0


async def test_who_reads_the_registry_gets_what_waits() -> None:
    counter, registry = waiting_counter()
    counter.inc()
    assert registry.get_sample_value("c_total") == 1.0


def test_a_loop_that_ended_leaves_nothing_behind() -> None:
    counter, _ = waiting_counter()

    async def count() -> None:
        counter.inc()

    async def count_and_wait() -> None:
        counter.inc()
        await asyncio.sleep(metrics.FLUSH_S * 3)

    asyncio.run(count())  # too short for the timer
    asyncio.run(count_and_wait())
    assert written(counter) == 2.0


async def test_a_thread_writes_at_once() -> None:
    counter, _ = waiting_counter()
    thread = threading.Thread(target=counter.inc)
    thread.start()
    thread.join()
    assert written(counter) == 1.0


@pytest.mark.parametrize("amount", [-1.0, -math.inf])
async def test_a_counter_does_not_fall(amount: float) -> None:
    counter, _ = waiting_counter()
    with pytest.raises(ValueError, match="non-negative"):
        counter.inc(amount)


_PROCESS = """
from gateway.app import process
from gateway.service import HITS, SCORES

async def main():
    HITS.labels("A").inc()
    SCORES.observe(2.5)

process.run_loop(main())
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
registry = CollectorRegistry()
MultiProcessCollector(registry)
import json
print(json.dumps([registry.get_sample_value("darban_hits_total", {"name": "A"}),
    registry.get_sample_value("darban_message_score_bucket", {"le": "2.0"}),
    registry.get_sample_value("darban_message_score_bucket", {"le": "3.0"}),
    registry.get_sample_value("darban_message_score_sum")]))
"""


def test_a_process_that_ends_has_written_all(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", _PROCESS], capture_output=True, text=True, check=True, env=environment)
    assert json.loads(done.stdout) == [1.0, 0.0, 1.0, 2.5]
