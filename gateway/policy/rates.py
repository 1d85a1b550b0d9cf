"""How much a client network and a sending domain may send, as counts that fade: after an hour 37 % of one is left.

A steady stream of N an hour counts as N, and a burst of N is taken at once; so a limit is both. Counted in the process,
and shared with the other listeners every second or so (`take`, `give`); in between each knows its own part. Nothing of
a trusted network is counted. A domain's messages count only when SPF passed for them: no one can use up the limit of
another's name.

Unknown recipients defer a network only when they are more than those it knew: a large sender's bounces are no harvest.

Cost: about 2 µs a command. Memory: the last 20,000 counts of a process.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.policy.reputation import Keys
from gateway.types import Reply

What = Literal["messages", "recipients", "unknown", "domain"]

LIFE_S = 3600.0  # a count is 1/e after it
KEPT_S = 6 * LIFE_S
_ERA_S = 400 * LIFE_S  # shared sums begin anew with each: e^400 is far from the end of a float
_MAX_COUNTS = 20_000
_MAX_SHARED = 1000  # counts shared at a time, the ones that moved first

TOO_MANY: Mapping[What, Reply] = {
    "messages": Reply(450, "4.7.1", "Too many messages from your network, please try again later"),
    "recipients": Reply(450, "4.7.1", "Too many recipients from your network, please try again later"),
    "unknown": Reply(450, "4.7.1", "Too many unknown recipients from your network, please try again later"),
    "domain": Reply(450, "4.7.1", "Too many messages from your domain, please try again later"),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """An hour, each; 0 is no limit."""

    messages: int = 0  # of a client network
    recipients: int = 0  # of a client network
    unknown: int = 0  # recipients our next hops do not know, of a client network
    domain: int = 0  # messages of a reverse-path's domain


NO_LIMITS = Limits()


@dataclass(slots=True)
class _Count:
    value: float  # of all processes, as far as it was shared, with what is pending
    at: float
    pending: float  # of it, not yet shared; in amounts of `at`

    def fade(self, now: float) -> float:
        """The value now."""
        share = math.exp(-max(0.0, now - self.at) / LIFE_S)
        self.value, self.pending, self.at = self.value * share, self.pending * share, now
        return self.value


class Rates:
    """The counts of one process."""

    def __init__(self, limits: Limits, keys: Keys, now: Callable[[], float]) -> None:
        self._limits = limits
        self._keys = keys
        self._now = now
        self._counts: OrderedDict[tuple[What, str], _Count] = OrderedDict()
        self._moved: dict[tuple[What, str], None] = {}  # since they were shared
        self._taken: dict[str, tuple[What, str]] = {}  # by the key of the shared sum

    def admit(self, network: str, domain: str) -> What | None:
        """At MAIL: counts a message; the limit that is passed, or None."""
        if not network:
            return None
        limits = self._limits
        if limits.domain and domain and self._count("domain", domain, 0.0) >= limits.domain:
            return "domain"
        if self._is_harvest(network):
            return "unknown"
        return None if self._has_room("messages", network, limits.messages) else "messages"

    def recipient(self, network: str) -> What | None:
        """At RCPT: counts a recipient; the limit that is passed, or None."""
        if not network:
            return None
        if self._is_harvest(network):
            return "unknown"
        return None if self._has_room("recipients", network, self._limits.recipients) else "recipients"

    def unknown(self, network: str) -> None:
        """A recipient was refused as unknown."""
        if network and self._limits.unknown:
            self._count("unknown", network, 1.0)

    def sent(self, domain: str) -> None:
        """A message of this domain came, and SPF passed for it."""
        if domain and self._limits.domain:
            self._count("domain", domain, 1.0)

    def _is_harvest(self, network: str) -> bool:
        limit = self._limits.unknown
        if not limit or ("unknown", network) not in self._counts:
            return False
        unknown = self._count("unknown", network, 0.0)
        return unknown >= limit and unknown > self._count("recipients", network, 0.0) / 2

    def _has_room(self, what: What, subject: str, limit: int) -> bool:
        """Counts one more where there is room: what is deferred does not keep the door shut."""
        if limit and self._count(what, subject, 0.0) > limit - 0.5:
            return False
        self._count(what, subject, 1.0)
        return True

    def _count(self, what: What, subject: str, amount: float) -> float:
        key, now = (what, subject), self._now()
        count = self._counts.get(key)
        if count is None:
            if not amount:
                return 0.0
            count = self._counts[key] = _Count(0.0, now, 0.0)
            if len(self._counts) > _MAX_COUNTS:
                self._moved.pop(self._counts.popitem(last=False)[0], None)
        else:
            self._counts.move_to_end(key)
        value = count.fade(now)
        if amount:
            count.value, count.pending = value + amount, count.pending + amount
            self._moved[key] = None
        return count.value

    # --- sharing ------------------------------------------------------------------------------------------------------

    def take(self) -> dict[str, float]:
        """Key -> amount to add to the shared sums; what is taken is no longer pending."""
        now, amounts = self._now(), {}
        self._taken.clear()
        for key in list(self._moved)[:_MAX_SHARED]:
            del self._moved[key]
            count = self._counts.get(key)
            if count is not None and count.pending:
                count.fade(now)
                shared = self._keys.key(f"q:{key[0][0]}:", key[1], str(int(now // _ERA_S)))
                self._taken[shared] = key
                amounts[shared] = count.pending * _grown(now)
                count.pending = 0.0
        return amounts

    def give(self, sums: Mapping[str, float]) -> None:
        """The shared sums of what `take` gave last. Without them every process goes on with its own counts."""
        now = self._now()
        for shared, key in self._taken.items():
            count = self._counts.get(key)
            if count is not None and shared in sums:
                count.fade(now)
                count.value = sums[shared] / _grown(now) + count.pending


def _grown(at: float) -> float:
    return math.exp(at % _ERA_S / LIFE_S)
