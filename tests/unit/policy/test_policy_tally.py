"""Counts over processes: what each adds all see, and no number of keys takes more memory."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.tally import FadingCounts, Tally


def test_what_a_process_adds_all_see() -> None:
    tally = Tally(3)
    counts = [tally.of(number).counts("open") for number in range(3)]
    for number, one in enumerate(counts, 1):
        one.add("192.0.2.1", number)
    assert [one.get("192.0.2.1") for one in counts] == [6] * 3
    counts[1].add("192.0.2.1", -2)
    assert counts[0].get("192.0.2.1") == 4
    counts[2].clear()
    assert [counts[0].get("192.0.2.1"), counts[0].get("192.0.2.2")] == [1, 0]
    assert tally.counts("door").get("192.0.2.1") == 0


def test_over_a_fork() -> None:
    tally = Tally(2)
    child = os.fork()
    if child == 0:
        tally.of(1).counts("new").add("192.0.2.1", 7)
        os._exit(0)
    os.waitpid(child, 0)
    assert tally.of(0).counts("new").get("192.0.2.1") == 7


@given(st.dictionaries(st.text(), st.integers(1, 9), max_size=50))
def test_never_too_small(added: dict[str, int]) -> None:
    counts = Tally().counts("open")
    for key, number in added.items():
        counts.add(key, number)
    assert all(counts.get(key) >= number for key, number in added.items())


def test_many_keys_make_each_a_little_larger() -> None:
    counts = Tally().counts("open")
    for number in range(10_000):
        counts.add(f"10.0.{number >> 8}.{number & 255}", 1)
    # as many as a flood brings: one that never came counts as less than one
    strangers = [counts.get(f"198.51.{number >> 8}.{number & 255}") for number in range(1000)]
    assert sum(strangers) / 1000 < 1
    assert max(strangers) < 6


def test_fading() -> None:
    now = [1000.0]
    tally = Tally(2)
    ours, theirs = (FadingCounts(tally.of(number).counts("new"), 60.0, lambda: now[0]) for number in (0, 1))
    ours.add("a", 1)
    theirs.add("a", 2)
    assert ours.get("a") == pytest.approx(3)
    now[0] += 60
    assert ours.get("a") == pytest.approx(3 / 2.718281828)
    ours.add("a", 5)
    assert theirs.get("a") == pytest.approx(5 + 3 / 2.718281828)
    now[0] += 1e9
    assert ours.get("a") == 0
    ours.add("a", 1)
    assert ours.get("a") == pytest.approx(1)
