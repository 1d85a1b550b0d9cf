"""How well it judges: ROC area, recall at small rates of false positives, per source and never pooled.

Protocols (the corpora's README): `half` splits by the hash of the file name, spamassassin alone and then every source;
`across` trains on some sources and tests on others; `time` trains on the older half of the dated modern sources and
tests on the newer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.classify.train import SEED, Fitted, Matrix, fit

RATES = (0.001, 0.005)
_ROUNDS = 500  # of the bootstrap


@dataclass(frozen=True, slots=True)
class Result:
    """One trial: spam of some sources against ham of some sources."""

    protocol: str
    trained_on: str
    tested_on: str
    ham: int
    spam: int
    one_minus_auc: float | None  # percent; None without both classes
    recall: tuple[float | None, ...]  # at RATES, thresholds from the tested ham
    intervals: tuple[tuple[float, float], ...]  # 95 %: of one_minus_auc, then of each recall; () without both classes
    false_positives: float | None  # share of ham at the threshold for 0.1 % of held-out training ham
    recall_at_fixed: float | None  # share of spam there


def trials(matrix: Matrix, protocol: str) -> Iterator[Result]:
    """Train and test as the protocol says; sources that are missing leave their trials out."""
    names = set(matrix.sources.tolist())
    if protocol in ("half", "all"):
        yield from _halves(matrix, names)
    if protocol in ("across", "all"):
        yield from _across(matrix, names)
    if protocol in ("time", "all") and {"phishing_pot", "list_usrp_users"} <= names:
        modern = matrix.part(np.isin(matrix.sources, ["phishing_pot", "list_usrp_users"]) & (matrix.dates >= "2022"))
        early = modern.dates < "2023-07"
        yield _trial("time", "2022 to mid 2023", "mid 2023 on", modern.part(early), modern.part(~early))


def _halves(matrix: Matrix, names: set[str]) -> Iterator[Result]:
    first = np.array([_trains(path) for path in matrix.paths])
    if "spamassassin" in names:
        ours = matrix.sources == "spamassassin"
        inside, outside = matrix.part(ours & first), matrix.part(ours & ~first)
        yield _trial("half", "spamassassin, half", "spamassassin, other half", inside, outside)
    fitted = fit(matrix.part(first))
    threshold = _threshold(fitted.held_out[~matrix.is_spam[first]], RATES[0])
    for name in sorted(names):
        other = matrix.part((matrix.sources == name) & ~first)
        yield measure("half", "every source, half", f"{name}, other half", fitted, other, threshold)


def _trains(path: str) -> bool:
    return int(hashlib.sha256(path.rpartition("/")[2].encode()).hexdigest()[0], 16) < 8


def _across(matrix: Matrix, names: set[str]) -> Iterator[Result]:
    plans = [
        (("spamassassin",), ("phishing_pot", "list_usrp_users")),
        (("phishing_pot", "list_usrp_users"), ("spamassassin",)),
        (tuple(sorted(names - {"nazario"})), ("nazario",)),
    ]
    for train, test in plans:
        if set(train) <= names and set(test) <= names:
            inside = matrix.part(np.isin(matrix.sources, train))
            outside = matrix.part(np.isin(matrix.sources, test))
            yield _trial("across", ", ".join(train), ", ".join(test), inside, outside)


def _trial(protocol: str, trained_on: str, tested_on: str, train: Matrix, test: Matrix) -> Result:
    fitted = fit(train)
    threshold = _threshold(fitted.held_out[~train.is_spam], RATES[0])
    return measure(protocol, trained_on, tested_on, fitted, test, threshold)


def measure(protocol: str, trained_on: str, tested_on: str, fitted: Fitted, test: Matrix, threshold: float) -> Result:
    """The figures of a model on some samples."""
    scores = fitted.log_odds(test.rows)
    ham, spam = scores[~test.is_spam], scores[test.is_spam]
    both = len(ham) > 0 and len(spam) > 0
    return Result(
        protocol,
        trained_on,
        tested_on,
        len(ham),
        len(spam),
        _one_minus_auc(ham, spam) if both else None,
        tuple(_recall(ham, spam, rate) if both else None for rate in RATES),
        _intervals(ham, spam) if both else (),
        float((ham > threshold).mean()) if len(ham) else None,
        float((spam > threshold).mean()) if len(spam) else None,
    )


def _intervals(ham: NDArray[np.float64], spam: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    """Where 95 % of bootstrap samples of the tested messages lie: the area, and recall at each of RATES."""
    draw = np.random.default_rng(SEED)
    rounds = []
    for _ in range(_ROUNDS):
        some_ham, some_spam = draw.choice(ham, len(ham)), draw.choice(spam, len(spam))
        area = _one_minus_auc(some_ham, some_spam)
        rounds.append((area, *(_recall(some_ham, some_spam, rate) for rate in RATES)))
    low, high = np.percentile(rounds, (2.5, 97.5), axis=0)
    return tuple(zip(low.tolist(), high.tolist(), strict=True))


def _one_minus_auc(ham: NDArray[np.float64], spam: NDArray[np.float64]) -> float:
    return 100 * (1 - _auc(ham, spam))


def _recall(ham: NDArray[np.float64], spam: NDArray[np.float64], rate: float) -> float:
    return float((spam > _threshold(ham, rate)).mean())


def _threshold(ham: NDArray[np.float64], rate: float) -> float:
    """The score that so large a share of ham exceeds."""
    if not len(ham):
        return 0.0
    ordered = np.sort(ham)[::-1]
    return float(ordered[min(len(ordered) - 1, int(rate * len(ordered)))])


def _auc(ham: NDArray[np.float64], spam: NDArray[np.float64]) -> float:
    """Mann-Whitney: how often a spam scores above a ham, ties counting half."""
    every = np.concatenate([ham, spam])
    order = np.argsort(every, kind="stable")
    ranks = np.empty(len(every))
    ranks[order] = np.arange(1, len(every) + 1)
    _, inverse, counts = np.unique(every, return_inverse=True, return_counts=True)
    mean_rank = (np.bincount(inverse, ranks) / counts)[inverse]
    total = mean_rank[len(ham) :].sum() - len(spam) * (len(spam) + 1) / 2
    return float(total / (len(ham) * len(spam)))
