"""Runs checks and stages. One that fails is named, never a silent pass. The one place here that catches everything.

What need not wait costs no task, no timer and no turn of the loop: most look-ups are answered from the cache, and
checks that only look never wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import structlog

from gateway.begun import Begun
from gateway.ports import EnvelopeCheck, MessageCheck, Resolver
from gateway.types import CheckReport, Finding, MailObject, Missing

T = TypeVar("T")

log = structlog.get_logger("darban.scan")


async def side_by_side(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    """Their results, in order. A fault of one is raised when all have ended."""
    begun = [Begun(work) for work in works]
    tasks = [one.task for one in begun if one.task is not None]
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)
    return [one.result() for one in begun]


async def ends_within(deadline_s: float, begun: Begun[Any]) -> bool:
    """Whether it ends in so many seconds; it is cancelled where it does not."""
    task = begun.task
    if task is None:
        return True
    try:
        done, _ = await asyncio.wait((task,), timeout=deadline_s)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.cancel()
        await asyncio.wait((task,))
    return bool(done)


def attempt(name: str, work: Callable[[], T]) -> tuple[T | None, str]:
    """The work's result and "", or None and what went wrong in a few words."""
    try:
        return work(), ""
    except Exception as error:
        log.error("stage failed", stage=name, exc_info=error)
        return None, f"{name}: {type(error).__name__}"


def run_message_checks(checks: Iterable[MessageCheck], mail: MailObject) -> list[CheckReport]:
    """The pure ones, in a row; reports of those that saw something or failed."""
    reports = []
    for check in checks:
        try:
            found = [*check.check(mail)]
        except Exception as error:
            log.error("check failed", check=check.name, exc_info=error)
            reports.append(CheckReport(check.name, failed=type(error).__name__))
        else:
            if found:
                reports.append(CheckReport(check.name, tuple(found)))
    return reports


async def run_envelope_checks(
    checks: Sequence[EnvelopeCheck], mail: MailObject, resolver: Resolver, deadline_s: float
) -> list[CheckReport]:
    """The waiting ones, side by side, under one deadline in seconds."""
    begun = [Begun(_ask(check, mail, resolver)) for check in checks]
    tasks = [one.task for one in begun if one.task is not None]
    late = (await asyncio.wait(tasks, timeout=deadline_s))[1] if tasks else set()
    for task in late:
        task.cancel()
    return [
        CheckReport(check.name, failed="timeout") if one.task in late else one.result()
        for check, one in zip(checks, begun, strict=True)
    ]


async def _ask(check: EnvelopeCheck, mail: MailObject, resolver: Resolver) -> CheckReport:
    try:
        seen = [*await check.check(mail, resolver)]
        return CheckReport(
            check.name,
            tuple(one for one in seen if isinstance(one, Finding)),
            missing=tuple(one.what for one in seen if isinstance(one, Missing)),
        )
    except Exception as error:
        log.error("check failed", check=check.name, exc_info=error)
        return CheckReport(check.name, failed=type(error).__name__)
