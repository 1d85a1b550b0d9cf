"""The minimum over shards: it is liblinear's of the squared hinge, to the bit the same by any number of hands."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from gateway.classify import descent, rows, train
from gateway.classify.corpus import Sample
from gateway.classify.descent import EVERYTHING, Aside, Block, load_block, picked, projected, solve, step_length
from gateway.classify.rows import Rows, Shards, join, pack, read_shard
from gateway.classify.workers import LocalWorkers

SIZE = 512


def value_at(step: float, point, direction, missing, along, shares) -> float:
    there = point + step * direction
    return float((there**2).sum() + (shares * np.maximum(0.0, missing - step * along) ** 2).sum()) / 2


@settings(max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 30), st.floats(-6, 6))
def test_the_step_is_the_best_one(seed: int, samples: int, scale: float) -> None:
    draw = np.random.default_rng(seed)
    point, direction = draw.normal(size=(2, 4)) * 10.0 ** np.array([[0.0], [scale]])
    missing, along = draw.normal(size=(2, samples)) * 10.0 ** np.array([[0.0], [scale]])
    given_ = (point, direction, missing, along, draw.exponential(size=samples))
    step = step_length(*given_)
    assert step >= 0.0
    best = value_at(step, *given_)
    unit = 10.0**-scale
    others = np.concatenate([[0.0], unit * 10.0 ** np.linspace(-4, 3, 200), step + unit * np.linspace(-1, 1, 21)])
    for other in others[others >= 0.0]:
        assert best <= value_at(other, *given_) * (1 + 1e-9)


def test_no_step_is_taken_uphill_or_along_nothing() -> None:
    one, none = np.ones(1), np.zeros(1)
    assert step_length(one, one, none, none, one) == 0.0
    assert step_length(one, none, one, none, one) == 0.0


@pytest.fixture
def shards(tmp_path: Path, monkeypatch) -> Shards:
    """600 samples that overlap, in five shards of a small space."""
    for module in (rows, descent):
        monkeypatch.setattr(module, "SIZE", SIZE)
    monkeypatch.setattr(rows, "SHARD_ROWS", 120)
    draw = np.random.default_rng(1)
    made = Shards(tmp_path)
    parts = []
    for part in range(10):
        samples = [Sample("own", f"{part}/{turn}", bool(draw.random() < 0.4), b"") for turn in range(60)]
        vectors = []
        for sample in samples:
            words = np.unique(draw.integers(0, 300, 20) + (60 if sample.is_spam else 0))
            vectors.append((words, np.full(len(words), len(words) ** -0.5, np.float32)))
        parts.append(pack(samples, ["en"] * 60, vectors))
    made.write(parts)
    assert len(made.files) == 5
    return made


def test_sums_over_blocks_are_those_of_the_whole(shards: Shards, tmp_path: Path, monkeypatch) -> None:
    """Also where a block has no sample that counts."""
    group_weights = {("own", True): 2.0, ("own", False): 0.5}
    blocks = [load_block(number, path, group_weights) for number, path in enumerate(shards.files)]
    whole = join([read_shard(path, Rows) for path in shards.files])
    matrix = np.hstack([whole.matrix(np.float64).toarray(), np.ones((600, 1))])
    draw = np.random.default_rng(2)
    directions = draw.normal(size=(SIZE + 1, 2))
    assert np.allclose(np.concatenate([projected(one, directions) for one in blocks]), matrix @ directions)
    for chosen in (draw.random(600) < 0.3, np.arange(600) >= 130, np.arange(600) < 0):
        parts = [picked(one, np.split(chosen, 5)) for one in blocks]
        slopes = draw.normal(size=(int(chosen.sum()), 2))
        monkeypatch.setattr(descent, "SHARD_FEATURES", 2000)
        aside = Aside(tmp_path, LocalWorkers(2), parts)
        assert np.allclose(aside.pull(slopes), matrix[chosen].T @ slopes)
        curved = matrix[chosen].T @ (slopes * (matrix[chosen] @ directions))
        assert np.allclose(aside.bend(slopes, directions), curved)


def test_a_column_does_not_see_the_fold_it_leaves_out(shards: Shards) -> None:
    """Other labels and weights there change nothing; what it scores there is what is held out."""

    def block(number: int, path: Path, *, is_changed: bool) -> Block:
        found = load_block(number, path, {("own", True): 1.0, ("own", False): 1.0})
        changed = is_changed & (found.rows.folds == 2)
        rows = replace(found.rows, is_spam=found.rows.is_spam ^ changed)
        return Block(number, rows, np.where(changed, 7.0, found.weights))

    solved = [
        solve(
            LocalWorkers(1),
            [partial(block, number, path, is_changed=changed) for number, path in enumerate(shards.files)],
            [EVERYTHING, 2],
            1.0,
            shards.folder,
        )
        for changed in (False, True)
    ]
    points = [one.points for one in solved]
    assert points[0][:, 1].tobytes() == points[1][:, 1].tobytes()
    assert points[0][:, 0].tobytes() != points[1][:, 0].tobytes()
    whole = join([read_shard(path, Rows) for path in shards.files])
    scores = whole.matrix(np.float64) @ points[0][:-1, 1] + points[0][-1, 1]
    assert np.allclose(solved[0].held_out([EVERYTHING, 2]), np.where(whole.folds == 2, scores, 0.0))


def test_it_is_liblinears_minimum(shards: Shards, monkeypatch) -> None:
    monkeypatch.setattr(train, "_TOLERANCE", 1e-5)
    inside = train.fit_shards(shards, LocalWorkers(1))
    monkeypatch.setattr(train, "IN_MEMORY", 0)
    outside = train.fit_shards(shards, LocalWorkers(1))
    assert (inside.passes, outside.passes > 10) == (0, True)
    both = np.corrcoef(inside.held_out, outside.held_out)[0, 1]
    assert both > 0.9999
    assert np.abs(inside.weights - outside.weights).max() < 0.01 * np.abs(inside.weights).max()
    assert outside.bias == pytest.approx(inside.bias, abs=0.005)
    assert (outside.slope, outside.offset) == pytest.approx((inside.slope, inside.offset), rel=0.01)


def test_how_near_the_minimum_is_near_enough(shards: Shards, monkeypatch) -> None:
    """Squared hinge, the bias regularised like a weight: in memory to 0.5 %, over shards to 0.1 %."""
    rows = join([read_shard(path, Rows) for path in shards.files])
    signs, matrix = np.where(rows.is_spam, 1.0, -1.0), rows.matrix(np.float64)

    def value(fitted: train.Fitted) -> float:
        missing = np.maximum(0.0, 1.0 - signs * (matrix @ fitted.weights + fitted.bias))
        weights = train.sample_weights(rows.sources, rows.is_spam)
        return float(fitted.weights @ fitted.weights + fitted.bias**2) / 2 + train._C * float(weights @ missing**2)

    inside = value(train.fit_shards(shards, LocalWorkers(1)))
    monkeypatch.setattr(train, "_TOLERANCE", 1e-6)
    least = value(train.fit_shards(shards, LocalWorkers(1)))
    monkeypatch.setattr(train, "IN_MEMORY", 0)
    outside = value(train.fit_shards(shards, LocalWorkers(1)))
    assert least < inside < 1.005 * least
    assert least < outside < 1.001 * least


@pytest.mark.parametrize("penalty", [0.003, 0.1, 10.0])
def test_it_is_linear_svcs_minimum_by_any_penalty_and_weights(shards: Shards, penalty: float) -> None:
    """The smaller the penalty, the more it matters that the bias is regularised too."""
    group_weights = {("own", True): 3.0, ("own", False): 0.5}
    blocks = [partial(load_block, number, path, group_weights) for number, path in enumerate(shards.files)]
    points = solve(LocalWorkers(1), blocks, [EVERYTHING], penalty, shards.folder).points[:, 0]
    rows = join([read_shard(path, Rows) for path in shards.files])
    peer = LinearSVC(C=penalty, tol=1e-7, max_iter=100_000, random_state=1)
    peer.fit(rows.matrix(), rows.is_spam, sample_weight=np.where(rows.is_spam, 3.0, 0.5))
    expected = np.append(peer.coef_[0], peer.intercept_)
    assert np.abs(points - expected).max() < 0.01 * np.abs(expected).max()


def test_the_number_of_hands_leaves_no_trace(shards: Shards, monkeypatch) -> None:
    monkeypatch.setattr(train, "IN_MEMORY", 0)
    one, three = (train.fit_shards(shards, LocalWorkers(jobs)) for jobs in (1, 3))
    assert one.weights.tobytes() == three.weights.tobytes()
    assert (one.bias, one.slope, one.offset) == (three.bias, three.slope, three.offset)


def test_what_was_not_done_in_time_is_taken_as_it_is(shards: Shards, monkeypatch) -> None:
    monkeypatch.setattr("gateway.classify.descent.MAX_STEPS", 1)
    weights = {("own", True): 1.0, ("own", False): 1.0}
    blocks = [partial(load_block, number, path, weights) for number, path in enumerate(shards.files)]
    points = solve(LocalWorkers(1), blocks, [EVERYTHING], 1.0, shards.folder).points
    assert points.shape == (SIZE + 1, 1)
    assert np.abs(points).max() > 0
