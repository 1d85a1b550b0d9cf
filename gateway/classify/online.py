"""The online model: the shipped model, moved by what people taught. Needs numpy only.

Passive-aggressive steps (PA-I, Crammer et al. 2006) on the vectors that are served, in log-odds: a lesson moves the
weights along its message's features until the model is sure of the label (MARGIN), but no further than the caps leave.
A step of length s moves no message by more than s * sqrt(2), the length of the longest vector: that is its influence,
and the caps are limits on sums of it. So a trainer's day moves no message by more than `Caps.trainer_day`, whatever was
taught; and a step is a proximal one, so it does not widen what steps before it set apart (docs/learning.md).

The same lessons give the same bytes on every machine: weights are integers (log-odds times 2^32), whose sums do not
depend on the order of addition, and what else is calculated are single operations of IEEE 754.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.classify.features import HALF
from gateway.classify.model import Model
from gateway.classify.packed import unpack
from gateway.types import Lesson

MARGIN = 2.0  # log-odds: a lesson that the model is so sure of moves nothing (0.88)
RECENT = 200  # lessons that agreement and balance are counted over
_UNIT = float(1 << 32)
_DAY_S = 86_400

CapName = Literal["trainer_day", "trainer", "day"]


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that any message's log-odds may be moved. Defaults: docs/decisions/0016."""

    lesson: float = 1.0  # by one lesson
    trainer_day: float = 2.0  # by one trainer in one day (UTC)
    trainer: float = 100.0  # by one trainer in all
    day: float = 4.0  # by all trainers in one day: whoever has many names has no more


DEFAULT_CAPS = Caps()


class Step(NamedTuple):
    """What a lesson did."""

    log_odds: float  # of spam, before it
    influence: float  # no message was moved further
    cut_by: CapName | None  # which cap left less than was wanted


@dataclass(slots=True)
class Budgets:
    """Influence that is used up."""

    day: int = 0  # the newest lesson's; days since the epoch
    of_day: float = 0.0
    of_trainer_day: dict[str, float] = field(default_factory=dict)
    of_trainer: dict[str, float] = field(default_factory=dict)

    def left(self, caps: Caps, trainer: str, day: int) -> tuple[float, CapName]:
        """The least of what the caps leave, and which cap that is."""
        if day != self.day:
            self.day, self.of_day = day, 0.0
            self.of_trainer_day.clear()
        every: tuple[tuple[float, CapName], ...] = (
            (caps.trainer_day - self.of_trainer_day.get(trainer, 0.0), "trainer_day"),
            (caps.trainer - self.of_trainer.get(trainer, 0.0), "trainer"),
            (caps.day - self.of_day, "day"),
        )
        least, name = min(every)
        return max(0.0, least), name

    def spend(self, trainer: str, influence: float) -> None:
        """After `left` was asked for this trainer and day."""
        self.of_day += influence
        self.of_trainer_day[trainer] = self.of_trainer_day.get(trainer, 0.0) + influence
        self.of_trainer[trainer] = self.of_trainer.get(trainer, 0.0) + influence

    def used(self, caps: Caps, day: int) -> dict[CapName, float]:
        """On this day, the largest share of each cap that is used up; 0..1."""
        is_now = day == self.day
        return {
            "trainer_day": max(self.of_trainer_day.values(), default=0.0) / caps.trainer_day if is_now else 0.0,
            "trainer": max(self.of_trainer.values(), default=0.0) / caps.trainer,
            "day": self.of_day / caps.day if is_now else 0.0,
        }


class Learner:
    """Takes lessons one after the other, in the order (at, id)."""

    def __init__(self, shipped: Model, caps: Caps) -> None:
        self._shipped = shipped
        self._caps = caps
        self._weights: NDArray[np.int64] = np.rint(shipped.weights.astype(np.float64) * (shipped.slope * _UNIT)).astype(
            np.int64
        )
        self._constant = shipped.slope * shipped.bias + shipped.offset
        self._hash = hashlib.sha256(f"{shipped.model_id} {caps} {MARGIN}\n".encode())
        self.budgets = Budgets()
        self.number = 0
        self.unreadable = 0  # lessons whose features are damaged: left out
        self.cut: Counter[CapName] = Counter()
        self.recent: deque[tuple[bool, bool]] = deque(maxlen=RECENT)  # is spam; the model before it thought so too

    def learn(self, lesson: Lesson) -> Step | None:
        """None for one that cannot be read."""
        try:
            indices = unpack(lesson.indices)
        except ValueError:
            self.unreadable += 1
            return None
        step = self.step(indices, lesson.is_spam, lesson.trainer, int(lesson.at // _DAY_S), lesson.weight)
        said = (lesson.id, lesson.at, lesson.trainer, lesson.is_spam, lesson.weight, lesson.content_hash)
        self._hash.update(f"{said!r}\n".encode("utf-8", "backslashreplace"))
        self._hash.update(indices.astype("<u4").tobytes())
        self.number += 1
        self.recent.append((lesson.is_spam, (step.log_odds > 0) == lesson.is_spam))
        return step

    def step(self, indices: NDArray[np.intp], is_spam: bool, trainer: str, day: int, weight: float = 1.0) -> Step:
        """Learn a message by its different features, sorted."""
        parts = _parts(indices)
        log_odds = self._log_odds(parts)
        length = math.sqrt(2.0 * len(parts))  # of its vector, times that of the longest
        missing = max(0.0, MARGIN - log_odds if is_spam else MARGIN + log_odds)
        wanted = min(missing / max(1, len(parts)) * length, self._caps.lesson * weight)
        left, cap = self.budgets.left(self._caps, trainer, day)
        influence = min(wanted, left)
        if influence > 0.0:
            size = influence / length if is_spam else -influence / length
            for part in parts:
                self._weights[part] += int(size / math.sqrt(len(part)) * _UNIT)  # towards zero: never more than that
            self.budgets.spend(trainer, influence)
        if wanted <= left:
            return Step(log_odds, influence, None)
        self.cut[cap] += 1
        return Step(log_odds, influence, cap)

    def log_odds(self, indices: NDArray[np.intp]) -> float:
        """Of spam, for a message's different features, sorted."""
        return self._log_odds(_parts(indices))

    def _log_odds(self, parts: list[NDArray[np.intp]]) -> float:
        sums = [float(np.add.reduce(self._weights.take(part))) / math.sqrt(len(part)) for part in parts]
        return sum(sums) / _UNIT + self._constant

    def ledger_id(self) -> str:
        """Hash of what was learned, and from where on."""
        return self._hash.hexdigest()

    def model(self) -> Model:
        """The shipped model itself when nothing was learned."""
        if not self.number:
            return self._shipped
        weights = (self._weights / (self._shipped.slope * _UNIT)).astype(np.float32)
        name = f"{self._shipped.model_id}+{self.number}-{self.ledger_id()[:8]}"
        return self._shipped.with_weights(name, weights)

    def health(self) -> Mapping[str, float]:
        """Over the recent lessons: the share of spam, and of those that the model before them judged alike."""
        number = len(self.recent) or 1
        return {
            "spam_share": sum(is_spam for is_spam, _ in self.recent) / number,
            "agreement": sum(agreed for _, agreed in self.recent) / number,
        }


def learn(shipped: Model, lessons: Iterable[Lesson], caps: Caps = DEFAULT_CAPS) -> Model:
    """The model that all of these make, in whatever order they come."""
    learner = Learner(shipped, caps)
    for lesson in sorted(lessons, key=lambda one: (one.at, one.id)):
        learner.learn(lesson)
    return learner.model()


def _parts(indices: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The parts of the vector that are not empty; each has unit length (features.py)."""
    border = int(indices.searchsorted(HALF))
    return [part for part in (indices[:border], indices[border:]) if len(part)]
