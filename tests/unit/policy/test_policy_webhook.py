"""What webhooks are told, and how it is signed."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gateway.policy.webhook import (
    KEPT_S,
    body_of,
    event_of_act,
    event_of_row,
    header_fields,
    is_for,
    read_keys,
    wait_s,
)
from gateway.types import AuditEntry, Event, LogRow, Summary


def row(action: str = "quarantine", **values: Any) -> LogRow:
    said: dict[str, Any] = {"recipient": "you@darban.test", "at": 1.5} | values
    return LogRow(
        "Q1", said["at"], "192.0.2.1", "h", "a@example.org", said["recipient"], Summary("m@x", "سلام", "A <a@x>", 9), action,
        "250 2.0.0 ok", 9.5, ("A", "B"), "score 9.5 >= quarantine_at 8.0",
    )  # fmt: skip


def entry(act: str, detail: str = "", number: int = 7) -> AuditEntry:
    return AuditEntry(number, 2.5, "sara", act, "f" * 32, "darban.test", detail, "192.0.2.9", (), "", "ab" * 32)


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("accept", "message.delivered"),
        ("tag", "message.tagged"),
        ("quarantine", "message.held"),
        ("reject", "message.refused"),
        ("tempfail", None),
        ("scanned", None),
    ],
)
def test_rows_become_events(action: str, kind: str | None) -> None:
    event = event_of_row(row(action))
    assert (event and event.type) == kind


@pytest.mark.parametrize(
    ("act", "detail", "kind"),
    [
        ("release", "released: 250 2.0.0 ok", "message.released"),
        ("release", "held: 451 4.3.0 later", "message.release_failed"),
        ("redirect", "released: 250 ok; copy of", "message.released"),
        ("spam", "deleted: ; learned", "message.spam"),
        ("delete", "", "message.deleted"),
        ("account-add", "", "account.changed"),
        ("account-delete", "", "account.changed"),
        ("password", "", "account.changed"),
        ("sender-block", "", "sender.changed"),
        ("view", "", None),
        ("sign-in", "", None),
    ],
)
def test_acts_become_events(act: str, detail: str, kind: str | None) -> None:
    event = event_of_act(entry(act, detail))
    assert (event and event.type) == kind


def test_an_event_told_again_has_the_same_id_and_another_has_another() -> None:
    events = [row(), row(), row(at=1.6), row("tag"), row(recipient="b@darban.test")]
    ids = [event_of_row(one).id for one in events]  # type: ignore[union-attr]
    assert ids[0] == ids[1] and len(set(ids)) == 4
    acts = [event_of_act(entry("delete", number=number)).id for number in (1, 1, 2)]  # type: ignore[union-attr]
    assert acts[0] == acts[1] != acts[2]


def test_the_body_says_what_happened() -> None:
    event = event_of_row(row(), lambda subject: f"#{len(subject)}")
    assert event is not None
    told = json.loads(body_of(event))
    assert (told["id"], told["type"], told["timestamp"]) == (event.id, "message.held", "1970-01-01T00:00:01.500Z")
    assert (told["domain"], told["data"]["recipient"], told["data"]["hits"]) == (
        "darban.test",
        "you@darban.test",
        ["A", "B"],
    )
    assert told["data"]["subject"] == "#4", "[message_log] subjects counts here too"


def test_the_signature_is_the_specifications() -> None:
    """The example of the Standard Webhooks specification's reference libraries."""
    (key,) = read_keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    fields = header_fields([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert fields["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    both = header_fields([key, b"x" * 32], "i", 1, b"")["webhook-signature"].split()
    assert len(both) == 2 and both[0] != both[1], "while a secret changes both sign"


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_%%%", "short", base64.b64encode(b"x" * 23).decode(), "a b c"])
def test_a_secret_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        read_keys(text)


@pytest.mark.parametrize(
    ("events", "domains", "wanted"),
    [
        ((), (), True),
        (("message.held",), (), True),
        (("message.refused",), (), False),
        ((), ("darban.test",), True),
        ((), ("other.test",), False),
    ],
)
def test_who_is_told(events: tuple[str, ...], domains: tuple[str, ...], wanted: bool) -> None:
    event = event_of_row(row())
    assert event is not None
    assert is_for(event, events, domains) is wanted
    assert not is_for(Event("i", "account.changed", 0.0, "", {}), (), ("darban.test",)), "what is about no domain"


def test_tries_come_ever_later_and_often_enough() -> None:
    waits = [wait_s(tries, 0.5) for tries in range(1, 30)]
    assert waits == sorted(waits) and waits[0] == 5.0 and waits[-1] == 3600.0
    assert sum(waits) < KEPT_S, "a receiver that is away for a day is tried hourly"
    assert [wait_s(1, jitter) for jitter in (0.0, 1.0)] == pytest.approx([4.0, 6.0])
