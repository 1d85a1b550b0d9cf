"""web/accounts.py: who may sign in, kept by owners and by admins of domains."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.types import Account
from tests.web_app import WebApp, form_token, make_web_app

OWNER = Account("sara", "owner")
ADMIN = Account("reza", "domain_admin", ("example.ir", "*.example.ir"))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebApp]:
    made = make_web_app(tmp_path)
    for who in (OWNER, ADMIN):
        made.accounts.add(who)
    yield made
    made.engine.dispose()


def test_a_life(web: WebApp) -> None:
    client = web.client(OWNER)
    csrf = form_token(client.get("/accounts/new").text)
    new = {"name": " mina <b> ", "role": "auditor", "domains": "Example.IR, دربان.ایران\n*.example.ir", "csrf": csrf}
    shown = client.post("/accounts/new", data=new)
    link = re.search(r"http://testserver(/reset/\S+)</pre>", shown.text)[1]
    name = "mina <b>"
    record = web.accounts.record(name)
    assert record.account.role == "auditor" and record.account.domains[0] == "example.ir"
    assert record.account.domains[1].startswith("xn--") and record.account.domains[2] == "*.example.ir"
    assert web.client().post(link, data={"password": "a long password"}).status_code == 303
    session = web.client(record.account)
    changed = {"name": name, "role": "recipient", "addresses": "Mina@example.ir", "csrf": csrf}
    assert client.post("/accounts/edit", data=changed).headers["location"] == "/accounts"
    assert web.accounts.record(name).account == Account(name, "recipient", (), ("mina@example.ir",))
    assert "mina &lt;b&gt;" in client.get("/accounts?q=MINA").text
    web.accounts.set_code(name, "SECRET", ())
    client.post("/accounts/code-off", data={"name": name, "csrf": csrf})
    assert not web.accounts.record(name).has_code
    client.post("/accounts/disable", data={"name": name, "is_disabled": "yes", "csrf": csrf})
    assert web.accounts.record(name).is_disabled and session.get("/account").status_code == 303
    client.post("/accounts/disable", data={"name": name, "is_disabled": "no", "csrf": csrf})
    assert not web.accounts.record(name).is_disabled
    assert "/reset/" in client.post("/accounts/reset", data={"name": name, "csrf": csrf}).text
    client.post("/accounts/delete", data={"name": name, "csrf": csrf})
    assert web.accounts.record(name) is None
    assert [act for who, act, _ in web.audited() if who == "sara"] == [
        "account-add", "account-change", "account-code-off", "account-disable", "account-enable", "account-reset",
        "account-delete",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("who", "form", "said"),
    [
        (OWNER, {"name": "sara", "role": "reviewer"}, "this name is taken"),
        (OWNER, {"name": "", "role": "reviewer"}, "not understood"),
        (OWNER, {"name": " ", "role": "reviewer"}, "printable characters"),
        (OWNER, {"name": "x", "role": "emperor"}, "not understood"),
        (OWNER, {"name": "x", "role": "recipient"}, "needs an address"),
        (OWNER, {"name": "x", "role": "domain_admin"}, "needs a domain"),
        (OWNER, {"name": "x", "role": "reviewer", "domains": "exa mple"}, "each domain"),
        (ADMIN, {"name": "x", "role": "owner"}, "more than your own"),
        (ADMIN, {"name": "x", "role": "reviewer"}, "more than your own"),
        (ADMIN, {"name": "x", "role": "reviewer", "domains": "example.org"}, "more than your own"),
        (ADMIN, {"name": "x", "role": "recipient", "addresses": "a@example.ir a@example.org"}, "more than your own"),
    ],
)
def test_what_is_not_made(web: WebApp, who: Account, form: dict[str, str], said: str) -> None:
    client = web.client(who)
    page = client.get("/accounts/new").text
    assert ('value="owner"' in page) == (who is OWNER)
    answer = client.post("/accounts/new", data=form | {"csrf": form_token(page)})
    assert answer.status_code == 400 and said in answer.text
    assert len(web.accounts.list()) == 2


def test_an_admin_of_domains_keeps_his_own(web: WebApp) -> None:
    client = web.client(ADMIN)
    csrf = form_token(client.get("/accounts/new").text)
    new = {"name": "mina", "role": "domain_admin", "domains": "mail.example.ir", "csrf": csrf}
    assert client.post("/accounts/new", data=new).status_code == 200
    for form in ({"role": "owner"}, {"role": "reviewer", "domains": ""}):
        answer = client.post("/accounts/edit", data=new | form)
        assert answer.status_code == 400 and "more than your own" in answer.text
    assert web.accounts.record("mina").account.domains == ("mail.example.ir",)


def test_ones_own_account_is_anothers_to_change(web: WebApp) -> None:
    for who in (OWNER, ADMIN):
        client = web.client(who)
        csrf = form_token(client.get(f"/accounts/edit?name={who.name}").text)
        for act in ("reset", "disable", "code-off", "delete", "edit"):
            form = {"name": who.name, "csrf": csrf, "is_disabled": "yes", "role": "auditor", "domains": "example.ir"}
            assert client.post(f"/accounts/{act}", data=form).status_code == 403, act
        assert web.accounts.record(who.name).account == who


def test_what_a_directory_says_is_not_changed_here(web: WebApp) -> None:
    web.accounts.add(Account("ldap", "reviewer"), "ldap")
    client = web.client(OWNER)
    page = client.get("/accounts/edit?name=ldap").text
    assert 'action="/accounts/edit"' not in page and 'action="/accounts/reset"' not in page
    csrf = form_token(page)
    assert client.post("/accounts/edit", data={"name": "ldap", "role": "owner", "csrf": csrf}).status_code == 400
    assert client.post("/accounts/reset", data={"name": "ldap", "csrf": csrf}).status_code == 400
    assert web.accounts.record("ldap").account.role == "reviewer"


def test_pages_of_a_long_list(web: WebApp) -> None:
    for number in range(120):
        web.accounts.add(Account(f"a{number:03d}", "recipient", (), (f"a{number}@example.ir",)))
    client = web.client(ADMIN)
    assert "121 accounts" in client.get("/accounts").text
    assert "a049" in client.get("/accounts").text and "a050" not in client.get("/accounts").text
    assert "a050" in client.get("/accounts?offset=50").text
