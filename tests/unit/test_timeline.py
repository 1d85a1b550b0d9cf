"""timeline.py: what is told, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.timeline import Event, Timelines
from gateway.types import AuditEntry, HeldMessage, Lesson, Lessons, LogRow, Summary

SUMMARY = Summary("m1@example.org", "Hello", "A <a@example.org>", 9)
ROW = LogRow(
    "Q5", 500.0, "192.0.2.1", "mx.example.org", "a@example.org", "you@darban.test", SUMMARY, "accept",
    "250 2.0.0 Message accepted", 1.5, ("A",), "score 1.5 < tag_at 5.0", "250 2.0.0 Ok: queued as 4XyZ", number=5,
)  # fmt: skip
HELD = HeldMessage(
    "h" * 32, "Q5", "c" * 64, "a@example.org", "you@darban.test", "darban.test", "192.0.2.1", "mx", 500.0, SUMMARY, 9.0,
    "score", "{}",
)  # fmt: skip


class World:
    """The stores, as dictionaries."""

    def __init__(
        self,
        tries: Sequence[LogRow] = (),
        held: Sequence[HeldMessage] = (),
        acts: Sequence[AuditEntry] = (),
        lessons: Sequence[Lesson] = (),
    ) -> None:
        self._tries, self._held, self.acts, self._lessons = tries, held, acts, lessons
        self.timelines = Timelines(self, self, self, lambda ids: [act for act in acts if act.subject in ids])  # type: ignore[arg-type]

    def tries(self, row: LogRow) -> Sequence[LogRow]:
        return self._tries

    def of_messages(self, queue_ids: Sequence[str]) -> Sequence[HeldMessage]:
        return [one for one in self._held if one.queue_id in queue_ids]

    def list(self, which: Lessons) -> tuple[Sequence[Lesson], int]:
        return [one for one in self._lessons if one.content_hash == which.content_hash], 0


def told(row: LogRow, **world: Sequence) -> list[Event]:
    return list(World(**world).timelines.of([row])[0].events)


def kinds(events: Sequence[Event]) -> str:
    return ", ".join(event.kind for event in events)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "came, judged, handed over, answered"),
        ({"action": "tag"}, "came, judged, handed over, answered"),
        ({"action": "quarantine"}, "came, judged, held, answered"),
        ({"action": "reject", "reply": "550 5.7.1 no"}, "came, judged, refused, answered"),
        ({"action": "scanned", "reply": "spamd: tag"}, "came, judged, scanned, answered"),
        ({"action": "tempfail", "reply": "451"}, "came, judged, deferred, answered"),
        ({"queue_id": "", "action": "reject", "hits": (), "score": 0.0, "reply": ""}, "came, refused"),
    ],
)
def test_what_a_row_tells(changes: dict, expected: str) -> None:
    assert kinds(told(replace(ROW, **changes))) == expected


def test_the_next_hops_words_stand_with_the_action() -> None:
    events = {event.kind: event.text for event in told(ROW)}
    assert events["handed over"] == "250 2.0.0 Ok: queued as 4XyZ"
    assert (events["came"], events["judged"]) == ("192.0.2.1 mx.example.org", "score 1.5 < tag_at 5.0")
    refused = replace(ROW, queue_id="", action="reject", hits=(), score=0.0, reason="no such user", next_hop_reply="")
    assert {event.kind: event.text for event in told(refused)}["refused"] == "no such user"


@pytest.mark.parametrize(
    ("state", "note", "acts", "expected"),
    [
        ("held", "", (), []),
        ("held", "451 down", (), [("release failed", "", "451 down")]),
        ("released", "250 as 9A", (), [("release", "", "250 as 9A")]),  # by whom the audit log does not say
        ("deleted", "", (), [("delete", "", "")]),
        ("released", "250 as 9A", (("release", "held: 451 down"), ("release", "released: 250 as 9A; learned")),
         [("release failed", "sara", "451 down"), ("release", "sara", "250 as 9A; learned")]),
        ("deleted", "", (("view", ""), ("spam", "deleted: ; learned")), [("spam", "sara", "learned")]),
    ],
)  # fmt: skip
def test_what_became_of_a_held_message(state: str, note: str, acts: tuple, expected: list) -> None:
    done = [
        AuditEntry(n, 600.0 + n, "sara", act, HELD.id, "", detail, "", (), "", "")
        for n, (act, detail) in enumerate(acts)
    ]
    held = replace(HELD, state=state, note=note, state_at=700.0)
    events = told(replace(ROW, action="quarantine"), held=[held], acts=done)
    assert [(event.kind, event.who, event.text) for event in events[4:]] == expected


def test_another_recipients_copy_is_not_told() -> None:
    assert (
        kinds(told(ROW, held=[replace(HELD, recipient="b@darban.test", state="released")]))
        == "came, judged, handed over, answered"
    )


def test_lessons_are_told() -> None:
    lesson = Lesson("l", 800.0, "sara", True, "review", HELD.content_hash, 4, b"", revoked_at=900.0, revoked_by="ali")
    events = told(replace(ROW, action="quarantine"), held=[HELD], lessons=[lesson])
    assert [(event.kind, event.who) for event in events[4:]] == [("taught spam", "sara"), ("revoked", "ali")]


def tempfail(number: int, message_id: str = "m1@example.org", client_ip: str = "192.0.2.9") -> LogRow:
    return replace(
        ROW, number=number, at=number * 100.0, action="tempfail", reply=f"451 {number}", client_ip=client_ip,
        summary=replace(SUMMARY, message_id=message_id),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "tries", "expected"),
    [
        (ROW, [tempfail(1), tempfail(2)], "1 2"),
        (ROW, [tempfail(1, client_ip="203.0.113.1")], "1"),  # from another place, but the same Message-ID
        (ROW, [tempfail(1, "other@example.org")], ""),
        (ROW, [tempfail(1, "")], "1"),  # put off before it had one, from the same network
        (ROW, [tempfail(1, "", "203.0.113.1")], ""),
        (ROW, [tempfail(1, ""), replace(ROW, number=2, at=200.0, summary=Summary()), tempfail(3, "")], "3"),
        (ROW, [tempfail(7)], ""),
        (tempfail(5), [tempfail(4), tempfail(6), replace(ROW, number=7, at=700.0), tempfail(8)], "4 6 7"),
        (tempfail(5, ""), [replace(ROW, number=6, at=600.0)], "6"),
    ],
)
def test_which_tries_are_linked(row: LogRow, tries: list[LogRow], expected: str) -> None:
    events = told(row, tries=tries)
    assert " ".join(str(event.number) for event in events if event.number) == expected
    assert [event.at for event in events] == sorted(event.at for event in events)
