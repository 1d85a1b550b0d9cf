"""Custody under fire, a short part of it: every kind of fault once or more, under some hundreds of messages.

The long run is `python -m tests.e2e.fire`. The account itself is tried first: it has to find what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.policy.custody import TRANSITIONS
from tests.builders import message_bytes
from tests.disk import disk, unavailable
from tests.e2e import peers
from tests.e2e.fire import faults_of, never_took, play
from tests.e2e.fire_account import CAUSES, Attempt, Event, Place, draw_up

pytestmark = pytest.mark.e2e
YOU = "you@a.test"
HOLDING = """[[domain]]
name = "held.test"
next_hop = "maildir:var/maildir"
tag_at = -99
quarantine_at = -99
reject_at = 99
"""


def attempt(session: int, outcome: str, code: int = 250, at: float = 0.0, to: str = YOU) -> Attempt:
    return Attempt(1, session, at, at + 1, {to: code}, outcome, f"Q{session}")


def copy(session: int, said: str = "250", where: str = "a", to: str = YOU, **changes: object) -> Place:
    return Place(1, session, to, where, f"Q{session}", said, **changes)  # type: ignore[arg-type]


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
        # what is explained
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


def test_custody_under_fire(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    why = unavailable()
    if why:
        pytest.skip(why)
    report = play(messages=400, faults=34, seed=6, tell=print, keep=tmp_path / "fire")
    for name in (
        "took",
        "attempts",
        "outcomes",
        "accepted",
        "held",
        "delivered",
        "second_copies",
        "most_copies",
        "seconds",
    ):
        record_property(name, report[name])
    assert not faults_of(report)
    assert not never_took([report])
    assert report["took"] >= 34
    assert report["outcomes"].get("after", 0) + report["outcomes"].get("vanished", 0) > 0


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
