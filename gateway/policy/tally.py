"""Counts that the listener processes of a gateway keep together, without a lock: in memory they share, each writes what
is its own and reads what is everybody's.

A key has a place in each of two lines, and counts what the lesser of the two holds (a count-min sketch: Cormode and
Muthukrishnan, 2005): keys that share a place make a count too large now and then, never too small, and no number of
clients takes more memory. Python keys its hash anew with each start, so nobody chooses whom to share a place with.
A number is one aligned store of eight bytes. Two processes that let somebody in at the same instant may both be right:
a limit is passed by one for each process at the most. Cost: some µs. Memory: 1.3 MiB a process.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from typing import Literal, get_args

Kind = Literal["door", "open", "new", "errors", "stopped"]

_KINDS: tuple[Kind, ...] = get_args(Kind)
_PLACES = 1 << 14
_LINES = 2


class Tally:
    """One process's hand on them. Made before the processes are forked; `of` is for one of them."""

    def __init__(self, processes: int = 1) -> None:
        self._memory = memoryview(mmap.mmap(-1, processes * len(_KINDS) * _LINES * _PLACES * 8)).cast("d")
        self._processes = processes
        self._number = 0

    def of(self, number: int) -> Tally:
        """The same counts, in the hand of the process of this number (from 0)."""
        other = Tally.__new__(Tally)
        other._memory, other._processes, other._number = self._memory, self._processes, number
        return other

    def counts(self, kind: Kind) -> Counts:
        """Of one kind."""
        size = _LINES * _PLACES
        starts = [(process * len(_KINDS) + _KINDS.index(kind)) * size for process in range(self._processes)]
        return Counts([self._memory[start : start + size] for start in starts], self._number)


class Counts:
    """Numbers by key."""

    def __init__(self, rows: list[memoryview[float]], number: int) -> None:
        """`rows`: of every process; `number`: which is ours."""
        self.rows = rows
        self.own = rows[number]

    def get(self, key: str) -> float:
        """Of all processes together."""
        return min(sum(one[place] for one in self.rows) for place in _places(key))

    def add(self, key: str, amount: float) -> None:
        """What was added and taken back again is nothing."""
        for place in _places(key):
            self.own[place] += amount

    def clear(self) -> None:
        """This process begins: what one before it left is over."""
        self.own[:] = memoryview(bytes(self.own.nbytes)).cast("d")


class FadingCounts:
    """Counts of which after `life_s` 37 % are left; a steady N in that time counts as N.

    A place holds one number: the time at which what it counts is 1.
    """

    def __init__(self, counts: Counts, life_s: float, now: Callable[[], float]) -> None:
        """`now`: a monotonic time that all processes share."""
        self._counts = counts
        self._life_s = life_s
        self._now = now

    def get(self, key: str) -> float:
        """Of all processes together."""
        now = self._now()
        return min(sum(self._left(one[place], now) for one in self._counts.rows) for place in _places(key))

    def add(self, key: str, amount: float) -> None:
        """More of it."""
        now, own = self._now(), self._counts.own
        for place in _places(key):
            own[place] = now + self._life_s * math.log(self._left(own[place], now) + amount)

    def _left(self, at_one: float, now: float) -> float:
        return math.exp((at_one - now) / self._life_s) if at_one else 0.0


def _places(key: str) -> tuple[int, int]:
    value = hash(key)
    return value % _PLACES, _PLACES + (value >> 32) % _PLACES
