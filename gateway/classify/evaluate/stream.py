"""Learning on site, as TREC's spam track measured it: messages in the order they came, each judged before anybody says
what it was; then a lesson, at once or later, from all mailboxes or from some.

`(1-AUC)%` is of all judgements of the stream, the untaught first ones included. At 0 log-odds spam
and ham part.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from gateway.classify.evaluate.measures import Curve, Interval, Share, share
from gateway.classify.evaluate.splits import MODERN
from gateway.classify.features import SIZE
from gateway.classify.model import Model
from gateway.classify.online import Caps, Learner
from gateway.classify.train import Fitted, Matrix, fit

_MAILBOXES = 50  # the messages are dealt to so many by the hash of their names
_POINTS = 60  # of a learning curve
_DAY_S = 86_400
_MODERN_YEARS = ("2022", "2025")  # in which both classes came
UNLIMITED = Caps(lesson=math.inf, trainer_day=math.inf, trainer=math.inf, day=math.inf)


@dataclass(frozen=True, slots=True)
class Feedback:
    """When a lesson comes, and from whom."""

    name: str
    after: int = 0  # so many further messages
    after_s: float = 0.0  # so many seconds
    mailboxes: float = 1.0  # the share whose owners teach


FEEDBACK = (
    Feedback("immediate"),
    Feedback("100 messages later", after=100),
    Feedback("a day later", after_s=_DAY_S),
    Feedback("a day later, from one mailbox in ten", after_s=_DAY_S, mailboxes=0.1),
    Feedback("none", mailboxes=0.0),
)


@dataclass(frozen=True, slots=True)
class Point:
    """Of a learning curve, over all messages so far."""

    messages: int
    one_minus_auc: float  # percent


@dataclass(frozen=True, slots=True)
class Stream:
    """One run."""

    messages: str  # which
    start: str  # what the learner knew before
    feedback: str
    caps: bool  # as they ship; False: a lesson moves the model as far as it asks
    lessons: int
    ham: int
    spam: int
    one_minus_auc: float  # percent
    interval: Interval
    false_positives: Share  # of all ham
    missed: Share  # of all spam
    last_false_positives: Share  # of the ham of the last quarter
    last_missed: Share
    curve: tuple[Point, ...]


def streams(matrix: Matrix, given: Model | None = None) -> Iterator[Stream]:
    """Every stream with every kind of feedback; from nothing, and from a given model or one of the other sources."""
    sources, dates = matrix.sources, matrix.dates
    modern = np.isin(sources, MODERN) & (dates >= _MODERN_YEARS[0]) & (dates < _MODERN_YEARS[1])
    plans = (
        ("phishing_pot, list_usrp_users, 2022 to 2024", modern, np.isin(sources, MODERN)),
        ("spamassassin", (sources == "spamassassin") & (dates != ""), sources == "spamassassin"),
    )
    for name, chosen, own in plans:
        if len(set(matrix.is_spam[chosen].tolist())) < 2:
            continue
        part = matrix.part(chosen)
        ordered = part.part(np.lexsort((part.paths, part.dates)))
        for start, model in _starts(matrix.part(~own), given):
            for feedback in FEEDBACK:
                for caps in (True, False) if feedback.mailboxes else (True,):
                    learner = Learner(model, Caps() if caps else UNLIMITED)
                    yield run(name, start, ordered, learner, feedback, caps=caps)


def _starts(others: Matrix, given: Model | None) -> Iterator[tuple[str, Model]]:
    yield "nothing", Model("nothing", np.zeros(SIZE, np.float32), 0.0, 1.0, 0.0)
    if given is not None:
        yield given.model_id, given
    elif len(set(others.is_spam.tolist())) == 2:
        yield "a model of the other sources", served(fit(others), "others")


def served(fitted: Fitted, model_id: str) -> Model:
    """What training found, as the model that judges."""
    return Model(model_id, fitted.weights, fitted.bias, fitted.slope, fitted.offset)


def run(name: str, start: str, ordered: Matrix, learner: Learner, feedback: Feedback, *, caps: bool) -> Stream:
    """Judge and teach, message by message; `ordered` by time, with both classes."""
    times = [datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp() for date in ordered.dates.tolist()]
    mailboxes = [int(hashlib.sha256(path.encode()).hexdigest()[:8], 16) % _MAILBOXES for path in ordered.paths]
    is_spam = ordered.is_spam.tolist()
    bounds, columns = ordered.rows.indptr, ordered.rows.indices.astype(np.intp)
    features = [columns[bounds[i] : bounds[i + 1]] for i in range(len(is_spam))]
    scores, lessons = np.zeros(len(is_spam)), 0
    waiting: deque[int] = deque()
    for now, at in enumerate(times):
        while waiting and now - waiting[0] > feedback.after and at - times[waiting[0]] >= feedback.after_s:
            past = waiting.popleft()
            learner.step(features[past], is_spam[past], f"mailbox-{mailboxes[past]}", int(at // _DAY_S))
            lessons += 1
        scores[now] = learner.log_odds(features[now])
        if mailboxes[now] < feedback.mailboxes * _MAILBOXES:
            waiting.append(now)
    return Stream(name, start, feedback.name, caps, lessons, *_figures(scores, ordered.is_spam))


def _figures(
    scores: NDArray[np.float64], is_spam: NDArray[np.bool_]
) -> tuple[int, int, float, Interval, Share, Share, Share, Share, tuple[Point, ...]]:
    """As the last fields of Stream."""
    curve = Curve(scores[~is_spam], scores[is_spam])
    low, high = np.percentile([figures[0] for figures in curve.resampled()], (2.5, 97.5))
    last = np.arange(len(scores)) >= len(scores) * 3 // 4
    wrong = (scores > 0) != is_spam
    return (
        int((~is_spam).sum()),
        int(is_spam.sum()),
        curve.figures()[0],
        (float(low), float(high)),
        _share(wrong, ~is_spam),
        _share(wrong, is_spam),
        _share(wrong, last & ~is_spam),
        _share(wrong, last & is_spam),
        tuple(_curve(scores, is_spam)),
    )


def _share(wrong: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> Share:
    return share(int(wrong[chosen].sum()), int(chosen.sum()))


def _curve(scores: NDArray[np.float64], is_spam: NDArray[np.bool_]) -> Iterator[Point]:
    for end in sorted(set(np.geomspace(20, len(scores), _POINTS).astype(int).tolist()) & set(range(len(scores) + 1))):
        ham, spam = scores[:end][~is_spam[:end]], scores[:end][is_spam[:end]]
        if len(ham) and len(spam):
            yield Point(end, Curve(ham, spam).figures()[0])
