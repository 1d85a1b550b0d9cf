"""Scores from hits: logistic regression with the authors' scores as its prior, within bounds (L-BFGS-B).

What a point is worth in log-odds is found first, with the scores as authors wrote them, so that points keep their
meaning. Then each score moves as far from its author's as labelled mail asks for: the prior is normal around the
author's score, a standard deviation being half of it, and no message counts for more than one, so thin data changes
little. The sign stays. What may grow, grows to twice the author's score at most, and below the score that tags mail:
corpora show little of the ham that a company gets. Where there are several sources, what hits the spam of a single one
does not grow at all: it may know the collector and not the spam
(docs/decisions/0017-scores-are-fitted-around-what-authors-wrote.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.classify.train import sample_weights, source_weights
from gateway.errors import InputError
from gateway.fitting.table import Table
from gateway.scan.conclude import CLASSIFIER

Scores = NDArray[np.float64]

LEAST = 0.01  # of a sign that is none: a score of 0 would switch the rule off, for metas as well
_MOST, _MOST_OF_CLASSIFIER = 4.0, 7.9  # below tag_at and quarantine_at as they are without a configuration
_GROWTH = 2.0
_SEEN = 10  # hits in a source that count as seen there
_DOUBT, _LEAST_DOUBT = 0.5, 0.3  # standard deviation of the prior: share of the author's score; points
_ROUNDS = 1000


def fit(table: Table) -> Scores:
    """(n_scores,) the fitted scores. Raises InputError unless both spam and ham are there."""
    from scipy.optimize import minimize

    if table.is_spam.all() or not table.is_spam.any():
        raise InputError("fitting scores needs both spam and ham, in either half of the messages")
    weights = sample_weights(table.sources, table.is_spam)
    weights /= weights.max()
    labels = np.where(table.is_spam, 1.0, -1.0)
    worth, zero = _worth(table.totals(table.authored), labels, weights)
    doubt = np.maximum(_LEAST_DOUBT, _DOUBT * np.abs(table.authored))
    transposed = table.columns.T.tocsr()

    def loss(point: Scores) -> tuple[float, Scores]:
        scores, zero = point[:-1], point[-1]
        margins = labels * worth * (table.totals(scores) - zero)
        pull = -weights * labels * worth * _logistic(-margins)
        away = (scores - table.authored) / doubt
        value = float((weights * np.logaddexp(0, -margins)).sum() + 0.5 * (away * away).sum())
        return value, np.append(transposed @ pull + away / doubt, -pull.sum())

    found = minimize(
        loss,
        np.append(table.authored, zero),
        jac=True,
        method="L-BFGS-B",
        bounds=[*_bounds(table), (None, None)],
        options={"maxiter": _ROUNDS},
    )
    return np.asarray(found.x[:-1])


def scale(points: Scores, table: Table, tag_at: float, rate: float) -> float:
    """The factor, at most 1, with which at most this share of ham reaches tag_at; 0.5 where decided scores prevent it.

    `points`: (n_messages,) of scores that were fitted without the message.
    """
    ham = ~table.is_spam
    weights = source_weights(table.sources[ham])
    for percent in range(100, 50, -1):
        if np.average(percent / 100 * points[ham] + table.decided[ham] >= tag_at, weights=weights) <= rate:
            return percent / 100
    return 0.5


def _bounds(table: Table) -> list[tuple[float, float]]:
    enough = min(2, len(set(table.sources[table.is_spam].tolist())))
    return [
        _bound(name, float(score), grows=name == CLASSIFIER or times >= enough)
        for name, score, times in zip(table.names, table.authored, _sources_seen(table), strict=True)
    ]


def _bound(name: str, score: float, *, grows: bool) -> tuple[float, float]:
    """The least and the most a score may be."""
    most = max(abs(score), min(_GROWTH * abs(score), _MOST_OF_CLASSIFIER if name == CLASSIFIER else _MOST))
    low, high = min(LEAST, abs(score)), most if grows else abs(score)
    return (low, high) if score > 0 else (-high, -low)


def _sources_seen(table: Table) -> NDArray[np.intp]:
    """(n_scores,) in how many sources it hits what its sign says: spam, or ham for a score below zero."""
    speaks_of_spam = table.authored > 0
    seen = np.zeros(len(table.names), dtype=np.intp)
    for name in sorted(set(table.sources.tolist())):
        inside = table.sources == name
        spam, ham = (_hits(table.columns[inside & chosen]) for chosen in (table.is_spam, ~table.is_spam))
        seen += np.where(speaks_of_spam, spam, ham) >= _SEEN
    return seen


def _hits(rows: Any) -> NDArray[np.float64]:
    return np.asarray((rows != 0).sum(axis=0), dtype=np.float64).ravel()


def _worth(totals: Scores, labels: Scores, weights: Scores) -> tuple[float, float]:
    """Log-odds in a point, and the score at which spam and ham are as likely: Platt's fit of the whole score."""
    from scipy.optimize import minimize

    def loss(point: Scores) -> tuple[float, Scores]:
        margins = labels * point[0] * (totals - point[1])
        pull = -weights * labels * _logistic(-margins)
        value = float((weights * np.logaddexp(0, -margins)).sum())
        return value, np.array([(pull * (totals - point[1])).sum(), -point[0] * pull.sum()])

    found = minimize(loss, [1.0, 2.0], jac=True, method="L-BFGS-B", bounds=[(0.05, 5.0), (-10.0, 10.0)])
    return float(found.x[0]), float(found.x[1])


def _logistic(values: Scores) -> Scores:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -50.0, 50.0))))
