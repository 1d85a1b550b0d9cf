"""Refusals in the message log: the first ones as rows, a flood as numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.refusals import MAX_TOLD, ROWS, ROWS_EACH, WINDOW_S, Refusals
from gateway.policy.reputation import Networks
from gateway.types import Client, LogRow, Reply

REFUSED, DEFERRED = Reply(550, "5.1.1", "no such user"), Reply(450, "4.7.1", "later")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(
    refusals: Refusals, ip: str = "198.51.100.1", reason: str = "unknown", reply: Reply = REFUSED
) -> list[LogRow]:
    return [*refusals.take(Client(ip, helo="h"), "sara@example.org", "no@darban.test", reply, reason)]


def test_a_row_says_what_was_heard() -> None:
    refusals = Refusals(Networks().of, Clock())
    (row,) = taken(refusals)
    assert (row.client_ip, row.helo, row.reverse_path, row.recipient) == (
        "198.51.100.1",
        "h",
        "sara@example.org",
        "no@darban.test",
    )
    assert (row.action, row.reply, row.reason, row.at) == ("reject", "550 5.1.1 no such user", "unknown", 1000.0)
    (row,) = taken(refusals, reason="rate", reply=DEFERRED)
    assert row.action == "tempfail"


def test_a_flood_is_told_in_numbers() -> None:
    clock = Clock()
    refusals = Refusals(Networks().of, clock)
    rows = [row for _ in range(1000) for row in taken(refusals)]
    assert len(rows) == ROWS_EACH
    assert refusals.is_counting
    clock.now += WINDOW_S
    told = taken(refusals)
    assert [row.reason for row in told] == [f"{1000 - ROWS_EACH} more like this: unknown", "unknown"]
    assert told[0].client_ip == "198.51.100.0/24"
    assert not refusals.is_counting


@given(st.lists(st.tuples(st.integers(0, 255), st.sampled_from(["a", "b", "c"])), max_size=400))
def test_nothing_is_lost_and_rows_are_bounded(events: list[tuple[int, str]]) -> None:
    refusals = Refusals(Networks().of, Clock())
    rows = [row for number, reason in events for row in taken(refusals, f"10.0.{number}.1", reason)]
    assert len(rows) <= ROWS
    told = refusals.flush()
    assert len(told) <= MAX_TOLD + 1
    assert len(rows) + sum(int(row.reason.partition(" ")[0]) for row in told) == len(events)
    assert refusals.flush() == []


def test_memory_is_bounded() -> None:
    refusals = Refusals(Networks().of, Clock())
    for number in range(5000):
        taken(refusals, f"10.{number // 250}.{number % 250}.1")
    assert len(refusals._seen) <= 1001
    assert len(refusals.flush()) <= MAX_TOLD + 1
