"""The fit on tables whose right answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from gateway.errors import InputError
from gateway.fitting.scores import LEAST, fit, scale
from gateway.fitting.table import Table

Row = tuple[str, bool, str]  # source, is spam, names that hit (a letter each)


def make_table(rows: Sequence[Row], authored: dict[str, float], decided: Sequence[float] = ()) -> Table:
    names = tuple(sorted(authored))
    columns = np.array([[float(name in hits) for name in names] for _, _, hits in rows]).reshape(len(rows), len(names))
    return Table(
        csr_matrix(columns),
        names,
        np.array([authored[name] for name in names]),
        np.array(decided or [0.0] * len(rows)),
        np.array([is_spam for _, is_spam, _ in rows]),
        np.array([source for source, _, _ in rows]),
    )


def fitted(rows: Sequence[Row], authored: dict[str, float], decided: Sequence[float] = ()) -> dict[str, float]:
    table = make_table(rows, authored, decided)
    return dict(zip(table.names, fit(table).tolist(), strict=True))


# "s" is the strong sign that parts most of the rest, with doubt, so that a point is worth some log-odds
COMMON: list[Row] = [
    *([("a", True, "s"), ("b", True, "s"), ("a", False, ""), ("b", False, "")] * 45),
    *([("a", True, ""), ("b", True, ""), ("a", False, "s"), ("b", False, "s")] * 5),
]
STRONG = {"s": 3.0}


@pytest.mark.parametrize(
    ("rows", "authored", "low", "high"),
    [
        pytest.param([("a", True, "x"), ("b", True, "x")] * 50, 1.0, 1.2, 2.0, id="speaks of spam: grows, to double"),
        pytest.param([("a", True, "x"), ("b", True, "x")] * 50, 3.0, 3.0, 4.0, id="grows to the most there is"),
        pytest.param([("a", True, "x"), ("b", True, "x")] * 50, 4.5, 2.0, 4.5, id="higher by its author: no higher"),
        pytest.param([("a", True, "x")] * 100, 1.0, 0.9, 1.0, id="spam of one source: does not grow"),
        pytest.param([("a", True, "x")] * 100 + [("b", True, "x")] * 5, 1.0, 0.9, 1.0, id="hardly seen in another"),
        pytest.param([("a", False, "x"), ("b", False, "x")] * 50, 1.0, LEAST, LEAST, id="hits ham: sinks to the least"),
        pytest.param([("a", False, "x")], 1.0, 0.6, 0.999, id="one ham: sinks a little"),
        pytest.param([], 1.0, 1.0, 1.0, id="no hit: its author's"),
        pytest.param([("a", False, "x"), ("b", False, "x")] * 50, -1.0, -2.0, -1.0, id="speaks of ham: grows"),
        pytest.param([("a", True, "x"), ("b", True, "x")] * 50, -1.0, -LEAST, -LEAST, id="of ham, hits spam: sinks"),
        pytest.param([("a", True, "x"), ("b", True, "x")] * 50, 0.0, 0.0, 0.0, id="off stays off"),
    ],
)
def test_a_score(rows: list[Row], authored: float, low: float, high: float) -> None:
    score = fitted(COMMON + rows, STRONG | {"x": authored})["x"]
    assert low - 1e-6 <= score <= high + 1e-6


def test_where_there_is_one_source_in_all_it_is_enough() -> None:
    rows: list[Row] = [("a", is_spam, hits) for _, is_spam, hits in COMMON]
    assert fitted(rows + [("a", True, "x")] * 100, STRONG | {"x": 1.0})["x"] > 1.2


def test_thin_data_changes_less_than_much() -> None:
    moved = [1.0 - fitted(COMMON + [("a", False, "x")] * n, STRONG | {"x": 1.0})["x"] for n in (1, 3, 10, 30)]
    assert moved == sorted(moved)
    assert 0 < moved[0] < 0.4 * moved[-1]


def test_equal_signs_score_alike_and_a_sign_that_adds_nothing_stays_smaller() -> None:
    pairs = [("a", True, "x"), ("b", True, "x"), ("a", True, "y"), ("b", True, "y")] * 30
    scores = fitted(COMMON + pairs, STRONG | {"x": 1.0, "y": 1.0})
    assert scores["x"] == pytest.approx(scores["y"], abs=1e-3)
    beside = [(source, is_spam, hits + "z" if is_spam and hits else hits) for source, is_spam, hits in COMMON + pairs]
    assert fitted(beside, STRONG | {"x": 1.0, "y": 1.0, "z": 1.0})["x"] < scores["x"]


def test_ham_of_a_small_source_counts_for_more() -> None:
    def score(source: str) -> float:
        spam: list[Row] = [("a", True, "x"), ("b", True, "x")] * 15
        ham: list[Row] = [("large", False, "")] * 900 + [("small", False, "")] * 20 + [(source, False, "x")] * 10
        return fitted(COMMON + spam + ham, STRONG | {"x": 2.0})["x"]

    assert score("small") < score("large") - 0.1


def test_what_is_decided_counts_but_is_not_fitted() -> None:
    rows = COMMON + [("a", True, "x"), ("b", True, "x")] * 50
    without = fitted(rows, STRONG | {"x": 1.0})["x"]
    is_x = [5.0 if "x" in hits else 0.0 for _, _, hits in rows]
    assert fitted(rows, STRONG | {"x": 1.0}, is_x)["x"] < without  # the decided points have done its work


def test_the_classifier_may_say_more_than_a_rule() -> None:
    rows = COMMON + [("a", True, "x")] * 200
    table = make_table(rows, STRONG | {"x": 3.0})
    named = replace(table, names=tuple("CLASSIFIER" if name == "x" else name for name in table.names))
    assert fit(table)[1] == pytest.approx(3.0)  # spam of one source
    assert 4.0 < fit(named)[1] <= 6.0


@pytest.mark.parametrize("is_spam", [True, False])
def test_one_class_alone(is_spam: bool) -> None:
    with pytest.raises(InputError, match="both spam and ham"):
        fitted([("a", is_spam, "x")] * 5, {"x": 1.0})


@pytest.mark.parametrize(
    ("ham_points", "decided", "factor"),
    [
        ([4.9] * 10, 0.0, 1.0),
        ([5.0] + [0.0] * 9, 0.0, 0.99),  # one of ten is more than the rate
        ([5.0] + [0.0] * 1999, 0.0, 1.0),  # one of two thousand is not
        ([8.0] + [0.0] * 9, 0.0, 0.62),
        ([1.0] * 10, 4.5, 0.5),
        ([0.1] * 10, 6.0, 0.5),  # the decided points alone reach it
    ],
)
def test_scale(ham_points: list[float], decided: float, factor: float) -> None:
    rows: list[Row] = [("a", False, "")] * len(ham_points) + [("a", True, "x")] * 3
    table = make_table(rows, {"x": 1.0}, [decided] * len(rows))
    points = np.array([*ham_points, 100.0, 100.0, 100.0])
    assert scale(points, table, 5.0, 0.001) == pytest.approx(factor)


ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.booleans(), st.text("uvwxyz", max_size=6)), min_size=2, max_size=60
).filter(lambda rows: len({is_spam for _, is_spam, _ in rows}) == 2)


@settings(max_examples=30, deadline=None)
@given(ROWS, st.lists(st.floats(-6, 6), min_size=6, max_size=6))
def test_signs_and_bounds_hold_on_any_table(rows: list[Row], authored: list[float]) -> None:
    table = make_table(rows, dict(zip("uvwxyz", authored, strict=True)))
    for before, after in zip(authored, fit(table).tolist(), strict=True):
        assert np.isfinite(after)
        assert after * before >= 0
        assert abs(after) <= max(abs(before), min(2 * abs(before), 4.0)) + 1e-9
        assert abs(after) >= min(abs(before), LEAST) - 1e-9
