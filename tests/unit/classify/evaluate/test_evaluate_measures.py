"""Ranks, thresholds and shares, against the definitions written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.classify.evaluate.measures import RATES, Curve, rank, share, threshold

scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=30).map(np.array)


def outranked(ham: np.ndarray, spam: np.ndarray) -> float:
    """(1-AUC)% by counting pairs."""
    pairs = list(itertools.product(ham, spam))
    return 100 * sum(1.0 if bad < good else 0.5 if bad == good else 0.0 for good, bad in pairs) / len(pairs)


def recall(ham: np.ndarray, spam: np.ndarray, rate: float) -> float:
    return float((spam > threshold(ham, rate)).mean())


@given(ham=scores, spam=scores)
def test_a_curve_is_what_the_pairs_say(ham: np.ndarray, spam: np.ndarray) -> None:
    area, *of_recall = Curve(ham, spam).figures()
    assert area == pytest.approx(outranked(ham, spam), abs=1e-9)
    assert of_recall == pytest.approx([recall(ham, spam, rate) for rate in RATES])


def test_so_many_ham_exceed_the_threshold() -> None:
    ham = np.arange(1000.0)
    for rate in RATES:
        assert (ham > threshold(ham, rate)).sum() == int(rate * 1000)
    assert threshold(np.zeros(0), 0.1) == 0.0


@given(ham=scores, spam=scores)
def test_the_roc_curve_climbs_from_no_ham_to_everything(ham: np.ndarray, spam: np.ndarray) -> None:
    points = Curve(ham, spam).points()
    assert points[-1] == (1.0, 1.0)
    assert points[0][0] == 0.0
    assert list(points) == sorted(points)
    for false, true in points:
        assert any(
            false == pytest.approx((ham >= at).mean(), abs=1e-6)
            and true == pytest.approx((spam >= at).mean(), abs=1e-6)
            for at in [*ham, *spam, 99.0]
        )


def test_intervals_hold_the_figures_and_shrink_with_more_mail() -> None:
    """Half of the spam stands above all ham."""
    sizes = []
    for number in (40, 4000):
        spam, ham = np.tile([3.0, 1.0], number // 2), np.linspace(0.0, 2.0, number)
        found = rank(ham, spam)
        assert found is not None
        assert found.one_minus_auc == pytest.approx(25, abs=0.1)
        assert found.recall == (0.5, 0.5)
        for figure, (least, most) in zip((found.one_minus_auc, *found.recall), found.intervals, strict=True):
            assert least < figure < most
        sizes.append(found.intervals[0][1] - found.intervals[0][0])
    assert sizes[1] < sizes[0] / 5


def test_the_same_scores_give_the_same_interval() -> None:
    ham, spam = np.linspace(0, 2, 50), np.linspace(1, 3, 50)
    assert rank(ham, spam) == rank(ham, spam)


def test_there_is_no_ranking_without_both_classes() -> None:
    assert rank(np.zeros(0), np.ones(3)) is None
    assert rank(np.ones(3), np.zeros(0)) is None


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [  # Wilson's interval by other implementations
        (0, 10, 0.0, 0.2775),
        (1, 10, 0.0179, 0.4042),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (2, 2072, 0.000265, 0.003513),
    ],
)
def test_share(count: int, of: int, low: float, high: float) -> None:
    found = share(count, of)
    assert found.share == count / of
    assert found.interval == pytest.approx((low, high), abs=1e-4)


def test_there_is_no_share_of_nothing() -> None:
    found = share(0, 0)
    assert (found.share, found.interval) == (None, None)
