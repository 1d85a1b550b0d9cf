"""Probabilities against what came true."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.classify.evaluate.calibration import calibration


def log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))


def test_what_is_said_and_what_came_true() -> None:
    said = np.array([log_odds(0.8)] * 10 + [log_odds(0.3)] * 10)
    is_spam = np.array([True] * 8 + [False] * 2 + [True] * 6 + [False] * 4)
    found = calibration(said, is_spam)
    assert found is not None
    assert [(one.low, one.messages, one.predicted, one.observed) for one in found.bins] == [
        (0.25, 10, pytest.approx(0.3), pytest.approx(0.6)),
        (0.75, 10, pytest.approx(0.8), pytest.approx(0.8)),
    ]
    assert found.expected_error == pytest.approx(0.15)  # half of the messages are 0.3 off
    assert found.brier == pytest.approx((8 * 0.04 + 2 * 0.64 + 6 * 0.49 + 4 * 0.09) / 20)
    assert found.log_loss == pytest.approx(
        -(8 * math.log(0.8) + 2 * math.log(0.2) + 6 * math.log(0.3) + 4 * math.log(0.7)) / 20
    )
    assert (found.messages, found.spam) == (20, 14)


def test_certainty_that_fails_costs_much_but_not_everything() -> None:
    found = calibration(np.array([1e9, -1e9]), np.array([False, True]))
    assert found is not None
    assert found.log_loss == pytest.approx(30)
    assert found.brier == pytest.approx(1)
    assert [(one.low, one.high) for one in found.bins] == [(0.0, 0.001), (0.999, 1.0)]


def test_nothing_is_not_calibrated() -> None:
    assert calibration(np.zeros(0), np.zeros(0, dtype=bool)) is None
