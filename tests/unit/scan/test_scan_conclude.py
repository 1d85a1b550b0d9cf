"""scan/conclude.py: the score is the sum of the hits, the prediction one of them."""

import sys
import unicodedata
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ports import RuleSet
from gateway.scan.conclude import CLASSIFIER, conclude, prediction_hit
from gateway.types import Contribution, Hit, Prediction, Summary

RULES = cast(RuleSet, SimpleNamespace(id="r", scores={CLASSIFIER: 6.0}, firm={"FORGED"}))


@pytest.mark.parametrize(
    ("probability", "score"),
    [(0.999, 6.0), (1.0, 6.0), (0.5, 0.0), (0.001, -3.0), (0.0, -3.0), (0.9, 2.87), (0.99, 6.0), (0.01, -3.0)],
)
def test_prediction_hit(probability: float, score: float) -> None:
    assert prediction_hit(Prediction(probability, "m"), 6.0).score == pytest.approx(score, abs=0.01)


@given(st.lists(st.floats(-5, 5, allow_nan=False), max_size=8), st.floats(0, 1))
def test_score_is_the_sum_of_the_hits(scores: list[float], probability: float) -> None:
    hits = [Hit(f"H{index}", score, "") for index, score in enumerate(scores)]
    found = conclude(
        "q",
        hits,
        Prediction(probability, "m"),
        RULES,
        auth=(),
        incomplete=(),
        summary=Summary(),
        stages=(),
    )
    assert found.score == pytest.approx(sum(hit.score for hit in found.hits))
    assert [abs(hit.score) for hit in found.hits] == sorted((abs(hit.score) for hit in found.hits), reverse=True)


@pytest.mark.parametrize(("probability", "score"), [(0.0, 4.0), (0.5, 4.0), (1.0, 10.0)])
def test_beside_a_firm_hit_harmless_text_takes_nothing_away(probability: float, score: float) -> None:
    def judged(name: str) -> float:
        return conclude(
            "q",
            [Hit(name, 4.0, "")],
            Prediction(probability, "m"),
            RULES,
            auth=(),
            incomplete=(),
            summary=Summary(),
            stages=(),
        ).score

    assert judged("FORGED") == pytest.approx(score)
    assert judged("OTHER") == pytest.approx(score if probability else 1.0)


def test_right_to_left_words_are_isolated() -> None:
    texts = {
        char: prediction_hit(Prediction(0.9, "m", (Contribution("words", char, 1.0),)), 6.0).evidence[1]
        for char in map(chr, range(0x0590, sys.maxunicode + 1, 1))
        if unicodedata.bidirectional(char) in ("R", "AL")
    }
    assert len(texts) > 1000
    assert all(text == f"for spam: \u2068word “{char}”\u2069 +1.0" for char, text in texts.items())
    french = Prediction(0.9, "m", (Contribution("words", "née", 1.0), Contribution("links", "0", -0.5)))
    assert prediction_hit(french, 6.0).evidence[1:] == ("for spam: word “née” +1.0", "for ham: no links -0.5")
