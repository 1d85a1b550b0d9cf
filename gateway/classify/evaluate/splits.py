"""Ways of parting labelled mail into what trains and what tests (the corpora's README).

`half` parts by the hash of the file name: spamassassin alone, then every source. `across` trains on some sources and
tests on others; then leaves out each source in turn, and where that one has a single class, the others lend the other
class: messages of their test halves, which then do not train. `time` trains on the older half of the dated modern
sources and tests on the newer. Sources that are missing leave their splits out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

PROTOCOLS = ("half", "across", "time")
MODERN = ("phishing_pot", "list_usrp_users")  # dated sources of the same years, one of each class
_MODERN_SINCE, _MODERN_MIDDLE = "2022", "2023-07"
_PAIRS = ((("spamassassin",), MODERN), (MODERN, ("spamassassin",)))


class Facts(Protocol):
    """What a split goes by, an entry for each sample: train.Matrix has it."""

    @property
    def is_spam(self) -> NDArray[np.bool_]:
        """(n_samples,)."""

    @property
    def sources(self) -> NDArray[np.str_]:
        """(n_samples,)."""

    @property
    def paths(self) -> NDArray[np.str_]:
        """(n_samples,)."""

    @property
    def dates(self) -> NDArray[np.str_]:
        """(n_samples,) ISO, "" unknown."""


@dataclass(frozen=True, slots=True)
class Split:
    """Masks over the samples."""

    protocol: str
    trained_on: str
    tested_on: str
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]


def splits(facts: Facts, protocol: str = "all") -> Iterator[Split]:
    """Those of the protocol; of all three when it is "all"."""
    ways = {"half": _halves, "across": _across, "time": _time}
    for name in PROTOCOLS:
        if protocol in (name, "all"):
            yield from (one for one in ways[name](facts) if _is_possible(facts, one))


def _is_possible(facts: Facts, split: Split) -> bool:
    """Both classes to train on, and something to test."""
    return len(set(facts.is_spam[split.train].tolist())) == 2 and bool(split.test.any())


def first_half(facts: Facts) -> NDArray[np.bool_]:
    """The samples that train in a half split."""
    return np.array([_trains(path) for path in facts.paths.tolist()], dtype=bool)


def _trains(path: str) -> bool:
    return int(hashlib.sha256(path.rpartition("/")[2].encode()).hexdigest()[0], 16) < 8


def _halves(facts: Facts) -> Iterator[Split]:
    first = first_half(facts)
    ours = facts.sources == "spamassassin"
    yield Split("half", "spamassassin, half", "spamassassin, other half", ours & first, ours & ~first)
    yield Split("half", "every source, half", "every source, other half", first, ~first)


def _across(facts: Facts) -> Iterator[Split]:
    names = sorted(set(facts.sources.tolist()))
    for train, test in _PAIRS:
        if set(train) <= set(names) and set(test) <= set(names):
            yield Split("across", ", ".join(train), ", ".join(test), _of(facts, train), _of(facts, test))
    second = ~first_half(facts)
    for name in names if len(names) > 1 else ():
        own = facts.sources == name
        classes = set(facts.is_spam[own].tolist())
        lent = np.zeros(len(own), dtype=bool)
        if len(classes) == 1:
            lent = ~own & second & (facts.is_spam != classes.pop())
        words = f"{name}, and the others' {'ham' if facts.is_spam[own].all() else 'spam'}" if lent.any() else name
        yield Split("across", f"all but {name}", words, ~own & ~lent, own | lent)


def _time(facts: Facts) -> Iterator[Split]:
    modern = _of(facts, MODERN) & (facts.dates >= _MODERN_SINCE)
    early = facts.dates < _MODERN_MIDDLE
    yield Split("time", "2022 to mid 2023", "mid 2023 on", modern & early, modern & ~early)


def _of(facts: Facts, names: tuple[str, ...]) -> NDArray[Any]:
    return np.isin(facts.sources, names)
