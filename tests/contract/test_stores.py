"""Every implementation of the store ports passes the same suite: SQLite and a real PostgreSQL."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from gateway.errors import InputError, StoreError
from gateway.stores import audit_chain, dmarc_feedback
from gateway.stores.accounts import SqlAccounts
from gateway.stores.audit import SqlAudit
from gateway.stores.blobs import FileBlobs
from gateway.stores.counters import SqlCounters
from gateway.stores.dmarc_feedback import SqlDmarcFeedback
from gateway.stores.engine import make_engine, migrate
from gateway.stores.ledger import SqlLedger
from gateway.stores.quarantine import SqlQuarantine
from gateway.types import (
    Account,
    AuditQuery,
    DmarcSending,
    HeldMessage,
    Lesson,
    Lessons,
    Scope,
    Summary,
    Taught,
    Token,
)
from tests.builders import dmarc_row
from tests.fakes import FakeClock
from tests.postgres import Cluster, fresh_database

CONTENT = b"Subject: x\r\n\r\nbody\r\n"


@pytest.fixture
def quarantine(engine: Engine, tmp_path: Path) -> SqlQuarantine:
    return SqlQuarantine(engine, FileBlobs(f"file://{tmp_path}/blobs"))


def held(number: int = 1, content: bytes = CONTENT, **changes: object) -> HeldMessage:
    values: dict = {
        "id": f"{number:032x}",
        "queue_id": f"Q{number}",
        "content_hash": hashlib.sha256(content).hexdigest(),
        "reverse_path": "a@example.org",
        "recipient": f"r{number}@darban.test",
        "domain": "darban.test",
        "client_ip": "192.0.2.1",
        "helo": "h",
        "received_at": float(number),
        "summary": Summary("m@example.org", f"100% سلام {number}", "A <a@example.org>", 10),
        "score": 9.0,
        "reason": "score",
        "verdict_json": "{}",
    }
    return HeldMessage(**(values | changes))


def test_hold_is_idempotent_and_complete(quarantine: SqlQuarantine) -> None:
    quarantine.hold([held(1), held(2)], CONTENT)
    quarantine.hold([held(1), held(3)], CONTENT)
    assert quarantine.counts() == {"held": 3}
    assert quarantine.get(held(1).id) == held(1)
    assert quarantine.content(held(3).id) == CONTENT
    assert quarantine.get("f" * 32) is None


def test_a_retry_does_not_bring_back_what_was_released(quarantine: SqlQuarantine) -> None:
    quarantine.hold([held(1)], CONTENT)
    assert quarantine.transition(held(1).id, ["held"], "released", "250 ok")
    quarantine.hold([held(1)], CONTENT)
    found = quarantine.get(held(1).id)
    assert found is not None
    assert (found.state, found.note) == ("released", "250 ok")


def test_content_that_is_not_the_rows_is_refused(quarantine: SqlQuarantine) -> None:
    with pytest.raises(StoreError):
        quarantine.hold([held(1, b"other")], CONTENT)
    assert quarantine.counts() == {}


def test_messages_are_found_by_their_content(quarantine: SqlQuarantine) -> None:
    quarantine.hold([held(1), held(2)], CONTENT)
    quarantine.hold([held(3, b"other")], b"other")
    asked = [held(1).content_hash, held(3, b"other").content_hash, "f" * 64]
    assert quarantine.of_contents(asked) == {asked[0]: held(2).id, asked[1]: held(3).id}
    assert quarantine.of_contents([]) == {}


def test_only_one_of_many_wins_a_transition(quarantine: SqlQuarantine) -> None:
    quarantine.hold([held(1)], CONTENT)
    won: list[bool] = []
    threads = [
        threading.Thread(target=lambda: won.append(quarantine.transition(held(1).id, ["held"], "releasing")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]


def test_find_by_prefix(quarantine: SqlQuarantine) -> None:
    quarantine.hold([held(1), held(2)], CONTENT)
    assert quarantine.find(held(1).id) == [held(1).id]
    assert len(quarantine.find("000000")) == 2
    assert quarantine.find("%") == []


def test_odd_text_is_stored(quarantine: SqlQuarantine) -> None:
    odd = held(1, helo="nul \0 and \ud800", summary=replace(held(1).summary, subject="\0\ud800"))
    quarantine.hold([odd], CONTENT)
    assert quarantine.get(odd.id) is not None


def test_held_messages_are_found_by_their_queue_ids(quarantine: SqlQuarantine) -> None:
    quarantine.hold([held(1), held(2)], CONTENT)
    quarantine.transition(held(2).id, ["held"], "deleted")
    assert {one.id for one in quarantine.of_messages(["Q1", "Q2", "Q3"])} == {held(1).id, held(2).id}
    assert quarantine.of_messages([]) == []


def test_acts_are_told_in_their_order(engine: Engine) -> None:
    log = SqlAudit(engine)
    log.append("sara", "view", "a")
    log.append("sara", "release", "b", "released: 250")
    log.append("ali", "delete", "a", "deleted: ")
    assert [(one.account, one.act, one.subject) for one in log.acts(["a"])] == [
        ("sara", "view", "a"),
        ("ali", "delete", "a"),
    ]
    assert log.acts([]) == []


def test_accounts(engine: Engine) -> None:
    accounts = SqlAccounts(engine)
    assert not accounts.has_admin()
    link = accounts.new_setup_token()
    assert accounts.token("setup", link) == Token("")
    assert accounts.token("reset", link) is None
    with pytest.raises(InputError):
        accounts.redeem_setup_token(link, "sara", "short")
    assert accounts.redeem_setup_token(link, "sara", "a long password") == Account("sara", "owner")
    with pytest.raises(InputError):
        accounts.redeem_setup_token(link, "reza", "a long password")
    assert accounts.has_admin()
    assert accounts.is_password("sara", "a long password")
    assert not accounts.is_password("sara", "wrong password")
    assert not accounts.is_password("nobody\0", "a long password")


def test_an_account_is_made_changed_and_removed(engine: Engine) -> None:
    accounts = SqlAccounts(engine)
    accounts.create("sara", "a long password")
    reza = Account("reza", "reviewer", ("example.ir", "*.example.ir"))
    accounts.add(reza)
    with pytest.raises(InputError, match="taken"):
        accounts.add(reza)
    record = accounts.record("reza")
    assert record is not None
    assert (record.account, record.origin, record.has_password, record.signed_in_at) == (reza, "local", False, None)
    assert not accounts.is_password("reza", "")
    accounts.change(Account("reza", "recipient", (), ("reza@example.ir",)))
    assert [one.account.name for one in accounts.list("EXAMPLE.IR")] == ["reza"]
    assert [one.account.name for one in accounts.list()] == ["reza", "sara"]
    accounts.create("reza", "another password")  # a new password, nothing else
    assert accounts.record("reza").account == Account("reza", "recipient", (), ("reza@example.ir",))
    session = accounts.new_session(reza)
    accounts.disable("reza", True)
    assert accounts.session(session) is None
    accounts.disable("reza", False)
    accounts.note_sign_in("reza")
    assert accounts.record("reza").signed_in_at
    accounts.delete("reza")
    assert accounts.record("reza") is None
    for act in (
        accounts.delete,
        lambda name: accounts.disable(name, True),
        lambda name: accounts.set_password(name, "x" * 10),
    ):
        with pytest.raises(InputError, match="no such account"):
            act("reza")


def test_an_owner_remains(engine: Engine) -> None:
    accounts = SqlAccounts(engine)
    accounts.create("sara", "a long password")
    accounts.create("mina", "a long password")
    accounts.disable("mina", True)
    acts = (
        lambda: accounts.delete("sara"),
        lambda: accounts.disable("sara", True),
        lambda: accounts.change(Account("sara", "reviewer")),
        lambda: accounts.create("sara", "a new password", "auditor"),
    )
    for act in acts:
        with pytest.raises(InputError, match="last owner"):
            act()
    assert accounts.record("sara").account.role == "owner" and accounts.is_password("sara", "a long password")
    accounts.disable("mina", False)
    accounts.delete("sara")
    assert accounts.has_admin()


def test_two_owners_who_remove_each_other_do_not_both(engine: Engine) -> None:
    accounts = SqlAccounts(engine)
    for name in ("sara", "mina"):
        accounts.create(name, "a long password")
    refused = []

    def remove(name: str) -> None:
        try:
            accounts.delete(name)
        except InputError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=remove, args=(name,)) for name in ("sara", "mina")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1 and accounts.has_admin()


def test_a_link_sets_the_password_once(engine: Engine) -> None:
    accounts = SqlAccounts(engine)
    sara = accounts.create("sara", "a long password")
    session, link = accounts.new_session(sara), accounts.new_token("reset", 60, "sara")
    with pytest.raises(InputError, match="at least"):
        accounts.redeem_reset_token(link, "short")
    assert accounts.redeem_reset_token(link, "another password") == sara
    assert accounts.session(session) is None
    assert accounts.is_password("sara", "another password")
    with pytest.raises(InputError, match="used already"):
        accounts.redeem_reset_token(link, "a third password")
    assert accounts.token("reset", accounts.new_token("reset", -1, "sara")) is None
    taken = accounts.new_token("link", 60, subject="reza@example.ir")
    assert accounts.take_token("link", taken) == Token("", "reza@example.ir")
    assert accounts.take_token("link", taken) is None


def test_a_link_that_is_none_costs_no_hash(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = SqlAccounts(engine)
    monkeypatch.setattr(accounts, "_hashed", lambda password: pytest.fail("hashed"))
    with pytest.raises(InputError, match="used already"):
        accounts.redeem_setup_token("made up", "sara", "a long password")
    with pytest.raises(InputError, match="used already"):
        accounts.redeem_reset_token("made up", "a long password")


def test_sessions_are_seen_and_ended(engine: Engine) -> None:
    accounts = SqlAccounts(engine)
    sara, reza = accounts.create("sara", "a long password"), accounts.create("reza", "a long password")
    secrets = [accounts.new_session(sara, "192.0.2.1", f"Browser {number} " + "x" * 1000) for number in range(3)]
    foreign = accounts.new_session(reza)
    assert accounts.session(secrets[0]) == sara
    assert accounts.session(accounts.new_setup_token()) is None
    seen = accounts.sessions("sara", secrets[0])
    assert [one.is_this for one in seen] == [False, False, True]
    assert seen[0].agent.startswith("Browser 2") and len(seen[0].agent) == 300
    accounts.end_sessions("reza", seen[0].id)  # not hers
    assert accounts.session(secrets[2]) == sara
    accounts.end_sessions("sara", seen[0].id)
    assert [accounts.session(one) for one in secrets] == [sara, sara, None]
    accounts.end_sessions("sara", but=secrets[0])
    assert [accounts.session(one) for one in secrets] == [sara, None, None]
    accounts.end_session(secrets[0])
    assert accounts.session(secrets[0]) is None and accounts.session(foreign) == reza


def test_sessions_end_when_idle_and_when_old(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = SqlAccounts(engine, idle_s=100, max_s=250)
    sara = accounts.create("sara", "a long password")
    now = time.time()
    monkeypatch.setattr("gateway.stores.tokens.time.time", lambda: now)
    idle, used = accounts.new_session(sara), accounts.new_session(sara)
    for at, is_used_alive in ((90, True), (180, True), (240, True), (251, False)):
        monkeypatch.setattr("gateway.stores.tokens.time.time", lambda at=at: now + at)
        assert (accounts.session(used) is not None) == is_used_alive, at
    assert accounts.session(idle) is None


def test_a_page_that_asks_by_itself_keeps_no_session_alive(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = SqlAccounts(engine, idle_s=100, max_s=1000)
    now = time.time()
    monkeypatch.setattr("gateway.stores.tokens.time.time", lambda: now)
    secret = accounts.new_session(accounts.create("sara", "a long password"))
    for at in (15, 30, 45, 60, 75, 90):
        monkeypatch.setattr("gateway.stores.tokens.time.time", lambda at=at: now + at)
        assert accounts.session(secret, is_use=False) is not None
    (known,) = accounts.sessions("sara")
    assert known.used_at == now
    monkeypatch.setattr("gateway.stores.tokens.time.time", lambda: now + 101)
    assert accounts.session(secret, is_use=False) is None


def test_a_session_is_not_written_at_each_use(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = SqlAccounts(engine, idle_s=6000, max_s=10_000)
    now = time.time()
    monkeypatch.setattr("gateway.stores.tokens.time.time", lambda: now)
    secret = accounts.new_session(accounts.create("sara", "a long password"))
    for at, used_at in ((1, 0), (59, 0), (60, 60), (119, 60), (121, 121)):
        monkeypatch.setattr("gateway.stores.tokens.time.time", lambda at=at: now + at)
        assert accounts.session(secret) is not None
        (known,) = accounts.sessions("sara")
        assert known.used_at == now + used_at, at


def test_one_time_codes_are_taken_once(engine: Engine) -> None:
    accounts = SqlAccounts(engine)
    accounts.create("sara", "a long password")
    assert accounts.code_secret("sara") == accounts.code_secret("nobody") == ""
    accounts.set_code("sara", "SECRET", ["one", "two"])
    assert accounts.record("sara").has_code and accounts.code_secret("sara") == "SECRET"
    assert accounts.take_step("sara", 100)
    assert not accounts.take_step("sara", 100) and not accounts.take_step("sara", 99)
    assert accounts.take_step("sara", 101)
    assert accounts.take_recovery("sara", "one") and not accounts.take_recovery("sara", "one")
    assert not accounts.take_recovery("reza", "two")
    assert accounts.recovery_left("sara") == 1
    accounts.set_code("sara", "", ())
    assert accounts.recovery_left("sara") == 0 and accounts.code_secret("sara") == ""


def test_guessing_has_to_wait(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = SqlAccounts(engine)
    now = time.time()
    monkeypatch.setattr("gateway.stores.accounts.time.time", lambda: now)
    for number in range(5):
        assert accounts.wait_s("name:sara", 5) == 0.0
        assert accounts.fail("name:sara") == number + 1
    assert accounts.wait_s("name:sara", 5) == 1.0
    for _ in range(60):
        accounts.fail("name:sara")
    assert accounts.wait_s("name:sara", 5) == 300.0
    assert accounts.wait_s("name:reza", 5) == 0.0
    accounts.succeed("name:sara")
    assert accounts.wait_s("name:sara", 5) == 0.0
    accounts.fail("name:" + "x\0" * 300)  # whatever was typed


def test_a_postgresql_that_stands_still_is_given_up(postgres_cluster: Cluster) -> None:
    url = fresh_database(postgres_cluster.folder)
    migrate(url)
    counters = SqlCounters(make_engine(url, answer_within_s=1.0))
    counters.add("k", 1.0, 100)
    with postgres_cluster.standing_still():
        for within_s in (3.0, 0.2, 0.2):  # the first one waits, the others know
            began = time.monotonic()
            with pytest.raises(StoreError):
                counters.get_many(["k"])
            assert time.monotonic() - began < within_s
        began = time.monotonic()
        with pytest.raises(StoreError):  # connecting alone is bounded too
            SqlCounters(make_engine(url)).get_many(["k"])
        assert time.monotonic() - began < 9
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:  # it moves again
        with contextlib.suppress(StoreError):
            assert counters.get("k") == 1.0
            return
        time.sleep(0.2)
    raise AssertionError("it is not asked again")


def test_faults_become_store_errors(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/nowhere/darban.db")
    with pytest.raises(StoreError):
        SqlQuarantine(engine, FileBlobs(f"file://{tmp_path}/blobs")).counts()
    with pytest.raises(StoreError):
        SqlCounters(engine).get_many(["k"])
    with pytest.raises(StoreError):
        SqlCounters(engine).add_many({"k": 1.0}, 10)
    without_tables = make_engine(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(StoreError):
        SqlCounters(without_tables).get_many(["k"])
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        FileBlobs(f"file://{tmp_path}/file/below").write("a" * 64, 1, lambda: b"x")


def test_whether_a_message_could_be_held_is_known_beforehand(quarantine: SqlQuarantine, tmp_path: Path) -> None:
    quarantine.check()
    quarantine.hold([held()], CONTENT)
    quarantine.check()
    assert sum(1 for file in (tmp_path / "blobs").rglob("*") if file.is_file()) == 1, "the check left something behind"
    (tmp_path / "blobs").rename(tmp_path / "elsewhere")
    (tmp_path / "blobs").touch()
    with pytest.raises(StoreError, match="blobs"):
        quarantine.check()


# --- DMARC reports ------------------------------------------------------------------------------------------------------

DAY = 20_783


@pytest.fixture
def feedback(engine: Engine) -> SqlDmarcFeedback:
    return SqlDmarcFeedback(engine, keep_days=5)


def test_messages_that_are_alike_are_counted_as_one_row(feedback: SqlDmarcFeedback) -> None:
    feedback.add([dmarc_row(), dmarc_row(at=DAY * 86_400.0 + 900), dmarc_row(source_ip="2001:db8::1")])
    feedback.add([dmarc_row(count=3)])
    feedback.add([dmarc_row(at=(DAY + 1) * 86_400.0), dmarc_row(domain="example.com", header_from="example.com")])
    assert feedback.rows(DAY, "example.org") == [
        dmarc_row(at=DAY * 86_400.0 + 900, count=5),
        dmarc_row(at=DAY * 86_400.0 + 900, source_ip="2001:db8::1"),
    ]
    assert feedback.domains(DAY) == ["example.com", "example.org"]
    assert feedback.domains(DAY + 1) == ["example.org"]
    assert feedback.domains(DAY + 2) == feedback.rows(DAY, "example.net") == []


@pytest.mark.parametrize(
    "change",
    [
        {"source_ip": "192.0.2.2"},
        {"header_from": "example.org"},
        {"envelope_from": ""},
        {"envelope_to": "other.test"},
        {"disposition": "reject"},
        {"is_dkim_aligned": False},
        {"is_spf_aligned": True},
        {"overrides": ()},
        {"dkim": (("example.org", "s2", "pass"),)},
        {"dkim": ()},
        {"spf": ("bounce.example.org", "pass")},
        {"spf": ("x.example.org", "softfail")},
    ],
)
def test_whatever_differs_is_a_row_of_its_own(feedback: SqlDmarcFeedback, change: dict) -> None:
    feedback.add([dmarc_row(), dmarc_row(**change)])
    assert {dmarc_row(), dmarc_row(**change)} == set(feedback.rows(DAY, "example.org"))


def test_the_policy_that_was_seen_last_is_the_days(feedback: SqlDmarcFeedback) -> None:
    feedback.add([dmarc_row(at=DAY * 86_400.0 + 50, published="treewalk new")])
    feedback.add([dmarc_row(at=DAY * 86_400.0 + 40, published="treewalk old")])
    assert [(row.published, row.count) for row in feedback.rows(DAY, "example.org")] == [("treewalk new", 2)]


def test_what_no_database_takes_is_replaced(feedback: SqlDmarcFeedback) -> None:
    feedback.add(
        [dmarc_row(header_from="a\0b.example", dkim=(("\udc80.example", "s" * 5000, "pass"),), published="a\0")]
    )
    (row,) = feedback.rows(DAY, "example.org")
    assert (row.header_from, row.published) == ("a\ufffdb.example", "a\ufffd")
    assert len(row.dkim[0][1]) == 1000


def test_a_days_rows_are_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmarc_feedback, "MAX_DOMAIN_ROWS", 3)
    monkeypatch.setattr(dmarc_feedback, "MAX_DAY_ROWS", 5)
    before = dmarc_feedback.DROPPED._value.get()
    feedback = SqlDmarcFeedback(engine)
    feedback.add([dmarc_row(source_ip=f"192.0.2.{number}", count=2) for number in range(10)])
    assert len(feedback.rows(DAY, "example.org")) == 3
    assert dmarc_feedback.DROPPED._value.get() - before == 14
    again = SqlDmarcFeedback(engine)  # a new process counts what is there
    again.add([dmarc_row(source_ip="192.0.2.0"), dmarc_row(source_ip="192.0.2.99")])
    assert sum(row.count for row in again.rows(DAY, "example.org")) == 7
    again.add([dmarc_row(domain=f"d{number}.example", source_ip="192.0.2.7") for number in range(10)])
    assert sum(len(again.rows(DAY, domain)) for domain in again.domains(DAY)) == 5
    again.add([dmarc_row(at=(DAY + 1) * 86_400.0)])
    assert len(again.rows(DAY + 1, "example.org")) == 1


def test_old_days_go_when_a_new_one_begins(feedback: SqlDmarcFeedback) -> None:
    feedback.add([dmarc_row()])
    assert feedback.claim(DAY, "example.org", "d@example.org", "r1")
    feedback.add([dmarc_row(at=(DAY + 5) * 86_400.0)])
    assert feedback.domains(DAY) == ["example.org"]
    feedback.add([dmarc_row(at=(DAY + 6) * 86_400.0)])
    assert feedback.domains(DAY) == feedback.rows(DAY, "example.org") == []
    assert feedback.claim(DAY, "example.org", "d@example.org", "r1")
    assert feedback.domains(DAY + 5) == ["example.org"]
    assert feedback.purge(DAY + 7) == 2
    assert feedback.domains(DAY + 6) == []


@pytest.mark.parametrize(("state", "is_again"), [("sent", False), ("refused", False), ("failed", True)])
def test_a_report_is_sent_once(engine: Engine, state: DmarcSending, is_again: bool) -> None:
    clock = FakeClock()
    feedback = SqlDmarcFeedback(engine, now=clock.now)
    assert feedback.claim(DAY, "example.org", "d@example.org", "r1")
    assert not feedback.claim(DAY, "example.org", "d@example.org", "r1")
    assert feedback.claim(DAY, "example.org", "e@example.org", "r1")
    assert feedback.claim(DAY + 1, "example.org", "d@example.org", "r2")
    feedback.settle(DAY, "example.org", "d@example.org", state, "451 4.3.0 said\0")
    assert feedback.claim(DAY, "example.org", "d@example.org", "r1") is is_again
    clock.advance(4000)  # a claim that was never settled: its run died
    assert feedback.claim(DAY, "example.org", "e@example.org", "r1")


def test_only_one_of_many_claims_a_report(feedback: SqlDmarcFeedback) -> None:
    won: list[bool] = []
    threads = [
        threading.Thread(target=lambda: won.append(feedback.claim(DAY, "example.org", "d@example.org", "r1")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]


# --- the training ledger ------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(engine: Engine) -> SqlLedger:
    return SqlLedger(engine, lambda: 500_000.0)


def lesson(number: int, **changes: object) -> Lesson:
    values: dict = {
        "id": f"{number:016x}",
        "at": 1000.0 * number,
        "trainer": "sara",
        "is_spam": True,
        "via": "review",
        "content_hash": f"{number:064x}",
        "features_version": 3,
        "indices": b"\0\xff",
    }
    return Lesson(**(values | changes))


def active(ledger: SqlLedger, version: int = 3) -> list[int]:
    return [int(one.id, 16) for one in ledger.active(version)]


def test_lessons_come_back_as_they_were_in_the_order_of_time(ledger: SqlLedger) -> None:
    assert (active(ledger), ledger.list(Lessons()), ledger.revision()) == ([], ([], 0), 0)
    for number in (3, 1, 2):
        assert ledger.add(lesson(number, at=1000.1 if number > 1 else 2000.0), 9) == Taught("learned", f"{number:016x}")
    assert active(ledger) == [2, 3, 1]
    assert next(iter(ledger.active(3))) == lesson(2, at=1000.1)
    assert ledger.revision() == 3
    assert [one.id[-1] for one in ledger.list(Lessons(limit=2))[0]] == ["1", "3"]
    assert ledger.list(Lessons(offset=2))[0][0].id[-1] == "2"


def test_one_word_of_a_trainer_on_a_message_counts_the_newest(ledger: SqlLedger) -> None:
    ledger.add(lesson(1), 9)
    again = lesson(2, content_hash=lesson(1).content_hash)
    assert ledger.add(again, 9) == Taught("known", lesson(1).id)
    assert ledger.add(replace(again, is_spam=False), 9) == Taught("relearned", again.id)
    assert ledger.add(replace(again, id="f", at=9000.0, is_spam=False), 9) == Taught("known", again.id)
    assert ledger.add(replace(again, id="a" * 16, at=9000.0, trainer="reza"), 9).what == "learned"
    assert active(ledger) == [2, int("a" * 16, 16)]
    assert ledger.revoke(Lessons(ids=(again.id,)), "admin") == 1
    assert active(ledger) == [1, int("a" * 16, 16)], "as if the newer word had never been said"
    assert ledger.restore(Lessons(ids=(again.id,))) == 1
    assert active(ledger) == [2, int("a" * 16, 16)]
    newer = replace(again, id="b" * 16, at=9500.0, is_spam=False, features_version=4)
    assert ledger.add(newer, 9).what == "learned", "the same word, in features that are used now"
    assert active(ledger, 4) == [int("b" * 16, 16)]


def test_a_trainers_day_has_an_end(ledger: SqlLedger) -> None:
    for number in range(1, 4):
        ledger.add(lesson(number), 3)
    before = ledger.revision()
    assert ledger.add(lesson(4), 3) == Taught("limited")
    assert ledger.revision() == before
    assert ledger.add(lesson(4, trainer="reza"), 3).what == "learned"
    assert ledger.add(lesson(5, at=90_000.0), 3).what == "learned"
    ledger.revoke(Lessons(trainer="sara"), "admin")
    assert ledger.add(lesson(6), 3) == Taught("limited"), "revoking makes no room for more"


@pytest.mark.parametrize(
    ("which", "left"),
    [
        (Lessons(ids=(f"{2:016x}", f"{3:016x}")), [1, 4]),
        (Lessons(trainer="sara"), [3]),
        (Lessons(day=1), [1, 2, 3]),
        (Lessons(trainer="reza", day=1), [1, 2, 3, 4]),
        (Lessons(trainer="nobody\udc80"), [1, 2, 3, 4]),
    ],
)
def test_lessons_are_revoked_and_restored_by_id_trainer_and_day(
    ledger: SqlLedger, which: Lessons, left: list[int]
) -> None:
    for number, changes in ((1, {}), (2, {}), (3, {"trainer": "reza"}), (4, {"at": 90_000.0})):
        ledger.add(lesson(number, **changes), 9)
    before = ledger.revision()
    assert ledger.revoke(which, "admin") == 4 - len(left)
    assert ledger.revoke(which, "another") == 0
    assert active(ledger) == left
    assert ledger.revision() == before + (len(left) < 4)
    gone, _ = ledger.list(Lessons(is_revoked=True))
    assert {(one.revoked_at, one.revoked_by) for one in gone} <= {(500_000.0, "admin")}
    assert len(gone) == 4 - len(left) == 4 - ledger.list(Lessons(is_revoked=False))[1]
    assert ledger.restore(which) == 4 - len(left)
    assert active(ledger) == [1, 2, 3, 4]


def test_one_act_of_revoking_is_undone_alone(ledger: SqlLedger) -> None:
    for number in (1, 2, 3):
        ledger.add(lesson(number), 9)
    ledger.revoke(Lessons(ids=(lesson(1).id,)), "admin")
    at = 600_000.1234567
    assert ledger.revoke(Lessons(trainer="sara"), "admin", at) == 2
    assert ledger.list(Lessons(revoked_at=at))[1] == 2
    assert ledger.restore(Lessons(revoked_at=at)) == 2
    assert active(ledger) == [2, 3]


def test_lessons_of_a_content(ledger: SqlLedger) -> None:
    ledger.add(lesson(1), 9)
    ledger.add(lesson(2, trainer="reza", content_hash=lesson(1).content_hash), 9)
    ledger.add(lesson(3), 9)
    assert [int(one.id, 16) for one in ledger.list(Lessons(content_hash=lesson(1).content_hash))[0]] == [2, 1]


def test_what_names_no_lesson_revokes_none(ledger: SqlLedger) -> None:
    ledger.add(lesson(1), 9)
    for act in (lambda: ledger.revoke(Lessons(), "admin"), lambda: ledger.restore(Lessons(is_revoked=True))):
        with pytest.raises(InputError):
            act()
    assert active(ledger) == [1]


def test_lessons_are_counted(ledger: SqlLedger) -> None:
    assert ledger.counts(3).newest_at == 0.0
    ledger.add(lesson(1), 9)
    ledger.add(lesson(2, is_spam=False, via="imap"), 9)
    ledger.add(lesson(3, features_version=2), 9)
    ledger.add(lesson(4), 9)
    ledger.add(lesson(5, is_spam=False, content_hash=lesson(1).content_hash), 9)
    ledger.revoke(Lessons(ids=(lesson(4).id,)), "admin")
    found = ledger.counts(3)
    assert dict(found.lessons) == {(False, "review"): 1, (False, "imap"): 1}
    assert (found.revoked, found.superseded, found.foreign, found.newest_at) == (1, 1, 1, 5000.0)


def test_a_lesson_taught_twice_at_once_is_one(ledger: SqlLedger) -> None:
    told: list[str] = []
    threads = [
        threading.Thread(
            target=lambda n=n: told.append(ledger.add(lesson(n, content_hash="0" * 64), 9).what)  # type: ignore[misc]
        )
        for n in range(1, 9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["known"] * 7 + ["learned"]


# --- the audit log ----------------------------------------------------------------------------------------------------

SIGNER = audit_chain.key_of(bytes(32))


def test_the_audit_log_is_a_chain(engine: Engine, quarantine: SqlQuarantine) -> None:
    quarantine.hold([held(1)], CONTENT)
    log = SqlAudit(engine)
    assert log.sign(SIGNER) is None
    assert log.append("sara", "release", held(1).id, "released: 250 \0 \ud800", client="192.0.2.1") == 1
    assert log.append("ali", "account", "r@Example.ir") == 2
    assert log.append("ali", "sign-in", domain="example.org") == 3
    head = log.sign(SIGNER)
    assert head is not None
    assert log.sign(SIGNER) is None
    assert [one.domain for one in log.entries()] == ["darban.test", "example.ir", "example.org"]
    found = audit_chain.verify(log.entries(), log.heads(), audit_chain.public_key(SIGNER))
    assert (found.faults, found.signed_up_to) == ([], 3)


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        (AuditQuery(), [4, 3, 2, 1]),
        (AuditQuery(limit=2, offset=1), [3, 2]),
        (AuditQuery(act="view"), [4, 1]),
        (AuditQuery(account="ali"), [3, 2]),
        (AuditQuery(text="ALI"), [4, 3, 2]),
        (AuditQuery(text="%"), []),
        (AuditQuery(since=9e9), []),
        (AuditQuery(until=1.0), []),
        (AuditQuery(scope=Scope(domains=("a.example",))), [1]),
        (AuditQuery(scope=Scope(domains=("*.a.example",))), [2]),
        (AuditQuery(scope=Scope(domains=("a.example", "*.a.example", "c.example"))), [3, 2, 1]),
        (AuditQuery(scope=Scope()), []),
    ],
)
def test_the_audit_log_is_searched(engine: Engine, query: AuditQuery, numbers: list[int]) -> None:
    log = SqlAudit(engine)
    log.append("sara", "view", domain="a.example")
    log.append("ali", "delete", domain="b.a.example")
    log.append("ali", "release", domain="c.example")
    log.append("sara", "view", detail="of Ali's")
    found, total = log.list(query)
    assert [one.number for one in found] == numbers
    assert total == (4 if query.offset else len(numbers))


def test_who_append_at_once_do_not_fork_the_chain(engine: Engine) -> None:
    other = make_engine(engine.url.render_as_string(hide_password=False).replace("+psycopg", ""))
    logs = [SqlAudit(engine), SqlAudit(other)] * 3

    def append(log: SqlAudit) -> None:
        for _ in range(8):
            log.append("sara", "view")

    threads = [threading.Thread(target=append, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.dispose()
    found = audit_chain.verify(SqlAudit(engine).entries(), [])
    assert (found.faults, found.entries) == ([], 48)


def test_a_person_is_erased_from_a_chain_that_stays_whole(engine: Engine) -> None:
    log = SqlAudit(engine)
    log.append("sara@darban.test", "release", "0" * 32, "for SARA@darban.test, not tsara@darban.test")
    log.append("ali", "view", detail="tsara@darban.test")
    log.append("ali", "account", "sara@darban.test")
    log.sign(SIGNER)
    assert [one.number for one in log.about("Sara@darban.test", Scope(is_all=True))] == [1, 3]
    assert log.erase("Sara@darban.test", "erased:0", by="ali", detail="held 2", client="command") == [1, 3]
    entries = list(log.entries())
    assert [(one.account, one.subject) for one in entries] == [
        ("erased:0", "0" * 32), ("ali", ""), ("ali", "erased:0"), ("ali", "erased:0"),
    ]  # fmt: skip
    assert entries[0].detail == "for erased:0, not tsara@darban.test"
    assert (entries[3].act, entries[3].detail) == ("erase", "held 2 audit:1,3")
    assert log.about("sara@darban.test", Scope(is_all=True)) == []
    log.sign(SIGNER)
    found = audit_chain.verify(log.entries(), log.heads())
    assert (found.faults, found.erased, found.signatures) == ([], 2, 2)


def test_old_audit_rows_are_the_first_of_the_chain(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for url in (f"sqlite:///{tmp_path}/old.db", fresh_database(request.getfixturevalue("postgres_server"))):
        migrate(url, "0004")
        engine = make_engine(url)
        with engine.begin() as connection:
            for number in (1, 2, 3):
                words = "INSERT INTO audit (at, account, act, held_id, detail) VALUES (:at, 'sara', 'view', :id, '')"
                connection.execute(text(words), {"at": 1_800_000_000.123456 + number, "id": held(number).id})
        migrate(url)
        migrate(url)  # a second start changes nothing
        log = SqlAudit(engine)
        assert log.append("sara", "view") == 4
        found = audit_chain.verify(log.entries(), [])
        assert (found.faults, found.entries) == ([], 4)
        engine.dispose()
