"""Trials: told by source and language, at a threshold that the tested mail had no say in."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.classify.evaluate.splits import splits
from gateway.classify.evaluate.stream import served
from gateway.classify.evaluate.trial import attempt, judge, measure, pairs_of, trials
from gateway.classify.train import fit
from tests.unit.classify.evaluate.matrices import every_source, make_matrix

MATRIX = every_source()


def test_a_source_of_one_class_is_ranked_against_each_of_the_other() -> None:
    assert list(pairs_of(MATRIX.is_spam, MATRIX.sources)) == [
        ("phishing_pot", "list_usrp_users"),
        ("phishing_pot", "spamassassin"),
        ("spamassassin", "spamassassin"),
    ]


def test_figures_by_source_and_language() -> None:
    is_spam = MATRIX.is_spam
    scores = np.where(is_spam, 1.0, -1.0)
    scores[(MATRIX.sources == "phishing_pot") & (MATRIX.languages == "fa")] = -2.0
    found = measure("half", "a", "b", scores, MATRIX, 0.0)
    area = {(one.spam, one.ham, one.language): one.ranking.one_minus_auc for one in found.pairs}
    assert area["spamassassin", "spamassassin", ""] == 0
    assert area["phishing_pot", "spamassassin", "en"] == 0
    assert area["phishing_pot", "spamassassin", "fa"] == 100
    assert area["phishing_pot", "spamassassin", ""] == pytest.approx(100 / 3)
    flagged = {(one.source, one.is_spam, one.language): one.flagged for one in found.flagged}
    assert flagged["spamassassin", False, ""].count == 0
    assert flagged["phishing_pot", True, ""].share == pytest.approx(2 / 3)
    assert flagged["phishing_pot", True, "fa"].count == 0
    assert ("list_usrp_users", True, "") not in flagged


def test_few_messages_of_a_language_have_no_figures() -> None:
    rows = [("own", bool(i % 2), "", "ar" if i < 30 else "en") for i in range(200)]
    found = measure("half", "a", "b", np.zeros(200), make_matrix(*rows), 0.0)
    assert {one.language for one in found.pairs} == {"", "en"}
    assert {one.language for one in found.flagged} == {"", "en"}


def test_without_one_class_there_are_only_shares() -> None:
    spam = MATRIX.part(MATRIX.is_spam)
    found = measure("half", "a", "b", np.ones(len(spam.is_spam)), spam, 0.0)
    assert found.pairs == ()
    assert {one.is_spam for one in found.flagged} == {True}


def test_the_threshold_is_of_held_out_training_ham() -> None:
    split = next(splits(MATRIX, "half"))
    train = MATRIX.part(split.train)
    ham = fit(train).held_out[~train.is_spam]
    assert attempt(MATRIX, split).threshold == ham.max()  # less than a thousand: 0.1 % is none


def test_it_learns_what_parts_the_classes() -> None:
    found = list(trials(MATRIX, "all"))
    assert [one.protocol for one in found] == ["half"] * 2 + ["across"] * 5 + ["time"]
    assert all(pair.ranking.one_minus_auc == 0 for one in found for pair in one.pairs)


def test_a_given_model_is_judged_at_even_odds() -> None:
    found = judge(served(fit(MATRIX), "given-1"), MATRIX)
    assert (found.protocol, found.trained_on, found.threshold) == ("model", "given-1", 0.0)
    assert all(pair.ranking.one_minus_auc == 0 for pair in found.pairs)
    assert {one.flagged.share for one in found.flagged if one.is_spam} == {1.0}
