"""A linear support vector machine over shards that do not fit in memory: the minimum of `train._hyperplane`.

Newton's method in the primal (Keerthi and DeCoste, JMLR 6, 2005): of the squared hinge only samples inside the margin
bend the function, and there it is a parabola. They are laid aside on the disk, a part of all, and conjugate gradients
read them to near its bottom; the step towards it is as long as is best for all samples, which needs one number of each.
Several hyperplanes are solved side by side: of all samples, and without each fold. Sums are in the order of the shards
and without BLAS, so that neither the number of threads nor who worked on a shard changes a bit. Why not otherwise:
docs/decisions/0018 and 0045.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.classify.features import SIZE
from gateway.classify.rows import SHARD_FEATURES, Labelled, read_shard
from gateway.classify.workers import LocalWorkers, Workers
from gateway.errors import InputError

EVERYTHING = -1  # the fold that leaves nothing out
MAX_STEPS = 60
_ENOUGH = 3e-3  # of the value: what this many steps gain when it is time to stop
_STEPS = 3
_RESIDUAL = 0.1  # of the gradient, where conjugate gradients end; a better direction costs more than it gains
_MAX_ROUNDS = 40  # of conjugate gradients for a step
_MAX_HALVINGS = 60

Vectors = NDArray[np.float64]  # (SIZE + 1, k): of each hyperplane the weights, then the bias


@dataclass(frozen=True, slots=True)
class Block:
    """A shard with its place among them and the weights of its samples."""

    number: int
    rows: Labelled
    weights: NDArray[np.float64]  # (n,)


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples that are inside a margin, so many features of them that a shard could hold them."""

    rows: Any  # (stop - start, SIZE) scipy CSR, float32
    start: int  # their place among all that are laid aside
    stop: int


@dataclass(frozen=True, slots=True)
class Bend:
    """What a parabola weighs each sample that is laid aside with, for each hyperplane, and directions to go."""

    factors: NDArray[np.float64]  # (m, k)
    directions: Vectors


@dataclass(frozen=True, slots=True)
class Solved:
    """k hyperplanes, and what became of the n samples of all blocks."""

    points: Vectors
    margins: NDArray[np.float64]  # (n, k) what each scores a sample, its sign by the sample's class
    is_spam: NDArray[np.bool_]  # (n,)
    folds: NDArray[np.uint8]  # (n,)
    weights: NDArray[np.float64]  # (n,)
    passes: int  # over the shards

    def held_out(self, left_out: Sequence[int]) -> NDArray[np.float64]:
        """(n,) the score by the hyperplane that did without the sample's fold; 0 where none did."""
        is_mine = self.folds[:, np.newaxis] == np.array(left_out)
        return np.asarray(np.where(self.is_spam, 1.0, -1.0) * np.add.reduce(self.margins * is_mine, axis=1))


def load_block(number: int, path: Path, group_weights: Mapping[tuple[str, bool], float]) -> Block:
    """Raises InputError."""
    rows = read_shard(path, Labelled)
    groups = zip(rows.sources.tolist(), rows.is_spam.tolist(), strict=True)
    return Block(number, rows, np.array([group_weights[group] for group in groups]))


# --- what is done with a block, wherever it lies --------------------------------------------------------------------


def labels(block: Block, _: None) -> tuple[NDArray[np.bool_], NDArray[np.uint8], NDArray[np.float64]]:
    """Class, fold and weight of each sample."""
    return block.rows.is_spam, block.rows.folds, block.weights


def projected(block: Block, directions: Vectors) -> NDArray[np.float64]:
    """(n, k) how far each sample lies along each direction."""
    matrix = block.rows.matrix(np.float64)
    return np.asarray(matrix @ directions[:-1] + directions[-1])


def picked(block: Block, chosen: Sequence[NDArray[np.bool_]]) -> Any:
    """Scipy CSR, float32: the samples that are chosen, (n,) of each block."""
    return block.rows.matrix(np.float32)[chosen[block.number]]


# --- what is done with samples that are laid aside, here -------------------------------------------------------------


def pulled(piece: Piece, slopes: NDArray[np.float64]) -> Vectors:
    """The sum of the samples, times their (m, k) slopes."""
    return _summed_rows(piece.rows, slopes[piece.start : piece.stop])


def bent(piece: Piece, given: Bend) -> Vectors:
    """The piece's part of the Hessian, times the directions."""
    along = piece.rows @ given.directions[:-1] + given.directions[-1]
    return _summed_rows(piece.rows, along * given.factors[piece.start : piece.stop])


def _summed_rows(matrix: Any, factors: NDArray[np.float64]) -> Vectors:
    return np.vstack([matrix.T @ factors, np.add.reduce(factors)])


class Aside:
    """Samples laid aside in a folder, in pieces; what was laid there before goes."""

    def __init__(self, folder: Path, hands: LocalWorkers, parts: Iterable[Any]) -> None:
        """Raises InputError when the disk is full."""
        self._hands, self._loaders = hands, list[Callable[[], Piece]]()
        start, waiting = 0, list[Any]()
        for part in parts:
            waiting.append(part)
            if sum(one.nnz for one in waiting) >= SHARD_FEATURES:
                start = self._write(folder, start, waiting)
                waiting = []
        if waiting:
            self._write(folder, start, waiting)

    def _write(self, folder: Path, start: int, waiting: Sequence[Any]) -> int:
        from scipy.sparse import vstack

        rows, path = vstack(waiting, format="csr"), folder / f"aside-{len(self._loaders):06}.npy"
        try:
            with path.open("wb") as file:
                for array in (rows.data, rows.indices, rows.indptr):
                    np.save(file, array, allow_pickle=False)
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror}; --work names another folder for the features") from None
        self._loaders.append(partial(_read_piece, path, start, start + rows.shape[0]))
        return int(start + rows.shape[0])

    def pull(self, slopes: NDArray[np.float64]) -> Vectors:
        """(SIZE + 1, k) the sum of all, times their (m, k) slopes."""
        return self._sum(pulled, slopes, slopes.shape[1])

    def bend(self, factors: NDArray[np.float64], directions: Vectors) -> Vectors:
        """(SIZE + 1, k) directions, times what the samples with these (m, k) factors add to the Hessian."""
        return self._sum(bent, Bend(factors, directions), directions.shape[1])

    def _sum(self, function: Callable[[Piece, Any], Vectors], given: Any, columns: int) -> Vectors:
        total = np.zeros((SIZE + 1, columns))
        for part in self._hands.over(self._loaders, function, given):
            total += part
        return total


def _read_piece(path: Path, start: int, stop: int) -> Piece:
    from scipy.sparse import csr_matrix

    with path.open("rb") as file:
        data, indices, bounds = (np.load(file, allow_pickle=False) for _ in range(3))
    return Piece(csr_matrix((data, indices, bounds), shape=(stop - start, SIZE)), start, stop)


# --- the descent ----------------------------------------------------------------------------------------------------


def solve(
    workers: Workers,
    blocks: Sequence[Callable[[], Block]],
    left_out: Sequence[int],
    penalty: float,
    folder: Path,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Solved:
    """Minimise |w|^2 / 2 + penalty * losses, where each hyperplane does without one fold of `left_out`.

    Raises InputError, when the folder's disk is full too."""
    found = list(workers.over(blocks, labels, None))
    is_spam, folds, weights = (np.concatenate([one[place] for one in found]) for place in range(3))
    ends = np.cumsum([len(one[0]) for one in found])[:-1]
    signs = np.where(is_spam, 1.0, -1.0)[:, np.newaxis]
    shares = 2.0 * penalty * weights[:, np.newaxis] * (folds[:, np.newaxis] != np.array(left_out))
    points, margins = np.zeros((SIZE + 1, len(left_out))), np.zeros(shares.shape)
    descending = np.arange(len(left_out))  # hyperplanes that are not at their minimum yet
    values: deque[NDArray[np.float64]] = deque(maxlen=_STEPS + 1)
    passes = 1
    for _ in progress(range(MAX_STEPS)):
        missing = np.maximum(0.0, 1.0 - margins)
        values.append((np.add.reduce(shares * missing**2) + _dots(points, points)) / 2)
        if len(values) > _STEPS:
            gained = values[0] - values[-1] > _ENOUGH * values[-1]
            descending = descending[gained[descending]]
        if not len(descending):
            break
        passes += 2
        here, share = points[:, descending], shares[:, descending]
        pull = share * missing[:, descending]
        is_aside = np.asarray(pull.any(axis=1))
        aside = Aside(folder, workers.here, workers.over(blocks, picked, np.split(is_aside, ends)))
        gradient = here - aside.pull((signs * pull)[is_aside])
        direction = _towards(aside, gradient, np.where(pull > 0.0, share, 0.0)[is_aside])
        along = signs * np.concatenate(list(workers.over(blocks, projected, direction)))
        lengths = np.array(
            [
                step_length(here[:, one], direction[:, one], 1.0 - margins[:, place], along[:, one], share[:, one])
                for one, place in enumerate(descending.tolist())
            ]
        )
        points[:, descending] += lengths * direction
        margins[:, descending] += lengths * along
    return Solved(points, margins, is_spam, folds, weights, passes)


def _towards(aside: Aside, gradient: Vectors, factors: NDArray[np.float64]) -> Vectors:
    """About where the parabola's bottom is that these samples make (Hestenes and Stiefel 1952)."""
    direction, residual = np.zeros(gradient.shape), -gradient
    search, norms = residual.copy(), _dots(residual, residual)
    enough = _RESIDUAL**2 * norms
    going = np.flatnonzero(norms > 0.0)
    for _ in range(_MAX_ROUNDS):
        if not len(going):
            break
        ahead = search[:, going]
        curved = ahead + aside.bend(factors[:, going], ahead)
        rates = norms[going] / _dots(ahead, curved)
        direction[:, going] += rates * ahead
        residual[:, going] -= rates * curved
        fresh = _dots(residual[:, going], residual[:, going])
        search[:, going] = residual[:, going] + fresh / norms[going] * ahead
        norms[going] = fresh
        going = going[fresh > enough[going]]
    return direction


def step_length(
    point: NDArray[np.float64],
    direction: NDArray[np.float64],
    missing: NDArray[np.float64],
    along: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> float:
    """Where |point + t direction|^2 / 2 + sum(shares max(0, missing - t along)^2) / 2 is least, for t >= 0.

    Its slope rises from one straight piece to the next: Newton's method, held between what is too short and too long.
    """
    start, rise = float(np.add.reduce(point * direction)), float(np.add.reduce(direction * direction))
    short, long, step = 0.0, np.inf, 0.0
    for _ in range(_MAX_HALVINGS):
        left = missing - step * along
        weighed = np.where(left > 0.0, shares * along, 0.0)
        slope = start + step * rise - float(np.add.reduce(weighed * left))
        curve = rise + float(np.add.reduce(weighed * along))
        if slope < 0.0:
            short = step
        else:
            long = step
        if slope == 0.0 or not curve > 0.0 or short >= long:
            break
        following = step - slope / curve
        if not short <= following <= long:
            following = (short + long) / 2 if long < np.inf else 2 * step
        if abs(following - step) <= 1e-12 * abs(following):
            break
        step = following
    return step


def _dots(left: Vectors, right: Vectors) -> NDArray[np.float64]:
    """(k,) without BLAS."""
    return np.asarray(np.add.reduce(left * right, axis=0))
