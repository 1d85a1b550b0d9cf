"""web/session.py: coming in and going out."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from gateway.config.settings import Settings, Web
from gateway.policy.totp import PERIOD_S, code_at
from gateway.stores.schema import token as tokens
from gateway.types import Account
from gateway.web.session import network_of
from gateway.web.site import SESSION_COOKIE, true_client
from tests.web_app import WebApp, form_token, make_web_app

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
RIGHT = {"name": "sara", "password": "a long password"}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebApp]:
    made = make_web_app(tmp_path)
    made.accounts.create("sara", "a long password")
    yield made
    made.engine.dispose()


def is_in(client: TestClient) -> bool:
    return client.get("/account").status_code == 200


def test_in_and_out(web: WebApp) -> None:
    client = web.client(headers={"user-agent": "Firefox <b>"})
    answer = client.post("/sign-in", data=RIGHT)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Secure" not in cookie
    page = client.get("/account").text
    assert "Firefox &lt;b&gt;" in page
    assert client.post("/sign-out", data={"csrf": "0" * 64}).status_code == 403
    assert client.post("/sign-out", data={"csrf": form_token(page)}).status_code == 303
    assert not is_in(client)
    assert [act for _, act, _ in web.audited()] == ["sign-in", "sign-out"]


def test_cookies_are_for_tls_alone_where_told(tmp_path: Path) -> None:
    web = make_web_app(tmp_path, Settings(web=Web(secure_cookies=True)))
    web.accounts.create("sara", "a long password")
    assert "Secure" in web.client().post("/sign-in", data=RIGHT).headers["set-cookie"]


def test_every_sign_in_is_a_new_session(web: WebApp) -> None:
    client = web.client()
    client.post("/sign-in", data=RIGHT)
    before = client.cookies[SESSION_COOKIE]
    client.post("/sign-in", data=RIGHT)
    assert client.cookies[SESSION_COOKIE] != before
    assert web.accounts.session(before) is None
    planted = web.client()
    planted.cookies.set(SESSION_COOKIE, "planted", domain="testserver.local", path="/")
    planted.post("/sign-in", data=RIGHT)
    assert web.accounts.session("planted") is None


def test_refusals_are_alike(web: WebApp) -> None:
    web.accounts.create("gone", "a long password", "reviewer")
    web.accounts.disable("gone", True)
    web.accounts.add(Account("new", "reviewer"))
    pages = set()
    for name, password in (("sara", "wrong"), ("nobody", "wrong"), ("gone", "a long password"), ("new", "")):
        answer = web.client().post("/sign-in", data={"name": name, "password": password or "x"})
        assert answer.status_code == 401
        pages.add(answer.text.replace(f'value="{name}"', ""))
    assert len(pages) == 1


def test_refusals_take_a_time_that_says_nothing(web: WebApp) -> None:
    web.sign_in.failure_s = 0.5
    client = web.client()
    for name in ("sara", "nobody"):
        began = time.monotonic()
        client.post("/sign-in", data={"name": name, "password": "wrong"})
        assert time.monotonic() - began >= 0.5


def test_a_lock_is_told_in_the_audit_log(web: WebApp) -> None:
    client = web.client()
    for _ in range(5):
        client.post("/sign-in", data=RIGHT | {"password": "wrong"})
    assert client.post("/sign-in", data=RIGHT).status_code == 401
    client.post("/sign-in", data=RIGHT)
    assert web.audited("sign-in-locked") == [("sara", "sign-in-locked", "password")]  # once, not for each try
    for _ in range(5):
        client.post("/sign-in", data={"name": "my password", "password": "sara"})
    assert web.audited("sign-in-locked")[1:] == [("", "sign-in-locked", "password")]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"sec-fetch-site": "none"}, 401),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 401),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_a_form_of_another_site(web: WebApp, headers: dict[str, str], status: int) -> None:
    answer = web.client().post("/sign-in", data={"name": "x", "password": "x"}, headers=headers)
    assert answer.status_code == status


def test_the_second_step(web: WebApp) -> None:
    web.accounts.set_code("sara", SECRET, ["aaaabbbbcccc"])
    client = web.client()
    asked = client.post("/sign-in", data=RIGHT)
    assert asked.status_code == 200 and not is_in(client)
    token = re.search(r'name="token" value="([^"]+)"', asked.text)[1]
    wrong = client.post("/sign-in/code", data={"token": token, "code": "000000"})
    assert wrong.status_code == 401 and token in wrong.text
    code = code_at(SECRET, int(web.clock.now() // PERIOD_S))
    assert client.post("/sign-in/code", data={"token": token, "code": f" {code[:3]} {code[3:]}"}).status_code == 303
    assert is_in(client)
    assert client.post("/sign-in/code", data={"token": token, "code": code}).status_code == 401
    assert client.post("/sign-in/code", data={"token": "x", "code": code}).status_code == 401


def test_a_recipients_link_acts_when_it_is_confirmed(web: WebApp) -> None:
    token = web.accounts.new_token("link", 60, subject="you@darban.test")
    client = web.client()
    for _ in range(3):  # as link scanners do
        shown = client.get(f"/link/{token}")
        assert shown.status_code == 200 and "you@darban.test" in shown.text and not is_in(client)
    assert client.post(f"/link/{token}").status_code == 303
    assert is_in(client)
    assert web.accounts.record("you@darban.test").account.role == "recipient"
    assert client.get(f"/link/{token}").status_code == 404
    assert client.post(f"/link/{token}").status_code == 401


def test_a_page_left_open_keeps_no_session_alive(web: WebApp) -> None:
    who = Account("sara", "owner")
    client = web.client(who)

    def used_at() -> float:
        return web.accounts.sessions("sara")[0].used_at

    polled = client.get("/").text.partition('<span id="news"')[2].partition('hx-get="')[2].partition('"')[0]
    with web.engine.begin() as connection:
        connection.execute(update(tokens).values(used_at=1.0))
    for path, trigger in ((unescape(polled), "news"), (f"/jobs/{'0' * 32}", "job")):
        assert client.get(path, headers={"HX-Request": "true", "HX-Trigger": trigger}).status_code in (200, 204, 404)
        assert used_at() == 1.0, path
    client.get("/", headers={"HX-Request": "true", "HX-Target": "rows"})
    assert used_at() > 1.0


def test_a_link_is_asked_for_and_every_address_is_answered_alike(tmp_path: Path) -> None:
    asked: list[tuple[str, str, str]] = []
    web = make_web_app(tmp_path, mail_link=lambda *what: asked.append(what))
    web.accounts.add(Account("you@darban.test", "recipient", (), ("you@darban.test",)))
    client = web.client()
    assert 'href="/sign-in/link"' in client.get("/sign-in").text
    assert 'type="email"' in client.get("/sign-in/link").text
    said = set()
    for address in ("you@darban.test", "nobody@darban.test", "x@elsewhere.example", "<b>"):
        answer = client.post("/sign-in/link", data={"address": address})
        assert answer.status_code == 200 and "<b>" not in answer.text
        said.add(answer.text.replace(escape(address), "ADDRESS"))
    assert len(said) == 1 and "If <bdi" in said.pop()
    client.post("/sign-in/link", data={"address": "you@darban.test"}, headers={"accept-language": "fa"})
    assert [one[0] for one in asked][::4] == ["you@darban.test"] * 2
    assert [one[1:] for one in asked] == [("en", "testclient")] * 4 + [("fa", "testclient")]
    assert web.audited() == [] and len(web.accounts.list()) == 1
    web.engine.dispose()


def test_nobody_asks_for_many_links(tmp_path: Path) -> None:
    asked: list[str] = []
    settings = Settings(web=Web(trusted_proxies=("192.0.2.1/32",)))
    web = make_web_app(tmp_path, settings, mail_link=lambda *what: asked.append(what[0]))
    client = TestClient(web.app, client=("192.0.2.1", 1))
    codes = [
        client.post(
            "/sign-in/link", data={"address": f"{number}@darban.test"},
            headers={"x-forwarded-for": f"2001:db8::{number}", "accept-language": "en"},
        )
        for number in range(11)
    ]  # fmt: skip
    assert [one.status_code for one in codes] == [200] * 10 + [429]
    assert "too often" in codes[10].text and 0 < int(codes[10].headers["retry-after"]) <= 360
    other = client.post("/sign-in/link", data={"address": "x"}, headers={"x-forwarded-for": "2001:db8:0:1::1"})
    assert other.status_code == 200, "each network has its own"
    foreign = client.post("/sign-in/link", data={"address": "x"}, headers={"sec-fetch-site": "cross-site"})
    assert foreign.status_code == 403
    assert len(asked) == 11
    web.engine.dispose()


def test_where_no_links_are_mailed_there_is_no_page(web: WebApp) -> None:
    client = web.client()
    assert "/sign-in/link" not in client.get("/sign-in").text
    assert client.get("/sign-in/link").status_code == 404
    assert client.post("/sign-in/link", data={"address": "you@darban.test"}).status_code == 404


@pytest.mark.parametrize(
    ("client_ip", "network"),
    [
        ("192.0.2.7", "192.0.2.7"), ("2001:db8::7", "2001:db8::/64"), ("2001:db8:0:1::7", "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7"), ("", ""), ("testclient", "testclient"), ("fe80::1%eth0", "fe80::/64"),
    ],
)  # fmt: skip
def test_what_one_client_has(client_ip: str, network: str) -> None:
    assert network_of(client_ip) == network


def test_a_link_that_sets_the_password(web: WebApp) -> None:
    session = web.client(Account("sara", "owner"))
    token = web.accounts.new_token("reset", 60, "sara")
    client = web.client()
    assert "sara" in client.get(f"/reset/{token}").text
    assert client.post(f"/reset/{token}", data={"password": "short"}).status_code == 400
    assert client.post(f"/reset/{token}", data={"password": "another password"}).headers["location"] == "/sign-in"
    assert not is_in(session) and not is_in(client)
    assert client.get(f"/reset/{token}").status_code == 404
    assert client.post(f"/reset/{token}", data={"password": "another password"}).status_code == 400
    assert client.post("/sign-in", data=RIGHT | {"password": "another password"}).status_code == 303


def test_no_issuer_no_page(web: WebApp) -> None:
    client = web.client()
    assert client.get("/sign-in/oidc").status_code == 404
    assert client.get("/sign-in/oidc/back?state=x&code=y").status_code == 401
    assert "/sign-in/oidc" not in client.get("/sign-in").text


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "found"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),  # nobody's proxy
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),  # the first anybody may have written
        ("127.0.0.1", "198.51.100.1, 10.0.0.7", "198.51.100.1"),
        ("127.0.0.1", "<b>", "127.0.0.1"),
        ("127.0.0.1", "10.0.0.7", "10.0.0.7"),
        ("127.0.0.1", ", ".join(["10.0.0.7"] * 10_000), "10.0.0.7"),
        ("testclient", "198.51.100.1", "testclient"),
        ("", "198.51.100.1", ""),
    ],
)
def test_who_asks(peer: str, forwarded_for: str, found: str) -> None:
    assert true_client(peer, forwarded_for, ("127.0.0.0/8", "10.0.0.0/8", "::1/128")) == found
