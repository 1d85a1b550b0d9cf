"""Custody under fire, short parts of it: each door and store under the faults that are its own.

The long run is `python -m tests.e2e.fire`. The accounts themselves are tried first: they have to find what is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.policy.custody import TRANSITIONS
from tests import postgres
from tests.builders import message_bytes
from tests.disk import disk, unavailable
from tests.e2e import peers
from tests.e2e.fire import Plan, faults_of, never_took, play
from tests.e2e.fire_account import CAUSES, Attempt, Event, Place, draw_up
from tests.e2e.fire_asked import Asked, Said, account_for, judged
from tests.e2e.fire_door import PORTS, Door

pytestmark = pytest.mark.e2e
YOU = "you@a.test"
HOLDING = """[[domain]]
name = "held.test"
next_hop = "maildir:var/maildir"
tag_at = -99
quarantine_at = -99
reject_at = 99
"""


def attempt(session: int, outcome: str, code: int = 250, at: float = 0.0, to: str = YOU, door: str = "smtp") -> Attempt:
    return Attempt(1, session, at, at + 1, {to: code}, outcome, f"Q{session}", door)


def by_milter(session: int, outcome: str, at: float = 0.0) -> Attempt:
    return attempt(session, outcome, at=at, door="milter")


def copy(session: int, said: str = "250", where: str = "a", to: str = YOU, **changes: object) -> Place:
    values = {"queue_id": f"Q{session}", "said": said} | changes
    return Place(1, session, to, where, **values)  # type: ignore[arg-type]


def killed(at: float, kind: str = "listener killed", *, took: bool = True) -> Event:
    return Event(kind, at, at + 0.5, took)


@pytest.mark.parametrize(
    ("attempts", "places", "events", "wrong", "causes"),
    [
        ([attempt(1, "250")], [copy(1)], [], [], {}),
        ([attempt(1, "250")], [copy(1, where="held", state="held")], [], [], {}),
        ([attempt(1, "451"), attempt(2, "250", at=5)], [copy(2)], [], [], {}),
        ([attempt(1, "451")], [], [], [], {}),
        ([attempt(1, "550", to="later1@a.test")], [], [], [], {}),
        # what must be found
        ([attempt(1, "250")], [], [], ["lost"], {}),
        ([attempt(1, "250")], [copy(1, where="held", state="deleted")], [], ["lost"], {}),
        ([attempt(1, "250")], [copy(1, where="held", state="released")], [], ["lost", "lost"], {}),
        ([attempt(1, "250")], [copy(1, is_whole=False)], [], ["damaged"], {}),
        ([attempt(1, "before")], [copy(1)], [], ["too_early"], {}),
        ([], [copy(1)], [], ["too_early"], {}),
        ([attempt(1, "550")], [], [], ["bounced"], {}),
        ([attempt(1, "451", 550)], [], [], ["bounced"], {}),
        ([attempt(1, "250")], [copy(1), copy(1)], [], ["unexplained"], {}),
        ([attempt(1, "451"), attempt(2, "250", at=5)], [copy(1), copy(2)], [], ["unexplained"], {}),
        ([attempt(1, "after"), attempt(2, "250", at=5)], [copy(1), copy(2)], [killed(9)], ["unexplained"], {}),
        ([attempt(1, "after"), attempt(2, "250", at=5)], [copy(1), copy(2)], [killed(0, "dns silent")], ["unexplained"], {}),
        ([attempt(1, "after"), attempt(2, "250", at=5)], [copy(1), copy(2)], [killed(0, took=False)], ["unexplained"], {}),
        ([attempt(1, "250")], [copy(1, queue_id="")], [], ["unjudged"], {}),
        ([attempt(1, "250", to="u1@h.test")], [copy(1, to="u1@h.test")], [], ["astray"], {}),
        ([attempt(1, "250", to="u1@r.test")], [copy(1, to="u1@r.test")], [], ["astray"], {}),
        # a server that has the message itself sends it no second time for a fault of ours
        ([by_milter(1, "after"), by_milter(2, "250", 5)], [copy(1), copy(2)], [killed(0.5)], ["unexplained"], {}),
        ([by_milter(1, "451"), by_milter(2, "250", 5)], [copy(1, "lost"), copy(2)], [], ["unexplained"], {}),
        # what is explained
        (
            [by_milter(1, "after"), by_milter(2, "250", 5)], [copy(1), copy(2)], [killed(0.5, "front killed")], [],
            {"MTA killed before its reply": 1},
        ),
        (
            [by_milter(1, "vanished"), by_milter(2, "250", 5)], [copy(1), copy(2)], [], [],
            {"client of the MTA went away before the answer": 1},
        ),
        (
            [attempt(1, "after"), attempt(2, "250", at=5)], [copy(1), copy(2)], [killed(0.5)], [],
            {"answer lost: listener killed": 1},
        ),
        (
            [attempt(1, "after"), attempt(2, "250", at=5)], [copy(1, where="held", state="held"), copy(2)], [killed(0.5)],
            [], {"answer lost: listener killed": 1},
        ),
        ([attempt(1, "451"), attempt(2, "250", at=5)], [copy(1, "lost"), copy(2)], [], [], {"next hop's reply lost": 1}),
        (
            [attempt(1, "451"), attempt(2, "250", at=5)], [copy(1), copy(2)], [killed(0, "hops killed")], [],
            {"next hop killed before its reply": 1},
        ),
        (
            [attempt(1, "vanished"), attempt(2, "250", at=5)], [copy(1), copy(2)], [], [],
            {"client went away before the answer": 1},
        ),
    ],
)  # fmt: skip
def test_the_account(
    attempts: list[Attempt], places: list[Place], events: list[Event], wrong: list[str], causes: dict[str, int]
) -> None:
    account = draw_up(attempts, places, events, frozenset())
    assert [one.partition(":")[0] for one in account.faults] == wrong
    if not wrong:
        assert account.second_copies == causes


def test_every_cause_is_a_row_that_allows_it() -> None:
    allowed = {(one.state, one.event) for one in TRANSITIONS if one.may_come_twice}
    assert set(CAUSES.values()) <= allowed


RIGHT = Said(3.0, frozenset({"A", "B"}), is_spam=True)


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (RIGHT, "answer"),
        (Said(3.4, RIGHT.hits, is_spam=True), "answer"),
        (Said(2.0, frozenset({"A"}), is_spam=True, incomplete="dns"), "incomplete"),
        (Said(2.0, frozenset({"A"}), is_spam=True), "wrong: 2.0 for 3.0, ['B']"),
        (Said(9.0, RIGHT.hits, is_spam=True), "wrong: 9.0 for 3.0, []"),
        (Said(3.0, RIGHT.hits, is_spam=False), "said to be clean: "),
        (Said(3.0, RIGHT.hits, is_spam=False, incomplete="rules"), "said to be clean: "),
    ],
)
def test_an_answer_is_judged(said: Said, outcome: str) -> None:
    assert judged(said, RIGHT).startswith(outcome)


@pytest.mark.parametrize(
    ("outcome", "events", "is_wrong"),
    [
        ("answer", [], False),
        ("incomplete", [], False),
        ("error", [killed(0.5, "dns silent")], False),
        ("error", [], True),
        ("error", [killed(9.0)], True),
        ("cut", [killed(0.5)], False),
        ("cut", [killed(0.5, "reload")], True),
        ("late", [killed(0.5)], True),
        ("said to be clean: ...", [killed(0.5)], True),
    ],
)
def test_the_account_of_answers(outcome: str, events: list[Event], is_wrong: bool) -> None:
    told = account_for([Asked("/scan", YOU, 0.0, 1.0, outcome)], events)
    assert (len(told["wrong_answers"]), told["asked"]) == (is_wrong, 1)


def fire(plan: Plan, tmp_path: Path, record_property: Callable[[str, object], None]) -> dict[str, Any]:
    """All kinds of the plan took, and nothing was wrong."""
    why = unavailable()
    if why:
        pytest.skip(why)
    report = play(plan, print, tmp_path / "fire")
    for name in ("took", "outcomes", "said", "accepted", "held", "second_copies", "most_copies", "seconds"):
        record_property(name, report[name])
    assert not faults_of(report)
    assert not never_took([report])
    assert report["took"] >= plan.faults
    return report


def test_custody_under_fire(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    report = fire(Plan(400, 34, 6, doors=("smtp",)), tmp_path, record_property)
    assert report["outcomes"].get("smtp: after", 0) + report["outcomes"].get("smtp: vanished", 0) > 0


def test_an_mta_that_asks_under_fire(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    kinds = ("listener killed", "gateway killed", "disk full", "front killed", "front's disk full")
    report = fire(Plan(70, len(kinds), 3, doors=("milter",), kinds=kinds), tmp_path, record_property)
    assert report["held"] and report["delivered"]
    assert report["outcomes"]["milter: 451"]


def test_doors_that_are_asked_under_fire(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    kinds = ("listener killed", "http door killed", "scorers' parent killed", "scorer stopped", "reload")
    report = fire(Plan(60, len(kinds), 4, doors=("smtp",), kinds=kinds), tmp_path, record_property)
    assert all(report["said"][f"{door}: answer"] > 20 for door in ("/scan", "/checkv2", "spamc"))


def test_postgresql_and_redis_under_fire(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    kinds = (
        "database killed",
        "database stopped",
        "database sessions cut",
        "database locked",
        "redis killed",
        "redis stopped",
    )
    report = fire(Plan(100, len(kinds), 5, "postgresql", kinds=kinds, blobs="database"), tmp_path, record_property)
    assert report["held"] and report["delivered"]


def test_clean_mail_flows_while_postgresql_stands_still(postfix_behind: peers.Postfix, tmp_path: Path) -> None:
    """Every message asks it who was served already: it is given up after 5 s."""

    def send(number: int) -> tuple[int, float]:
        began = time.monotonic()
        code, _ = peers.send(door.ports["smtp"], message_bytes(f"still {number}\r\n"), rcpt_to=["you@m.test"])
        return code, time.monotonic() - began

    (tmp_path / "var" / "blobs").mkdir(parents=True)
    with postgres.cluster() as cluster, ThreadPoolExecutor(8) as threads:
        ports = {name: peers.free_port() for name in PORTS}
        door = Door(tmp_path, ports, postfix_behind.port, postgres.fresh_database(cluster.folder))
        door.start()
        try:
            assert send(0)[0] == 250
            with cluster.standing_still():
                sent = list(threads.map(send, range(1, 25)))
            assert {code for code, _ in sent} == {250}
            assert max(seconds for _, seconds in sent) < 15
        finally:
            door.kill_all()


def test_clean_mail_flows_while_the_disk_is_full(postfix_behind: peers.Postfix, tmp_path: Path) -> None:
    why = unavailable()
    if why:
        pytest.skip(why)
    spam = message_bytes("Dear friend, you have won US$1,500,000.00 in the international lottery. Click here.\r\n")
    with disk(tmp_path, tmp_path / "gateway" / "var") as own:
        with peers.gateway(
            tmp_path / "gateway", f"smtp://127.0.0.1:{postfix_behind.port}", smtp_extra="workers = 2", extra=HOLDING
        ) as running:
            before = running.processes()
            assert own.fill()
            for number in range(20):
                assert peers.send(running.smtp_port, message_bytes(f"full {number}\r\n"))[0] == 250
            assert peers.send(running.smtp_port, spam, rcpt_to=["you@held.test"])[0] == 451
            assert running.processes() == before
            own.free()
            assert peers.send(running.smtp_port, spam, rcpt_to=["you@held.test"])[0] == 250
