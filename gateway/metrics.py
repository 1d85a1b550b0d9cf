"""Counters and histograms that add up in the process and are written down together, some times a second.

prometheus-client in its multiprocess mode writes each increment into a mapped file at once: 1 µs each, 9 µs for an
observation, and a message brings some forty. Inside an event loop what was counted waits for FLUSH_S at most; elsewhere
(threads, the command line) it is written at once. A process that ends calls `flush`; one that is killed loses the last
FLUSH_S. Whoever reads the registry of this process gets what waits too.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Self

import prometheus_client
from prometheus_client import Metric

FLUSH_S = 0.1

_waiting: list[Counter | Histogram] = []  # those with something to write
_timers: dict[asyncio.AbstractEventLoop, asyncio.TimerHandle] = {}


class Counter(prometheus_client.Counter):
    """As prometheus-client's."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._children: dict[tuple[str, ...], Self] = {}
        self._added = 0.0
        super().__init__(*args, **options)

    def labels(self, *values: str) -> Self:  # type: ignore[override]
        """The child of these values; what is asked for again costs a third."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = super().labels(*values)
        return child

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        """Add so much."""
        if exemplar is not None or amount < 0 or not _is_in_loop():
            super().inc(amount, exemplar)
            return
        if not self._added:
            _waiting.append(self)
        self._added += amount

    def write(self) -> None:
        """What was added since."""
        added, self._added = self._added, 0.0
        super().inc(added)

    def collect(self) -> Iterable[Metric]:
        """With what waits."""
        flush()
        return super().collect()


class Histogram(prometheus_client.Histogram):
    """As prometheus-client's."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._children: dict[tuple[str, ...], Self] = {}
        self._seen: list[float] = []
        super().__init__(*args, **options)

    def labels(self, *values: str) -> Self:  # type: ignore[override]
        """As Counter's."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = super().labels(*values)
        return child

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Take one value."""
        if exemplar is not None or not _is_in_loop():
            super().observe(amount, exemplar)
            return
        if not self._seen:
            _waiting.append(self)
        self._seen.append(amount)

    def write(self) -> None:
        """What was seen since: each bucket once. The client has no public way for that."""
        seen, self._seen = self._seen, []
        counts: dict[int, int] = {}
        for amount in seen:
            bucket = bisect_left(self._upper_bounds, amount)
            counts[bucket] = counts.get(bucket, 0) + 1
        self._sum.inc(sum(seen))
        for bucket, count in counts.items():
            self._buckets[bucket].inc(count)

    def collect(self) -> Iterable[Metric]:
        """With what waits."""
        flush()
        return super().collect()


def flush() -> None:
    """Write down what waits."""
    for timer in _timers.values():
        timer.cancel()
    _timers.clear()
    waiting = _waiting.copy()
    _waiting.clear()
    for one in waiting:
        one.write()


def _is_in_loop() -> bool:
    """Whether a loop runs here; it is told when to flush."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return False
    if loop not in _timers:
        _timers[loop] = loop.call_later(FLUSH_S, flush)
    return True
