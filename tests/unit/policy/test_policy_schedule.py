"""policy/schedule.py: the newest time of a plan, in its time zone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.schedule import latest
from gateway.types import DigestPlan

EVERY_DAY = frozenset(range(7))
PLAN = DigestPlan("darban.test", ("*",), ((8, 0), (16, 30)), EVERY_DAY, "Asia/Tehran", "fa", "jalali")


def epoch(text: str, zone: str = "Asia/Tehran") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ("2026-11-27 08:00", "2026-11-27 08:00"),
        ("2026-11-27 07:59:59", "2026-11-26 16:30"),
        ("2026-11-27 16:29", "2026-11-27 08:00"),
        ("2026-11-27 23:59", "2026-11-27 16:30"),
    ],
)
def test_times_of_day(now: str, found: str) -> None:
    assert latest(PLAN, epoch(now)) == epoch(found)


def test_weekdays() -> None:  # Saturday to Wednesday; 2026-11-27 is a Friday
    plan = replace(PLAN, weekdays=frozenset({5, 6, 0, 1, 2}))
    assert latest(plan, epoch("2026-11-27 20:00")) == epoch("2026-11-25 16:30")
    assert latest(replace(PLAN, weekdays=frozenset({4})), epoch("2026-11-27 07:00")) == epoch("2026-11-20 16:30")
    assert latest(replace(PLAN, at=()), epoch("2026-11-27 07:00")) is None


def test_a_change_of_the_clock() -> None:
    berlin = replace(PLAN, at=((2, 30),), time_zone="Europe/Berlin")
    assert (
        latest(berlin, epoch("2026-03-29 12:00", "Europe/Berlin"))
        == datetime(2026, 3, 29, 1, 30, tzinfo=UTC).timestamp()
    )
    twice = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()  # 02:30 of summer; an hour later it is 02:30 again
    assert latest(berlin, twice) == latest(berlin, twice + 3600) == latest(berlin, twice + 80_000) == twice


@given(
    st.floats(1.7e9, 2.0e9),
    st.floats(0, 2e6),
    st.lists(st.tuples(st.integers(0, 23), st.integers(0, 59)), min_size=1, max_size=4),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.sampled_from(["Asia/Tehran", "Europe/Berlin", "UTC", "Pacific/Apia", "America/St_Johns"]),
)
def test_it_only_goes_forward(now: float, later: float, at: list, weekdays: frozenset[int], zone: str) -> None:
    plan = replace(PLAN, at=tuple(at), weekdays=weekdays, time_zone=zone)
    first, second = latest(plan, now), latest(plan, now + later)
    assert first is not None
    assert second is not None
    assert now - 9 * 86_400 <= first <= now
    assert first <= second
    assert latest(plan, first) == first
