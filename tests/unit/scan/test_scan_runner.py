"""scan/runner.py: what need not wait makes no task; what waits is joined, cancelled and timed as a task is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from gateway.begun import Begun
from gateway.scan.runner import (
    attempt,
    ends_within,
    run_envelope_checks,
    run_message_checks,
    side_by_side,
)
from gateway.types import CheckReport, Finding, MailObject, Missing
from tests.builders import mail, message_bytes
from tests.fakes import FakeResolver

MAIL = mail(message_bytes())


async def at_once(value: int) -> int:
    return value


async def later(value: int, waits: int = 3) -> int:
    for _ in range(waits):
        await asyncio.sleep(0.001)
    return value


async def failing(waits: int) -> int:
    await later(0, waits)
    raise ValueError("no")


async def test_work_that_need_not_wait_makes_no_task() -> None:
    before = len(asyncio.all_tasks())
    begun = Begun(at_once(7))
    assert (begun.task, begun.result(), len(asyncio.all_tasks())) == (None, 7, before)
    assert await ends_within(0.0, begun)


async def test_results_come_in_order_whatever_waits() -> None:
    assert await side_by_side(later(1), at_once(2), later(3, 1), asyncio.sleep(0, 4)) == [1, 2, 3, 4]


async def test_waiting_works_overlap() -> None:
    order: list[str] = []

    async def work(name: str) -> None:
        order.append(f"{name} begins")
        await asyncio.sleep(0.001)
        order.append(f"{name} ends")

    await side_by_side(work("a"), work("b"))
    assert order == ["a begins", "b begins", "a ends", "b ends"]


@pytest.mark.parametrize("waits", [0, 1, 3])
async def test_a_fault_is_raised(waits: int) -> None:
    with pytest.raises(ValueError, match="no"):
        await side_by_side(at_once(1), failing(waits))
    begun = Begun(failing(waits))
    assert await ends_within(1.0, begun)
    assert attempt("spf", begun.result) == (None, "spf: ValueError")


async def test_work_over_its_deadline_is_cancelled() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    assert not await ends_within(0.01, Begun(work()))
    assert ended == [True]


@pytest.mark.parametrize("first", [0.0, 0.001])
async def test_work_may_answer_its_cancellation(first: float) -> None:
    async def work() -> str:
        try:
            await asyncio.sleep(first)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return "tidied up"
        return ""

    begun = Begun(work())
    assert begun.task is not None
    await asyncio.sleep(0.01)
    begun.task.cancel()
    assert await begun.task == "tidied up"


class Check:
    """Says so, or fails."""

    findings = ("SEEN",)

    def __init__(self, name: str, act: str) -> None:
        self.name, self.act = name, act

    def check(self, _mail: MailObject) -> Iterable[Finding]:
        if self.act != "silent":
            yield Finding("SEEN")
        if self.act == "fail":
            raise LookupError


class Half(Check):
    """Sees one thing and misses another."""

    async def check(self, _mail: MailObject, _resolver: object) -> Iterable[Finding | Missing]:
        return [Missing("dns: the list"), Finding("SEEN")]


class Asking(Check):
    """The same, by the network."""

    async def check(self, _mail: MailObject, _resolver: object) -> Iterable[Finding]:
        if self.act == "hang":
            await asyncio.sleep(60)
        if self.act == "wait":
            await asyncio.sleep(0.001)
        return list(Check.check(self, _mail))


def test_silent_checks_report_nothing_and_failing_ones_are_named() -> None:
    reports = run_message_checks([Check(act, act) for act in ("see", "silent", "fail")], MAIL)
    assert [(one.check, len(one.findings), one.failed) for one in reports] == [
        ("see", 1, ""),
        ("fail", 0, "LookupError"),
    ]


async def test_envelope_checks_share_one_deadline() -> None:
    checks = [Asking(act, act) for act in ("see", "wait", "hang", "fail")]
    reports = await run_envelope_checks(checks, MAIL, FakeResolver(), 0.05)
    assert [(one.check, len(one.findings), one.failed) for one in reports] == [
        ("see", 1, ""),
        ("wait", 1, ""),
        ("hang", 0, "timeout"),
        ("fail", 0, "LookupError"),
    ]
    assert await run_envelope_checks([], MAIL, FakeResolver(), 0.05) == []


async def test_what_an_envelope_check_misses_stands_beside_what_it_sees() -> None:
    (report,) = await run_envelope_checks([Half("half", "half")], MAIL, FakeResolver(), 1.0)
    assert report == CheckReport("half", (Finding("SEEN"),), missing=("dns: the list",))


def test_a_stage_that_fails_is_named() -> None:
    assert attempt("parse", lambda: 1 // 0) == (None, "parse: ZeroDivisionError")
