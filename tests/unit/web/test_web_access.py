"""Role by endpoint: every route has a row here, and each role meets what policy/access.py says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from gateway.policy.access import may
from gateway.types import Account, Role
from tests.web_app import WebApp, form_token, make_web_app

OURS, FOREIGN = "you@darban.test", "sara@other.example"
WHO: dict[Role, Account] = {
    "owner": Account("owner", "owner"),
    "domain_admin": Account("admin", "domain_admin", ("darban.test",)),
    "reviewer": Account("reviewer", "reviewer", ("darban.test",)),
    "auditor": Account("auditor", "auditor", ("darban.test",)),
    "recipient": Account("you", "recipient", (), (OURS,)),
}
LIMITED = [role for role in WHO if role != "owner"]
NEW = {"name": "new", "role": "recipient", "addresses": "new@darban.test"}
PASSWORD = {"password": "not the right one"}


class Row(NamedTuple):
    """`act`: policy/access.py's, "own" for whoever is signed in, "door" for everybody."""

    act: str
    form: dict[str, str] = {}  # noqa: RUF012  a tuple's default, never changed
    query: str = ""
    is_there: bool = True  # what the path names; a role that may look is told that it is not


# A new route needs a row: what one has to be allowed, and a form and a query that are understood.
ROWS: dict[tuple[str, str], Row] = {
    ("GET", "/"): Row("list"),
    ("GET", "/news"): Row("list"),
    ("GET", "/bulk"): Row("list", query="?act=delete"),
    ("GET", "/jobs"): Row("list"),
    ("GET", "/jobs/{job_id}"): Row("list", is_there=False),
    ("POST", "/jobs"): Row("delete", {"act": "delete", "id": "{held_id}"}),
    ("POST", "/jobs/{job_id}/{order}"): Row("list", is_there=False),
    ("POST", "/filters"): Row("list", {"name": "x"}),
    ("POST", "/filters/{filter_id}/delete"): Row("list", is_there=False),
    ("GET", "/held/{held_id}/copies"): Row("read"),
    ("GET", "/held/{held_id}/notes"): Row("read"),
    ("POST", "/held/{held_id}/notes"): Row("note", {"text": "x"}),
    ("POST", "/held/{held_id}/redirect"): Row("redirect", {"address": "new@darban.test"}),
    ("GET", "/log"): Row("log"),
    ("GET", "/log/export.csv"): Row("log"),
    ("GET", "/log/row/{number}"): Row("log", is_there=False),
    ("GET", "/log/{queue_id}"): Row("log", is_there=False),
    ("GET", "/held/{held_id}"): Row("read"),
    ("GET", "/held/{held_id}/print"): Row("read"),
    ("GET", "/held/{held_id}/part/{path}"): Row("read", is_there=False),
    ("GET", "/held/{held_id}/view"): Row("read"),
    ("GET", "/held/{held_id}/source"): Row("read"),
    ("GET", "/held/{held_id}/why"): Row("read"),
    ("POST", "/held/{held_id}/release"): Row("release"),
    ("POST", "/held/{held_id}/spam"): Row("spam"),
    ("POST", "/held/{held_id}/delete"): Row("delete"),
    ("POST", "/senders"): Row("senders", {"act": "block", "pattern": "a@example.org", "recipient": OURS}),
    ("GET", "/senders"): Row("senders"),
    ("GET", "/senders/new"): Row("senders"),
    ("GET", "/senders/export.csv"): Row("senders"),
    ("GET", "/senders/{number}"): Row("senders"),
    ("POST", "/senders/{number}/remove"): Row("senders"),
    ("POST", "/senders/import"): Row("senders", {"text": f"act,pattern,recipient\nblock,b@example.org,{OURS}"}),
    ("GET", "/learning"): Row("learning"),
    ("GET", "/learning/revoke"): Row("revoke", query="?trainer=x"),
    ("POST", "/learning/revoke"): Row("revoke", {"trainer": "x"}),
    ("POST", "/learning/restore"): Row("revoke", {"lesson": "x"}),
    ("GET", "/accounts"): Row("accounts"),
    ("GET", "/accounts/new"): Row("accounts"),
    ("POST", "/accounts/new"): Row("accounts", NEW),
    ("GET", "/accounts/edit"): Row("accounts", query="?name=mina"),
    ("POST", "/accounts/edit"): Row("accounts", NEW | {"name": "mina"}),
    ("POST", "/accounts/reset"): Row("accounts", {"name": "mina"}),
    ("POST", "/accounts/code-off"): Row("accounts", {"name": "mina"}),
    ("POST", "/accounts/disable"): Row("accounts", {"name": "mina", "is_disabled": "yes"}),
    ("POST", "/accounts/delete"): Row("accounts", {"name": "mina"}),
    ("GET", "/audit"): Row("audit"),
    ("GET", "/privacy"): Row("privacy"),
    ("POST", "/privacy/export"): Row("privacy", {"address": "new@darban.test"}),
    ("POST", "/privacy/erase"): Row("privacy", {"address": "new@darban.test", "confirmed": "yes"}),
    ("GET", "/account"): Row("own"),
    ("POST", "/account/password"): Row("own", {"old": "x", "new": "x"}),
    ("POST", "/account/sessions"): Row("own"),
    ("GET", "/account/code"): Row("own"),
    ("POST", "/account/code"): Row("own", PASSWORD | {"secret": "A" * 32, "code": "1"}),
    ("POST", "/account/code-off"): Row("own", PASSWORD),
    ("POST", "/account/recovery"): Row("own", PASSWORD),
    ("GET", "/sign-in"): Row("door"),
    ("POST", "/sign-in"): Row("door"),
    ("POST", "/sign-in/code"): Row("door"),
    ("GET", "/sign-in/link"): Row("door"),
    ("POST", "/sign-in/link"): Row("door"),
    ("GET", "/sign-in/oidc"): Row("door"),
    ("GET", "/sign-in/oidc/back"): Row("door"),
    ("GET", "/link/{token}"): Row("door"),
    ("POST", "/link/{token}"): Row("door"),
    ("GET", "/setup/{token}"): Row("door"),
    ("POST", "/setup/{token}"): Row("door"),
    ("GET", "/reset/{token}"): Row("door"),
    ("POST", "/reset/{token}"): Row("door"),
    ("GET", "/account/tokens"): Row("own"),
    ("POST", "/account/tokens"): Row("own", {"name": "x", "act": "list", "days": "1"}),
    ("POST", "/account/tokens/revoke"): Row("own", {"token": "none"}, is_there=False),
    ("GET", "/api"): Row("own"),
    ("GET", "/api/openapi.json"): Row("own"),
    ("GET", "/digest/{text}"): Row("door"),
    ("POST", "/digest/{text}"): Row("door"),
    ("POST", "/sign-out"): Row("door"),
    ("GET", "/language/{code}"): Row("door"),
    ("GET", "/favicon.ico"): Row("door"),
}
NAMES = {
    "path": "9.9",
    "job_id": "0" * 32,
    "order": "stop",
    "filter_id": "0" * 32,
    "number": "1",
    "queue_id": "Q0",
    "token": "x",
    "code": "fa",
}
GUARDED = {which: row for which, row in ROWS.items() if row.act != "door"}
OF_A_MESSAGE = {which: row for which, row in GUARDED.items() if "{held_id}" in which[1]}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebApp]:
    made = make_web_app(tmp_path)
    for who in (*WHO.values(), Account("stranger", "recipient", (), (FOREIGN,))):
        made.accounts.add(who)
    yield made
    made.engine.dispose()


def ask(client: TestClient, which: tuple[str, str], row: Row, held_id: str, csrf: str) -> Any:
    method, path = which
    form = (
        {name: value.format(held_id=held_id) for name, value in row.form.items()} | {"csrf": csrf}
        if method == "POST"
        else None
    )
    return client.request(method, path.format(**NAMES, held_id=held_id) + row.query, data=form)


def test_every_route_has_a_row(web: WebApp) -> None:
    routes = {
        (method, route.path)
        for route in iter_route_contexts(web.app.routes)
        for method in (getattr(route, "methods", None) or ())
        if method != "HEAD"
    }
    assert len(routes) > 30
    assert routes == set(ROWS)


@pytest.mark.parametrize("role", get_args(Role))
def test_what_a_role_may(web: WebApp, role: Role) -> None:
    client = web.client(WHO[role])
    csrf = form_token(client.get("/account").text)
    for number, (which, row) in enumerate(GUARDED.items()):
        held_id = f"{number:032x}"
        web.hold(held_id, OURS)
        if web.accounts.record("mina") is None:  # the row before deleted it
            web.accounts.add(Account("mina", "recipient", (), ("mina@darban.test",)))
        status = ask(client, which, row, held_id, csrf).status_code
        if row.act == "own" or may(WHO[role], row.act):
            assert status in ((200, 303, 400) if row.is_there else (404,)), (which, status)  # 400: a wrong password
            assert status != 400 or row.act == "own", (which, status)
        else:
            assert status == 403, (which, status)


def test_nothing_is_done_without_a_session_or_the_forms_token(web: WebApp) -> None:
    nobody, owner = web.client(), web.client(WHO["owner"])
    for number, (which, row) in enumerate(GUARDED.items()):
        held_id = f"{number:032x}"
        web.hold(held_id, OURS)
        answer = ask(nobody, which, row, held_id, "")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in"), which
        if which[0] == "POST":
            assert ask(owner, which, row, held_id, "0" * 64).status_code == 403, which
    assert web.quarantine.counts() == {"held": len(GUARDED)}
    assert web.accounts.record("new") is None
    assert web.audited() == []


@pytest.mark.parametrize("role", LIMITED)
def test_a_foreign_message_is_not_there(web: WebApp, role: Role) -> None:
    web.hold("f" * 32, FOREIGN)
    client = web.client(WHO[role])
    csrf = form_token(client.get("/account").text)
    for which, row in OF_A_MESSAGE.items():
        answer = ask(client, which, row, "f" * 32, csrf)
        missing = ask(client, which, row, "e" * 32, csrf)
        assert answer.status_code == (404 if may(WHO[role], row.act) else 403), which
        assert (answer.status_code, answer.text.replace("f" * 32, "")) == (
            missing.status_code,
            missing.text.replace("e" * 32, ""),
        ), which
    assert FOREIGN not in client.get("/?state=").text
    assert web.quarantine.get("f" * 32).state == "held"


def test_a_foreign_account_is_not_there(web: WebApp) -> None:
    client = web.client(WHO["domain_admin"])
    listed = client.get("/accounts").text
    csrf = form_token(listed)
    for name in ("stranger", "owner", "nobody"):
        for which, row in GUARDED.items():
            if which[1].startswith("/accounts/") and which[1] != "/accounts/new":
                named = row._replace(form=row.form | {"name": name}, query=row.query and f"?name={name}")
                assert ask(client, which, named, "", csrf).status_code == 404, (which, name)
    assert "reviewer" in listed and "stranger" not in listed and ">owner<" not in listed
    assert web.accounts.record("stranger") and not web.accounts.record("stranger").is_disabled
