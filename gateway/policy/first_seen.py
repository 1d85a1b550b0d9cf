"""Since when a domain is seen here: which counters are asked for, what they say, and what is added to them. Pure.

A domain has a counter that says it was seen, which grows by the days it was seen on and is forgotten when it was not
seen for long; and, for a day from the first time on, a mark that it is new. A domain is new without the one or with the
other, so that a campaign does not make its own domain old: the mark is made once, and lasts its day however much mail
comes. Counting from the first sight and not from midnight, every domain is new for equally long.

The memory itself has the same two: while its mark lasts it is young, and everything is new to it; then nothing is told.

Keys are hashed with the installation's secret. Whoever sends mail can make a domain old by sending it a day before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.policy.reputation import Keys, grown

SEEN = "f:s:"  # prefix of what is kept, decaying
NEW = "f:n:"  # prefix of the marks, which last NEW_S
YOUNG = "f:y:"  # prefix of the memory's own mark
NEW_S = 86_390.0  # a day, less the ten seconds for which a scorer believes an answer
MOST = 8  # domains of a message


@dataclass(frozen=True, slots=True)
class Names:
    """The counters of a message's domains: hashes, to which the prefixes belong."""

    domains: Mapping[str, str]  # domain -> hash
    memory: str

    def every(self) -> list[str]:
        """All keys."""
        kept = [prefix + key for key in self.domains.values() for prefix in (SEEN, NEW)]
        return [*kept, SEEN + self.memory, YOUNG + self.memory]


def names(keys: Keys, domains: Sequence[str]) -> Names:
    """Of the first MOST domains."""
    return Names({one: keys.key("", one) for one in domains[:MOST]}, keys.key("", "", "memory"))


def new(asked: Names, values: Mapping[str, float]) -> frozenset[str] | None:
    """The domains that are new; None while the memory is young."""
    if SEEN + asked.memory not in values or YOUNG + asked.memory in values:
        return None
    return frozenset(one for one, key in asked.domains.items() if SEEN + key not in values or NEW + key in values)


def lessons(asked: Names, values: Mapping[str, float], at: float) -> dict[str, float]:
    """Key -> amount: marks for what is seen the first time, and that it was seen; nothing more on its first day."""
    unit = grown(at)
    added: dict[str, float] = {}
    for key in asked.domains.values():
        if SEEN + key not in values:
            added |= {NEW + key: 1.0, SEEN + key: unit}
        elif NEW + key not in values:
            added[SEEN + key] = unit
    if SEEN + asked.memory not in values:
        added[YOUNG + asked.memory] = 1.0
    if added:
        added[SEEN + asked.memory] = unit
    return added
