"""The message log in SQLite and PostgreSQL finds the same."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, text

from gateway import stores
from gateway.errors import InputError
from gateway.stores.engine import make_engine, migrate
from gateway.stores.message_log import SqlMessageLog, subject_writer
from gateway.types import LogQuery, LogRow, Scope, Summary
from tests.postgres import fresh_database

DAY_S = 86_400.0
ROW = LogRow(
    "QAAA1",
    5.0,
    "192.0.2.1",
    "mx.example.org",
    "Bounce@lists.example.org",
    "You@darban.test",
    Summary("m1@example.org", "سلام، Ваш Счёт 100%", "Sara <sara@shop.example>", 3),
    "accept",
    "250 2.0.0 Message accepted",
    1.5,
    ("SPF_FAIL", "B"),
    "score 1.5 < tag_at 5.0",
    "250 2.0.0 Ok: queued as 4XyZ",
)
OTHER = replace(
    ROW,
    queue_id="QBBB2",
    at=9.0 * DAY_S,
    client_ip="2001:db8::25",
    reverse_path="",
    recipient="b@example.ir",
    summary=Summary("m2@example.org", "Invoice no_7", "Ali <ali@xn--mgba3a4f16a.example>", 3),
    action="quarantine",
    hits=("SPF_FAIL_HARD",),
    next_hop_reply="250 2.0.0 Message accepted",
)
REFUSED = LogRow(
    "", 9.5 * DAY_S, "192.0.2.9", "h", "a@x.example", "nobody@darban.test", Summary(), "reject", "550", 0.0
)


def filled(engine: Engine) -> SqlMessageLog:
    made = SqlMessageLog(engine)
    made.append([ROW, OTHER])
    made.append([REFUSED])
    made.append([])
    return made


@pytest.fixture
def log(engine: Engine) -> SqlMessageLog:
    return filled(engine)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def same_log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlMessageLog]:
    """One for all tests that only read."""
    url = f"sqlite:///{tmp_path_factory.mktemp('log')}/darban.db"
    if request.param == "postgresql":
        url = fresh_database(request.getfixturevalue("postgres_server"))
    migrate(url)
    engine = make_engine(url)
    yield filled(engine)
    engine.dispose()


def found(log: SqlMessageLog, **asked: Any) -> str:
    """By the last character of their recipients' local part: u, b, y."""
    return "".join(row.recipient.partition("@")[0][-1] for row in log.search(LogQuery(**asked)).rows)


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ({}, "ybu"),
        ({"text": "سلام"}, "u"),
        ({"text": "ваш счёт"}, "u"),  # case makes no difference, in no script
        ({"text": "100%"}, "u"),
        ({"text": "no_7"}, "b"),
        ({"text": "no%7"}, ""),
        ({"text": "voice no"}, "b"),
        ({"text": "qaaa"}, "u"),
        ({"text": "4xyz"}, "u"),
        ({"text": "<m1@example.org>"}, "u"),
        ({"text": "YOU@DARBAN.TEST"}, "u"),
        ({"text": "you@"}, "u"),
        ({"text": "sara"}, "u"),
        ({"text": "sara@shop.example"}, "u"),
        ({"text": "lists.example.org"}, "u"),
        ({"text": "@darban.test"}, "yu"),
        ({"text": "192.0.2.0/24"}, "yu"),
        ({"text": "192.0.2.1"}, "u"),
        ({"text": "2001:db8::25"}, "b"),
        ({"text": "nothing"}, ""),
        ({"text": "\0\ud800x'\"*(%_"}, ""),
        ({"sender": "bounce@lists.example.org"}, "u"),
        ({"sender": "sara@SHOP.example"}, "u"),
        ({"sender": "shop.example"}, "u"),
        ({"sender": "x.example"}, "y"),
        ({"recipient": "darban.test"}, "yu"),
        ({"recipient": "b@example.ir"}, "b"),
        ({"recipient": "darban.test", "action": "reject"}, "y"),
        ({"subject": "invoice"}, "b"),
        ({"subject": "invoice", "recipient": "darban.test"}, ""),
        ({"subject": '" OR "'}, ""),
        ({"message_id": "<m2@example.org>"}, "b"),
        ({"queue_id": "QB"}, "b"),
        ({"queue_id": "4XYZ"}, "u"),
        ({"client": "192.0.2.0/28"}, "yu"),
        ({"client": "192.0.2.0/30"}, "u"),
        ({"client": "192.0.0.0/14"}, "yu"),
        ({"client": "2001:db8::/32"}, "b"),
        ({"client": "2001:db8::/64"}, "b"),
        ({"client": "2001:db8:1::/48"}, ""),
        ({"client": "::ffff:192.0.2.0/112"}, ""),
        ({"action": "quarantine"}, "b"),
        ({"action": "scanned"}, ""),
        ({"finding": "SPF_FAIL"}, "u"),  # and not SPF_FAIL_HARD
        ({"finding": "SPF_FAIL", "text": "you@darban.test"}, "u"),
        ({"finding": "SPF"}, ""),
        ({"finding": 'A" OR "B'}, ""),
        ({"since": 9.0 * DAY_S}, "yb"),
        ({"since": 9.0 * DAY_S, "until": 9.5 * DAY_S}, "b"),
        ({"until": 9.0 * DAY_S}, "u"),
        ({"subject": "invoice", "since": 9.1 * DAY_S}, ""),
        ({"since": -1e30, "until": 1e30}, "ybu"),
        ({"limit": 0}, "y"),
        ({"scope": Scope()}, ""),
        ({"scope": Scope(domains=("darban.test",))}, "yu"),
        ({"scope": Scope(domains=("*.ir",))}, "b"),
        ({"scope": Scope(domains=("example.ir",), addresses=("you@darban.test",))}, "bu"),
        ({"scope": Scope(addresses=("you@darban.test",)), "text": "invoice"}, ""),
        ({"scope": Scope(addresses=("you@darban.test",)), "recipient": "b@example.ir"}, ""),
        ({"scope": Scope(addresses=("you@darban.test",)), "finding": "B"}, "u"),
        ({"before": 0}, ""),
        ({"before": 1 << 70}, "ybu"),
    ],
)
def test_what_is_found(same_log: SqlMessageLog, asked: dict[str, Any], rows: str) -> None:
    assert found(same_log, **asked) == rows


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"subject": "ab"}, "at least 3"),
        ({"client": "here"}, "192.0.2.0/24"),
        ({"client": "2001:db8::/33"}, "of IPv6 /16"),
        ({"client": "0.0.0.0/0"}, "/8"),
        ({"sender": "a b"}, "neither"),
    ],
)
def test_what_cannot_be_looked_for_is_told(same_log: SqlMessageLog, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        same_log.search(LogQuery(**asked))


def test_rows_are_given_as_they_were_taken(log: SqlMessageLog) -> None:
    assert list(log.search(LogQuery()).rows) == [REFUSED, OTHER, ROW]
    assert (log.of_message("QAAA1"), log.of_message("Q")) == ([ROW], [])
    assert log.of_message("QAAA1", Scope(domains=("example.ir",))) == []
    number = log.of_message("QBBB2")[0].number
    assert log.row(number) == OTHER
    assert log.row(number, Scope(domains=("darban.test",))) is None
    assert log.row(7) is None
    assert log.row(1 << 70) is None


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=st.lists(st.integers(0, 5), min_size=1, max_size=30), limit=st.integers(1, 7))
def test_pages_are_the_whole_log_in_order(engine: Engine, times: list[int], limit: int) -> None:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM message_log"))
    log = SqlMessageLog(engine)
    log.append([replace(ROW, queue_id=f"Q{n}", at=float(at)) for n, at in enumerate(times)])
    for asked in (
        LogQuery(limit=limit),
        LogQuery(limit=limit, subject="سلام"),
        LogQuery(limit=limit, text="you@darban.test"),
    ):
        rows, page = [], log.search(asked)
        while True:
            rows += page.rows
            if page.older is None:
                break
            page = log.search(replace(asked, before=page.older))
        assert sorted(row.queue_id for row in rows) == sorted(f"Q{n}" for n in range(len(times)))
        assert [row.at for row in rows] == sorted(map(float, times), reverse=True)


def test_old_rows_go_a_few_at_a_time(log: SqlMessageLog) -> None:
    log.append([replace(ROW, queue_id="QNEW", at=time.time())])
    assert [log.purge(100.0, 2) for _ in range(3)] == [2, 1, 0]
    assert [row.queue_id for row in log.search(LogQuery(subject="سلام")).rows] == ["QNEW"]
    assert [row.queue_id for row in log.search(LogQuery(finding="B")).rows] == ["QNEW"]


def test_tries_are_those_between_the_same_addresses(log: SqlMessageLog) -> None:
    again = replace(ROW, queue_id="QAAA3", at=605.0, recipient="you@DARBAN.test")
    late = replace(ROW, queue_id="QAAA4", at=7 * DAY_S)
    log.append([again, late, replace(again, recipient="other@darban.test")])
    assert [row.queue_id for row in log.tries(log.of_message("QAAA1")[0])] == ["QAAA3"]


def test_two_writers_in_one_millisecond(log: SqlMessageLog, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([5, 5, 5, 6])
    monkeypatch.setattr("gateway.stores.message_log.secrets.randbelow", lambda _: next(drawn))
    log.append([replace(ROW, queue_id="QX1", at=77.0)])
    log.append([replace(ROW, queue_id="QX2", at=77.0)])
    assert len(log.search(LogQuery(queue_id="QX")).rows) == 2


@pytest.mark.parametrize(
    ("subjects", "kept", "asked"), [("hash", r"#[0-9a-f]{24}", "  SECRET   plan "), ("drop", "", "")]
)
def test_subjects_may_be_private(engine: Engine, subjects: Any, kept: str, asked: str) -> None:
    log = SqlMessageLog(engine, subject_writer(subjects, b"the installation's secret"))
    log.append([replace(ROW, summary=replace(ROW.summary, subject="Secret Plan")), OTHER])
    row = log.of_message("QAAA1")[0]
    assert re.fullmatch(kept, row.summary.subject)
    if asked:
        assert [one.queue_id for one in log.search(LogQuery(subject=asked)).rows] == ["QAAA1"]
        assert log.search(LogQuery(subject="Secret")).rows == ()
    assert [one.queue_id for one in log.search(LogQuery(text="you@darban.test")).rows] == ["QAAA1"]


def test_rows_of_before_are_taken_over(url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(stores.__file__).parent / "migrations"))
    old = make_engine(url)
    with old.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
    columns = "number, queue_id, at, client_ip, helo, reverse_path, recipient, message_id, subject, author, size_bytes, action, reply, score, hits, reason, next_hop_reply"
    with old.begin() as connection:
        for number in range(1, 4):
            connection.exec_driver_sql(
                f"INSERT INTO message_log ({columns}) VALUES ({number}, 'Q{number}', 5.0, '192.0.2.1', 'h', 'a@x.example', 'You@darban.test', "
                "'m', 'Invoice', 'A <a@y.example>', 3, 'accept', '250', 1.5, 'A B_X', 'r', '250 2.0.0 Ok: queued as 4XyZ')"
            )
    old.dispose()
    migrate(url)
    made = make_engine(url)
    log = SqlMessageLog(made)
    for asked in (
        {"text": "voice"},
        {"finding": "B_X"},
        {"sender": "y.example"},
        {"queue_id": "4xyz"},
        {"recipient": "darban.test"},
    ):
        assert [row.queue_id for row in log.search(LogQuery(**asked)).rows] == ["Q3", "Q2", "Q1"]
    made.dispose()


def test_without_trigrams_words_are_found(postgres_server: Path) -> None:
    url = fresh_database(postgres_server)
    migrate(url)
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX message_log_subject_trigrams"))
        words = "CREATE INDEX message_log_subject_words ON message_log USING gin (to_tsvector('simple', subject))"
        connection.execute(text(words))
    log = filled(engine)
    assert found(log, subject="INVOICE") == "b"
    assert found(log, subject="voice") == ""
    engine.dispose()


@pytest.fixture(scope="module")
def sqlite_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """PostgreSQL plans by statistics, which a few rows do not have."""
    url = f"sqlite:///{tmp_path_factory.mktemp('plans')}/darban.db"
    migrate(url)
    engine = make_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def plans(sqlite_engine: Engine) -> Iterator[list[str]]:
    """What SQLite does for the queries of a test."""
    seen: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        if statement.startswith("SELECT") and not executemany:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            seen.extend(row[3] for row in cursor.fetchall())

    event.listen(sqlite_engine, "before_cursor_execute", explain)
    yield seen
    event.remove(sqlite_engine, "before_cursor_execute", explain)


COUNTING = ("CO-ROUTINE", "SCAN anon_1", "SCAN (subquery")  # how many rows there are of what may lead, up to a limit


# a scope with a pattern of domains looks at all rows, the newest first
@pytest.mark.parametrize(
    "asked",
    [
        LogQuery(text="you@darban.test"),
        LogQuery(text="you@darban.test", action="reject", since=1.0),
        LogQuery(text="invoice"),
        LogQuery(text="invoice", sender="x.example"),
        LogQuery(text="192.0.2.0/24", finding="A"),
        LogQuery(finding="A", action="tag"),
        LogQuery(queue_id="Q1", until=9.0),
        LogQuery(action="scanned"),
        LogQuery(scope=Scope(domains=("a.example", "b.example"), addresses=("a@b.example",)), subject="invoice"),
        LogQuery(scope=Scope(domains=("a.example",)), action="quarantine"),
    ],
)
def test_sqlite_looks_at_no_row_in_vain(sqlite_engine: Engine, plans: list[str], asked: LogQuery) -> None:
    SqlMessageLog(sqlite_engine).search(asked)
    assert plans
    for plan in plans:
        assert plan.startswith(("SEARCH message_log USING", "USE TEMP B-TREE", "SCAN message_log_", *COUNTING)), plan
        assert "INTEGER PRIMARY KEY (rowid>" not in plan and "INTEGER PRIMARY KEY (rowid<" not in plan


def test_sqlite_reads_the_newest_from_the_end(sqlite_engine: Engine, plans: list[str]) -> None:
    SqlMessageLog(sqlite_engine).search(LogQuery())
    assert plans == ["SEARCH message_log USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]
