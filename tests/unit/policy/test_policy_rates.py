"""policy/rates.py: limits hold for a network and a domain, fade, are shared, and cannot be used up by others."""

from __future__ import annotations

import pytest

from gateway.policy.rates import LIFE_S, TOO_MANY, Limits, Rates
from gateway.policy.reputation import Keys
from tests.fakes import FakeClock
from tests.memory import MemoryCounters

NET, OTHER = "192.0.2.0/24", "198.51.100.0/24"


def rates(clock: FakeClock | None = None, **limits: int) -> Rates:
    return Rates(Limits(**limits), Keys(b"secret"), (clock or FakeClock()).now)


def test_a_burst_of_the_limit_is_taken_and_no_more() -> None:
    one = rates(messages=5, recipients=3)
    assert [one.admit(NET, "") for _ in range(7)] == [None] * 5 + ["messages"] * 2
    assert [one.recipient(NET) for _ in range(4)] == [None] * 3 + ["recipients"]
    assert one.admit(OTHER, "") is None


def test_zero_is_no_limit_and_a_trusted_network_is_not_counted() -> None:
    one, few = rates(), rates(messages=1, recipients=1, unknown=1)
    for _ in range(1000):
        assert one.admit(NET, "example.org") is None
        assert one.recipient(NET) is None
        few.unknown("")
        assert few.admit("", "example.org") is None
        assert few.recipient("") is None


def test_a_count_fades_and_what_was_deferred_does_not_keep_the_door_shut() -> None:
    clock = FakeClock()
    one = rates(clock, messages=100)
    taken = [sum(one.admit(NET, "") is None for _ in range(1000)) for _ in range(1)]
    for _ in range(10):  # a client that tries on and on gets its hour's share
        clock.advance(LIFE_S / 10)
        taken.append(sum(one.admit(NET, "") is None for _ in range(1000)))
    assert taken[0] == 100
    assert 90 <= sum(taken[1:]) <= 101
    clock.advance(20 * LIFE_S)
    assert sum(one.admit(NET, "") is None for _ in range(1000)) == 100


def test_a_harvest_is_deferred_at_mail_and_rcpt() -> None:
    clock = FakeClock()
    one = rates(clock, unknown=10)
    for _ in range(9):
        assert one.recipient(NET) is None
        one.unknown(NET)
    assert one.admit(NET, "") is None
    one.recipient(NET)
    one.unknown(NET)
    assert (one.admit(NET, ""), one.recipient(NET), one.admit(OTHER, "")) == ("unknown", "unknown", None)
    clock.advance(3 * LIFE_S)
    assert one.admit(NET, "") is None


def test_a_large_senders_bounces_are_no_harvest() -> None:
    one = rates(unknown=10)
    for number in range(90):
        assert one.recipient(NET) is None
        if number % 3 == 0:
            one.unknown(NET)


def test_a_domain_is_counted_by_what_passed_for_it() -> None:
    one = rates(domain=3)
    for _ in range(50):
        assert one.admit(OTHER, "example.org") is None  # whoever writes this as reverse-path
    for _ in range(3):
        one.sent("example.org")
    assert one.admit(NET, "example.org") == "domain"
    assert one.admit(NET, "example.net") is None
    assert one.admit(NET, "") is None


def test_two_processes_count_together() -> None:
    clock, store = FakeClock(), MemoryCounters()
    first, second = rates(clock, messages=100), rates(clock, messages=100)

    def share(one: Rates) -> None:
        amounts = one.take()
        store.add_many(amounts, 60)
        one.give(store.get_many(list(amounts)))

    for _ in range(60):
        first.admit(NET, "")
        second.admit(NET, "")
    assert first.admit(NET, "") is None
    share(first)
    share(second)
    assert second.admit(NET, "") == "messages"
    first.admit(NET, "")
    share(first)
    assert first.admit(NET, "") == "messages"
    assert first.take() == {}
    clock.advance(20 * LIFE_S)
    assert second.admit(NET, "") is None


@pytest.mark.parametrize("days", [0, 16, 17, 400])
def test_shared_sums_stay_finite_and_begin_anew(days: int) -> None:
    clock, store = FakeClock(), MemoryCounters()
    clock.advance(days * 86_400)
    one, other = rates(clock, messages=10), rates(clock, messages=10)
    for _ in range(10):
        one.admit(NET, "")
    store.add_many(one.take(), 60)
    other.admit(NET, "")
    amounts = other.take()
    store.add_many(amounts, 60)
    other.give(store.get_many(list(amounts)))
    assert other.admit(NET, "") == "messages"


def test_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.policy.rates._MAX_COUNTS", 100)
    one = rates(messages=2)
    for number in range(1000):
        assert one.admit(f"10.{number // 250}.{number % 250}.0/24", "") is None
    assert len(one._counts) == 100
    assert len(one._moved) == 100
    assert len(one.take()) == 100


def test_every_reply_defers() -> None:
    assert {(reply.code, reply.enhanced) for reply in TOO_MANY.values()} == {(450, "4.7.1")}
