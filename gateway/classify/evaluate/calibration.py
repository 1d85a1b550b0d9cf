"""Whether probabilities mean what they say: reliability table, log-loss, Brier score, expected calibration error.

All depend on the share of spam among the tested messages, which in a corpus is not that of a mailbox.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BOUNDS = (0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0)  # finer at the ends, where decisions are made
_CERTAIN = 30.0  # log-odds, as Model.read limits them


@dataclass(frozen=True, slots=True)
class Bin:
    """Messages whose probability lies in [low, high)."""

    low: float
    high: float
    messages: int
    predicted: float  # mean probability
    observed: float  # share of spam


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of some messages."""

    messages: int
    spam: int
    log_loss: float  # natural logarithm, mean
    brier: float  # mean squared error of the probability
    expected_error: float  # ECE: mean distance of predicted and observed over the bins, weighed by messages
    bins: tuple[Bin, ...]  # those that are not empty


def calibration(log_odds: NDArray[np.float64], is_spam: NDArray[np.bool_]) -> Calibration | None:
    """None of no messages."""
    if not len(log_odds):
        return None
    certain = np.clip(log_odds, -_CERTAIN, _CERTAIN)
    probability = 1 / (1 + np.exp(-certain))
    loss = np.logaddexp(0, np.where(is_spam, -certain, certain))
    place = np.clip(np.searchsorted(_BOUNDS, probability, side="right") - 1, 0, len(_BOUNDS) - 2)
    bins = []
    for number in np.unique(place).tolist():
        inside = place == number
        bins.append(
            Bin(
                _BOUNDS[number],
                _BOUNDS[number + 1],
                int(inside.sum()),
                float(probability[inside].mean()),
                float(is_spam[inside].mean()),
            )
        )
    return Calibration(
        len(log_odds),
        int(is_spam.sum()),
        float(loss.mean()),
        float(((probability - is_spam) ** 2).mean()),
        sum(one.messages * abs(one.predicted - one.observed) for one in bins) / len(log_odds),
        tuple(bins),
    )
