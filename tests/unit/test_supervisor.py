"""supervisor.py with real processes: restart, reload, stop."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from gateway.supervisor import ProcessSpec, Supervisor

folder = Path(sys.argv[1])

def serve(name):
    def run(ready):
        if (folder / f"{name}.broken").exists():
            raise RuntimeError("broken")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        ready()
        with (folder / f"{name}.pids").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        while True:
            time.sleep(0.05)
    return run

def plan():
    if (folder / "bad-configuration").exists():
        raise ValueError("bad configuration")
    return [ProcessSpec("scorers", serve("scorers")), ProcessSpec("listener-1", serve("listener-1"))]

made = Supervisor(plan, state_path=folder / "state.json", on_death=lambda pid: None, grace_s=2.0, ready_s=3.0)
sys.exit(made.run(plan(), lambda: (folder / "ready").touch()))
"""


class Running:
    """A supervisor in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], stdout=subprocess.DEVNULL)

    def pids(self) -> dict[str, int]:
        with contextlib.suppress(OSError, ValueError):
            return {
                one["name"]: one["pid"] for one in json.loads((self.folder / "state.json").read_text()) if one["ready"]
            }
        return {}


def until(found: Callable[[], bool], within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not found():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.terminate()
        made.process.wait(15)


def test_what_dies_is_started_again(running: Running) -> None:
    until((running.folder / "ready").exists)  # one that dies before it ever served ends the start
    before = running.pids()
    os.kill(before["listener-1"], signal.SIGKILL)
    until(lambda: running.pids().get("listener-1", before["listener-1"]) != before["listener-1"])
    assert running.pids()["scorers"] == before["scorers"]


def test_stop_ends_every_child_with_status_0(running: Running) -> None:
    until((running.folder / "ready").exists)
    pids = running.pids()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(15) == 0
    assert not any(is_alive(pid) for pid in pids.values())
    assert not (running.folder / "state.json").exists()


def test_reload_replaces_the_generation(running: Running) -> None:
    until((running.folder / "ready").exists)
    before = running.pids()
    running.process.send_signal(signal.SIGHUP)
    until(lambda: len(running.pids()) == 2 and not set(running.pids().values()) & set(before.values()))
    until(lambda: not any(is_alive(pid) for pid in before.values()))


@pytest.mark.parametrize("fault", ["bad-configuration", "listener-1.broken"])
def test_a_bad_reload_leaves_the_old_generation(running: Running, fault: str) -> None:
    until((running.folder / "ready").exists)
    before = running.pids()
    (running.folder / fault).touch()
    running.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    until(lambda: running.pids() == before)
    assert all(is_alive(pid) for pid in before.values())
    assert running.process.poll() is None


def test_a_first_start_that_fails_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "listener-1.broken").touch()
    made = Running(tmp_path)
    assert made.process.wait(15) == 1
    assert not (tmp_path / "ready").exists()


def test_children_do_not_outlive_a_killed_supervisor(running: Running) -> None:
    until((running.folder / "ready").exists)
    pids = running.pids()
    running.process.kill()
    until(lambda: not any(is_alive(pid) for pid in pids.values()))


def test_a_list_of_processes_that_cannot_be_written_stops_nothing(running: Running) -> None:
    until((running.folder / "ready").exists)
    before = running.pids()["listener-1"]
    (running.folder / "state.tmp").mkdir()  # as a full disk would
    os.kill(before, signal.SIGKILL)
    until(lambda: len((running.folder / "listener-1.pids").read_text().split()) == 2)
    assert running.process.poll() is None
    (running.folder / "state.tmp").rmdir()
