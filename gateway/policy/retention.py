"""How long what is held is kept, and how much of it: [retention] and what a [[domain]] says instead. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.types import HeldMessage

DAY_S: Final = 86_400.0
Kept = Literal["spam", "phishing", "malware", "released", "rows"]  # what has a time of its own


@dataclass(frozen=True, slots=True)
class Retention:
    """Days by what is kept, bytes at most (0: no limit); of single domains, which may begin with "*.", what differs."""

    days: Mapping[Kept, float]
    domain_days: Mapping[str, Mapping[Kept, float]] = field(default_factory=dict)
    max_size: int = 0
    domain_sizes: Mapping[str, int] = field(default_factory=dict)

    def keep_s(self, domain: str, what: Kept) -> float:
        """Seconds."""
        named = self.domain_days.get(_table(self.domain_days, domain), {})
        return named.get(what, self.days[what]) * DAY_S

    def size_of(self, domain: str) -> int:
        """The domain's limit in bytes; 0: none of its own."""
        return self.domain_sizes.get(_table(self.domain_sizes, domain), 0)

    def expires_at(self, held: HeldMessage) -> float | None:
        """When its content goes; None for what has none, and while it is being released."""
        if held.state == "held":
            return held.received_at + self.keep_s(held.domain, held.kind)
        return held.state_at + self.keep_s(held.domain, "released") if held.state == "released" else None


def _table(tables: Mapping[str, object], domain: str) -> str:
    """The domain's own, else the nearest "*." above it."""
    if domain in tables:
        return domain
    labels = domain.split(".")
    above = ("*." + ".".join(labels[place:]) for place in range(1, len(labels)))
    return next((name for name in above if name in tables), "")
