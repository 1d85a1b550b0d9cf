"""Learning from people: what they say of a message becomes a lesson in the training ledger, and the lessons a model.

`Teacher` writes lessons, in whatever process somebody teaches. `Publisher`, in the admin process, makes the online
model of the shipped one and the ledger whenever that changed, and puts it where scorers look (classify/published.py).
What may be learned from whom is bounded by the caps (classify/online.py).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from gateway.classify.features import VERSION, extract
from gateway.classify.packed import pack
from gateway.mail import parse
from gateway.ports import TrainingLedger
from gateway.types import AuthResult, Envelope, Lesson, MailObject, Taught, Via


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
        return self._ledger.add(lesson, self._daily_limit)


def _id(trainer: str, content_hash: str, is_spam: bool, at: float) -> str:
    said = "\0".join((trainer, content_hash, str(is_spam), repr(at)))
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:16]
