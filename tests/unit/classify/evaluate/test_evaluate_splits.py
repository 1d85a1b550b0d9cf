"""What trains and what tests."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from gateway.classify.evaluate.splits import PROTOCOLS, Split, splits
from tests.unit.classify.evaluate.matrices import every_source, make_matrix

MATRIX = every_source()


def by_name(protocol: str) -> dict[str, Split]:
    return {one.trained_on: one for one in splits(MATRIX, protocol)}


@pytest.mark.parametrize("protocol", [*PROTOCOLS, "all"])
def test_nothing_is_tested_that_trained(protocol: str) -> None:
    found = list(splits(MATRIX, protocol))
    assert found
    for one in found:
        assert not (one.train & one.test).any(), one.trained_on
        assert one.test.any()
        assert set(MATRIX.is_spam[one.train]) == {True, False}


def test_half_goes_by_the_hash_of_the_file_name() -> None:
    one = by_name("half")["spamassassin, half"]
    for number, (source, path) in enumerate(zip(MATRIX.sources, MATRIX.paths, strict=True)):
        trains = int(hashlib.sha256(path.rpartition("/")[2].encode()).hexdigest()[0], 16) < 8
        ours = source == "spamassassin"
        assert (one.train[number], one.test[number]) == (ours and trains, ours and not trains)


def test_across_names_the_pairs_and_leaves_each_source_out() -> None:
    assert list(by_name("across")) == [
        "spamassassin",
        "phishing_pot, list_usrp_users",
        "all but list_usrp_users",
        "all but phishing_pot",
        "all but spamassassin",
    ]


def test_a_source_of_one_class_borrows_the_other_from_test_halves() -> None:
    one = by_name("across")["all but phishing_pot"]
    tested = MATRIX.part(one.test)
    assert set(tested.sources[tested.is_spam]) == {"phishing_pot"}
    assert set(tested.sources[~tested.is_spam]) == {"spamassassin", "list_usrp_users"}
    assert one.tested_on == "phishing_pot, and the others' ham"
    assert (one.train | one.test).all()
    assert by_name("across")["all but spamassassin"].tested_on == "spamassassin"


def test_time_trains_on_what_came_before() -> None:
    (one,) = splits(MATRIX, "time")
    assert max(MATRIX.dates[one.train]) < "2023-07" <= min(MATRIX.dates[one.test])
    assert set(MATRIX.sources[one.train | one.test]) == {"phishing_pot", "list_usrp_users"}


def test_what_cannot_be_trained_is_left_out() -> None:
    spam_only = make_matrix(*[("phishing_pot", True, "2023-01-01T00:00:00", "en")] * 5)
    assert list(splits(spam_only)) == []
    alone = make_matrix(*[("own", bool(i % 2), "", "en") for i in range(40)])
    assert [one.trained_on for one in splits(alone)] == ["every source, half"]
    assert np.array_equal(next(splits(alone)).train, ~next(splits(alone)).test)
