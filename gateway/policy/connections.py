"""How many connections a client and its network may have, open and in a minute, and what becomes of those who misuse
them: wrong commands and refused recipients are remembered for an hour, as counts that fade.

Counted by all listener processes together (tally.py). Nothing of a trusted network is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gateway.policy.tally import FadingCounts, Tally

Passed = Literal["client", "network", "client_rate", "network_rate", "errors"]

_MINUTE_S = 60.0
_HOUR_S = 3600.0
_LEAST_TOLERANCE = 2


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """0 is no limit."""

    per_client: int = 0  # open ones
    per_network: int = 0
    client_rate: int = 0  # new ones in a minute
    network_rate: int = 0
    errors: int = 0  # wrong commands of a network in an hour


class Door:
    """The connections of one door, in all processes."""

    def __init__(self, name: str, limit: int, tally: Tally) -> None:
        self._name = name
        self._limit = limit
        self._counts = tally.counts("door")

    @property
    def taken(self) -> float:
        """The part of its connections that are open."""
        return self._counts.get(self._name) / self._limit

    def begin(self) -> None:
        """A connection."""
        self._counts.add(self._name, 1.0)

    def end(self) -> None:
        """It is over."""
        self._counts.add(self._name, -1.0)


class Connections:
    """Of clients and networks, in all processes."""

    def __init__(
        self,
        limits: ConnectionLimits,
        network_of: Callable[[str], str],
        now: Callable[[], float],
        tally: Tally | None = None,
    ) -> None:
        """`network_of` says an address's network, "" for a trusted one (policy.reputation.Networks.of)."""
        self._limits = limits
        self._network_of = network_of
        tally = tally or Tally()
        self._open = tally.counts("open")
        self._new = FadingCounts(tally.counts("new"), _MINUTE_S, now)
        self._errors = FadingCounts(tally.counts("errors"), _HOUR_S, now)
        self._stopped = FadingCounts(tally.counts("stopped"), _HOUR_S, now)

    def begin(self, ip: str) -> Passed | None:
        """A connection: the limit it passes, else None, and it is counted until `end`."""
        network = self._network_of(ip)
        if not network:
            return None
        limits = self._limits
        if self._is_over(limits.errors, self._errors.get(network)):
            return "errors"
        passed = self._passed(ip, network)
        for key in (ip, network):
            self._new.add(key, 1.0)  # also of those refused: who goes on stays out
            if passed is None:
                self._open.add(key, 1.0)
        return passed

    def end(self, ip: str) -> None:
        """One that `begin` let in is over."""
        network = self._network_of(ip)
        for key in (ip, network) if network else ():
            self._open.add(key, -1.0)

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
        if self._is_over(limits.per_client, self._open.get(ip)):
            return "client"
        if self._is_over(limits.per_network, self._open.get(network)):
            return "network"
        if self._is_over(limits.client_rate, self._new.get(ip) + 0.5):
            return "client_rate"
        return "network_rate" if self._is_over(limits.network_rate, self._new.get(network) + 0.5) else None

    @staticmethod
    def _is_over(limit: int, value: float) -> bool:
        return bool(limit) and value >= limit
