"""One trial: a model against labelled mail it has not seen. Told by source and by language, never one pooled figure.

A source with one class only is ranked against each source that has the other. Shares at a threshold are of each source
and class: of ham they are false positives, of spam they are caught.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.classify.evaluate.calibration import Calibration, calibration
from gateway.classify.evaluate.measures import RATES, Ranking, Scores, Share, rank, share, threshold
from gateway.classify.evaluate.splits import Split, splits
from gateway.classify.language import LANGUAGES
from gateway.classify.model import Model
from gateway.classify.train import Fitted, Matrix, fit

_FEWEST = 20  # messages of a class, below which a language has no figures of its own


@dataclass(frozen=True, slots=True)
class Flagged:
    """How many messages of a source and class lie above the trial's threshold."""

    source: str
    is_spam: bool
    language: str  # "" is all of them
    flagged: Share


@dataclass(frozen=True, slots=True)
class Pair:
    """Spam of a source against ham of a source."""

    spam: str
    ham: str
    language: str  # "" is all of them
    ranking: Ranking
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a split, or of a given model."""

    protocol: str  # of the split; "model" for a model that was given
    trained_on: str
    tested_on: str
    threshold: float  # log-odds: what 0.1 % of held-out training ham exceeds; 0 (even odds) of a given model
    pairs: tuple[Pair, ...]
    flagged: tuple[Flagged, ...]


def trials(matrix: Matrix, protocol: str = "all") -> Iterator[Trial]:
    """Every split of the protocol."""
    for split in splits(matrix, protocol):
        yield attempt(matrix, split)


def attempt(matrix: Matrix, split: Split) -> Trial:
    """Train and test. Raises InputError unless both classes train."""
    train, test = matrix.part(split.train), matrix.part(split.test)
    fitted = fit(train)
    limit = threshold(fitted.held_out[~train.is_spam], RATES[0])
    return measure(split.protocol, split.trained_on, split.tested_on, fitted.log_odds(test.rows), test, limit)


def judge(model: Model, matrix: Matrix) -> Trial:
    """A given model on all samples, at even odds."""
    nothing = np.zeros(0)
    given = Fitted(model.weights, model.bias, model.slope, model.offset, nothing)
    sources = ", ".join(sorted(set(matrix.sources.tolist())))
    return measure("model", model.model_id, sources, given.log_odds(matrix.rows), matrix, 0.0)


def measure(protocol: str, trained_on: str, tested_on: str, scores: Scores, test: Matrix, limit: float) -> Trial:
    """The figures of scores (n_samples,), log-odds, of the samples of `test`."""
    pairs = tuple(_pairs(scores, test))
    return Trial(protocol, trained_on, tested_on, limit, pairs, tuple(_flagged(scores, test, limit)))


def pairs_of(is_spam: NDArray[np.bool_], sources: NDArray[np.str_]) -> Iterator[tuple[str, str]]:
    """(source of spam, source of ham) of all rankings."""
    spam, ham = sorted(set(sources[is_spam].tolist())), sorted(set(sources[~is_spam].tolist()))
    for name in spam:
        yield from [(name, name)] if name in ham else [(name, other) for other in ham]


def _pairs(scores: Scores, test: Matrix) -> Iterator[Pair]:
    for spam, ham in pairs_of(test.is_spam, test.sources):
        both = ((test.sources == spam) & test.is_spam) | ((test.sources == ham) & ~test.is_spam)
        for language in ("", *LANGUAGES):
            chosen = both & (test.languages == language) if language else both
            of_class = np.bincount(test.is_spam[chosen], minlength=2)
            if not language or (of_class.min() >= _FEWEST and chosen.sum() < both.sum()):
                yield from _pair(spam, ham, language, scores[chosen], test.is_spam[chosen])


def _pair(spam: str, ham: str, language: str, scores: Scores, is_spam: NDArray[np.bool_]) -> Iterator[Pair]:
    ranking, calibrated = rank(scores[~is_spam], scores[is_spam]), calibration(scores, is_spam)
    if ranking is not None and calibrated is not None:
        yield Pair(spam, ham, language, ranking, calibrated)


def _flagged(scores: Scores, test: Matrix, limit: float) -> Iterator[Flagged]:
    for source in sorted(set(test.sources.tolist())):
        for is_spam in (False, True):
            own = (test.sources == source) & (test.is_spam == is_spam)
            for language in ("", *LANGUAGES):
                chosen = own & (test.languages == language) if language else own
                if chosen.sum() >= (_FEWEST if language else 1) and (not language or chosen.sum() < own.sum()):
                    over = int((scores[chosen] > limit).sum())
                    yield Flagged(source, is_spam, language, share(over, int(chosen.sum())))
