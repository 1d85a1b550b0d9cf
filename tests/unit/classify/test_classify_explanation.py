"""What a prediction is made of: whole words as they are written, each weight told once, and all of them the decision."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.classify import explanation
from gateway.classify.features import SIZE, extract, part_indices
from gateway.classify.model import Model
from gateway.classify.normalise import FIELD_END, normalise
from gateway.classify.words import Words
from gateway.types import MailObject
from tests.builders import mail, message_bytes

NOTHING = Model("m", np.zeros(SIZE, np.float32), 0.0, 1.0, 0.0)
RANDOM = Model("m", np.random.default_rng(5).normal(size=SIZE).astype(np.float32), 0.3, 2.0, -0.7)


def weighing(**words: float) -> Model:
    """A model that knows these words alone."""
    weights = np.zeros(SIZE, np.float32)
    for word, weight in words.items():
        place = part_indices(0, Words(normalise(f"{FIELD_END}{FIELD_END}{word.replace('_', ' ')}")).hashes()[0])
        weights[place] = weight
    return Model("m", weights, 0.0, 1.0, 0.0)


def told(model: Model, content: bytes) -> list[tuple[str, str]]:
    return [(one.kind, one.value) for one in model.read(mail(content)).explain()]


@pytest.mark.parametrize(
    ("words", "body", "shown"),
    [
        ({"click": 2, "here": 1}, "Please Click\nHere for more", [("words", "Click Here")]),
        ({"click": 2, "here": -1}, "Please Click here", [("words", "Click"), ("words", "here")]),
        ({"click": 2, "here": 1}, "Please click. Here it is", [("words", "click"), ("words", "Here")]),
        ({"bottom": 2, "page": 1}, "the bottom of the page", [("words", "bottom of the page")]),
        ({"bottom": 2, "page": 1}, "the bottom green page", [("words", "bottom"), ("words", "page")]),
        ({"click": 3, "here": 1, "now": 0}, "here, click here and click", [("words", "here, click")]),
        ({"the": -2, "of": -1, "and": 0.5}, "the end of and", [("everyday", "the, of")]),
        ({"000": 1, "0": 1}, "call 555 or 7", [("numbers", "")]),
        ({"--": -1}, "bye\n--\nSara", [("dashes", "")]),
        ({"errors": 1}, "errors---", []),
        ({"errors---": 1}, "errors---", [("words", "errors")]),
        ({"میشود": 1, "خرید": 2}, "خريد می‌شود", [("words", "خريد می‌شود")]),
        ({"viagra": 1}, "v\u200bi\u202eagra", [("words", "viagra")]),
        ({"paypal": 1}, "pаypаl", [("words", "pаypаl")]),
        ({"10000000": 1}, "nothing of that", []),
    ],
)
def test_phrases(words: dict[str, float], body: str, shown: list[tuple[str, str]]) -> None:
    assert told(weighing(**words), message_bytes(f"{body}\r\n", Subject="Hello")) == shown


def test_where_a_word_stands() -> None:
    content = message_bytes("Nothing else\r\n", Subject="Invoice enclosed", From="Invoice <a@example.org>")
    assert told(weighing(invoice=1, enclosed=1), content) == [("subject", "Invoice enclosed")]
    both = message_bytes("The invoice\r\n", Subject="Invoice")
    assert told(weighing(invoice=1), both) == [("words", "Invoice")]


def test_facts_stand_beside_words() -> None:
    content = message_bytes("http://shop.example/ http://shop.example/2\r\n")
    weights = np.zeros(SIZE, np.float32)
    weights[extract(mail(content)).indices[: len(extract(mail(content)).facts)]] = 1
    assert ("link", "shop.example") in told(Model("m", weights, 0.0, 1.0, 0.0), content)


def test_the_voices_of_a_finding_are_one_contribution() -> None:
    seen = mail(message_bytes(To="undisclosed-recipients:;"))
    features = extract(seen)
    weights = np.zeros(SIZE, np.float32)
    for number, key in enumerate(features.facts):
        weights[features.indices[number]] = key.startswith("finding:TO_UNDISCLOSED")
    (found,) = Model("m", weights, 0.0, 1.0, 0.0).read(seen).explain()
    assert (found.kind, found.value) == ("to_undisclosed", "")
    assert found.weight == pytest.approx(3 * features.scales[0])


MESSAGES = (
    b"",
    b"Subject: x\r\n\r\n",
    message_bytes("Click here, click there, and click again. Thanks, Sara\r\n" * 5),
    message_bytes(
        "http://a.example/ http://b.example/ $$$ !!! 12 000 -- the end\r\n", From="Sara Lund <a@example.org>"
    ),
    message_bytes("خريد ويژه می‌شود با ۵۰ درصد تخفیف\r\n", Subject="سلام دوست من", From="فروشگاه <a@example.org>"),
    message_bytes("a b c d e f g\r\n" * 400),
    message_bytes("pay 12 or 1234 today\r\n", Subject="Code 4711", From='"Pay Pal 24" <a@example.org>'),
    message_bytes("", Subject="", From='"Sara Lund" <a@example.org>'),
    message_bytes("", Subject="nothing else", From="a@example.org"),
    message_bytes("ﷺ ﬁ ½ … pаypаl v\u200biagra\r\n" * 50),
)


@pytest.mark.parametrize("content", MESSAGES)
def test_all_contributions_together_are_the_decision(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_SHOWN", "_LOUD_WORDS", "_MAX_PLACES"):
        monkeypatch.setattr(explanation, name, 1 << 30)
    seen = mail(content)
    parts = RANDOM.read(seen).explain()
    whole = RANDOM.decide(extract(seen))
    beyond = _behind_the_last_word(seen)
    assert sum(one.weight for one in parts) + beyond + 2.0 * 0.3 - 0.7 == pytest.approx(whole, abs=2e-3)
    loudness = [abs(one.weight) for one in parts]
    assert loudness == sorted(loudness, reverse=True)


def _behind_the_last_word(seen: MailObject) -> float:
    """N-grams belong to no word where there is none."""
    features = extract(seen)
    shares = explanation._shares(features, RANDOM._weights(features), RANDOM.slope)
    of_facts, named, grams, head_grams = np.split(shares, [len(features.facts), *features.bounds[1:-1]])
    said, _, _ = features.words.shares(named, grams, head_grams)
    return float(shares.sum() - of_facts.sum() - said.sum())


@given(st.binary(max_size=600) | st.text(max_size=300).map(lambda text: message_bytes(text, Subject=text[:50]) if "\n" not in text and "\r" not in text else text.encode("utf-8", "replace")))  # fmt: skip
def test_total(content: bytes) -> None:
    parts = RANDOM.read(mail(content)).explain()
    assert len(parts) <= 8
    assert all(one.value.isprintable() or "\u200c" in one.value for one in parts)


@pytest.mark.parametrize("unit", ["a b ", "click here ", "!", "a", "my click of the here ", "-", "ﷺ", "а a "])
def test_bounded(unit: str) -> None:
    hostile = mail(message_bytes(unit * 100_000))
    model = RANDOM
    began = time.process_time()
    model.read(hostile).explain()
    assert time.process_time() - began < 0.05


def test_a_model_that_knows_nothing_says_nothing() -> None:
    assert NOTHING.read(mail(message_bytes())).explain() == ()
