"""Teaching, and the model that comes of it: from a person's word to what the scorers find."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway import classify
from gateway.classify import published
from gateway.classify.features import VERSION, extract
from gateway.classify.online import Caps
from gateway.classify.packed import unpack
from gateway.classify.published import CurrentModel
from gateway.config.shipped import model_path
from gateway.errors import StoreError
from gateway.learning import FAILURES, TAUGHT, Publisher, Teacher
from gateway.stores.engine import make_engine
from gateway.stores.ledger import SqlLedger
from gateway.types import AuthResult, Lessons
from gateway.web.learning_metrics import LearningMetrics
from tests.builders import envelope, mail, message_bytes
from tests.database import migrated
from tests.fakes import FakeClock

SPAM = message_bytes(
    "Viagra and Cialis at the lowest prices, no prescription, free shipping! Click here to order now and save 80%!\r\n"
    "You receive this offer because you opted in. To be removed from our mailing list click below.\r\n",
    Subject="Cheap pills, lowest prices, order now!",
)
SHIPPED = classify.load(model_path())


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    url = f"sqlite:///{tmp_path}/darban.db"
    migrated(url)
    engine = make_engine(url)
    yield SqlLedger(engine)
    engine.dispose()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def teach(ledger: SqlLedger, clock: FakeClock, content: bytes = SPAM, is_spam: bool = False, trainer: str = "sara"):
    clock.advance(1.0)
    teacher = Teacher(ledger, 3, clock.now)
    return teacher.teach(trainer=trainer, is_spam=is_spam, via="review", envelope=envelope(), content=content)


def publisher(ledger: SqlLedger, folder: Path, clock: FakeClock) -> Publisher:
    return Publisher(ledger, SHIPPED, Caps(), folder, clock.now)


def test_a_lesson_has_the_features_that_are_served_and_nothing_else(ledger: SqlLedger, clock: FakeClock) -> None:
    auth = (AuthResult("spf", "pass", "example.org", identity="mailfrom"),)
    Teacher(ledger, 3, clock.now).teach(
        trainer="سارا", is_spam=True, via="digest", envelope=envelope(), content=SPAM, auth=auth
    )
    (lesson,) = ledger.active(VERSION)
    expected, _ = extract(mail(SPAM, *auth)).vector()
    assert unpack(lesson.indices).tolist() == sorted(expected.tolist())
    assert (lesson.trainer, lesson.is_spam, lesson.via, lesson.at) == ("سارا", True, "digest", clock.now())
    assert lesson.content_hash == hashlib.sha256(SPAM).hexdigest()
    without, _ = extract(mail(SPAM)).vector()
    assert len(without) < len(expected), "what authentication said is a part of it"


def test_what_became_of_it_is_told_and_counted(ledger: SqlLedger, clock: FakeClock) -> None:
    before = TAUGHT.labels("limited", "ham", "review")._value.get()
    told = [
        teach(ledger, clock).what,
        teach(ledger, clock).what,
        teach(ledger, clock, is_spam=True).what,
        teach(ledger, clock, b"Subject: x\r\n\r\n").what,
        teach(ledger, clock, b"Subject: y\r\n\r\n").what,
        teach(ledger, clock, b"Subject: y\r\n\r\n", trainer="reza").what,
    ]
    assert told == ["learned", "known", "relearned", "learned", "limited", "learned"]
    assert TAUGHT.labels("limited", "ham", "review")._value.get() == before + 1


def test_the_scorers_judge_by_it_and_revoking_gives_the_former_model(
    ledger: SqlLedger, clock: FakeClock, tmp_path: Path
) -> None:
    folder, current = tmp_path / "model", CurrentModel(SHIPPED, tmp_path / "model")
    making = publisher(ledger, folder, clock)
    making.catch_up()
    current.refresh()
    assert (current.model_id, making.state.model_id) == (SHIPPED.model_id, SHIPPED.model_id)
    assert not folder.exists(), "nothing was taught"
    teach(ledger, clock)
    making.catch_up()
    current.refresh()
    first = current.read(mail(SPAM)).prediction
    assert first.model_id == making.state.model_id != SHIPPED.model_id
    assert first.model_id.startswith(f"{SHIPPED.model_id}+1-")
    assert first.probability < SHIPPED.read(mail(SPAM)).prediction.probability
    hashes = [published.read_manifest(folder)["sha256"]]
    second = teach(ledger, clock, trainer="reza")
    making.catch_up()
    ledger.revoke(Lessons(ids=(second.lesson_id,)), "admin")
    hashes.append(published.read_manifest(folder)["sha256"])
    making.catch_up()
    hashes.append(published.read_manifest(folder)["sha256"])
    current.refresh()
    assert hashes[0] == hashes[2] != hashes[1]
    assert current.read(mail(SPAM)).prediction == first
    ledger.revoke(Lessons(trainer="sara"), "admin")
    making.catch_up()
    current.refresh()
    assert current.read(mail(SPAM)).prediction == SHIPPED.read(mail(SPAM)).prediction


def test_nothing_is_made_while_nothing_changes(ledger: SqlLedger, clock: FakeClock, tmp_path: Path) -> None:
    teach(ledger, clock)
    making = publisher(ledger, tmp_path / "model", clock)
    making.catch_up()
    name, seconds = published.current(tmp_path / "model"), making.state.replay_s
    making.catch_up()
    assert (published.current(tmp_path / "model"), making.state.replay_s) == (name, seconds)


@pytest.mark.parametrize("harm", ["withdrawn", "another's"])
def test_what_others_do_to_the_published_model_is_put_right(
    ledger: SqlLedger, clock: FakeClock, tmp_path: Path, harm: str
) -> None:
    teach(ledger, clock)
    making = publisher(ledger, tmp_path, clock)
    making.catch_up()
    wanted = published.read_manifest(tmp_path)
    if harm == "withdrawn":
        published.withdraw(tmp_path)
    else:
        Publisher(ledger, SHIPPED, Caps(lesson=0.1), tmp_path, clock.now).catch_up()
        assert published.read_manifest(tmp_path) != wanted
    making.catch_up()
    assert published.read_manifest(tmp_path) == wanted


def test_a_fault_keeps_the_model_and_is_told(ledger: SqlLedger, clock: FakeClock, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.write_text("a file where the folder belongs")
    teach(ledger, clock)
    making, failures = publisher(ledger, folder, clock), FAILURES._value.get()
    making.catch_up()
    assert FAILURES._value.get() == failures + 1
    clock.advance(30.0)
    assert "darban_learning_behind_seconds 30.0" in metrics(making, clock)
    folder.unlink()
    making.catch_up()
    assert published.current(folder)
    assert "darban_learning_behind_seconds 0.0" in metrics(making, clock)


def test_a_ledger_that_does_not_answer_is_asked_again(clock: FakeClock, tmp_path: Path) -> None:
    making = publisher(SqlLedger(make_engine(f"sqlite:///{tmp_path}/nowhere/darban.db")), tmp_path, clock)
    with pytest.raises(StoreError):
        making._ledger.revision()
    making.catch_up()
    assert making.state.revision == -1


def metrics(making: Publisher, clock: FakeClock) -> str:
    registry = CollectorRegistry()
    registry.register(LearningMetrics(making.state, clock.now))
    return generate_latest(registry).decode()


def test_metrics_tell_how_learning_stands(ledger: SqlLedger, clock: FakeClock, tmp_path: Path) -> None:
    making = publisher(ledger, tmp_path / "model", clock)
    assert 'darban_learning_lessons{label="spam",via="imap"} 0.0' in metrics(making, clock)
    for number in range(3):
        teach(ledger, clock, SPAM + b"%d\r\n" % number)
    newest = clock.now()
    teach(ledger, clock, trainer="reza")
    ledger.revoke(Lessons(trainer="reza"), "admin")
    making.catch_up()
    told = metrics(making, clock)
    for line in (
        'darban_learning_lessons{label="ham",via="review"} 3.0',
        "darban_learning_revoked_lessons 1.0",
        'darban_learning_limited_lessons{cap="trainer_day"} 1.0',
        'darban_learning_limited_lessons{cap="day"} 0.0',
        'darban_learning_budget_used{cap="trainer_day"} 1.0',
        "darban_learning_recent_spam_share 0.0",
        "darban_learning_behind_seconds 0.0",
        f'darban_learning_model_info{{model_id="{making.state.model_id}"}} 1.0',
    ):
        assert line in told
    (stamp,) = re.findall(r"^darban_learning_newest_lesson_timestamp_seconds (.+)$", told, re.MULTILINE)
    assert float(stamp) == newest + 1.0
    clock.advance(86_400.0)
    making.catch_up()
    assert 'darban_learning_budget_used{cap="trainer_day"} 0.0' in metrics(making, clock)


async def test_it_goes_on_by_itself(
    ledger: SqlLedger, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.learning._LOOK_EVERY_S", 0.01)
    making = publisher(ledger, tmp_path / "model", clock)
    running = asyncio.create_task(making.run())
    teach(ledger, clock)
    async with asyncio.timeout(30):
        while not published.current(tmp_path / "model"):
            await asyncio.sleep(0.01)
    running.cancel()


def test_who_has_used_up_the_day_is_known(ledger: SqlLedger, clock: FakeClock, tmp_path: Path) -> None:
    one = Publisher(ledger, SHIPPED, Caps(lesson=1.0, trainer_day=0.5), tmp_path, clock.now)
    assert not one.is_spent("sara")
    teach(ledger, clock)
    one.catch_up()
    assert (one.is_spent("sara"), one.is_spent("reza")) == (True, False)
    clock.advance(86_400.0)
    assert not one.is_spent("sara")
