"""Learning message by message: nobody is told before it was judged, and lessons come when the feedback says."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from gateway.classify.evaluate import stream
from gateway.classify.evaluate.stream import FEEDBACK, Feedback, run, streams
from tests.unit.classify.evaluate.matrices import every_source, make_matrix

_HOUR_S = 3600


class Diary:
    """A learner that only notes what it is asked and told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int]] = []  # asked or told, the number of the message
        self.trainers: set[str] = set()
        self.days: list[int] = []
        self._numbers: dict[bytes, int] = {}

    def _number(self, indices: Any) -> int:
        return self._numbers.setdefault(indices.tobytes(), len(self._numbers))

    def log_odds(self, indices: Any) -> float:
        self.said.append(("asked", self._number(indices)))
        return 0.0

    def step(self, indices: Any, is_spam: bool, trainer: str, day: int) -> None:
        self.said.append(("told", self._number(indices)))
        self.trainers.add(trainer)
        self.days.append(day)


def hourly(number: int) -> Any:
    matrix = make_matrix(
        *[("own", bool(i % 2), f"2023-05-{1 + i // 24:02}T{i % 24:02}:00:00", "en") for i in range(number)]
    )
    for i in range(number):  # no two alike
        matrix.rows.indices[matrix.rows.indptr[i]] = i
    return matrix


@pytest.mark.parametrize(
    ("feedback", "behind"),
    [
        (Feedback("immediate"), 1),
        (Feedback("3 messages later", after=3), 4),
        (Feedback("5 hours later", after_s=5 * _HOUR_S), 5),
    ],
)
def test_lessons_come_when_the_feedback_says(feedback: Feedback, behind: int) -> None:
    diary = Diary()
    found = run("own", "nothing", hourly(40), diary, feedback, caps=True)  # type: ignore[arg-type]
    asked = [number for what, number in diary.said if what == "asked"]
    told = [number for what, number in diary.said if what == "told"]
    assert asked == list(range(40))
    assert told == list(range(40 - behind)) and found.lessons == len(told)
    for number in told:  # just before the message that came so much later is judged
        place = diary.said.index(("told", number))
        assert diary.said[place + 1] == ("asked", number + behind)
    assert 20 < len(diary.trainers) <= 50
    assert diary.days == sorted(diary.days) and len(set(diary.days)) == 2


def test_only_some_mailboxes_teach() -> None:
    every, some = Diary(), Diary()
    run("own", "nothing", hourly(400), every, Feedback("all"), caps=True)  # type: ignore[arg-type]
    found = run("own", "nothing", hourly(400), some, Feedback("some", mailboxes=0.1), caps=True)  # type: ignore[arg-type]
    assert len(every.trainers) == 50 and some.trainers == {f"mailbox-{number}" for number in range(5)}
    assert 20 < found.lessons < 70


def test_figures_of_a_run() -> None:
    class Late(Diary):
        """Calls everything spam at first, and from the middle on it is always right."""

        def log_odds(self, indices: Any) -> float:
            number = self._number(indices)
            return 1.0 if number < 20 or number % 2 else -1.0

    found = run("own", "nothing", hourly(40), Late(), FEEDBACK[0], caps=True)  # type: ignore[arg-type]
    assert (found.ham, found.spam) == (20, 20)
    assert (found.false_positives.count, found.false_positives.of) == (10, 20)
    assert (found.last_false_positives.count, found.last_false_positives.of) == (0, 5)
    assert found.missed.count == found.last_missed.count == 0
    assert found.one_minus_auc == pytest.approx(25)
    assert found.interval[0] < 25 < found.interval[1]
    assert [point.messages for point in found.curve] == sorted({point.messages for point in found.curve})
    assert (found.curve[0].one_minus_auc, found.curve[-1].one_minus_auc) == (50, 25)


def test_learning_helps_and_is_reproducible() -> None:
    matrix = every_source()
    found = list(streams(matrix))
    assert found == list(streams(matrix))
    assert {one.start for one in found} == {"nothing", "a model of the other sources"}
    modern = {(one.start, one.feedback, one.caps): one for one in found if one.messages != "spamassassin"}
    untaught, taught = modern["nothing", "none", True], modern["nothing", "immediate", False]
    assert untaught.one_minus_auc == 50 and untaught.lessons == 0
    assert taught.one_minus_auc < 5
    assert modern["a model of the other sources", "none", True].one_minus_auc < 5


def test_messages_come_in_order_of_their_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    diaries: list[Diary] = []

    def learner(*_: object) -> Diary:
        diaries.append(Diary())
        return diaries[-1]

    monkeypatch.setattr(stream, "Learner", learner)
    for _ in streams(every_source()):
        assert diaries[-1].days == sorted(diaries[-1].days)
    assert len({day for diary in diaries for day in diary.days}) > 20


def test_a_stream_of_one_class_is_left_out() -> None:
    matrix = every_source()
    assert list(streams(matrix.part(matrix.is_spam))) == []


def test_undated_messages_stand_in_no_stream() -> None:
    matrix = every_source()
    undated = dataclasses.replace(matrix, dates=np.where(np.arange(len(matrix.dates)) % 5 == 0, "", matrix.dates))
    for one in streams(undated):
        assert one.ham + one.spam < (matrix.dates != "").sum() / 2
