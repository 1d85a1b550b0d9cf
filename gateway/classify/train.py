"""Training with scikit-learn (the `train` extra): seeded, the same corpora give the same bytes.

Every source and class weighs the same, so that a large collector does not decide what mail looks like. The calibration
is Platt's, on five folds that were held out, and its slope is halved: what holds inside a corpus is overconfident
about foreign mail (docs/model.md).
"""

from __future__ import annotations

import hashlib
import importlib.util
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.classify.corpus import Sample, read_source
from gateway.classify.features import SIZE, extract
from gateway.errors import InputError
from gateway.mail import parse
from gateway.types import MailObject

SEED = 20261123
FOLDS = 5
_C = 100.0
_FOREIGN_DOUBT = 0.5
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Matrix:
    """Extracted samples."""

    rows: Any  # (n_samples, SIZE) scipy CSR, float32
    is_spam: NDArray[np.bool_]  # (n_samples,)
    sources: NDArray[np.str_]  # (n_samples,)
    paths: NDArray[np.str_]  # (n_samples,)
    dates: NDArray[np.str_]  # (n_samples,) ISO, "" unknown

    def part(self, chosen: NDArray[Any]) -> Matrix:
        """Some of the samples, by mask or index."""
        return Matrix(
            self.rows[chosen], self.is_spam[chosen], self.sources[chosen], self.paths[chosen], self.dates[chosen]
        )


@dataclass(frozen=True, slots=True)
class Fitted:
    """What training found."""

    weights: NDArray[np.float32]
    bias: float
    slope: float
    offset: float
    held_out: NDArray[np.float64]  # (n_samples,) log-odds of each training sample by a fold that had not seen it

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
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    body: bool = True,
    relations: bool = True,
) -> Matrix:
    """Features of every sample, on all cores, in a fixed order. Raises InputError when there is no sample."""
    from scipy.sparse import csr_matrix

    facts: list[tuple[str, str, bool, str]] = []
    columns: list[NDArray[np.intp]] = []
    values: list[NDArray[np.float32]] = []
    work = partial(_extract, body=body, relations=relations)
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        for fact, indices, weights in progress(pool.imap(work, _samples(sources), chunksize=16)):
            facts.append(fact)
            columns.append(indices)
            values.append(weights)
    if not facts:
        raise InputError("the corpora hold no message")
    bounds = np.concatenate([[0], np.cumsum([len(one) for one in columns])])
    rows = csr_matrix((np.concatenate(values), np.concatenate(columns), bounds), shape=(len(facts), SIZE))
    names, paths, labels, dates = zip(*facts, strict=True)
    return Matrix(rows, np.array(labels), np.array(names), np.array(paths), np.array(dates))


def _samples(sources: dict[str, Path]) -> Iterator[Sample]:
    for name, path in sorted(sources.items()):
        yield from read_source(name, path)


def _extract(
    sample: Sample, *, body: bool, relations: bool
) -> tuple[tuple[str, str, bool, str], NDArray[np.intp], NDArray[np.float32]]:
    mail = MailObject(sample.envelope(), parse(sample.content[:_MAX_BYTES]))
    indices, values = extract(mail, body=body, relations=relations).vector()
    order = np.argsort(indices, kind="stable")
    return (sample.source, sample.path, sample.is_spam, sample.date), indices[order], values[order]


def fit(matrix: Matrix) -> Fitted:
    """Weights from all samples, calibration from held-out folds. Raises InputError unless both classes are there."""
    if matrix.is_spam.all() or not matrix.is_spam.any():
        raise InputError("training needs both spam and ham")
    weights = sample_weights(matrix.sources, matrix.is_spam)
    folds = np.array([int(hashlib.sha256(path.encode()).hexdigest(), 16) % FOLDS for path in matrix.paths])
    held_out = np.zeros(len(folds))
    for fold in range(FOLDS):
        inside = folds != fold
        if matrix.is_spam[inside].all() or not matrix.is_spam[inside].any() or inside.all():
            continue
        coefficients, bias = _regress(matrix.rows[inside], matrix.is_spam[inside], weights[inside])
        held_out[~inside] = matrix.rows[~inside] @ coefficients + bias
    slope, offset = _calibrate(held_out, matrix.is_spam, weights)
    coefficients, bias = _regress(matrix.rows, matrix.is_spam, weights)
    slope, offset = slope * _FOREIGN_DOUBT, offset * _FOREIGN_DOUBT
    return Fitted(coefficients.astype(np.float32), bias, slope, offset, slope * held_out + offset)


def sample_weights(sources: NDArray[np.str_], is_spam: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Each class weighs half; inside a class a source weighs by the square root of its size."""
    keys = list(zip(sources.tolist(), is_spam.tolist(), strict=True))
    groups = Counter(keys)
    raw = np.array([groups[key] ** -0.5 for key in keys])
    for label in (True, False):
        chosen = is_spam == label
        raw[chosen] *= len(raw) / 2 / raw[chosen].sum()
    return raw


def _regress(rows: Any, is_spam: NDArray[np.bool_], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    from sklearn.linear_model import LogisticRegression

    # coordinate descent in the dual: the same weights as in the primal, in a twentieth of the time
    model = LogisticRegression(C=_C, solver="liblinear", dual=True, random_state=SEED, max_iter=500, tol=1e-2)
    model.fit(rows, is_spam, sample_weight=weights)
    return model.coef_[0], float(model.intercept_[0])


def _calibrate(
    scores: NDArray[np.float64], is_spam: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1e6, random_state=SEED).fit(scores.reshape(-1, 1), is_spam, sample_weight=weights)
    return float(model.coef_[0][0]), float(model.intercept_[0])


def describe_sources(matrix: Matrix, terms: dict[str, str]) -> list[dict[str, object]]:
    """For the manifest: each source's counts and terms."""
    names: Sequence[str] = sorted(set(matrix.sources.tolist()))
    return [
        {
            "name": name,
            "ham": int(((matrix.sources == name) & ~matrix.is_spam).sum()),
            "spam": int(((matrix.sources == name) & matrix.is_spam).sum()),
            "terms": terms.get(name, "own material"),
        }
        for name in names
    ]
