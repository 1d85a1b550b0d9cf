"""web/account.py: one's own password, one-time codes and sessions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.policy.totp import PERIOD_S, code_at
from gateway.types import Account
from tests.web_app import WebApp, form_token, make_web_app

OWNER = Account("sara", "owner")
PASSWORD = "a long password"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebApp]:
    made = make_web_app(tmp_path)
    made.accounts.create("sara", PASSWORD)
    yield made
    made.engine.dispose()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("wrong", "another password", "password is wrong"),
        (PASSWORD, "short", "at least"),
        (PASSWORD, "another password", ""),
    ],
)
def test_the_password(web: WebApp, old: str, new: str, said: str) -> None:
    client, other = web.client(OWNER), web.client(OWNER)
    csrf = form_token(client.get("/account").text)
    answer = client.post("/account/password", data={"old": old, "new": new, "csrf": csrf})
    assert answer.status_code == (400 if said else 303) and said in answer.text
    assert web.accounts.is_password("sara", PASSWORD if said else new)
    assert client.get("/account").status_code == 200
    assert other.get("/account").status_code == (200 if said else 303)


def test_one_time_codes_are_switched_on_and_off(web: WebApp) -> None:
    client = web.client(OWNER)
    page = client.get("/account/code").text
    secret = re.search(r'name="secret" value="([A-Z2-7]{32})"', page)[1]
    picture = page[page.index("<svg") : page.index("</svg>")]
    assert "<path" in picture and "style" not in picture and secret not in picture
    csrf = form_token(page)
    code = code_at(secret, int(web.clock.now() // PERIOD_S))
    form = {"secret": secret, "code": code, "password": PASSWORD, "csrf": csrf}
    for change, said in (({"code": "000000"}, "does not fit"), ({"password": "wrong"}, "password is wrong")):
        refused = client.post("/account/code", data=form | change)
        assert refused.status_code == 400 and said in refused.text and secret in refused.text
    assert not web.accounts.record("sara").has_code
    shown = client.post("/account/code", data=form)
    codes = re.findall(r"<li><code>([a-z0-9-]{14})</code>", shown.text)
    assert len(codes) == 10 and web.accounts.code_secret("sara") == secret
    assert "Recovery codes left: 10" in client.get("/account").text
    assert client.post("/account/recovery", data={"password": "wrong", "csrf": csrf}).status_code == 400
    again = client.post("/account/recovery", data={"password": PASSWORD, "csrf": csrf}).text
    assert not set(codes) & set(re.findall(r"<li><code>([a-z0-9-]{14})</code>", again))
    assert client.post("/account/code-off", data={"password": "wrong", "csrf": csrf}).status_code == 400
    assert web.accounts.record("sara").has_code
    assert client.post("/account/code-off", data={"password": PASSWORD, "csrf": csrf}).status_code == 303
    assert not web.accounts.record("sara").has_code
    assert [act for _, act, _ in web.audited()] == ["code-on", "recovery-codes", "code-off"]


def test_sessions(web: WebApp) -> None:
    client, second, third = (web.client(OWNER) for _ in range(3))
    page = client.get("/account").text
    csrf = form_token(page)
    ids = re.findall(r'name="session" value="([0-9a-f]{16})"', page)
    assert len(ids) == 2 and "this one" in page
    client.post("/account/sessions", data={"session": ids[0], "csrf": csrf})
    assert sorted(one.get("/account").status_code for one in (client, second, third)) == [200, 200, 303]
    client.post("/account/sessions", data={"csrf": csrf})
    assert [one.get("/account").status_code for one in (client, second, third)] == [200, 303, 303]


def test_another_ones_session_is_not_ended(web: WebApp) -> None:
    web.accounts.add(Account("you", "recipient", (), ("you@darban.test",)))
    client, sara = web.client(Account("you", "recipient")), web.client(OWNER)
    theirs = web.accounts.sessions("sara")[0].id
    csrf = form_token(client.get("/account").text)
    client.post("/account/sessions", data={"session": theirs, "csrf": csrf})
    assert sara.get("/account").status_code == 200


def test_guessing_the_password_from_within_has_to_wait(web: WebApp) -> None:
    client = web.client(OWNER)
    csrf = form_token(client.get("/account").text)
    for _ in range(5):
        client.post("/account/password", data={"old": "wrong", "new": "another password", "csrf": csrf})
    form = {"old": PASSWORD, "new": "another password", "csrf": csrf}
    assert client.post("/account/password", data=form).status_code == 400
    assert web.accounts.is_password("sara", PASSWORD)


def test_accounts_of_others_have_no_password_here(web: WebApp) -> None:
    who = Account("you@darban.test", "recipient", (), ("you@darban.test",))
    web.accounts.add(who, "link")
    client = web.client(who)
    page = client.get("/account").text
    assert "/account/password" not in page and "/account/code" not in page
    csrf = form_token(page)
    assert client.get("/account/code").status_code == 400
    assert (
        client.post("/account/password", data={"old": "x", "new": "another password", "csrf": csrf}).status_code == 400
    )
