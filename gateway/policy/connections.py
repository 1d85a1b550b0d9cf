"""How many connections a client and its network may have, open and in a minute, and what becomes of those who misuse
them: wrong commands and refused recipients are remembered for an hour, as counts that fade.

Counted by each listener process for itself: a limit of N is at most N times the listeners. Nothing of a trusted network
is counted. Cost: about 5 µs a connection. Memory: the last 20,000 clients and networks, some 4 MB at the worst.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Passed = Literal["client", "network", "client_rate", "network_rate", "errors"]

_MINUTE_S = 60.0
_HOUR_S = 3600.0
_MAX_COUNTS = 20_000
_LEAST_TOLERANCE = 2


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """0 is no limit."""

    per_client: int = 0  # open ones
    per_network: int = 0
    client_rate: int = 0  # new ones in a minute
    network_rate: int = 0
    errors: int = 0  # wrong commands of a network in an hour


class _Faded:
    """Counts of which after `life_s` 37 % are left; a steady N in that time counts as N."""

    def __init__(self, life_s: float, now: Callable[[], float]) -> None:
        self._life_s = life_s
        self._now = now
        self._counts: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def get(self, key: str) -> float:
        value, at = self._counts.get(key, (0.0, 0.0))
        return value * math.exp(-max(0.0, self._now() - at) / self._life_s) if value else 0.0

    def add(self, key: str, amount: float) -> None:
        self._counts[key] = (self.get(key) + amount, self._now())
        self._counts.move_to_end(key)
        if len(self._counts) > _MAX_COUNTS:
            self._counts.popitem(last=False)


class Connections:
    """The counts of one process."""

    def __init__(self, limits: ConnectionLimits, network_of: Callable[[str], str], now: Callable[[], float]) -> None:
        """`network_of` says an address's network, "" for a trusted one (policy.reputation.Networks.of)."""
        self._limits = limits
        self._network_of = network_of
        self._open: dict[str, int] = {}
        self._new = _Faded(_MINUTE_S, now)
        self._errors = _Faded(_HOUR_S, now)
        self._stopped = _Faded(_HOUR_S, now)

    def begin(self, ip: str) -> Passed | None:
        """A connection: the limit it passes, else None, and it is counted until `end`."""
        network = self._network_of(ip)
        if not network:
            return None
        limits = self._limits
        if self._is_over(limits.errors, self._errors.get(network)):
            return "errors"
        passed = self._passed(ip, network)
        self._new.add(ip, 1.0)  # also of those refused: who goes on trying stays out
        self._new.add(network, 1.0)
        if passed is None:
            for key in (ip, network):
                self._open[key] = self._open.get(key, 0) + 1
        return passed

    def end(self, ip: str) -> None:
        """One that `begin` let in is over."""
        for key in filter(None, (ip, self._network_of(ip))):
            left = self._open.get(key, 0) - 1
            if left > 0:
                self._open[key] = left
            else:
                self._open.pop(key, None)

    def misused(self, ip: str, errors: int) -> None:
        """So many commands of it were wrong."""
        network = self._network_of(ip)
        if network and errors:
            self._errors.add(network, float(errors))

    def stopped(self, ip: str) -> None:
        """It was shown the door for the recipients it tried."""
        network = self._network_of(ip)
        if network:
            self._stopped.add(network, 1.0)

    def was_stopped(self, ip: str) -> bool:
        """Its network was, in the last hour."""
        network = self._network_of(ip)
        return bool(network) and self._stopped.get(network) > 0.4  # 37 % of one is left after an hour

    def tolerance(self, ip: str, at_first: int) -> int:
        """How many recipients may be refused to one connection: half as many with each time it was stopped."""
        network = self._network_of(ip)
        times = min(16, round(self._stopped.get(network))) if network else 0
        return max(_LEAST_TOLERANCE, at_first >> times) if at_first else 0

    def _passed(self, ip: str, network: str) -> Passed | None:
        limits = self._limits
        if self._is_over(limits.per_client, self._open.get(ip, 0)):
            return "client"
        if self._is_over(limits.per_network, self._open.get(network, 0)):
            return "network"
        if self._is_over(limits.client_rate, self._new.get(ip) + 0.5):
            return "client_rate"
        return "network_rate" if self._is_over(limits.network_rate, self._new.get(network) + 0.5) else None

    @staticmethod
    def _is_over(limit: int, value: float) -> bool:
        return bool(limit) and value >= limit
