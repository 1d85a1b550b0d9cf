"""What waits for webhooks, and tokens, in SQLite and PostgreSQL alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine, update

from gateway.errors import InputError
from gateway.stores import api_tokens, outbox
from gateway.stores.accounts import SqlAccounts
from gateway.stores.api_tokens import SqlApiTokens
from gateway.stores.audit import SqlAudit
from gateway.stores.outbox import SqlOutbox
from gateway.stores.schema import webhook_outbox
from gateway.types import Account, AuditQuery, Event


def event(number: int) -> tuple[Event, bytes]:
    return Event(f"evt_{number}", "message.held", 1.0, "darban.test", {}), f'{{"n":{number}}}'.encode()


def test_an_event_waits_once_and_is_bounded(engine: Engine) -> None:
    box = SqlOutbox(engine)
    assert box.add("siem", [event(1), event(2), event(1)], 10) == 0
    assert box.add("siem", [event(1)], 10) == 0
    assert box.counts() == {("siem", "waiting"): 2}
    assert box.add("siem", [event(3), event(4), event(5)], 4) == 1, "told, and not kept"
    assert box.add("other", [event(1)], 10) == 0, "each webhook has its own"
    assert box.counts() == {("siem", "waiting"): 4, ("other", "waiting"): 1}


def test_one_gateway_has_an_event_in_hand(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = SqlOutbox(engine), SqlOutbox(engine)
    one.add("siem", [event(1)], 10)
    (posting,) = one.take("siem", 10)
    assert (posting.id, posting.body, posting.tries) == ("evt_1", b'{"n":1}', 0)
    assert other.take("siem", 10) == []
    monkeypatch.setattr(outbox.time, "time", lambda now=posting.born_at: now + outbox._LEASE_S + 1)
    (again,) = other.take("siem", 10)
    assert again.id == posting.id, "its process died"
    other.delivered(again)
    one.failed(posting, "late", 0.0)
    assert box_states(one) == ["taken"], "what was taken stays taken"


def box_states(box: SqlOutbox) -> list[str]:
    return [state for _, state in box.counts()]


def test_what_failed_is_tried_again_and_given_up(engine: Engine) -> None:
    box = SqlOutbox(engine)
    box.add("siem", [event(1)], 10)
    (posting,) = box.take("siem", 10)
    box.failed(posting, "answered 500\0", 0.0)
    (posting,) = box.take("siem", 10)
    assert (posting.tries, posting.told) == (1, "answered 500\N{REPLACEMENT CHARACTER}")
    box.failed(posting, "answered 502", None)
    assert box.take("siem", 10) == []
    assert [one.told for one in box.dead()] == ["answered 502"] and box.dead("other") == []
    assert box.add("siem", [event(1)], 10) == 0 and box.take("siem", 10) == [], "it is known"
    assert box.revive("siem") == 1
    assert [one.tries for one in box.take("siem", 10)] == [0]


def test_the_audit_log_is_followed_from_now_on(engine: Engine) -> None:
    audit, box = SqlAudit(engine), SqlOutbox(engine)
    audit.append("sara", "view")
    assert box.cursor() == 1, "what was before is not told"
    audit.append("sara", "delete")
    audit.append("sara", "release")
    assert [one.number for one in audit.since(1, 10)] == [2, 3]
    assert box.follow(3, {"siem": ([event(2), event(3)], 10), "other": ([], 10)}) == {"siem": 0, "other": 0}
    assert box.cursor() == 3
    box.follow(2, {})
    assert box.cursor() == 3, "another gateway was further"
    assert [one.number for one in audit.list(AuditQuery(before=3, limit=1))[0]] == [2]


def test_old_rows_go(engine: Engine) -> None:
    box = SqlOutbox(engine)
    box.add("siem", [event(1), event(2), event(3)], 10)
    box.add("gone", [event(1)], 10)
    taken, dead, _ = box.take("siem", 3)
    box.delivered(taken)
    box.failed(dead, "", None)
    assert box.prune(["siem"]) == 0
    with engine.begin() as connection:
        connection.execute(update(webhook_outbox).values(next_at=1.0))
    assert box.prune(["siem"]) == 3
    assert box.counts() == {("siem", "waiting"): 1}, "what waits is kept"


def test_tokens_are_their_accounts(engine: Engine) -> None:
    accounts, tokens = SqlAccounts(engine), SqlApiTokens(engine)
    accounts.add(Account("siem", "auditor", ("darban.test",)))
    made, secret = tokens.new("siem", "collector", ("log", "audit"), ("darban.test",), 3600.0)
    assert secret.startswith("darban_") and len(secret) > 40
    found = tokens.find(secret, "192.0.2.1")
    assert found is not None
    assert found == (Account("siem", "auditor", ("darban.test",)), made)
    (listed,) = tokens.list("siem")
    assert listed.used_from == "192.0.2.1" and listed.used_at > 0 and tokens.list() == [listed]
    for wrong in ("", secret[:-1], secret + "x", made.id, "darban_\0"):
        assert tokens.find(wrong, "") is None
    accounts.change(Account("siem", "recipient", (), ("a@darban.test",)))
    assert tokens.find(secret, "")[0].role == "recipient", "what the account loses its tokens lose"  # type: ignore[index]
    accounts.disable("siem", True)
    assert tokens.find(secret, "") is None
    accounts.disable("siem", False)
    assert not tokens.revoke(made.id, "another") and tokens.revoke(made.id, "siem") and not tokens.revoke(made.id)
    assert tokens.find(secret, "") is None


def test_a_token_ends(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts, tokens = SqlAccounts(engine), SqlApiTokens(engine)
    accounts.add(Account("siem", "auditor"))
    _, secret = tokens.new("siem", "a", ("log",), (), 0.0)
    assert tokens.find(secret, "") is None
    _, secret = tokens.new("siem", "a", ("log",), (), 60.0)
    accounts.delete("siem") if accounts.has_admin() else accounts.add(Account("owner", "owner"))
    monkeypatch.setattr(api_tokens, "_MOST", 2)
    with pytest.raises(InputError, match="2 tokens"):
        tokens.new("siem", "b", ("log",), (), 60.0)
    with pytest.raises(InputError, match="no account"):
        tokens.new("nobody", "b", ("log",), (), 60.0)
    accounts.create("owner", "a long enough password")
    accounts.delete("siem")
    assert tokens.find(secret, "") is None and tokens.list() == [], "gone with its account"


def test_an_act_is_answered_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = SqlApiTokens(engine)
    assert tokens.begin_answer("k", "release 1") is None
    assert tokens.begin_answer("k", "release 1") == ("release 1", 0, b""), "somebody is at it"
    tokens.end_answer("k", 200, b"{}")
    assert tokens.begin_answer("k", "release 2") == ("release 1", 200, b"{}")
    tokens.begin_answer("l", "x")
    tokens.end_answer("l", 0, b"")
    assert tokens.begin_answer("l", "x") is None, "nothing was done"
    now = api_tokens.time.time()
    monkeypatch.setattr(api_tokens.time, "time", lambda: now + api_tokens._IN_HAND_S + 1)
    assert tokens.begin_answer("l", "x") is None, "who had it in hand is gone"
    assert tokens.begin_answer("k", "release 1") is not None
    monkeypatch.setattr(api_tokens.time, "time", lambda: now + api_tokens._ANSWER_KEPT_S + 1)
    assert tokens.begin_answer("k", "release 2") is None


def test_bodies_are_bytes(engine: Engine) -> None:
    box = SqlOutbox(engine)
    box.add("siem", [(replace(event(1)[0], id="evt_9"), "سلام\N{FLUSHED FACE}".encode())], 10)
    assert box.take("siem", 1)[0].body.decode() == "سلام\N{FLUSHED FACE}"
