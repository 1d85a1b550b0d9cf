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
        while name == "scorers" and (folder / "slow").exists():
            (folder / "slow.began").touch()
            time.sleep(0.02)
        def told(number, _):
            with (folder / "told").open("a") as file:
                file.write(f"{os.getpid()} {signal.Signals(number).name}\\n")
            if number == signal.SIGTERM or name not in ("listener-1", "listener-2"):
                time.sleep(0.2)  # what is told at the same time is told before this one has gone
                sys.exit()
        signal.signal(signal.SIGTERM, told)
        signal.signal(signal.SIGUSR1, told)
        ready()
        with (folder / f"{name}.pids").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        while True:
            time.sleep(0.05)
    return run

def plan():
    if (folder / "bad-configuration").exists():
        raise ValueError("bad configuration")
    drain_s = float((folder / "drain").read_text()) if (folder / "drain").exists() else 0.0
    doors = [ProcessSpec(name, serve(name), "door", drain_s) for name in ("listener-1", "listener-2")]
    if not (folder / "many").exists():
        del doors[1]
    return [ProcessSpec("scorers", serve("scorers"), "behind"), *doors,
            *([ProcessSpec("admin", serve("admin"))] if (folder / "many").exists() else [])]

def note(what):
    with (folder / "noted").open("a") as file:
        file.write(f"{what}\\n")

made = Supervisor(
    plan, state_path=folder / "state.json", on_death=lambda pid: None, on_start=lambda taken: note(f"start {taken}"),
    on_stop=lambda: note("stop"), grace_s=2.0, ready_s=3.0,
)
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


def told(folder: Path) -> list[tuple[int, str]]:
    lines = (folder / "told").read_text().splitlines() if (folder / "told").exists() else []
    return [(int(line.split()[0]), line.split()[1]) for line in lines]


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Running]:
    """Two doors, what they need, and a process beside, whose doors drain for a second."""
    (tmp_path / "many").touch()
    (tmp_path / "drain").write_text("1.0")
    made = Running(tmp_path)
    until((tmp_path / "ready").exists)
    yield made
    if made.process.poll() is None:
        made.process.terminate()
        made.process.wait(15)


def test_after_a_reload_doors_drain_and_what_they_need_stays(many: Running) -> None:
    old = many.pids()
    many.process.send_signal(signal.SIGHUP)
    until(lambda: len(many.pids()) == 4 and not set(many.pids().values()) & set(old.values()))
    until(lambda: not is_alive(old["admin"]))
    assert is_alive(old["scorers"])
    assert is_alive(old["listener-1"])
    until(lambda: not any(map(is_alive, old.values())))
    said = [(next(name for name, one in old.items() if one == pid), word) for pid, word in told(many.folder)]
    assert sorted(said[:3]) == [("admin", "SIGTERM"), ("listener-1", "SIGUSR1"), ("listener-2", "SIGUSR1")]
    assert sorted(said[3:5]) == [
        ("listener-1", "SIGTERM"),
        ("listener-2", "SIGTERM"),
    ]  # they did not leave by themselves
    assert said[5:] == [("scorers", "SIGTERM")]
    assert (many.folder / "noted").read_text() == "start True\nstart True\n"


def test_a_stop_waits_for_no_draining(many: Running) -> None:
    (many.folder / "drain").write_text("100.0")
    first = many.pids()
    for _ in range(2):
        before = many.pids()
        many.process.send_signal(signal.SIGHUP)
        until(lambda was=before: len(many.pids()) == 4 and not set(many.pids().values()) & set(was.values()))
    started = time.monotonic()
    many.process.send_signal(signal.SIGTERM)
    assert many.process.wait(15) == 0
    assert time.monotonic() - started < 10
    assert not any(map(is_alive, first.values()))
    assert (many.folder / "noted").read_text().endswith("stop\n")


def test_only_two_old_generations_drain(many: Running) -> None:
    (many.folder / "drain").write_text("100.0")
    seen = [many.pids()]
    for _ in range(4):
        many.process.send_signal(signal.SIGHUP)
        until(lambda: len(many.pids()) == 4 and not set(many.pids().values()) & set(seen[-1].values()))
        seen.append(many.pids())
    # the fixture's first generation drains for a second by itself
    until(lambda: not any(map(is_alive, (*seen[0].values(), *seen[1].values()))))
    for old in seen[2:4]:
        assert [is_alive(old[name]) for name in ("listener-1", "listener-2", "scorers")] == [True] * 3
    words = [word for pid, word in told(many.folder) if pid == seen[1]["listener-1"]]
    assert words == ["SIGUSR1", "SIGTERM"]


def test_doors_are_told_together_when_all_stops(many: Running) -> None:
    pids = many.pids()
    many.process.send_signal(signal.SIGTERM)
    assert many.process.wait(15) == 0
    names = {pid: name for name, pid in pids.items()}
    said = [names[pid] for pid, word in told(many.folder) if word == "SIGTERM"]
    assert sorted(said[:2]) == ["listener-1", "listener-2"]
    assert said[2:] == ["admin", "scorers"]


def test_what_was_started_for_nothing_is_given_up(running: Running) -> None:
    until((running.folder / "ready").exists)
    (running.folder / "listener-1.broken").touch()
    running.process.send_signal(signal.SIGHUP)
    until(lambda: (running.folder / "noted").read_text() == "start True\nstart False\n")


def test_what_dies_during_a_reload_is_started_again(running: Running) -> None:
    """A reload that takes its time leaves nobody without a door."""
    until((running.folder / "ready").exists)
    before = running.pids()
    (running.folder / "slow").touch()
    running.process.send_signal(signal.SIGHUP)
    until((running.folder / "slow.began").exists)
    os.kill(before["listener-1"], signal.SIGKILL)
    until(lambda: running.pids().get("listener-1", before["listener-1"]) != before["listener-1"])
    assert running.pids()["scorers"] == before["scorers"]
    (running.folder / "slow").unlink()
    until(lambda: running.pids().get("scorers", before["scorers"]) != before["scorers"])
