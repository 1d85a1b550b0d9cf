"""The breaker: down after faults in a row, up when a probe is answered, on trial until something worked."""

from __future__ import annotations

import asyncio

import pytest

from gateway.net import breaker
from gateway.net.breaker import FAULTS_BEFORE_DOWN, PROBE_FIRST_S, PROBE_MAX_S, UP, Breaker, wait_s


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited for, in no time, without the jitter."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def at_once(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(breaker.asyncio, "sleep", at_once)
    monkeypatch.setattr(breaker.random, "uniform", lambda low, high: 1.0)
    return waits


def fail(one: Breaker, times: int = FAULTS_BEFORE_DOWN) -> None:
    for _ in range(times):
        one.failed("connect", "refused")


async def until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)


async def test_down_after_faults_in_a_row_and_up_when_it_answers(slept: list[float]) -> None:
    answers = [False, False, True]

    async def probe() -> bool:
        return answers.pop(0)

    one = Breaker("smtp://probed:25", probe)
    fail(one, FAULTS_BEFORE_DOWN - 1)
    one.worked()
    fail(one, FAULTS_BEFORE_DOWN - 1)
    assert not one.is_down
    assert not one.is_steady
    fail(one, 1)
    assert one.is_down
    assert UP.labels("smtp://probed:25")._value.get() == 0
    await until(lambda: not one.is_down)
    assert slept == [PROBE_FIRST_S, PROBE_FIRST_S * 2, PROBE_FIRST_S * 4]
    assert UP.labels("smtp://probed:25")._value.get() == 1


async def test_one_that_answers_probes_and_fails_at_mail_is_left_alone_ever_longer(slept: list[float]) -> None:
    async def probe() -> bool:
        return True

    one = Breaker("smtp://liar:25", probe)
    fail(one)
    for _ in range(3):
        await until(lambda: not one.is_down)
        fail(one, 1)
        assert one.is_down
    await until(lambda: not one.is_down)
    assert slept == [PROBE_FIRST_S * 2**times for times in range(4)]
    one.worked()
    fail(one, FAULTS_BEFORE_DOWN - 1)
    assert not one.is_down
    one.close()


async def test_closed_one_probes_no_more() -> None:
    async def probe() -> bool:
        raise AssertionError

    one = Breaker("smtp://closed:25", probe)
    fail(one)
    one.close()
    assert one._probing is not None
    await asyncio.gather(one._probing, return_exceptions=True)
    assert one._probing.cancelled()


def test_waits_grow_to_a_bound_and_are_scattered() -> None:
    waits = [{wait_s(times) for _ in range(50)} for times in (1, 5, 10, 1000)]
    for times, seen in zip((1, 5, 10, 1000), waits, strict=True):
        middle = min(PROBE_MAX_S, PROBE_FIRST_S * 2 ** (times - 1))
        assert all(0.75 * middle <= one <= 1.25 * middle for one in seen)
        assert len(seen) > 10
