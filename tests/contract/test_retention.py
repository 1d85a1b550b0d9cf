"""The retention on real stores: what goes, what stays, and what is true after it was killed in the middle."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from gateway.housekeeping import Housekeeping
from gateway.policy.retention import DAY_S, Retention
from gateway.stores import audit_chain
from gateway.stores.audit import SqlAudit
from gateway.stores.blobs import FileBlobs
from gateway.stores.engine import make_engine, migrate
from gateway.stores.quarantine import CUT_OFF, SqlQuarantine
from gateway.types import HeldMessage, HeldQuery, Summary
from tests.contract.test_stores import held
from tests.postgres import fresh_database
from tests.retention_victim import open_all

ROOT = Path(__file__).parent.parent.parent
NOW = 1_800_000_000.0
DAYS = {"spam": 30.0, "phishing": 20.0, "malware": 10.0, "released": 5.0, "rows": 90.0}
KILLS = 6


class World:
    """Stores of one database, and a retention whose time stands still."""

    def __init__(self, url: str, folder: Path) -> None:
        migrate(url)
        self.engine = make_engine(url)
        self.audit = SqlAudit(self.engine)
        self.quarantine = SqlQuarantine(self.engine, FileBlobs(f"file://{folder}/blobs"))

    def hold(self, number: int, age_days: float, **changes: Any) -> str:
        content = f"message {number}".encode()
        values = {"summary": Summary(size_bytes=len(content)), "received_at": NOW - age_days * DAY_S} | changes
        one = held(number, content, **values)
        self.quarantine.hold([one], content)
        return one.id

    def set(self, held_id: str, state: str, age_days: float) -> None:
        self.quarantine.transition(held_id, ["held"], state)  # type: ignore[arg-type]
        with self.engine.begin() as connection:
            change = text("UPDATE held_message SET state_at = :at WHERE id = :id")
            connection.execute(change, {"at": NOW - age_days * DAY_S, "id": held_id})

    def keep(self, **changes: Any) -> None:
        work = Housekeeping(self.quarantine, Retention(DAYS, **changes), self.audit, now=lambda: NOW)  # type: ignore[arg-type]
        for _ in work.steps():
            pass

    def states(self) -> dict[str, str]:
        return {one.id[-2:].lstrip("0"): one.state for one in self.quarantine.list(HeldQuery(state="", limit=1000))[0]}


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    url = f"sqlite:///{tmp_path}/darban.db"
    if request.param == "postgresql":
        url = fresh_database(request.getfixturevalue("postgres_server"))
    made = World(url, tmp_path)
    yield made
    made.engine.dispose()


def test_each_kind_has_its_time(world: World) -> None:
    world.hold(1, 29)
    world.hold(2, 31)
    world.hold(3, 21, kind="phishing")
    world.hold(4, 9, kind="malware")
    world.hold(5, 11, kind="malware")
    world.hold(6, 4, domain="short.test")
    for number, (state, days) in enumerate((("released", 4), ("released", 6), ("releasing", 99), ("deleted", 89)), 10):
        world.set(world.hold(number, 100), state, days)
    world.set(world.hold(20, 100), "deleted", 91)
    world.keep(domain_days={"short.test": {"spam": 3.0}})
    assert world.states() == {
        "1": "held", "2": "deleted", "3": "deleted", "4": "held", "5": "deleted", "6": "deleted",
        "a": "released", "b": "deleted", "c": "deleted", "d": "deleted",
    }  # fmt: skip
    assert world.quarantine.get(held(2).id).note == "expired: kept for 30 days"  # type: ignore[union-attr]
    entries = [(one.act, one.detail, one.domain) for one in world.audit.entries()]
    assert ("expire", "1 spam", "short.test") in entries
    assert audit_chain.verify(world.audit.entries(), []).faults == []


def test_a_release_that_a_dead_process_left_is_held_again(world: World) -> None:
    before = time.time()
    lost, going_on = world.hold(1, 1), world.hold(2, 1)
    for held_id, seconds in ((lost, 601), (going_on, 599)):
        world.quarantine.transition(held_id, ["held"], "releasing", by="sara")
        with world.engine.begin() as connection:
            change = text("UPDATE held_message SET state_at = :at WHERE id = :id")
            connection.execute(change, {"at": NOW - seconds, "id": held_id})
    for _ in range(2):
        world.keep()
    found = world.quarantine.get(lost)
    assert found is not None
    assert (found.state, found.state_by, found.note) == ("held", "sara", CUT_OFF)
    assert found.state_at >= before, "for a bulk job it was acted on after it was begun"
    assert world.states() == {"1": "held", "2": "releasing"}
    (entry,) = world.audit.entries()
    assert (entry.account, entry.act, entry.subject, entry.detail) == ("darban", "release", lost, f"held: {CUT_OFF}")


def test_what_was_released_goes_first_then_the_oldest(world: World) -> None:
    for number in range(1, 8):
        world.hold(number, 10 - number)  # 9 bytes each
    world.set(held(5).id, "released", 1)
    world.set(held(1).id, "releasing", 0)
    world.keep(max_size=5 * 9)
    assert world.states()["5"] == world.states()["2"] == "deleted"
    assert list(world.states().values()).count("held") == 4
    world.keep(max_size=1)
    assert set(world.states().values()) == {"deleted", "releasing"}, "what is being released stays"
    assert world.quarantine.content(held(1).id) == b"message 1"


def test_a_domain_has_a_limit_of_its_own(world: World) -> None:
    for number in range(1, 5):
        world.hold(number, number, domain="small.test" if number > 2 else "large.test")
    world.keep(domain_sizes={"small.test": 9})
    assert world.states() == {"1": "held", "2": "held", "3": "held", "4": "deleted"}


def test_sizes_are_added_up_from_an_index_and_no_more_often_than_something_went(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 4):
        world.hold(number, 1)
    added_up: list[int] = []
    sizes = world.quarantine.sizes_of_domains

    def counted() -> Any:
        found = sizes()
        added_up.append(sum(found.values()))
        return found

    monkeypatch.setattr(world.quarantine, "sizes_of_domains", counted)
    world.keep(max_size=1000, domain_sizes={"darban.test": 1000})
    assert added_up == [27]
    world.keep(max_size=20)
    assert added_up == [27, 27, 18]
    if world.engine.dialect.name == "sqlite":
        plan: list[str] = []

        def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plan.extend(row[3] for row in cursor.fetchall())

        event.listen(world.engine, "before_cursor_execute", explain)
        sizes()
        assert "SCAN held_message USING COVERING INDEX held_message_sizes" in plan


def test_a_kill_at_any_point_leaves_what_is_true(tmp_path: Path) -> None:
    """Whatever says held has its content, and what a kill left is finished by the next look."""
    chance, number = random.Random(7), 400
    migrate(f"sqlite:///{tmp_path}/darban.db")
    quarantine, work = open_all(tmp_path)
    young = SqlQuarantine(quarantine._engine, quarantine._blobs)  # plain ones, to be encrypted meanwhile
    now = time.time()
    for one in range(number):
        content = f"message {one}".encode()
        old = held(one, content, received_at=now - (5 if one % 4 else 0.1) * DAY_S, domain=f"d{one % 3}.test")
        (quarantine if one % 2 else young).hold([old], content)
    killed = 0
    for _ in range(KILLS):
        victim = subprocess.Popen(
            [sys.executable, "-m", "tests.retention_victim", tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert victim.stdout
        assert victim.stdout.readline() == "begins\n"
        time.sleep(chance.uniform(0, 0.4))
        victim.kill()
        killed += victim.stdout.read() == ""
        victim.wait()
        kept: list[HeldMessage] = list(quarantine.list(HeldQuery(state="held", limit=1000))[0])
        for one in kept:
            assert quarantine.content(one.id).startswith(b"message ")
    assert killed >= 2, "no kill came in the middle"
    for _ in work.steps():
        pass
    states = quarantine.counts()
    assert states == {"held": number // 4, "deleted": number - number // 4}
    files = [one for one in (tmp_path / "blobs").rglob("*") if one.is_file()]
    used = {one.id for one in quarantine.list(HeldQuery(state="held", limit=1000))[0]}
    assert len(files) - len(used) <= KILLS, "at most the file a kill left half done, which the sweep takes"
    for shard in range(256):
        quarantine.sweep(shard, -1.0)
    assert len([one for one in (tmp_path / "blobs").rglob("*") if one.is_file()]) == len(used)
