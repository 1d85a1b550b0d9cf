"""scan/pool.py and scan/scorer.py together: real children that hang, eat memory, die and come back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import ScorerError
from gateway.scan.frames import VERDICT
from gateway.scan.pool import ScorerPool
from gateway.scan.scorer import _Child
from gateway.scan.watch import StageMarker, read_state, state_file
from gateway.types import Verdict
from tests.builders import envelope, message_bytes

# a scorer parent whose one rule does to the scorer what the message says
PARENT = """
import asyncio, ctypes, os, re, signal, sys
from pathlib import Path
from gateway import log
from gateway.scan.pipeline import Pipeline
from gateway.scan.scorer import ScorerParent, bind
from gateway.types import Hit
from gateway.net.dns import OfflineResolver

class Dns(OfflineResolver):
    async def query(self, name, rdtype):
        if name.endswith("silent.example"):
            await asyncio.sleep(60)
        return await super().query(name, rdtype)

class Broken:
    @property
    def score(self):
        raise AssertionError  # which conclude does not expect

class Rules:
    id, descriptions, scores = "rules", {}, {}
    def match(self, mail, findings, prediction=None):
        text = mail.message.subject
        if text == "hang":
            re.match(r"(a+)+$", "a" * 40 + "b")
        if text == "eat":
            list(range(400_000_000))
        if text == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if text == "raise":
            raise ZeroDivisionError
        if text == "break":
            return (Broken(),)
        return (Hit("SEEN", 1.0, "seen"),)

log.configure()  # structlog's own colours take a tenth of a second of a stage's time
folder = Path(sys.argv[1])
def make(memory=None):
    return Pipeline(resolver=Dns(), message_checks=(), envelope_checks=(), rules=Rules(), classifier=None, deadline_s=30.0)
parent = ScorerParent(bind(folder / "scorers"), make, folder=folder, stage_cpu_s=0.4, memory=300 << 20)
(folder / "ready").touch()
parent.serve()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.DEVNULL)
    while not (tmp_path / "ready").exists():
        assert parent.poll() is None
        time.sleep(0.02)
    yield tmp_path
    parent.terminate()
    parent.wait(10)


async def judge(pool: ScorerPool, subject: str) -> Verdict:
    return await pool.score(envelope(), message_bytes(Subject=subject))


@pytest.mark.parametrize(
    ("subject", "incomplete"),
    [
        ("fine", None),
        ("hang", "rules: gave up on this message"),
        ("die", "rules: gave up on this message"),
        ("eat", "rules: MemoryError"),
        ("raise", "rules: ZeroDivisionError"),
    ],
)
async def test_a_message_cannot_take_the_door_down(folder: Path, subject: str, incomplete: str | None) -> None:
    pool = ScorerPool(folder / "scorers", 2, 20.0)
    await pool.start()
    try:
        verdict, *others = await asyncio.gather(judge(pool, subject), *(judge(pool, f"other {n}") for n in range(20)))
        after = await judge(pool, "fine")
    finally:
        await pool.close()
    missing = [what for what in verdict.incomplete if not what.startswith("dns")]
    assert missing == ([incomplete] if incomplete else [])
    for other in (*others, after):
        assert [hit.name for hit in other.hits] == ["SEEN"]
        assert [what for what in other.incomplete if not what.startswith("dns")] == []


async def test_messages_that_wait_for_the_dns_leave_room_for_others(folder: Path) -> None:
    pool = ScorerPool(folder / "scorers", 1, 60.0)
    await pool.start()
    around = envelope(reverse_path="x@silent.example")
    waiting = [asyncio.create_task(pool.score(around, message_bytes(Subject="late"))) for _ in range(200)]
    try:
        verdicts = [await asyncio.wait_for(judge(pool, "fine"), 20.0) for _ in range(5)]
        assert not any(task.done() for task in waiting)
        assert [hit.name for verdict in verdicts for hit in verdict.hits] == ["SEEN"] * 5
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await pool.close()


async def test_a_fault_nobody_foresaw_ends_the_child_alone(folder: Path) -> None:
    pool = ScorerPool(folder / "scorers", 1, 20.0)
    await pool.start()
    try:
        verdict = await judge(pool, "break")
        assert (await judge(pool, "fine")).hits
    finally:
        await pool.close()
    assert "rules: gave up on this message" in verdict.incomplete


async def test_no_scorer_is_said_in_time(tmp_path: Path) -> None:
    pool = ScorerPool(tmp_path / "nobody", 1, 0.2)
    with pytest.raises(ScorerError, match="no scorer answers"):
        await pool.start()
    await pool.close()


async def test_a_killed_child_is_replaced(folder: Path) -> None:
    pool = ScorerPool(folder / "scorers", 1, 10.0)
    await pool.start()
    try:
        await judge(pool, "fine")
        for _ in range(3):
            pid = next(int(file.stem.partition("-")[2]) for file in folder.glob("scorer-*.stage"))
            os.kill(pid, signal.SIGKILL)
            assert (await judge(pool, "fine")).hits
    finally:
        await pool.close()


def test_a_verdict_for_a_listener_that_has_gone_is_dropped() -> None:
    class Gone(asyncio.Transport):
        def is_closing(self) -> bool:
            return True

        def write(self, data: object) -> None:
            raise RuntimeError("the handler is closed")  # uvloop's

    child = _Child.__new__(_Child)
    child._transport = Gone()
    child._write(VERDICT, 1, b"{}")


def test_a_scorer_judges_where_its_stage_cannot_be_written(tmp_path: Path) -> None:
    place = state_file(tmp_path / "full", 1)  # no such folder
    StageMarker(place, 60.0).for_message(3)("rules")
    signal.setitimer(signal.ITIMER_PROF, 0)
    assert read_state(place) == (0, "")
