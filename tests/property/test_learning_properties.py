"""Properties of learning: the order of insertion does not matter, a revoked lesson never was, no cap is passed."""

from __future__ import annotations

import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete

from gateway.classify.features import SIZE, STARTS, VERSION
from gateway.classify.model import Model
from gateway.classify.online import Caps, Learner, learn
from gateway.classify.packed import pack, unpack
from gateway.stores.engine import make_engine
from gateway.stores.ledger import SqlLedger
from gateway.stores.schema import lesson as table
from gateway.types import Lesson, Lessons
from tests.database import migrated

DAY = 86_400.0
ROUNDING = 1e-4  # published weights are float32
NAMES = ("sara", "reza", "mina")
RANDOM = np.random.default_rng(7)
# few features and few messages, so that lessons pull at the same weights
BASE = Model("m-1", RANDOM.normal(0, 1, SIZE).astype(np.float32), 0.2, 0.7, -0.1)
SLOTS = np.concatenate([start + np.arange(24) for start in STARTS[:-1]])
vectors = st.sets(st.sampled_from(SLOTS.tolist()), min_size=1, max_size=45).map(lambda one: np.array(sorted(one)))


def made(number: int, day: int, trainer: str, is_spam: bool, indices: np.ndarray) -> Lesson:
    content = hashlib.sha256(indices.tobytes()).hexdigest()
    said = hashlib.sha256(f"{number} {day} {trainer} {is_spam} {content}".encode()).hexdigest()
    return Lesson(said[:16], day * DAY + number, trainer, is_spam, "review", content, VERSION, pack(indices))


lessons = st.lists(
    st.builds(made, st.integers(0, 9), st.integers(1, 3), st.sampled_from(NAMES), st.booleans(), vectors),
    max_size=14,
    unique_by=lambda one: one.id,
)
caps = st.builds(
    Caps, st.floats(0.1, 3.0), st.floats(0.1, 4.0), st.floats(0.1, 9.0), st.floats(0.1, 6.0)
)  # fmt: skip


def hash_of(model: Model) -> str:
    return hashlib.sha256(model.weights.tobytes() + model.model_id.encode()).hexdigest()


def log_odds(model: Model, indices: np.ndarray) -> float:
    parts = [part for part in np.split(indices, indices.searchsorted(STARTS[1:-1])) if len(part)]
    score = sum(float(model.weights[part].astype(np.float64).sum()) / len(part) ** 0.5 for part in parts)
    return model.slope * (score + model.bias) + model.offset


@given(lessons, st.randoms(use_true_random=False))
def test_the_order_of_insertion_does_not_matter(taught: list[Lesson], random) -> None:
    shuffled = list(taught)
    random.shuffle(shuffled)
    assert hash_of(learn(BASE, taught)) == hash_of(learn(BASE, shuffled))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder)}/darban.db"
        migrated(url)
        made_engine = make_engine(url)
        yield made_engine
        made_engine.dispose()


def fresh(engine: Engine, taught: list[Lesson]) -> SqlLedger:
    with engine.begin() as connection:
        connection.execute(delete(table))
    ledger = SqlLedger(engine)
    for one in sorted(taught, key=lambda one: (one.at, one.id)):
        ledger.add(one, 1000)
    return ledger


revocations = st.builds(
    Lessons, trainer=st.sampled_from(("", *NAMES)), day=st.sampled_from((None, 1, 2, 3))
).filter(lambda which: which != Lessons())  # fmt: skip


@given(lessons, revocations)
def test_what_is_revoked_never_was_and_can_be_restored(engine: Engine, taught: list[Lesson], which: Lessons) -> None:
    def hit(one: Lesson) -> bool:
        return which.trainer in ("", one.trainer) and which.day in (None, int(one.at // DAY))

    ledger = fresh(engine, taught)
    written = list(ledger.list(Lessons(limit=1000))[0])
    before = hash_of(learn(BASE, ledger.active(VERSION)))
    ledger.revoke(which, "admin")
    revoked = hash_of(learn(BASE, ledger.active(VERSION)))
    never = fresh(engine, [one for one in written if not hit(one)])
    assert revoked == hash_of(learn(BASE, never.active(VERSION)))
    ledger = fresh(engine, taught)
    ledger.revoke(which, "admin")
    ledger.restore(which)
    assert hash_of(learn(BASE, ledger.active(VERSION))) == before


def watched(taught: list[Lesson], other: np.ndarray) -> list[np.ndarray]:
    """Messages that are moved furthest: those that were taught; and any other."""
    return [*(unpack(one.indices) for one in taught), other]


@given(lessons, caps, vectors)
def test_no_message_is_moved_further_than_the_caps(taught: list[Lesson], limits: Caps, other: np.ndarray) -> None:
    """By each lesson, trainer's day, day and trainer."""
    learner = Learner(BASE, limits)
    messages = watched(taught, other)
    moved: dict[tuple[str, object], np.ndarray] = defaultdict(lambda: np.zeros(len(messages)))
    before = np.array([learner.log_odds(one) for one in messages])
    for one in sorted(taught, key=lambda one: (one.at, one.id)):
        learner.learn(one)
        after = np.array([learner.log_odds(message) for message in messages])
        day = one.at // DAY
        for key in (("lesson", one.id), ("trainer_day", (one.trainer, day)), ("trainer", one.trainer), ("day", day)):
            moved[key] += abs(after - before)
        before = after
    for (cap, _), distances in moved.items():
        assert distances.max() <= getattr(limits, cap) + 1e-6
    model = learner.model()
    assert [log_odds(model, one) for one in messages] == pytest.approx(before.tolist(), abs=ROUNDING)


@given(lessons, lessons, vectors)
def test_an_attacker_sets_no_message_further_apart_than_his_caps(
    honest: list[Lesson], attack: list[Lesson], other: np.ndarray
) -> None:
    """With him or without him, where the others are not at their caps: what they teach after him does not add to it."""
    limits = Caps(lesson=5.0, trainer_day=1e9, trainer=1.5, day=1e9)
    attack = [replace(one, trainer="mallory", id=f"{one.id[:15]}m", at=one.at + 0.5) for one in attack]
    honest = [replace(one, trainer=one.id) for one in honest]  # each of another, who has taught nothing before
    without, with_him = Learner(BASE, limits), Learner(BASE, limits)
    for one in sorted([*honest, *attack], key=lambda one: (one.at, one.id)):
        with_him.learn(one)
        if one.trainer != "mallory":
            without.learn(one)
    for message in watched([*honest, *attack], other):
        assert abs(with_him.log_odds(message) - without.log_odds(message)) <= limits.trainer + 1e-6
