"""The online model: which way a lesson moves it, how far, and that the same lessons are the same bytes."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from gateway.classify.features import PARTS, SIZE, STARTS, VERSION
from gateway.classify.model import Model
from gateway.classify.online import MARGIN, Caps, Learner, learn
from gateway.classify.packed import pack
from gateway.types import Lesson

DAY = 86_400.0
FREE = Caps(lesson=1e9, trainer_day=1e9, trainer=1e9, day=1e9)
MESSAGE = np.array([1, 5, 9, 77, STARTS[1] + 3, STARTS[1] + 9, STARTS[2], STARTS[2] + 4, SIZE - 1])


def shipped(**changes: object) -> Model:
    weights = np.sin(np.arange(SIZE)).astype(np.float32)  # any that are not alike
    values: dict = {"model_id": "m-1", "weights": weights, "bias": -0.5, "slope": 2.0, "offset": 0.1}
    return Model(**(values | changes))


def lesson(number: int = 1, indices: np.ndarray = MESSAGE, **changes: object) -> Lesson:
    values: dict = {
        "id": f"{number:016x}",
        "at": DAY + number,
        "trainer": "sara",
        "is_spam": True,
        "via": "review",
        "content_hash": f"{number:064x}",
        "features_version": VERSION,
        "indices": pack(indices),
    }
    return Lesson(**(values | changes))


def digest(model: Model) -> str:
    return hashlib.sha256(model.weights.tobytes()).hexdigest()


def test_without_lessons_it_is_the_shipped_model() -> None:
    base = shipped()
    assert learn(base, []) is base
    assert Learner(base, Caps()).log_odds(MESSAGE) == pytest.approx(log_odds(base), abs=1e-6)


def log_odds(model: Model, indices: np.ndarray = MESSAGE) -> float:
    which = np.digitize(indices, STARTS[1:-1])
    parts = [indices[which == part] for part in sorted({*which.tolist()})]
    score = sum(float(model.weights[part].astype(np.float64).sum()) / len(part) ** 0.5 for part in parts)
    return model.slope * (score + model.bias) + model.offset


@pytest.mark.parametrize("is_spam", [True, False])
@pytest.mark.parametrize(
    "indices",
    [MESSAGE, MESSAGE[:4], MESSAGE[4:6], MESSAGE[6:], MESSAGE[:6], MESSAGE[4:], MESSAGE[[0, 1, 6]], MESSAGE[:1]],
    ids=["every part", "named", "grams", "head", "no head", "not named", "no text", "one"],
)
def test_a_lesson_without_caps_makes_the_model_sure_of_it(is_spam: bool, indices: np.ndarray) -> None:
    wrong_way = -MARGIN if is_spam else MARGIN
    base = shipped(offset=0.0, bias=0.0)
    base = replace(base, offset=wrong_way - log_odds(base, indices))  # the model is sure of the contrary
    taught = learn(base, [lesson(indices=indices, is_spam=is_spam)], FREE)
    assert log_odds(taught, indices) == pytest.approx(-wrong_way, abs=1e-5)
    again = Learner(taught, FREE).learn(lesson(2, indices=indices, is_spam=is_spam))
    assert again is not None
    assert again.influence == pytest.approx(0.0, abs=1e-5), "what it knows moves nothing"


def test_what_the_model_is_sure_of_costs_nothing() -> None:
    learner = Learner(shipped(offset=9.0), Caps())
    assert learner.learn(lesson()) == (learner.log_odds(MESSAGE), 0.0, None)
    assert learner.budgets.of_trainer == {}


@pytest.mark.parametrize("indices", [MESSAGE, MESSAGE[[0, 4, 6]], MESSAGE[:4], MESSAGE[:1]])
def test_influence_is_how_far_the_message_moves_that_moves_furthest(indices: np.ndarray) -> None:
    """It holds the lesson's features alone, and of every part."""
    learner = Learner(shipped(offset=-50.0), Caps(lesson=1.0))
    furthest = MESSAGE[[0, 4, 6]]
    before = [learner.log_odds(one) for one in (furthest, indices)]
    assert learner.step(indices, True, "sara", 1) == (before[1], 1.0, None)
    moved = [learner.log_odds(one) - was for one, was in zip((furthest, indices), before, strict=True)]
    parts = len({*np.digitize(indices, STARTS[1:-1]).tolist()})
    assert moved[1] == pytest.approx((parts / PARTS) ** 0.5, abs=1e-6)
    assert max(moved) <= 1.0 + 1e-9
    if len(indices) == parts:  # one feature of each part
        assert moved[0] == pytest.approx((parts / PARTS) ** 0.5, abs=1e-6)


CAPS = Caps(lesson=1.0, trainer_day=1.5, trainer=4.0, day=2.5)


@pytest.mark.parametrize(
    ("before", "asked", "expected"),
    [
        ([], ("sara", 1), (1.0, None)),
        ([("sara", 1)], ("sara", 1), (0.5, "trainer_day")),
        ([("sara", 1), ("sara", 1)], ("sara", 1), (0.0, "trainer_day")),
        ([("sara", 1), ("sara", 1)], ("sara", 2), (1.0, None)),
        ([("sara", 1), ("sara", 1)], ("reza", 1), (1.0, None)),
        ([("sara", 1), ("reza", 1)], ("mina", 1), (0.5, "day")),
        ([("sara", 1), ("sara", 2), ("sara", 3), ("sara", 4)], ("sara", 5), (0.0, "trainer")),
        ([("sara", 1), ("reza", 1), ("mina", 1)], ("sara", 2), (1.0, None)),
    ],
)
def test_a_step_is_cut_to_what_the_caps_leave(
    before: list[tuple[str, int]], asked: tuple[str, int], expected: tuple[float, str | None]
) -> None:
    learner = Learner(shipped(offset=-50.0), CAPS)  # nothing is ever learned enough
    for trainer, day in before:
        learner.step(MESSAGE, True, trainer, day)
    step = learner.step(MESSAGE, True, *asked)
    assert (step.influence, step.cut_by) == expected


def test_what_is_left_of_the_caps() -> None:
    learner = Learner(shipped(offset=-50.0), CAPS)
    learner.step(MESSAGE, True, "sara", 1)
    assert learner.budgets.used(CAPS, 1) == {"trainer_day": 1 / 1.5, "trainer": 0.25, "day": 0.4}
    assert learner.budgets.used(CAPS, 2) == {"trainer_day": 0.0, "trainer": 0.25, "day": 0.0}


@pytest.mark.parametrize(
    ("before", "asked", "is_spent"),
    [
        ([], ("sara", 1), False),
        ([("sara", 1)], ("sara", 1), False),
        ([("sara", 1), ("sara", 1)], ("sara", 1), True),
        ([("sara", 1), ("sara", 1)], ("sara", 2), False),
        ([("sara", 1), ("sara", 1)], ("reza", 1), False),
        ([("sara", 1), ("reza", 1), ("mina", 1)], ("pari", 1), True),
        ([("sara", 1), ("reza", 1), ("mina", 1)], ("pari", 2), False),
        ([("sara", 1), ("sara", 2), ("sara", 3), ("sara", 4)], ("sara", 5), True),
    ],
)
def test_who_moves_the_model_no_further(before: list[tuple[str, int]], asked: tuple[str, int], is_spent: bool) -> None:
    learner = Learner(shipped(offset=-50.0), CAPS)
    for trainer, day in before:
        learner.step(MESSAGE, True, trainer, day)
    assert learner.budgets.is_spent(CAPS, *asked) is is_spent
    assert (learner.step(MESSAGE, True, *asked).influence == 0.0) is is_spent


def test_a_lessons_weight_makes_its_step_smaller() -> None:
    learner = Learner(shipped(offset=-50.0), Caps())
    step = learner.learn(lesson(weight=0.25))
    assert step is not None
    assert step.influence == 0.25


def test_damaged_features_are_left_out_and_counted() -> None:
    learner = Learner(shipped(), Caps())
    assert learner.learn(lesson(indices=MESSAGE, id="a")) is not None
    before = learner.model()
    assert learner.learn(replace(lesson(2), indices=b"damaged")) is None
    assert (learner.unreadable, learner.number) == (1, 1)
    assert digest(learner.model()) == digest(before)


def test_agreement_and_balance_are_of_the_recent_lessons() -> None:
    learner = Learner(shipped(offset=50.0), Caps())
    assert learner.health() == {"spam_share": 0.0, "agreement": 0.0}
    for number in range(300):
        learner.learn(lesson(number, is_spam=number >= 250))
    assert learner.health() == {"spam_share": 50 / 200, "agreement": 50 / 200}


def test_the_same_lessons_are_the_same_bytes_on_every_machine() -> None:
    """Golden: integers and single operations of IEEE 754, so no processor, library or order of sums changes them."""
    lessons = [
        lesson(
            number, np.unique(np.arange(number, SIZE, 997 + number)), is_spam=number % 3 == 0, trainer=f"t{number % 5}"
        )
        for number in range(40)
    ]
    model = learn(shipped(weights=(np.arange(SIZE) % 13 - 6).astype(np.float32) / 8), lessons)
    assert model.model_id == "m-1+40-a766530f"
    assert digest(model) == "3998d9822d9d1c324ccc24b415136ea0a7c204b0f3a04bd3a31402ed6cffabcf"


@pytest.mark.parametrize(
    "change",
    [{"is_spam": False}, {"trainer": "reza"}, {"weight": 0.5}, {"at": DAY + 2}, {"indices": pack(MESSAGE[:3])}],
)
def test_the_models_name_tells_what_was_taught(change: dict) -> None:
    assert learn(shipped(), [lesson()]).model_id != learn(shipped(), [replace(lesson(), **change)]).model_id
    assert learn(shipped(), [lesson()]).model_id != learn(shipped(), [lesson()], CAPS).model_id
