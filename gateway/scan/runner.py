"""Runs checks and stages. One that fails is named, never a silent pass. The one place here that catches everything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import structlog

from gateway.ports import EnvelopeCheck, MessageCheck, Resolver
from gateway.types import CheckReport, MailObject

T = TypeVar("T")

log = structlog.get_logger("darban.scan")


def attempt(name: str, work: Callable[[], T]) -> tuple[T | None, str]:
    """The work's result and "", or None and what went wrong in a few words."""
    try:
        return work(), ""
    except Exception as error:
        log.error("stage failed", stage=name, exc_info=error)
        return None, f"{name}: {type(error).__name__}"


async def attempt_async(name: str, work: Awaitable[T]) -> tuple[T | None, str]:
    """As `attempt`, for work that waits."""
    try:
        return await work, ""
    except Exception as error:
        log.error("stage failed", stage=name, exc_info=error)
        return None, f"{name}: {type(error).__name__}"


def run_message_checks(checks: Iterable[MessageCheck], mail: MailObject) -> list[CheckReport]:
    """The pure ones, in a row."""
    return [_run(check, mail) for check in checks]


async def run_envelope_checks(
    checks: Sequence[EnvelopeCheck], mail: MailObject, resolver: Resolver, deadline_s: float
) -> list[CheckReport]:
    """The waiting ones, side by side, under one deadline in seconds."""
    if not checks:
        return []
    tasks = [asyncio.ensure_future(_ask(check, mail, resolver)) for check in checks]
    done, late = await asyncio.wait(tasks, timeout=deadline_s)
    for task in late:
        task.cancel()
    return [
        task.result() if task in done else CheckReport(check.name, failed="timeout")
        for check, task in zip(checks, tasks, strict=True)
    ]


def _run(check: MessageCheck, mail: MailObject) -> CheckReport:
    try:
        return CheckReport(check.name, tuple(check.check(mail)))
    except Exception as error:
        log.error("check failed", check=check.name, exc_info=error)
        return CheckReport(check.name, failed=type(error).__name__)


async def _ask(check: EnvelopeCheck, mail: MailObject, resolver: Resolver) -> CheckReport:
    try:
        return CheckReport(check.name, tuple(await check.check(mail, resolver)))
    except Exception as error:
        log.error("check failed", check=check.name, exc_info=error)
        return CheckReport(check.name, failed=type(error).__name__)
