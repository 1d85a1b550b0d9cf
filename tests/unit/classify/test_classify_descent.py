"""The minimum over shards: it is liblinear's of the squared hinge, to the bit the same by any number of hands."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from gateway.classify import descent, rows, train
from gateway.classify.corpus import Sample
from gateway.classify.descent import EVERYTHING, Columns, descend, load_block, losses, solve
from gateway.classify.rows import Rows, Shards, join, pack, read_shard
from gateway.classify.workers import LocalWorkers

SIZE = 512


def minimum(function: Callable, start: np.ndarray, limit: int = 500) -> tuple[np.ndarray, int]:
    descending = descend(start)
    point = next(descending)
    for turn in range(limit):
        try:
            point = descending.send(function(point))
        except StopIteration as end:
            return end.value, turn + 1
    raise AssertionError("no end")


@settings(max_examples=40)
@given(
    st.lists(st.floats(0.1, 100), min_size=2, max_size=8), st.lists(st.floats(-50, 50), min_size=8, max_size=8)
)  # fmt: skip
def test_it_finds_the_minimum_of_a_bowl(curves: list[float], centre: list[float]) -> None:
    curve, place = np.array(curves), np.array(centre[: len(curves)])

    def bowl(point: np.ndarray) -> tuple[float, np.ndarray]:
        away = point - place
        return 1.0 + float((curve * away * away).sum()) / 2, curve * away

    found, _ = minimum(bowl, np.zeros(len(curves)))
    assert bowl(found)[0] < 1.0 + 1e-3 * bowl(np.zeros(len(curves)))[0]


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


def test_the_gradient_is_the_values_slope(shards: Shards) -> None:
    block = load_block(shards.files[0], {("own", True): 2.0, ("own", False): 0.5})
    draw = np.random.default_rng(2)
    point, direction = (draw.normal(size=(SIZE + 1, 1)) for _ in range(2))
    fold = np.array([3], dtype=np.int16)
    step = 1e-6
    ahead, behind = (losses(block, Columns(point + way * step * direction, fold))[0][0] for way in (1, -1))
    gradient = losses(block, Columns(point, fold))[1]
    assert (ahead - behind) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=1e-5)


def test_a_column_does_not_see_the_fold_it_leaves_out(shards: Shards) -> None:
    block = load_block(shards.files[0], {("own", True): 1.0, ("own", False): 1.0})
    values, _ = losses(block, Columns(np.zeros((SIZE + 1, 2)), np.array([EVERYTHING, 2], dtype=np.int16)))
    others = int((block.rows.folds != 2).sum())
    assert values.tolist() == pytest.approx([120.0, float(others)])


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
    blocks = [partial(load_block, path, group_weights) for path in shards.files]
    points = solve(LocalWorkers(1), blocks, [EVERYTHING], penalty)[0].points[:, 0]
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
    monkeypatch.setattr("gateway.classify.descent.MAX_PASSES", 4)
    blocks = [lambda path=path: load_block(path, {("own", True): 1.0, ("own", False): 1.0}) for path in shards.files]
    columns, passes = solve(LocalWorkers(1), blocks, [EVERYTHING], 1.0)
    assert (passes, columns.points.shape) == (4, (SIZE + 1, 1))
    assert np.abs(columns.points).max() > 0
