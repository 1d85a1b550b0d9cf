"""privacy.py over real SQLite stores: all that is kept of a person is found and goes, and nobody else's."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import InputError
from gateway.policy import reputation
from gateway.policy.access import EVERYBODY
from gateway.privacy import Erased, Privacy, Stores
from gateway.stores import audit_chain
from gateway.stores.accounts import SqlAccounts
from gateway.stores.audit import SqlAudit
from gateway.stores.blobs import FileBlobs
from gateway.stores.counters import SqlCounters
from gateway.stores.digests import SqlDigests
from gateway.stores.engine import make_engine
from gateway.stores.ledger import SqlLedger
from gateway.stores.message_log import SqlMessageLog
from gateway.stores.quarantine import SqlQuarantine
from gateway.stores.senders import SqlSenders
from gateway.types import Digest, HeldQuery, Lesson, Lessons, LogQuery, LogRow, Scope, SenderEntry, Summary
from tests.contract.test_stores import CONTENT, held
from tests.database import migrated

SECRET = b"a secret of the tests"
WHO = "sara@darban.test"
NEAR = "tsara@darban.test"  # ends as the other one
DOMAIN = Scope(domains=("darban.test",))
FRIEND = "ali@example.org"


def log_row(number: int, sender: str, to: str) -> LogRow:
    summary = Summary(f"m{number}", f"subject {number}", f"Name <{sender}>", 9)
    return LogRow(f"Q{number}", 1.0, "192.0.2.1", "h", sender, to, summary, "accept", "250 ok", 1.0)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    url = f"sqlite:///{tmp_path}/darban.db"
    migrated(url)
    engine = make_engine(url)
    made = Stores(
        SqlQuarantine(engine, FileBlobs(f"file://{tmp_path}/blobs")),
        SqlMessageLog(engine),
        SqlLedger(engine),
        SqlAccounts(engine),
        SqlAudit(engine),
        SqlCounters(engine),
        SqlSenders(engine),
        SqlDigests(engine),
    )
    fill(made)
    yield made
    engine.dispose()


def fill(stores: Stores) -> None:
    summary = Summary("m", "s", f"Ali <{FRIEND}>", 9)
    stores.quarantine.hold([held(1, recipient="Sara@darban.test", summary=summary), held(2, recipient=NEAR)], CONTENT)
    stores.quarantine.hold([held(3, b"from her", recipient="r@else.test", reverse_path=WHO)], b"from her")
    stores.quarantine.hold([held(4, b"on its way", recipient=WHO)], b"on its way")
    stores.quarantine.transition(held(4).id, ["held"], "releasing")
    for number, mailbox in enumerate((WHO, NEAR)):
        one = Digest(f"{number:032x}", mailbox, mailbox, 1e9, "en", "gregorian", "UTC")
        assert stores.digests.claim(one, 0.0, 9)
        stores.digests.stop(mailbox, mailbox, is_stopped=True)
    stores.message_log.append([log_row(1, FRIEND, WHO), log_row(2, WHO, "r@else.test"), log_row(3, FRIEND, NEAR)])
    for number, trainer in enumerate((WHO, NEAR)):
        stores.ledger.add(Lesson(f"{number}", 1.0, trainer, True, "review", "c" * 64, 4, b"x"), 100)
    stores.accounts.create(WHO, "a long password", "recipient", (), (WHO,))
    stores.accounts.create("shared", "a long password", "recipient", (), (WHO, NEAR))
    stores.accounts.create(NEAR, "a long password", "recipient", (), (NEAR,))
    for by, pattern, to in ((WHO, FRIEND, WHO), (NEAR, WHO, NEAR), (WHO, FRIEND, NEAR), (NEAR, NEAR, NEAR)):
        stores.senders.add(SenderEntry("block", pattern, to, None, by, 1.0))
    stores.audit.append("ali", "release", held(1).id, f"to <{WHO}>, not {NEAR}")
    keys = reputation.Keys(SECRET)
    mine = reputation.names(keys, "", WHO, ("r@else.test",), 0.0)
    friend = reputation.names(keys, "net", FRIEND, (WHO, NEAR), 0.0)
    all_keys = [
        mine.address["good"],
        mine.known[0],
        friend.known[0],
        friend.met[0],
        friend.known[1],
        friend.address["good"],
    ]
    stores.counters.add_many(dict.fromkeys(all_keys, 1.0), 1000.0)


@pytest.fixture
def privacy(stores: Stores) -> Privacy:
    return Privacy(stores, SECRET, lambda ip: "net")


def test_all_that_is_kept_is_exported(privacy: Privacy, stores: Stores) -> None:
    files = dict(privacy.export("SARA@darban.test", EVERYBODY, "o", "::1"))
    lines = {
        name: [json.loads(one) for one in content.splitlines()] for name, content in files.items() if "jsonl" in name
    }
    assert {name for name in files if ".eml" in name} == {f"held/{held(n).id}.eml" for n in (1, 3, 4)}
    assert files[f"held/{held(1).id}.eml"] == CONTENT
    assert [one["queue_id"] for one in lines["message_log.jsonl"]] == ["Q1", "Q2"]
    assert [one["trainer"] for one in lines["lessons.jsonl"]] == [WHO]
    assert [one["name"] for one in lines["accounts.jsonl"]] == [WHO, "shared"]
    assert len(lines["audit.jsonl"]) == 2  # and this export
    assert [one["reader"] for one in lines["digests.jsonl"]] == [WHO]
    assert len(lines["reputation.jsonl"]) == 4
    counts = privacy.count(WHO, EVERYBODY)
    assert counts == {"held": 3, "log": 2, "lessons": 1, "accounts": 2, "counters": 4, "audit": 2, "senders": 3}
    assert [one.act for one in stores.audit.entries()] == ["release", "export"]


def test_a_domain_admin_gets_what_came_to_the_address(privacy: Privacy) -> None:
    names = [name for name, _ in privacy.export(WHO, DOMAIN, "d", "::1")]
    assert {name for name in names if ".eml" in name} == {f"held/{held(n).id}.eml" for n in (1, 4)}
    assert privacy.count(WHO, DOMAIN)["log"] == 1


def test_what_is_erased_is_gone_and_what_is_left_is_said(privacy: Privacy, stores: Stores) -> None:
    done = privacy.erase("Sara@Darban.test", EVERYBODY, "o", "::1")
    assert done.left == (
        "1 messages that are being released",
        "1 messages from the address that are held for others, until their time is over",
    )
    assert dataclasses.replace(done, left=()) == Erased(
        held=1, log=2, lessons=1, accounts=2, counters=4, audit=1, senders=3
    )
    rows = {one.queue_id: one for one in stores.message_log.search(LogQuery()).rows}
    assert set(rows) == {"Q2", "Q3"}
    assert (rows["Q2"].reverse_path, rows["Q2"].summary.subject) == (privacy.pseudonym(WHO), "")
    assert rows["Q3"].summary.subject == "subject 3"
    assert {one.id for one in stores.quarantine.list(HeldQuery(state="")).messages} == {held(n).id for n in (2, 3, 4)}
    assert stores.quarantine.content(held(2).id) == CONTENT
    assert [one.trainer for one in stores.ledger.list(Lessons())[0]] == [NEAR, privacy.pseudonym(WHO)]
    assert stores.accounts.about(NEAR)[0].addresses == (NEAR,)
    assert stores.accounts.about(WHO) == []
    assert (len(stores.digests.about(WHO)), len(stores.digests.about(NEAR))) == (0, 1)
    assert (stores.digests.is_stopped(WHO, WHO), stores.digests.is_stopped(NEAR, NEAR)) == (False, True)
    assert len(stores.audit.about(NEAR, EVERYBODY)) == 1
    assert stores.audit.about(WHO, EVERYBODY) == []
    assert audit_chain.verify(stores.audit.entries(), []).faults == []
    assert privacy.count(WHO, EVERYBODY) == {
        "held": 2,
        "log": 0,
        "lessons": 0,
        "accounts": 0,
        "counters": 0,
        "audit": 0,
        "senders": 0,
    }
    assert privacy.count(NEAR, EVERYBODY)["counters"] == 1
    again = privacy.erase(WHO, EVERYBODY, "o", "::1")
    assert (again.held, again.log, again.audit) == (0, 0, 0)


def test_who_runs_it_with_the_addresss_own_name_is_erased_too(privacy: Privacy, stores: Stores) -> None:
    privacy.erase(WHO, EVERYBODY, WHO, "::1")
    assert stores.audit.about(WHO, EVERYBODY) == []


def test_an_account_of_another_role_stays(privacy: Privacy, stores: Stores) -> None:
    stores.accounts.create(WHO, "a long password", "owner")
    assert "the account sara@darban.test, whose role is not recipient" in privacy.erase(WHO, EVERYBODY, "o", "::1").left
    assert stores.accounts.is_password(WHO, "a long password")


@pytest.mark.parametrize("address", ["", "x", "@", "a@", "@b", "a b@c", "%@%", "a" * 400 + "@b"])
@pytest.mark.parametrize("scope", [EVERYBODY, DOMAIN])
def test_what_is_no_address(privacy: Privacy, address: str, scope: Scope) -> None:
    if address == "%@%" and scope == EVERYBODY:
        assert privacy.count(address, scope)["held"] == 0
        return
    with pytest.raises(InputError):
        privacy.count(address, scope)


def test_what_is_out_of_scope(privacy: Privacy) -> None:
    for act in (privacy.count, lambda *a: list(privacy.export(*a, "d", "")), lambda *a: privacy.erase(*a, "d", "")):
        with pytest.raises(InputError, match="no address of your domains"):
            act(WHO, Scope(domains=("else.test",)))
