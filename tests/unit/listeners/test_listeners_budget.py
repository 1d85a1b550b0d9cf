"""budget.py: what is counted, what goes to disk, who waits for whom, and that everything is given back."""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from gateway.listeners.budget import Budget, Incoming, machine_memory

KIB = 1 << 10


def budget(
    folder: Path, memory: int = 2000, spool: int = 10_000, spool_above: int = 100, patience_s: float = 5
) -> Budget:
    return Budget(memory * KIB, spool * KIB, spool_above * KIB, folder, patience_s)


async def filled(made: Budget, size: int) -> Incoming:
    one = made.begin()
    await fill(one, size)
    return one


async def fill(one: Incoming, size: int, piece: int = 64 * KIB) -> None:
    content = bytes(random.Random(size).randbytes(size))
    for start in range(0, size, piece):
        if one.add(content[start : start + piece]):
            await one.flush()


def expected(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def open_files(made: Budget) -> int:
    names = [os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()]
    return sum(name.startswith(f"{made.folder}/") for name in names)


def is_empty(made: Budget) -> bool:
    deadline = time.monotonic() + 5  # threads that were left behind end soon
    while open_files(made) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (made.held, made.spooled, made._judged, len(made._line), open_files(made)) == (0, 0, 0, 0, 0)
    return True


async def in_line(made: Budget, number: int) -> None:
    while len(made._line) < number:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("size", [0, 1, 64 * KIB, 100 * KIB, 101 * KIB, 999 * KIB])
async def test_what_came_is_what_is_judged(tmp_path: Path, size: int) -> None:
    made = budget(tmp_path)
    one = await filled(made, size)
    assert (made.spooled > 0) == (size > 100 * KIB)
    assert made.held <= 164 * KIB
    assert await one.whole() == expected(size)
    assert made.spooled == 0
    one.close()
    one.close()
    assert is_empty(made)
    assert list(tmp_path.iterdir()) == []  # no file ever has a name


async def test_a_full_half_sends_what_comes_to_disk_and_begins_nothing_new(tmp_path: Path) -> None:
    made = budget(tmp_path, memory=200)
    first = await filled(made, 40 * KIB)
    assert (made.is_full, made.spooled) == (False, 0)
    second = await filled(made, 90 * KIB)
    assert made.spooled > 0
    assert not made.is_full
    assert await first.whole() == expected(40 * KIB)  # its copies are counted: the half is full
    assert made.is_full
    assert made.refuses(0)
    assert await second.whole() == expected(90 * KIB)
    first.close()
    assert not made.is_full
    second.close()
    assert is_empty(made)


async def test_large_ones_wait_for_their_turn_and_small_ones_do_not(tmp_path: Path) -> None:
    made = budget(tmp_path, memory=4000)  # room for 500 KiB, four times, in a half
    large = [await filled(made, 400 * KIB) for _ in range(3)]
    assert await large[0].whole() is not None
    waiting = []
    for one in large[1:]:
        waiting.append(asyncio.create_task(one.whole()))
        await in_line(made, len(waiting))
    small = await filled(made, 10 * KIB)
    assert await small.whole() == expected(10 * KIB)
    assert not any(task.done() for task in waiting)
    assert made.refuses(200 * KIB)  # who announces a large one now would wait too long
    assert not made.refuses(50 * KIB)
    large[0].close()
    assert await waiting[0] == expected(400 * KIB)
    assert not waiting[1].done()
    large[1].close()
    assert await waiting[1] == expected(400 * KIB)
    large[2].close()
    small.close()
    assert is_empty(made)


async def test_who_waits_in_vain_stays_with_its_sender(tmp_path: Path) -> None:
    made = budget(tmp_path, patience_s=0.1)
    first, second = await filled(made, 300 * KIB), await filled(made, 300 * KIB)
    assert await first.whole() is not None
    assert await second.whole() is None
    second.close()
    third = asyncio.create_task((await filled(made, 300 * KIB)).whole())
    first.close()
    assert await third is not None


async def test_a_message_larger_than_the_memory_is_judged_alone(tmp_path: Path) -> None:
    made = budget(tmp_path, memory=200)
    one = await filled(made, 900 * KIB)
    assert await one.whole() == expected(900 * KIB)
    one.close()
    assert is_empty(made)


async def test_no_more_disk_than_that(tmp_path: Path) -> None:
    made = budget(tmp_path, spool=500)
    first, second = await filled(made, 400 * KIB), await filled(made, 400 * KIB)
    assert second.has_failed
    assert second.size == 400 * KIB  # counted to its end all the same
    assert await second.whole() is None
    assert made.refuses(200 * KIB)
    assert await first.whole() == expected(400 * KIB)
    for one in (first, second):
        one.close()
    assert is_empty(made)


async def test_a_disk_that_fails_is_no_fault_of_the_message(tmp_path: Path) -> None:
    made = budget(tmp_path / "not there")
    one = await filled(made, 400 * KIB)
    assert one.has_failed
    assert await one.whole() is None
    one.close()
    assert is_empty(made)


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_happens_everything_is_given_back(tmp_path: Path, seed: int) -> None:
    made, chance = budget(tmp_path, memory=1000, spool=1500, patience_s=0.05), random.Random(seed)

    async def message() -> bool:
        size = chance.choice([1, 50, 90, 200, 300]) * KIB
        one = made.begin()
        try:
            await fill(one, size, chance.choice([16, 64]) * KIB)
            content = await one.whole()
            assert content in (None, expected(size))
            await asyncio.sleep(chance.random() * 0.03)
            return content is not None
        finally:
            one.close()

    tasks = [asyncio.create_task(message()) for _ in range(60)]
    for task in chance.sample(tasks, 20):  # clients that go away at any moment
        await asyncio.sleep(0.002)
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert not [one for one in done if isinstance(one, Exception)]
    assert True in done
    assert is_empty(made)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({"sys/fs/cgroup/memory.max": "max\n"}, None),
        ({"sys/fs/cgroup/memory.max": "104857600\n"}, 104_857_600),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "52428800\n"}, 52_428_800),
        ({"sys/fs/cgroup/memory.max": "9" * 30}, None),
    ],
)
def test_memory_is_the_machines_or_the_containers(tmp_path: Path, files: dict[str, str], limit: int | None) -> None:
    for name, text in ({"proc/self/cgroup": "0::/\n"} | files).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine_memory(tmp_path) == (limit or installed)
