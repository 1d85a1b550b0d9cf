"""review.py: the act stands, and what was learned from it is told truly."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import InputError, StoreError
from gateway.learning import Teacher
from gateway.reputation import Reputation
from gateway.review import Review
from gateway.stores.engine import make_engine
from gateway.stores.ledger import SqlLedger
from gateway.types import HeldMessage, Lesson, Lessons, Summary, Taught
from tests.database import migrated
from tests.memory import MemoryCounters, MemoryQuarantine

CONTENT = b"From: a@example.org\r\nSubject: x\r\n\r\nSome words of a newsletter\r\n"
HELD = HeldMessage(
    "a" * 32, "Q1", hashlib.sha256(CONTENT).hexdigest(), "a@example.org", "you@darban.test", "darban.test", "192.0.2.1",
    "h", 1.79e9, Summary("m", "x", "a@example.org", 9), 9.0, "score", "{}",
)  # fmt: skip


class World:
    """A review over stores in memory and a real ledger."""

    def __init__(self, folder: Path, state: str = "released") -> None:
        url = f"sqlite:///{folder}/darban.db"
        migrated(url)
        self.ledger = SqlLedger(make_engine(url))
        self.quarantine, self.counters = MemoryQuarantine(), MemoryCounters()
        self.quarantine.hold([HELD], CONTENT)
        self.reputation = Reputation(self.counters, b"a secret of the tests")

        async def release(held_id: str, who: str) -> HeldMessage:
            return replace(self.quarantine.rows[held_id], state=state, state_by=who)

        self.review = Review(
            quarantine=self.quarantine, release=release, teacher=Teacher(self.ledger, 2), reputation=self.reputation,
            is_ours=lambda domain: domain == "darban.test", hostname="mx.darban.test", is_spent=lambda who: who == "busy",
        )  # fmt: skip

    def lessons(self) -> list[Lesson]:
        return list(self.ledger.list(Lessons())[0])


@pytest.mark.parametrize(
    ("state", "learns", "learned"),
    [("released", True, "learned"), ("released", False, ""), ("held", True, ""), ("held", False, "")],
)
async def test_a_release_teaches_when_it_came_about(tmp_path: Path, state: str, learns: bool, learned: str) -> None:
    world = World(tmp_path, state)
    done = await world.review.release(HELD.id, "sara", learns=learns)
    assert (done.held.state, done.learned) == (state, learned)
    assert [(one.trainer, one.is_spam, one.via) for one in world.lessons()] == [("sara", False, "release")] * bool(
        learned
    )


async def test_spam_is_deleted_learned_and_forgotten(tmp_path: Path) -> None:
    world = World(tmp_path)
    await asyncio.to_thread(world.reputation.learn_release, world_envelope(), CONTENT, ())
    assert sum(world.counters.values.values()) > 0
    done = await asyncio.to_thread(world.review.spam, HELD.id, "sara")
    assert (done.held.state, done.learned) == ("deleted", "learned")
    (lesson,) = world.lessons()
    assert (lesson.trainer, lesson.is_spam, lesson.via, lesson.content_hash) == (
        "sara",
        True,
        "review",
        HELD.content_hash,
    )
    assert sum(world.counters.values.values()) == 0, "its author is a stranger to this recipient again"


def world_envelope():
    from gateway.service import held_envelope

    return held_envelope(HELD, "mx.darban.test")


async def test_a_lesson_that_moves_nothing_is_not_called_learned(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert (await world.review.release(HELD.id, "busy")).learned == "spent"
    assert (await world.review.release(HELD.id, "busy")).learned == "known"
    assert (await world.review.release(HELD.id, "sara")).learned == "learned"
    assert {one.trainer for one in world.lessons()} == {"busy", "sara"}


def test_an_act_that_comes_too_late_teaches_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.quarantine.transition(HELD.id, ("held",), "released")
    with pytest.raises(InputError, match="not held"):
        world.review.spam(HELD.id, "sara")
    assert world.lessons() == []


async def test_a_ledger_that_is_down_keeps_no_act_from_happening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)

    def down(*_: object) -> Taught:
        raise StoreError("down")

    monkeypatch.setattr(world.ledger, "add", down)
    assert (await world.review.release(HELD.id, "sara")).learned == "failed"
    done = await asyncio.to_thread(world.review.spam, HELD.id, "sara")
    assert (done.held.state, done.learned) == ("deleted", "failed")


def test_counters_that_are_down_keep_no_act_from_happening(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.counters.is_down = True
    assert world.review.spam(HELD.id, "sara").held.state == "deleted"


async def test_a_release_to_another_address_is_a_copy_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    done = await world.review.redirect(HELD.id, "Reza <reza@darban.test>", "sara")
    assert (done.held.recipient, done.held.domain, done.held.state_by) == ("reza@darban.test", "darban.test", "sara")
    assert done.held.id != HELD.id
    assert done.learned == "" and world.lessons() == [], "it was not the recipient who wanted it"
    assert world.quarantine.rows[HELD.id].state == "held"
    assert world.quarantine.content(done.held.id) == CONTENT


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("reza@elsewhere.example", "does not go through this gateway"),
        ("reza", "does not go through this gateway"),
        ("a@darban.test, b@darban.test", "does not go through this gateway"),
        (HELD.recipient.upper(), "for that address already"),
    ],
)
async def test_addresses_it_may_not_go_to(tmp_path: Path, address: str, said: str) -> None:
    world = World(tmp_path)
    with pytest.raises(InputError, match=said):
        await world.review.redirect(HELD.id, address, "sara")
    assert list(world.quarantine.rows) == [HELD.id]


async def test_what_was_deleted_goes_nowhere(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.review.delete(HELD.id, "sara")
    with pytest.raises(InputError, match="not there any more"):
        await world.review.redirect(HELD.id, "reza@darban.test", "sara")
