"""Token buckets in this process's memory: how often each of many may ask for something."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_KEYS = 10_000  # who asked last is remembered


class TokenBuckets:
    """A bucket for each key: `number` at once at most, and so many in `period_s`."""

    def __init__(self, number: float, period_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._number = number
        self._per_s = number / period_s
        self._now = now
        self._kept: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> left, then

    def __len__(self) -> int:
        return len(self._kept)

    def wait_s(self, key: str, cost: float = 1.0) -> float:
        """0.0: it is let through and counted; else how long to wait."""
        now = self._now()
        left, then = self._kept.pop(key, (self._number, now))
        left = min(self._number, left + (now - then) * self._per_s)
        is_let = left >= min(cost, self._number)
        self._kept[key] = (left - cost if is_let else left, now)
        while len(self._kept) > _KEYS:
            self._kept.popitem(last=False)
        return 0.0 if is_let else (cost - left) / self._per_s
