"""Training with scikit-learn (the `train` extra): seeded, the same corpora give the same bytes.

A source weighs by the square root of its size, so that a large collector does not decide what mail looks like, and
mail that was written for training far less: it is hard on purpose, and nobody got it. The calibration
is Platt's, on five folds that were held out, and its slope is halved: what holds inside a corpus is overconfident
about foreign mail (docs/model.md).
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.classify.descent import EVERYTHING, load_block, solve
from gateway.classify.extraction import extract_rows
from gateway.classify.rows import FOLDS, Rows, Shards, fold_of, join, read_shard
from gateway.classify.workers import LocalWorkers, Workers
from gateway.errors import InputError

SEED = 20261123
IN_MEMORY = 40_000_000  # features of all samples, at 40 bytes each while they are solved; some 40,000 messages
_C = 10.0
_FOREIGN_DOUBT = 0.5
_WEIGHT = {"own_mail": 0.06}  # of a source, 1.0 of the others (docs/decisions/0028)
_TOLERANCE = 0.1
_BOTH = "training needs both spam and ham"

Progress = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Extracted samples."""

    rows: Any  # (n_samples, SIZE) scipy CSR, float32
    is_spam: NDArray[np.bool_]  # (n_samples,)
    sources: NDArray[np.str_]  # (n_samples,)
    paths: NDArray[np.str_]  # (n_samples,)
    dates: NDArray[np.str_]  # (n_samples,) ISO, "" unknown
    languages: NDArray[np.str_]  # (n_samples,) as language.py tells them

    def part(self, chosen: NDArray[Any]) -> Matrix:
        """Some of the samples, by mask or index."""
        return Matrix(
            self.rows[chosen],
            self.is_spam[chosen],
            self.sources[chosen],
            self.paths[chosen],
            self.dates[chosen],
            self.languages[chosen],
        )


@dataclass(frozen=True, slots=True)
class Fitted:
    """What training found."""

    weights: NDArray[np.float32]
    bias: float
    slope: float
    offset: float
    held_out: NDArray[np.float64]  # (n_samples,) log-odds of each training sample by a fold that had not seen it
    calibration: dict[str, float] = field(default_factory=dict)  # how the probabilities of held_out fare
    passes: int = 0  # over the shards; 0: solved in memory

    def log_odds(self, rows: Any) -> NDArray[np.float64]:
        """(n_samples,) calibrated log-odds of spam."""
        scores = np.asarray(rows @ self.weights.astype(np.float64)).ravel() + self.bias
        return np.asarray(self.slope * scores + self.offset)


def require_learning() -> None:
    """Raises InputError where scikit-learn is not installed."""
    if importlib.util.find_spec("sklearn") is None:
        raise InputError("training needs scikit-learn: pip install 'darban[train]'")


def extract_sources(
    sources: dict[str, Path],
    *,
    progress: Progress = iter,
    workers: Workers | None = None,
    body: bool = True,
    relations: bool = True,
    header_words: bool = True,
) -> Matrix:
    """Features of every sample, in a fixed order, in memory. Raises InputError when there is no sample."""
    hands = workers or LocalWorkers()
    parts = list(extract_rows(sources, hands, progress, body=body, relations=relations, header_words=header_words))
    if not parts:
        raise InputError("the corpora hold no message")
    return _matrix(parts)


def extract_shards(sources: dict[str, Path], folder: Path, workers: Workers, progress: Progress = iter) -> Shards:
    """The same, on disk: the memory this takes does not grow with the number of samples. Raises InputError."""
    shards = Shards(folder)
    shards.write(extract_rows(sources, workers, progress))
    return shards


def _matrix(parts: Sequence[Rows]) -> Matrix:
    rows = join(parts)
    return Matrix(rows.matrix(), rows.is_spam, rows.sources, rows.paths, rows.dates, rows.languages)


def fit(matrix: Matrix, seed: int = SEED, progress: Progress = iter) -> Fitted:
    """Weights from all samples, calibration from held-out folds. Raises InputError unless both classes are there."""
    if matrix.is_spam.all() or not matrix.is_spam.any():
        raise InputError(_BOTH)
    weights = sample_weights(matrix.sources, matrix.is_spam)
    folds = fold_of(matrix.paths.tolist())
    held_out = np.zeros(len(folds))
    with _one_thread():  # sums of several threads differ with their number
        for fold in progress(range(FOLDS)):
            inside = folds != fold
            if matrix.is_spam[inside].all() or not matrix.is_spam[inside].any() or inside.all():
                continue
            coefficients, bias = _hyperplane(matrix.rows[inside], matrix.is_spam[inside], weights[inside], seed)
            held_out[~inside] = matrix.rows[~inside] @ coefficients + bias
        coefficients, bias = _hyperplane(matrix.rows, matrix.is_spam, weights, seed)
        return _calibrated(coefficients, bias, held_out, matrix.is_spam, weights)


def fit_shards(shards: Shards, workers: Workers, *, seed: int = SEED, progress: Progress = iter) -> Fitted:
    """The same of shards, whatever their number; few enough of them go to `fit`."""
    if shards.features <= IN_MEMORY:
        return fit(_matrix([read_shard(path, Rows) for path in shards.files]), seed, progress)
    classes = {label for _, label in shards.groups}
    if len(classes) < 2:
        raise InputError(_BOTH)
    group_weights = _group_weights(shards.groups)
    blocks = [partial(load_block, number, path, group_weights) for number, path in enumerate(shards.files)]
    total = Counter(dict.fromkeys(classes, 0))
    for (_, label), number in shards.folds.items():
        total[label] += number
    folds = [fold for fold in range(FOLDS) if all(shards.folds[fold, one] < total[one] for one in classes)]
    left_out = [EVERYTHING, *folds]
    solved = solve(workers, blocks, left_out, _C, shards.folder, progress)
    weight = solved.points[:, 0]
    with _one_thread():
        fitted = _calibrated(weight[:-1], float(weight[-1]), solved.held_out(left_out), solved.is_spam, solved.weights)
    return replace(fitted, passes=solved.passes)


def _one_thread() -> AbstractContextManager[None]:
    from threadpoolctl import threadpool_limits  # scikit-learn needs it too

    limits: AbstractContextManager[None] = threadpool_limits(1)
    return limits


def _calibrated(
    coefficients: NDArray[np.float64],
    bias: float,
    held_out: NDArray[np.float64],
    is_spam: NDArray[np.bool_],
    weights: NDArray[np.float64],
) -> Fitted:
    slope, offset = _calibrate(held_out, is_spam, weights)
    slope, offset = slope * _FOREIGN_DOUBT, offset * _FOREIGN_DOUBT
    log_odds = slope * held_out + offset
    return Fitted(
        coefficients.astype(np.float32),
        bias,
        slope,
        offset,
        log_odds,
        _calibration(slope, offset, log_odds, is_spam, weights),
    )


def sample_weights(sources: NDArray[np.str_], is_spam: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Each class weighs half; inside a class a source weighs by the square root of its size, and by _WEIGHT."""
    groups = list(zip(sources.tolist(), is_spam.tolist(), strict=True))
    weights = _group_weights(Counter(groups))
    return np.array([weights[group] for group in groups])


def source_weights(sources: NDArray[np.str_]) -> NDArray[np.float64]:
    """(n_samples,) what a message of its source counts beside one that somebody got."""
    return np.array([_WEIGHT.get(source, 1.0) for source in sources.tolist()])


def _group_weights(groups: Counter[tuple[str, bool]]) -> dict[tuple[str, bool], float]:
    """What a sample of each source and class weighs; one on the average."""
    every = groups.total()
    sums = Counter({True: 0.0, False: 0.0})
    of_source = {source: _WEIGHT.get(source, 1.0) for source, _ in groups}
    for (source, is_spam), number in sorted(groups.items()):
        sums[is_spam] += of_source[source] * number**0.5
    return {group: of_source[group[0]] * number**-0.5 * every / 2 / sums[group[1]] for group, number in groups.items()}


def _hyperplane(
    rows: Any, is_spam: NDArray[np.bool_], weights: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.float64], float]:
    """In memory. What does not fit is solved by descent.py, which must have the same loss and penalty."""
    from sklearn.svm import LinearSVC

    # squared hinge loss; coordinate descent in the dual: the same weights as in the primal, in a fraction of the time
    model = LinearSVC(C=_C, dual=True, random_state=seed, max_iter=1000, tol=_TOLERANCE)
    model.fit(rows, is_spam, sample_weight=weights)
    return model.coef_[0], float(model.intercept_[0])


def _calibrate(
    scores: NDArray[np.float64], is_spam: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1e6, random_state=SEED).fit(scores.reshape(-1, 1), is_spam, sample_weight=weights)
    return float(model.coef_[0][0]), float(model.intercept_[0])


def _calibration(
    slope: float, offset: float, log_odds: NDArray[np.float64], is_spam: NDArray[np.bool_], weights: NDArray[np.float64]
) -> dict[str, float]:
    """How the probabilities of held-out samples fare, weighed as in training."""
    shares = weights / weights.sum()
    misses = np.where(is_spam, -log_odds, log_odds)
    return {
        "slope": slope,
        "offset": offset,
        "log_loss": float((shares * np.logaddexp(0.0, misses)).sum()),
        "brier": float((shares * np.exp(-2 * np.logaddexp(0.0, -misses))).sum()),
    }


def describe_sources(matrix: Matrix, terms: dict[str, str]) -> list[dict[str, object]]:
    """For a report: each source's counts and terms."""
    return describe_groups(Counter(zip(matrix.sources.tolist(), matrix.is_spam.tolist(), strict=True)), terms)


def describe_groups(groups: Counter[tuple[str, bool]], terms: dict[str, str]) -> list[dict[str, object]]:
    """The same, by the number of samples of each source and class."""
    return [
        {
            "name": name,
            "ham": groups[name, False],
            "spam": groups[name, True],
            "terms": terms.get(name, "own material"),
        }
        for name in sorted({name for name, _ in groups})
    ]
