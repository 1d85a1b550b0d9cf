"""Work in order, a bounded part of it on the way, and a process that dies is told of."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from gateway.classify.workers import LocalWorkers
from gateway.errors import InputError


def slow_first(number: int) -> int:
    time.sleep(0.05 if number == 0 else 0)
    return number * 2


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_are_in_order_and_items_are_taken_as_needed(jobs: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken = number
            yield number

    results = LocalWorkers(jobs).stream(slow_first, items())
    assert next(results) == 0
    assert taken <= 4 * jobs + 1
    assert list(results) == [2 * number for number in range(1, 100)]


def test_a_process_that_was_killed() -> None:
    with pytest.raises(InputError, match="one of 2 processes was killed"):
        list(LocalWorkers(2).stream(die, [1]))


def test_an_error_of_the_work_is_the_callers() -> None:
    with pytest.raises(ZeroDivisionError):
        list(LocalWorkers(1).stream((1).__truediv__, [0]))


def test_loaders_are_called_by_the_hands(monkeypatch) -> None:
    loaders = [lambda number=number: number for number in range(5)]
    assert list(LocalWorkers(2).over(loaders, lambda item, given: item + given, 10)) == [10, 11, 12, 13, 14]
