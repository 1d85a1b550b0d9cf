"""N-grams of text, name and subject: which there are, in which order, and the word each belongs to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.classify.normalise import FIELD_END, normalise
from gateway.classify.words import Words


def of(name: str, subject: str, text: str) -> Words:
    return Words(normalise(FIELD_END.join((name, subject, text))))


def grams(text: str, length: int) -> list[str]:
    return [text[start : start + length] for start in range(len(text) - length + 1)]


def text_grams(subject: str, text: str) -> list[str]:
    """What `Words.grams` hashes, in its order."""
    both = f"{FIELD_END}{subject}{FIELD_END}{text} "
    return grams(both, 3) + grams(both, 4)


def head_grams(name: str, subject: str) -> list[tuple[str, str]]:
    """What `Words.head_grams` hashes, and where it stands."""
    return [("name", one) for one in grams(f" {name}", 3)] + [("subject", one) for one in grams(subject, 3)]


def assert_hashes_are_of(strings: list, hashes: list[np.ndarray]) -> None:
    """As many as there are strings, and alike where the strings are."""
    found = np.concatenate(hashes).tolist()
    assert len(found) == len(strings)
    assert len({*zip(strings, found, strict=True)}) == len({*strings}) == len({*found})


fields = st.text("ab1 7-", max_size=12)
foreign = st.text("ab1 7‐یم۷é\u200c", max_size=12)


@given(fields, fields, fields)
def test_n_grams_are_of_the_characters_as_they_fold(name: str, subject: str, text: str) -> None:
    words = of(name, subject, text)
    assert_hashes_are_of(text_grams(subject, text), words.grams())
    assert_hashes_are_of(head_grams(name, subject), words.head_grams())


@given(foreign, foreign, foreign)
def test_n_grams_of_any_script(name: str, subject: str, text: str) -> None:
    """Of each character that is left, what it folds to; a digit is itself."""

    def folded(field: str) -> str:
        return field.translate({0x200C: None, ord("é"): "e", ord("‐"): "-", ord("۷"): "7"})

    words = of(name, subject, text)
    assert_hashes_are_of(text_grams(folded(subject), folded(text)), words.grams())
    assert_hashes_are_of(head_grams(folded(name), folded(subject)), words.head_grams())


@pytest.mark.parametrize(
    ("name", "subject", "text", "expected"),
    [
        ("", "", "", (1, 0, 0, 0)),
        ("", "", "alpha", (6, 5, 0, 0)),
        ("", "subject", "", (8, 7, 0, 5)),
        ("sara", "", "", (1, 0, 3, 0)),
        ("s", "ab", "x", (4, 3, 0, 0)),
        ("sa", "abc", "x", (5, 4, 1, 1)),
    ],
)
def test_how_many_n_grams(name: str, subject: str, text: str, expected: tuple[int, ...]) -> None:
    """3-grams and 4-grams of subject and text, field ends among them; 3-grams of the name; and of the subject."""
    words = of(name, subject, text)
    assert tuple(map(len, [*words.grams(), *words.head_grams()])) == expected


@pytest.mark.parametrize(("name", "subject"), [("", "ﷺ" * 400), ("ﷺ" * 60, "subject"), ("ﷺ" * 60, "ﷺ" * 400)])
def test_a_field_that_folding_makes_longer_does_not_run_into_the_text(name: str, subject: str) -> None:
    words = of(name, subject, "word " * 1000)
    assert sum(map(len, words.head_grams())) <= 600
    said, _, _ = words.shares(
        *(np.ones(sum(map(len, some))) for some in (words.hashes(), words.grams(), words.head_grams()))
    )
    assert said.min() > 0


def test_the_same_n_gram_in_name_and_subject_is_two_features() -> None:
    name, subject = of("paypal", " paypal", "").head_grams()
    assert len(name) == len(subject) == 5
    assert not {*name.tolist()} & {*subject.tolist()}
    assert [*map(len, of("paypal", "", " paypal").head_grams())] == [5, 0], "the text is no part of it"


def test_an_n_gram_is_the_same_wherever_it_stands() -> None:
    alone, later = of("", "alpha", "").head_grams()[1], of("someone else", "and so alpha", "").head_grams()[1]
    assert {*alone.tolist()} < {*later.tolist()}
    assert {*of("", "", "alpha").grams()[0][2:].tolist()} < {*of("x", "say", "an alpha beta").grams()[0].tolist()}


def test_n_grams_end_where_enough_was_read() -> None:
    assert [*map(len, of("", "", "ab" * 9000).grams())] == [600 + 8192 - 3, 600 + 8192 - 4]


def test_digits_tell_n_grams_apart_and_words_not() -> None:
    one, other = of("", "code 1234", "pay 12 now"), of("", "code 5678", "pay 98 now")
    assert [found.tolist() for found in one.hashes()] == [found.tolist() for found in other.hashes()]
    for mine, theirs in zip([*one.grams(), *one.head_grams()], [*other.grams(), *other.head_grams()], strict=True):
        assert len(mine) == 0 or mine.tolist() != theirs.tolist()


NAME, SUBJECT, TEXT = "sara lund", "alpha beta", "gamma, delta"


@pytest.mark.parametrize(
    ("gram", "word"),
    [
        *[("alp", 2), ("lph", 2), ("ha ", 2), ("a b", 2), (" be", 3), ("bet", 3)],
        *[(f"{FIELD_END}al", 2), (f"a{FIELD_END}g", 3), (f"{FIELD_END}ga", 4), ("ma,", 4), (", d", 4), (" de", 5)],
        *[("lta", 5), ("ta ", 5), ("alph", 2), ("pha ", 2), ("a be", 2), (" bet", 3), ("elta", 5)],
        *[(f"eta{FIELD_END}", 3), (f"a{FIELD_END}ga", 3), ("mma,", 4), (", de", 4), (" del", 5), ("lta ", 5)],
    ],
)
def test_an_n_gram_of_the_text_belongs_to_the_word_its_second_character_stands_in(gram: str, word: int) -> None:
    strings = text_grams(SUBJECT, TEXT)
    shares = np.array([float(one == gram) for one in strings])
    assert shares.sum() == 1
    words = of(NAME, SUBJECT, TEXT)
    named, of_head = np.zeros(sum(map(len, words.hashes()))), np.zeros(len(head_grams(NAME, SUBJECT)))
    assert words.shares(named, shares, of_head)[0].tolist() == [float(one == word) for one in range(6)]


@pytest.mark.parametrize(
    ("where", "gram", "word"),
    [
        *[("name", " sa", 0), ("name", "ara", 0), ("name", "ra ", 0), ("name", "a l", 0), ("name", " lu", 1)],
        *[
            ("name", "und", 1),
            ("subject", "alp", 2),
            ("subject", "a b", 2),
            ("subject", " be", 3),
            ("subject", "eta", 3),
        ],
    ],
)
def test_an_n_gram_of_the_head_belongs_to_the_words_of_name_or_subject(where: str, gram: str, word: int) -> None:
    shares = np.array([float(one == (where, gram)) for one in head_grams(NAME, SUBJECT)])
    assert shares.sum() == 1
    words = of(NAME, SUBJECT, TEXT)
    named, of_text = np.zeros(sum(map(len, words.hashes()))), np.zeros(len(text_grams(SUBJECT, TEXT)))
    assert words.shares(named, of_text, shares)[0].tolist() == [float(one == word) for one in range(6)]


@given(fields, fields, fields)
def test_what_all_say_together_is_lost_only_where_there_is_no_word(name: str, subject: str, text: str) -> None:
    words = of(name, subject, text)
    hashes = [words.hashes(), words.grams(), words.head_grams()]
    draw = np.random.default_rng(1)
    shares = [draw.normal(size=sum(map(len, some))) for some in hashes]
    said, own, of_name = words.shares(*shares)
    assert len(said) == len(own) >= of_name
    assert said.sum() == pytest.approx(sum(map(np.sum, shares)) if len(said) else 0)
