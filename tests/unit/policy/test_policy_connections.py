"""Connections of clients and networks: open ones, new ones, and those of who misused them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.connections import ConnectionLimits, Connections, Door
from gateway.policy.reputation import Networks
from gateway.policy.tally import Tally

NETWORKS = Networks(["192.0.2.0/24"])


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock | None = None, **limits: int) -> Connections:
    return Connections(ConnectionLimits(**limits), NETWORKS.of, clock or Clock())


def test_open_ones_of_a_client() -> None:
    counts = make(per_client=2)
    assert [counts.begin("198.51.100.1") for _ in range(3)] == [None, None, "client"]
    assert counts.begin("198.51.100.2") is None
    counts.end("198.51.100.1")
    assert counts.begin("198.51.100.1") is None


def test_open_ones_of_a_network() -> None:
    counts = make(per_network=2)
    assert [counts.begin(f"198.51.100.{n}") for n in range(3)] == [None, None, "network"]
    assert counts.begin("203.0.113.1") is None
    assert [counts.begin(f"2001:db8::{n}") for n in range(3)] == [None, None, "network"]
    assert counts.begin("2001:db8:0:1::1") is None


def test_new_ones_in_a_minute_fade() -> None:
    clock = Clock()
    counts = make(clock, client_rate=3, network_rate=5)
    for _ in range(3):
        assert counts.begin("198.51.100.1") is None
        counts.end("198.51.100.1")
    assert counts.begin("198.51.100.1") == "client_rate"
    assert counts.begin("198.51.100.2") is None
    assert counts.begin("198.51.100.3") == "network_rate"
    clock.now += 600
    assert counts.begin("198.51.100.1") is None


def test_who_goes_on_trying_stays_out() -> None:
    clock = Clock()
    counts = make(clock, client_rate=3)
    heard = []
    for _ in range(200):
        heard.append(counts.begin("198.51.100.1"))
        clock.now += 5
    assert heard[10:] == ["client_rate"] * 190


def test_wrong_commands_are_remembered_for_their_network() -> None:
    clock = Clock()
    counts = make(clock, errors=10)
    counts.misused("198.51.100.1", 6)
    assert counts.begin("198.51.100.2") is None
    counts.misused("198.51.100.2", 6)
    assert counts.begin("198.51.100.3") == "errors"
    assert counts.begin("203.0.113.1") is None
    clock.now += 3600
    assert counts.begin("198.51.100.3") is None


def test_tolerance_is_halved_with_each_time() -> None:
    clock = Clock()
    counts = make(clock)
    seen = []
    for _ in range(5):
        seen.append(counts.tolerance("198.51.100.1", 16))
        counts.stopped("198.51.100.77")
    assert seen == [16, 8, 4, 2, 2]
    assert counts.was_stopped("198.51.100.1")
    assert counts.tolerance("203.0.113.1", 16) == 16
    assert counts.tolerance("198.51.100.1", 0) == 0
    clock.now += 4 * 3600
    assert counts.tolerance("198.51.100.1", 16) == 16
    assert not counts.was_stopped("198.51.100.1")


def test_a_trusted_network_is_not_counted() -> None:
    counts = make(per_client=1, per_network=1, client_rate=1, network_rate=1, errors=1)
    counts.misused("192.0.2.1", 100)
    counts.stopped("192.0.2.1")
    assert [counts.begin("192.0.2.1") for _ in range(5)] == [None] * 5
    assert not counts.was_stopped("192.0.2.1")
    counts.end("192.0.2.1")


@pytest.mark.parametrize("ip", ["", "0.0.0.0", "nonsense"])
def test_who_has_no_address_is_not_counted(ip: str) -> None:
    assert make(per_client=1).begin(ip) is None


@given(
    st.lists(st.tuples(st.sampled_from(["198.51.100.1", "198.51.100.2", "203.0.113.1"]), st.booleans()), max_size=60)
)
def test_what_was_let_in_and_ended_leaves_nothing(steps: list[tuple[str, bool]]) -> None:
    counts, open_now = make(per_client=3, per_network=4), []
    for ip, is_new in steps:
        if is_new and counts.begin(ip) is None:
            open_now.append(ip)
        elif not is_new and open_now:
            counts.end(open_now.pop())
        assert max((open_now.count(one) for one in open_now), default=0) <= 3
    for ip in open_now:
        counts.end(ip)
    assert [counts._open.get(ip) for ip in ("198.51.100.1", "198.51.100.0/24", "203.0.113.1")] == [0, 0, 0]
    assert not any(counts._open.own)


def test_all_processes_count_together() -> None:
    tally, clock = Tally(2), Clock()
    limits = ConnectionLimits(per_client=2, client_rate=4)
    one, other = (Connections(limits, NETWORKS.of, clock, tally.of(number)) for number in (0, 1))
    assert [one.begin("198.51.100.1"), other.begin("198.51.100.1"), one.begin("198.51.100.1")] == [None, None, "client"]
    other.end("198.51.100.1")
    assert one.begin("198.51.100.1") is None
    one.end("198.51.100.1")
    assert other.begin("198.51.100.1") == "client_rate"
    one.stopped("198.51.100.1")
    assert other.was_stopped("198.51.100.1")


def test_the_connections_of_a_door() -> None:
    tally = Tally(2)
    one, other = (Door("smtp", 4, tally.of(number)) for number in (0, 1))
    for door in (one, other, other):
        door.begin()
    assert (one.taken, other.taken, Door("milter", 4, tally).taken) == (0.75, 0.75, 0)
    other.end()
    assert one.taken == 0.5
