"""When digests are due: times of day and weekdays in a time zone. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from gateway.types import DigestPlan


def latest(plan: DigestPlan, now: float) -> float | None:
    """The newest time of the plan that is not after `now`, in epoch seconds; None when a week has none.

    A time that a change of the clock leaves out is taken as if there had been no change; one that comes twice counts
    once, the first time (PEP 495, fold=0).
    """
    zone = ZoneInfo(plan.time_zone)
    today = datetime.fromtimestamp(now, UTC).astimezone(zone).date()
    times = (
        _epoch(today - timedelta(days=ago), hour, minute, zone)
        for ago in range(9)  # a week, and a day on both sides of a change of the clock
        for hour, minute in plan.at
        if (today - timedelta(days=ago)).weekday() in plan.weekdays
    )
    return max((one for one in times if one <= now), default=None)


def _epoch(day: date, hour: int, minute: int, zone: ZoneInfo) -> float:
    return datetime.combine(day, time(hour, minute), tzinfo=zone).timestamp()
