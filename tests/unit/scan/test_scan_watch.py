from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.scan.watch import StageMarker, read_state, state_file

LIMIT_S = 0.8


@pytest.fixture
def armed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    times: list[float] = []
    arm = signal.setitimer

    def setitimer(which: int, seconds: float) -> None:
        times.append(seconds)
        arm(which, seconds)

    monkeypatch.setattr(signal, "setitimer", setitimer)
    yield times
    arm(signal.ITIMER_PROF, 0)


def test_the_last_stage_is_read_after_the_end(tmp_path: Path, armed: list[float]) -> None:
    place = state_file(tmp_path, 7)
    mark = StageMarker(place, LIMIT_S).for_message(3)
    mark("parse")
    mark("rules")
    assert read_state(place) == (3, "rules")
    assert not place.exists()


def test_quick_stages_cost_one_system_call(tmp_path: Path, armed: list[float]) -> None:
    marker = StageMarker(state_file(tmp_path, 7), LIMIT_S)
    for sequence in range(10):
        for stage in ("parse", "rules"):
            marker.for_message(sequence)(stage)
    assert armed == [LIMIT_S]


def test_every_stage_has_nearly_the_whole_limit(tmp_path: Path, armed: list[float]) -> None:
    mark = StageMarker(state_file(tmp_path, 7), LIMIT_S).for_message(1)
    for number in range(6):
        mark(f"stage {number}")
        assert signal.getitimer(signal.ITIMER_PROF)[0] >= LIMIT_S * 7 / 8 - 0.02
        until = time.process_time() + LIMIT_S / 6
        while time.process_time() < until:
            pass
    assert len(armed) >= 5
