"""Learning from people: what they say of a message becomes a lesson in the training ledger, and the lessons a model.

`Teacher` writes lessons, in whatever process somebody teaches. `Publisher`, in the admin process, makes the online
model of the shipped one and the ledger whenever that changed, and puts it where scorers look (classify/published.py).
How much may be learned from whom is bounded by caps (classify/online.py). The ledger is read whole each time: a
hundred thousand lessons take some seconds (benchmarks/learn.py), and revoking needs no way back.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from prometheus_client import Counter

from gateway.classify import published
from gateway.classify.features import VERSION, extract
from gateway.classify.model import Model
from gateway.classify.online import CapName, Caps, Learner
from gateway.classify.packed import pack
from gateway.errors import StoreError
from gateway.mail import parse
from gateway.ports import TrainingLedger
from gateway.types import AuthResult, Envelope, LedgerCounts, Lesson, MailObject, Taught, Via

TAUGHT = Counter(
    "darban_taught_total", "Words of people on messages, by what became of them.", ["what", "label", "via"]
)
FAILURES = Counter("darban_learning_publish_failures_total", "Times the online model could not be made or written.")

_LOOK_EVERY_S = 2.0
_REST_SHARE = 10.0  # making the model takes no more than a tenth of the time

log = structlog.get_logger("darban.learning")


class Teacher:
    """Makes lessons. Blocking: parses the message (some ms) and commits; call it in a thread from a loop."""

    def __init__(self, ledger: TrainingLedger, daily_limit: int, now: Callable[[], float] = time.time) -> None:
        """`daily_limit` is of one trainer's lessons."""
        self._ledger = ledger
        self._daily_limit = daily_limit
        self._now = now

    def teach(
        self,
        *,
        trainer: str,
        is_spam: bool,
        via: Via,
        envelope: Envelope,
        content: bytes,
        auth: tuple[AuthResult, ...] = (),
    ) -> Taught:
        """Remember this trainer's word on a message; `content` and `auth` as they were judged. Raises StoreError."""
        mail = MailObject(envelope, parse(content), auth)
        content_hash, at = hashlib.sha256(content).hexdigest(), self._now()
        lesson = Lesson(
            id=_id(trainer, content_hash, is_spam, at),
            at=at,
            trainer=trainer,
            is_spam=is_spam,
            via=via,
            content_hash=content_hash,
            features_version=VERSION,
            indices=pack(extract(mail).vector()[0]),
        )
        taught = self._ledger.add(lesson, self._daily_limit)
        TAUGHT.labels(taught.what, "spam" if is_spam else "ham", via).inc()
        return taught


def _id(trainer: str, content_hash: str, is_spam: bool, at: float) -> str:
    said = "\0".join((trainer, content_hash, str(is_spam), repr(at)))
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:16]


@dataclass(slots=True)
class LearningState:
    """How learning stands, for metrics and `darban learn status`."""

    model_id: str = ""  # what is published; the shipped model's where nothing is learned
    revision: int = -1  # of the ledger it was made from; -1: not made yet
    behind_since: float = 0.0  # when the ledger was first seen to have more; 0.0: it has not
    replay_s: float = 0.0
    unreadable: int = 0  # lessons whose features are damaged
    counts: LedgerCounts = LedgerCounts({}, 0, 0, 0, 0.0)  # noqa: RUF009  frozen
    cut: Mapping[CapName, int] = field(default_factory=dict)  # lessons that a cap cut short
    used: Mapping[CapName, float] = field(default_factory=dict)  # largest share of a cap used up, 0..1
    health: Mapping[str, float] = field(default_factory=dict)  # Learner.health


class Publisher:
    """Keeps the published model what shipped model and ledger make. One for a gateway."""

    def __init__(
        self,
        ledger: TrainingLedger,
        shipped: Model,
        caps: Caps,
        folder: Path,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._shipped = shipped
        self._caps = caps
        self._folder = folder
        self._now = now
        self._learner: Learner | None = None
        self._name = ""  # what we published
        self.state = LearningState(model_id=shipped.model_id)

    async def run(self) -> None:
        """For ever. Making the model waits ten times as long as it took the last time."""
        while True:
            await asyncio.to_thread(self.catch_up)
            await asyncio.sleep(max(_LOOK_EVERY_S, _REST_SHARE * self.state.replay_s))

    def catch_up(self) -> None:
        """Blocking; never raises. Nothing is done while ledger and published model are what they were."""
        state = self.state
        try:
            revision = self._ledger.revision()
            if revision != state.revision or published.current(self._folder) != self._name:
                state.behind_since = state.behind_since or self._now()
                self._publish(revision)
                state.behind_since = 0.0
        except (StoreError, OSError) as error:
            FAILURES.inc()
            log.error("online model not published, the one before stays", error=str(error))
        if self._learner is not None:
            state.used = self._learner.budgets.used(self._caps, int(self._now() // 86_400))

    def _publish(self, revision: int) -> None:
        began = time.perf_counter()
        learner = Learner(self._shipped, self._caps)
        for lesson in self._ledger.active(VERSION):
            learner.learn(lesson)
        state, model = self.state, learner.model()
        state.replay_s = time.perf_counter() - began
        if learner.number:
            self._name = published.publish(
                self._folder, model, self._shipped, {"lessons": learner.number, "revision": revision}
            )
        else:
            published.withdraw(self._folder)
            self._name = ""
        self._learner = learner
        state.revision, state.model_id, state.unreadable = revision, model.model_id, learner.unreadable
        state.cut, state.health = dict(learner.cut), learner.health()
        state.counts = self._ledger.counts(VERSION)
        log.info(
            "online model published", model=model.model_id, lessons=learner.number, seconds=round(state.replay_s, 2)
        )
