"""web/audit.py and web/privacy.py over the real SQLite stores: who sees what, and what is said of what goes soon."""

from __future__ import annotations

import io
import re
import time
import zipfile

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from gateway.stores import audit_chain
from gateway.stores.accounts import SqlAccounts
from gateway.stores.audit import SqlAudit
from gateway.stores.schema import audit
from gateway.stores.schema import held as held_table
from gateway.types import Role
from gateway.web.session import Refusals
from tests.fakes import FakeClock
from tests.unit.web.test_web_pages import CONTENT, ID, client, sign_in

__all__ = ["client"]  # the fixture


def test_the_audit_log_is_a_page(client: TestClient) -> None:
    token = sign_in(client)
    client.get(f"/held/{ID}")
    client.post(f"/held/{ID}/release", data={"csrf": token})
    SqlAudit(client.engine).append("<b>ali</b>", "else", "x@example.org", "<i>\u202e</i>", client="192.0.2.9")
    text = client.get("/audit").text
    for shown in ("4 entries", "Signed in", "&lt;b&gt;ali", "&lt;i&gt;[U+202E]", "192.0.2.9", "testclient"):
        assert shown in text
    assert "451 4.4.1" not in client.get("/audit?act=view").text
    assert "1 entry" in client.get("/audit?q=192.0.2.9&until=2100-01-01&since=2001-01-01").text
    assert client.get("/audit?since=2001-02-31").status_code == 400
    assert "Nothing here." in client.get("/audit?until=2001-01-01").text
    assert "Nothing here." in client.get("/audit?until=۱۳۸۰/۰۱/۰۱").text
    SqlAudit(client.engine).sign(audit_chain.key_of(bytes(32)))
    client.cookies.set("darban_language", "fa")
    assert "وارد شد" in client.get("/audit").text


@pytest.mark.parametrize(
    ("role", "domains", "seen"),
    [("auditor", ("darban.test",), "view"), ("auditor", ("else.test",), ""), ("domain_admin", (), "")],
)
def test_the_audit_log_is_that_of_ones_domains(
    client: TestClient, role: Role, domains: tuple[str, ...], seen: str
) -> None:
    SqlAudit(client.engine).append("sara", "view", ID)
    SqlAccounts(client.engine).create("mina", "a long password", role, domains)
    assert client.post("/sign-in", data={"name": "mina", "password": "a long password"}).status_code == 200
    text = client.get("/audit").text
    assert ("Opened</strong>" in text, "Signed in</strong>" in text) == (bool(seen), False)
    assert "signed up to" not in text


def test_refused_sign_ins_are_written_down_and_do_not_fill_the_log(client: TestClient) -> None:
    sign_in(client)
    for _ in range(2):
        client.post("/sign-in", data={"name": "my secret password", "password": "x"})
    client.post("/sign-in", data={"name": "sara", "password": "wrong"})
    with client.engine.connect() as connection:
        rows = connection.execute(select(audit.c.account).where(audit.c.act == "sign-in-refused")).all()
    assert [row.account for row in rows] == ["", "", "sara"]
    assert "my secret password" not in client.get("/audit").text


def test_of_many_refusals_the_number_is_kept() -> None:
    clock = FakeClock()
    refusals = Refusals(clock.now)
    assert [refusals.take() for _ in range(50)] == [""] * 20 + [None] * 30
    clock.advance(60.0)
    assert refusals.take() == ", and 30 more before, not written"


def test_a_person_is_looked_at_exported_and_erased(client: TestClient) -> None:
    token = sign_in(client)
    text = client.get("/privacy?address=You@darban.test").text
    assert "<dt>Held messages</dt><dd>1</dd>" in text
    assert client.get("/privacy?address=<x>").status_code == 400
    assert client.post("/privacy/erase", data={"address": "you@darban.test"}).status_code == 403
    form = {"csrf": token, "address": "you@darban.test"}
    with zipfile.ZipFile(io.BytesIO(client.post("/privacy/export", data=form).content)) as folder:
        assert folder.read(f"held/{ID}.eml") == CONTENT
        assert "held.jsonl" in folder.namelist()
    assert client.post("/privacy/export", data={"csrf": token, "address": "x"}).status_code == 400
    erased = client.post("/privacy/erase", data=form).text
    assert "<dt>Held messages</dt><dd>1</dd>" in erased
    assert "0 messages" in client.get("/?state=").text
    assert "you@darban.test" not in client.get("/audit").text
    found = audit_chain.verify(SqlAudit(client.engine).entries(), [])
    assert (found.faults, found.erased) == ([], 1)


def test_a_domain_admin_erases_nobody_elses(client: TestClient) -> None:
    SqlAccounts(client.engine).create("mina", "a long password", "domain_admin", ("else.test",))
    assert client.post("/sign-in", data={"name": "mina", "password": "a long password"}).status_code == 200
    answer = client.get("/privacy?address=you@darban.test")
    assert (answer.status_code, "no address of your domains" in answer.text) == (400, True)
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', answer.text)[1]
    for act in ("export", "erase"):
        answer = client.post(f"/privacy/{act}", data={"csrf": token, "address": "you@darban.test"})
        assert answer.status_code == 400


@pytest.mark.parametrize(
    ("age_days", "english", "persian"),
    [
        (31.0, "expires within a day", "تا یک روز دیگر پاک می‌شود"),
        (26.5, "expires in 3 days", "تا ۳ روز دیگر پاک می‌شود"),
        (10.0, "", ""),
    ],
)
def test_what_goes_soon_says_so(client: TestClient, age_days: float, english: str, persian: str) -> None:
    sign_in(client)
    with client.engine.begin() as connection:
        connection.execute(held_table.update().values(received_at=time.time() - age_days * 86_400))
    text = client.get("/").text
    assert english in text if english else "expires" not in text
    client.cookies.set("darban_language", "fa")
    assert persian in client.get("/").text
