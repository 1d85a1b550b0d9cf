"""Fitted scores, how they do on mail they were not fitted on.

Held out by halves: the scores of each half of the messages (by the hash of the file name, as `darban evaluate` has it)
judge the other half.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.fitting.judged import Judged
from gateway.fitting.scores import LEAST, Scores, fit, scale
from gateway.fitting.table import Table

RATE = 0.001  # of ham that may reach tag_at


class Thresholds(NamedTuple):
    """Scores from which policy acts."""

    tag_at: float
    quarantine_at: float


@dataclass(frozen=True, slots=True)
class Change:
    """One score."""

    name: str
    authored: float
    fitted: float  # to two decimals, as it is written
    ham: int  # messages it hit
    spam: int


@dataclass(frozen=True, slots=True)
class Held:
    """Messages of one source, judged by scores that were not fitted on them."""

    source: str
    ham: int
    spam: int
    ham_tagged: tuple[int, int]  # with the authors' scores, with fitted ones
    ham_quarantined: tuple[int, int]
    spam_tagged: tuple[int, int]
    spam_quarantined: tuple[int, int]
    one_minus_auc: tuple[float, float, float] | None  # percent: classifier alone, authors' scores, fitted ones


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fit gave."""

    changes: tuple[Change, ...]  # of every score that may change, by name
    held: tuple[Held, ...]  # by source
    thresholds: Thresholds
    model: str

    @property
    def counts(self) -> tuple[int, int]:
        """Ham and spam."""
        return sum(one.ham for one in self.held), sum(one.spam for one in self.held)


def fit_and_check(judged: Judged, table: Table, thresholds: Thresholds, model: str) -> Outcome:
    """Fit on all messages; check on halves. Raises InputError when a half has no spam or no ham."""
    first = np.array([_is_first(path) for path in judged.paths.tolist()], dtype=bool)
    points = np.zeros(len(first))
    for half in (first, ~first):
        points[half] = table.columns[half] @ fit(table.part(~half))
    factor = scale(points, table, thresholds.tag_at, RATE)
    held = _held(judged, table, factor * points + table.decided, thresholds)
    return Outcome(tuple(_changes(table, factor * fit(table))), tuple(held), thresholds, model)


def _is_first(path: str) -> bool:
    return int(hashlib.sha256(path.rpartition("/")[2].encode()).hexdigest()[0], 16) < 8


def _changes(table: Table, fitted: Scores) -> Iterator[Change]:
    ham, spam = (np.asarray((table.columns[rows] != 0).sum(axis=0)).ravel() for rows in (~table.is_spam, table.is_spam))
    for i, name in enumerate(table.names):
        score = round(float(fitted[i]), 2) or (LEAST if table.authored[i] > 0 else -LEAST)
        yield Change(name, float(table.authored[i]), score, int(ham[i]), int(spam[i]))


def _held(judged: Judged, table: Table, fitted: Scores, thresholds: Thresholds) -> Iterator[Held]:
    both = (table.totals(table.authored), fitted)
    for source in sorted(set(table.sources.tolist())):
        inside = table.sources == source
        ham, spam = inside & ~table.is_spam, inside & table.is_spam
        yield Held(
            source,
            int(ham.sum()),
            int(spam.sum()),
            _over(both, ham, thresholds.tag_at),
            _over(both, ham, thresholds.quarantine_at),
            _over(both, spam, thresholds.tag_at),
            _over(both, spam, thresholds.quarantine_at),
            _areas((judged.probability, *both), ham, spam),
        )


def _over(both: tuple[Scores, Scores], rows: NDArray[np.bool_], threshold: float) -> tuple[int, int]:
    authored, fitted = (int((scores[rows] >= threshold).sum()) for scores in both)
    return authored, fitted


def _areas(
    three: tuple[Scores, Scores, Scores], ham: NDArray[np.bool_], spam: NDArray[np.bool_]
) -> tuple[float, float, float] | None:
    from scipy.stats import mannwhitneyu

    if not ham.any() or not spam.any():
        return None
    pairs = float(ham.sum() * spam.sum())
    alone, authored, fitted = (
        100 * (1 - float(mannwhitneyu(scores[spam], scores[ham]).statistic) / pairs) for scores in three
    )
    return alone, authored, fitted
