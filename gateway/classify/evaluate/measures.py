"""Figures of scores: area over the ROC curve, recall at small rates of false positives, and how sure each of them is.

Scores are log-odds of spam (n,), float64; only their order counts, but for `Calibration`. Intervals are 95 %: of
rankings by a bootstrap of the tested messages (500 rounds, seeded), of shares by Wilson's formula.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.classify.train import SEED

RATES = (0.001, 0.005)  # of false positives
ROUNDS = 500
_Z = 1.959964  # of 95 % (normal)
_ROC_POINTS = 200

Scores = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    count: int
    of: int
    share: float | None  # None of nothing
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well scores part spam from ham, whatever the threshold."""

    ham: int
    spam: int
    one_minus_auc: float  # percent
    recall: tuple[float, ...]  # at RATES, thresholds from this ham
    intervals: tuple[Interval, ...]  # of one_minus_auc, then of each recall
    roc: tuple[tuple[float, float], ...]  # (share of ham flagged, share of spam flagged), from (0, .) to (1, 1)


def share(count: int, of: int) -> Share:
    """With Wilson's interval (1927): it holds for shares near 0 too."""
    if not of:
        return Share(0, 0, None, None)
    rate, weight = count / of, _Z**2 / of
    centre = (rate + weight / 2) / (1 + weight)
    reach = math.sqrt(rate * (1 - rate) * weight + weight**2 / 4) / (1 + weight)
    low = 0.0 if count == 0 else max(0.0, centre - reach)
    high = 1.0 if count == of else min(1.0, centre + reach)
    return Share(count, of, rate, (low, high))


def rank(ham: Scores, spam: Scores) -> Ranking | None:
    """None without both classes."""
    if not len(ham) or not len(spam):
        return None
    curve = Curve(ham, spam)
    rounds = list(curve.resampled())
    low, high = np.percentile(rounds, (2.5, 97.5), axis=0)
    area, *recall = curve.figures()
    intervals = tuple(zip(low.tolist(), high.tolist(), strict=True))
    return Ranking(len(ham), len(spam), area, tuple(recall), intervals, curve.points())


def threshold(ham: Scores, rate: float) -> float:
    """The score that so large a share of ham exceeds; 0 without any ham."""
    if not len(ham):
        return 0.0
    ordered = np.sort(ham)[::-1]
    return float(ordered[min(len(ordered) - 1, int(rate * len(ordered)))])


class Curve:
    """Spam and ham sorted once, so that a round of the bootstrap is a draw of counts and two sums."""

    def __init__(self, ham: Scores, spam: Scores) -> None:
        """Takes scores of both classes, at least one each."""
        self._levels, level = np.unique(-np.concatenate([ham, spam]), return_inverse=True)  # the highest score first
        self._ham, self._spam = level[: len(ham)], level[len(ham) :]

    def figures(self) -> tuple[float, ...]:
        """(1-AUC)%, then recall at RATES."""
        return self._figures(self._counts(self._ham), self._counts(self._spam))

    def resampled(self, rounds: int = ROUNDS) -> Iterator[tuple[float, ...]]:
        """The same of messages drawn with replacement, each class as many as there are. Seeded: curves over the same
        numbers of messages are drawn alike, so their differences are paired."""
        draw = np.random.default_rng(SEED)
        for _ in range(rounds):
            ham = self._ham[draw.integers(0, len(self._ham), len(self._ham))]
            spam = self._spam[draw.integers(0, len(self._spam), len(self._spam))]
            yield self._figures(self._counts(ham), self._counts(spam))

    def points(self) -> tuple[tuple[float, float], ...]:
        """Of the ROC curve: at most some 200, closer where false positives are few."""
        false = np.concatenate([[0], np.cumsum(self._counts(self._ham))]) / len(self._ham)
        true = np.concatenate([[0], np.cumsum(self._counts(self._spam))]) / len(self._spam)
        corner = np.append(np.flatnonzero(np.diff(false) > 0), len(false) - 1)  # where it turns right, and its end
        wanted = np.geomspace(0.5 / len(self._ham), 1, _ROC_POINTS)
        kept = corner[np.unique(np.concatenate([[0], np.searchsorted(false[corner], wanted)]))]
        return tuple(zip(false[kept].round(6).tolist(), true[kept].round(6).tolist(), strict=True))

    def _counts(self, levels: NDArray[np.intp]) -> NDArray[np.intp]:
        return np.bincount(levels, minlength=len(self._levels))

    def _figures(self, ham: NDArray[np.intp], spam: NDArray[np.intp]) -> tuple[float, ...]:
        false, true = np.cumsum(ham), np.cumsum(spam)
        # Mann-Whitney: a spam outranks the ham of lower levels, ties count half
        outranked = float((ham * (true - spam / 2)).sum() / (false[-1] * true[-1]))
        return 100 * (1 - outranked), *(self._recall(false, true, rate) for rate in RATES)

    @staticmethod
    def _recall(false: NDArray[np.intp], true: NDArray[np.intp], rate: float) -> float:
        allowed = min(int(rate * false[-1]), int(false[-1]) - 1)
        over = int(np.searchsorted(false, allowed, side="right"))  # the level of the threshold, which is not flagged
        return float(true[over - 1] / true[-1]) if over else 0.0
