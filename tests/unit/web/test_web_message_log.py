"""web/message_log.py over the real SQLite stores."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from gateway.stores.audit import SqlAudit
from gateway.stores.message_log import SqlMessageLog
from gateway.stores.schema import audit
from gateway.types import HeldMessage, LogRow, Summary
from gateway.web.message_log import HINTS
from gateway.web.site import SESSION_COOKIE
from tests.web_app import make_web_app

CONTENT = b"Subject: x\r\n\r\n"
DAY = 1_767_225_600.0  # 2026-01-01, 1404/10/11
XSS = "<script>alert(1)</script>"
SUMMARY = Summary("m1@example.org", XSS, f"{XSS} <sara@shop.example>", 9)
ROW = LogRow(
    "QAAA1", DAY, "192.0.2.1", XSS, f'"{XSS}"@example.org', "you@darban.test", SUMMARY, "quarantine",
    "250 2.0.0 Message accepted", 9.0, ("SPF_FAIL",), "score 9.0 >= quarantine_at 8.0", "250 2.0.0 Message accepted",
)  # fmt: skip
REFUSED = LogRow(
    "", DAY + 5, "192.0.2.9", "h", "a@x.example", "no@darban.test", Summary(), "reject", f"550 {XSS}", 0.0, reason=XSS
)
DELIVERED = replace(
    ROW, queue_id="QCCC3", at=DAY + 90_000, recipient="b@example.ir", action="accept", next_hop_reply="250 2.0.0 Ok: queued as 4XyZ",
    summary=Summary("m3@example.org", "=cmd|' /C calc'!A0", "+1", 9), score=-1.5,
)  # fmt: skip
HELD = HeldMessage(
    "a" * 32, "QAAA1", hashlib.sha256(CONTENT).hexdigest(), ROW.reverse_path, "you@darban.test", "darban.test", "192.0.2.1",
    "h", DAY, SUMMARY, 9.0, "score", "{}",
)  # fmt: skip


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    web = make_web_app(tmp_path)
    message_log = SqlMessageLog(web.engine)
    web.quarantine.hold([HELD], CONTENT)
    message_log.append([ROW, REFUSED, DELIVERED])
    with TestClient(web.app) as made:
        made.engine, made.accounts, made.message_log, made.quarantine = (
            web.engine, web.accounts, message_log, web.quarantine,
        )  # fmt: skip
        yield made
    web.engine.dispose()


def sign_in(client: TestClient, role: str = "owner", **scope: Any) -> None:
    who = client.accounts.create(f"{role}1", "a long password", role, **scope)
    client.cookies.set(SESSION_COOKIE, client.accounts.new_session(who))


def listed(text: str) -> list[str]:
    """The rows' links, in their order."""
    return [
        link if link.startswith("Q") else "row" for link in re.findall(r'class="when"><a href="/log/([^"/]+)', text)
    ]


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ("", ["QCCC3", "row", "QAAA1"]),
        ("q=you@darban.test", ["QAAA1"]),
        ("q=4xyz", ["QCCC3"]),
        ("action=reject", ["row"]),
        ("finding=SPF_FAIL&recipient=example.ir", ["QCCC3"]),
        ("since=2026-01-02", ["QCCC3"]),
        ("until=2026-01-01", ["row", "QAAA1"]),
        ("since=1404/10/12", ["QCCC3"]),
        ("until=۱۴۰۴/۱۰/۱۱", ["row", "QAAA1"]),
        ("q=nothing+like+it", []),
    ],
)
def test_what_is_listed(client: TestClient, asked: str, rows: list[str]) -> None:
    sign_in(client)
    answer = client.get(f"/log?{asked}")
    assert (answer.status_code, listed(answer.text)) == (200, rows)
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize(
    "asked",
    [
        "since=yesterday",
        "until=2026-02-30",
        "since=1404/13/01",
        "sender=a+b",
        "recipient=a+b",
        "before=x",
        "subject=ab",
        "client=here",
    ],
)
def test_what_cannot_be_looked_for_is_told_on_the_page(client: TestClient, asked: str) -> None:
    sign_in(client)
    answer = client.get(f"/log?{asked}")
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    client.cookies.set("darban_language", "fa")
    persian = client.get(f"/log?{asked}").text
    assert not any(hint in persian for hint in HINTS.values())
    assert client.get(f"/log/export.csv?{asked}").status_code == 400


@pytest.mark.parametrize(
    ("role", "scope", "rows"),
    [
        ("owner", {}, ["QCCC3", "row", "QAAA1"]),
        ("auditor", {}, ["QCCC3", "row", "QAAA1"]),
        ("auditor", {"domains": ["example.ir"]}, ["QCCC3"]),
        ("domain_admin", {"domains": ["darban.test"]}, ["row", "QAAA1"]),
        ("domain_admin", {}, []),
        ("recipient", {"addresses": ["You@darban.test"]}, ["QAAA1"]),
        ("recipient", {}, []),
    ],
)
def test_nobody_sees_others_mail(client: TestClient, role: str, scope: dict, rows: list[str]) -> None:
    sign_in(client, role, **scope)
    assert listed(client.get("/log").text) == rows
    told = list(csv.reader(io.StringIO(client.get("/log/export.csv").text)))[1:]
    assert [row[1] or "row" for row in told] == rows
    numbers = {row.queue_id: row.number for row in client.message_log.search(client_query()).rows}
    for queue_id, number in numbers.items():
        expected = 200 if (queue_id or "row") in rows else 404
        assert client.get(f"/log/row/{number}").status_code == expected
        if queue_id:
            assert client.get(f"/log/{queue_id}").status_code == expected


def client_query() -> Any:
    from gateway.types import LogQuery

    return LogQuery()


def test_nothing_without_a_session(client: TestClient) -> None:
    for path in ("/log", "/log/QAAA1", "/log/row/1", "/log/export.csv"):
        answer = client.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_pages_by_cursor(client: TestClient) -> None:
    client.message_log.append([replace(DELIVERED, queue_id=f"QP{n:03}", at=DAY + 100_000 + n) for n in range(120)])
    sign_in(client)
    seen, path = [], "/log?q=b@example.ir"
    while path:
        text = client.get(path).text
        seen += listed(text)
        older = re.search(r'href="(/log\?[^"]+)" rel="next"', text)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == [f"QP{n:03}" for n in reversed(range(120))] + ["QCCC3"]


def test_the_export_is_whole_and_no_formula(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.web.message_log._EXPORT_PAGE", 1)
    sign_in(client)
    answer = client.get("/log/export.csv?recipient=example.ir")
    assert answer.headers["content-disposition"].startswith("attachment;")
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert [(row["queue_id"], row["subject"], row["author"], row["score"]) for row in rows] == [
        ("QCCC3", "'=cmd|' /C calc'!A0", "'+1", "-1.5")
    ]
    assert rows[0]["received_at"] == "2026-01-02T01:00:00+00:00"
    assert len(list(csv.reader(io.StringIO(client.get("/log/export.csv").text)))) == 4
    with client.engine.connect() as connection:
        acts = connection.execute(select(audit.c.act, audit.c.detail).order_by(audit.c.number)).all()
    assert [tuple(act) for act in acts] == [("export", "recipient=example.ir"), ("export", "")]


def test_the_timeline_of_a_message(client: TestClient) -> None:
    sign_in(client)
    text = client.get("/log/QAAA1").text
    assert re.findall(r"<strong>([^<]+)</strong>", text) == [
        "Came from the client",
        "Judged",
        "Put into the quarantine",
        "The client was told",
    ]
    assert f'href="/held/{HELD.id}"' in text
    assert "<script>alert" not in text
    client.quarantine.transition(HELD.id, ["held"], "released", "250 2.0.0 Ok: queued as 9A")
    SqlAudit(client.engine).append("sara", "release", HELD.id, "released: 250 2.0.0 Ok: queued as 9A")
    text = client.get("/log/QAAA1").text
    assert "<strong>Released</strong> <bdi>sara</bdi>" in text
    assert "Held, then released" in client.get("/log").text
    client.cookies.set("darban_language", "fa")
    assert "<strong>آزاد" in client.get("/log/QAAA1").text
    number = client.message_log.search(client_query()).rows[1].number
    assert "رد شد" in client.get(f"/log/row/{number}").text
    assert client.get("/log/QNONE").status_code == 404


def test_persian_readers_pick_jalali_days(client: TestClient) -> None:
    sign_in(client)
    assert '<input type="date" name="since"' in client.get("/log").text
    client.cookies.set("darban_language", "fa")
    text = client.get("/log?since=۱۴۰۴/۱۰/۱۲").text
    assert 'name="since" value="۱۴۰۴/۱۰/۱۲"' in text
    assert re.search(r'<datalist id="days"><option value="۱۴[۰-۹]{2}/[۰-۹]{2}/[۰-۹]{2}">', text)
