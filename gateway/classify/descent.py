"""A linear support vector machine over shards that do not fit in memory: the minimum of `train._hyperplane`.

L-BFGS (Liu and Nocedal 1989) in the primal. Each pass reads every shard once and sums value and gradient of several
hyperplanes side by side: of all samples, and without each fold. Sums are in the order of the shards and without BLAS,
so that neither the number of threads nor who worked on a shard changes a bit. Averaging the weights learned on parts
(Mann et al. 2009) reads the data once, and ranks much worse (docs/decisions/0018).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.classify.features import SIZE
from gateway.classify.rows import Labelled, read_shard
from gateway.classify.workers import Workers

EVERYTHING = -1  # the fold that leaves nothing out
MAX_PASSES = 300
_MEMORY = 10  # pairs of steps and gradients
_ENOUGH = 1e-4  # of the value: what this many steps gain when it is time to stop
_STEPS = 5
_SUFFICIENT = 1e-4  # Armijo's

Vector = NDArray[np.float64]  # (SIZE + 1,) weights, then the bias


@dataclass(frozen=True, slots=True)
class Block:
    """A shard with the weights of its samples."""

    rows: Labelled
    weights: NDArray[np.float64]  # (n,)


@dataclass(frozen=True, slots=True)
class Columns:
    """Hyperplanes side by side."""

    points: NDArray[np.float64]  # (SIZE + 1, k)
    left_out: NDArray[np.int16]  # (k,) the fold each does without, or EVERYTHING


def load_block(path: Path, group_weights: Mapping[tuple[str, bool], float]) -> Block:
    """Raises InputError."""
    rows = read_shard(path, Labelled)
    groups = zip(rows.sources.tolist(), rows.is_spam.tolist(), strict=True)
    return Block(rows, np.array([group_weights[group] for group in groups]))


def losses(block: Block, columns: Columns) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(k,) weighed losses of a block, and (SIZE + 1, k) their gradient."""
    matrix = block.rows.matrix(np.float64)
    signs = np.where(block.rows.is_spam, 1.0, -1.0)[:, np.newaxis]
    margins = signs * (matrix @ columns.points[:-1] + columns.points[-1])
    weights = block.weights[:, np.newaxis] * (block.rows.folds[:, np.newaxis] != columns.left_out)
    missing = np.maximum(0.0, 1.0 - margins)
    values = np.add.reduce(weights * missing**2)
    slopes = -2.0 * signs * weights * missing
    return values, np.vstack([matrix.T @ slopes, np.add.reduce(slopes)])


def held_out_scores(block: Block, columns: Columns) -> tuple[NDArray[np.float64], NDArray[np.bool_], Vector]:
    """(n,) each: the score by the hyperplane that did not see the sample (0 without one), its class, its weight."""
    scores = block.rows.matrix(np.float64) @ columns.points[:-1] + columns.points[-1]
    is_mine = block.rows.folds[:, np.newaxis] == columns.left_out
    return np.add.reduce(scores * is_mine, axis=1), block.rows.is_spam, block.weights


def solve(
    workers: Workers,
    blocks: Sequence[Callable[[], Block]],
    left_out: Sequence[int],
    penalty: float,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[Columns, int]:
    """Minimise |w|^2 / 2 + penalty * losses for each of `left_out`. Returns the columns and the number of passes."""
    solved: dict[int, Vector] = {}
    descents = {fold: descend(np.zeros(SIZE + 1)) for fold in left_out}
    points = {fold: next(descent) for fold, descent in descents.items()}
    passes = 0
    for _ in progress(range(MAX_PASSES)):
        passes += 1
        columns = Columns(np.column_stack(list(points.values())), np.array(list(points), dtype=np.int16))
        values, gradients = np.zeros(len(points)), np.zeros(columns.points.shape)
        for some, slopes in workers.over(blocks, losses, columns):
            values += some
            gradients += slopes
        for number, fold in enumerate(columns.left_out.tolist()):
            point = points[fold]
            try:
                value = penalty * float(values[number]) + _dot(point, point) / 2
                points[fold] = descents[fold].send((value, penalty * gradients[:, number] + point))
            except StopIteration as end:
                solved[fold] = end.value
                del points[fold]
        if not points:
            break
    solved |= points  # of those that were not done by then
    return Columns(np.column_stack([solved[fold] for fold in left_out]), np.array(left_out, dtype=np.int16)), passes


def descend(point: Vector) -> Generator[Vector, tuple[float, Vector], Vector]:
    """Yields points, is sent value and gradient of a strictly convex function there, returns its minimum's place."""
    value, gradient = yield point
    pairs: deque[tuple[Vector, Vector, float]] = deque(maxlen=_MEMORY)
    values = deque([value], maxlen=_STEPS + 1)
    while len(values) <= _STEPS or values[0] - value > _ENOUGH * abs(value):
        direction = -_scaled(gradient, pairs)
        slope = _dot(gradient, direction)
        if not slope < 0:
            break
        step = 1.0 if pairs else 1.0 / np.sqrt(_dot(gradient, gradient))
        while True:
            trial = point + step * direction
            trial_value, trial_gradient = yield trial
            if trial_value <= value + _SUFFICIENT * step * slope:
                break
            curve = 2 * (trial_value - value - step * slope)  # the parabola's minimum, within bounds
            step *= min(0.5, max(0.1, -step * slope / curve))
            if step < 1e-12:
                return point
        difference, change = trial - point, trial_gradient - gradient
        pairs.append((difference, change, 1.0 / _dot(difference, change)))
        point, value, gradient = trial, trial_value, trial_gradient
        values.append(value)
    return point


def _scaled(gradient: Vector, pairs: Sequence[tuple[Vector, Vector, float]]) -> Vector:
    """The gradient times the inverse Hessian as the pairs tell it (two-loop recursion)."""
    result = gradient.copy()
    shares = []
    for difference, change, inverse in reversed(pairs):
        shares.append(inverse * _dot(difference, result))
        result -= shares[-1] * change
    if pairs:
        _, change, inverse = pairs[-1]
        result /= inverse * _dot(change, change)
    for (difference, change, inverse), share in zip(pairs, reversed(shares), strict=True):
        result += (share - inverse * _dot(change, result)) * difference
    return result


def _dot(left: Vector, right: Vector) -> float:
    return float(np.add.reduce(left * right))
