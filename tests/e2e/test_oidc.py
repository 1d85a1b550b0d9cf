"""Sign-in at an OpenID Connect issuer that speaks HTTP and signs with RS256."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from joserfc import jwt
from joserfc.jwk import RSAKey

from gateway.config.settings import Domain, Oidc, RoleGroup, Settings, SignIn, Web
from gateway.net.oidc import OidcIssuer
from gateway.sign_in import make_sign_in
from gateway.types import Account
from tests.oidc_issuer import CLIENT, SECRET, OidcServer, serve
from tests.web_app import WebApp, make_web_app

pytestmark = pytest.mark.e2e
SARA = {"sub": "248289", "email": "Sara@darban.test", "email_verified": True, "groups": ["staff"]}
BASE = "http://testserver"


@pytest.fixture
def issuer() -> Iterator[OidcServer]:
    with serve() as served:
        served.claims = dict(SARA)
        yield served


@pytest.fixture
def web(issuer: OidcServer, tmp_path: Path) -> Iterator[WebApp]:
    oidc = Oidc(
        issuer=issuer.url,
        client_id=CLIENT,
        client_secret_file="secret",
        label="Example Ltd",
        group=(
            RoleGroup(name="mail-owners", role="owner"),
            RoleGroup(name="Mail-Reviewers", role="reviewer", domains=("darban.test",)),
        ),
    )
    settings = Settings(
        domain=(Domain(name="darban.test", next_hop="maildir:x"),), web=Web(url=BASE), sign_in=SignIn(oidc=oidc)
    )
    made = make_web_app(tmp_path, settings, issuer=OidcIssuer(oidc, SECRET, BASE + "/sign-in/oidc/back"))
    yield made
    made.engine.dispose()


def leave(client: TestClient) -> str:
    """To the issuer; where it sends the browser back to."""
    sent = client.get("/sign-in/oidc")
    assert sent.status_code == 303
    back = httpx.get(sent.headers["location"])
    return back.headers["location"].removeprefix(BASE)


def test_a_recipient_comes_back(web: WebApp, issuer: OidcServer) -> None:
    client = web.client()
    assert "Sign in with <bdi>Example Ltd</bdi>" in client.get("/sign-in").text
    answer = client.get(leave(client))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert client.get("/").status_code == 200
    record = web.accounts.record("sara@darban.test")
    assert record.account == Account("sara@darban.test", "recipient", (), ("sara@darban.test",))
    assert (record.origin, record.has_password) == ("oidc", False)
    assert [(who, act) for who, act, _ in web.audited()] == [("sara@darban.test", "sign-in")]
    page = client.get("/account").text
    assert "/account/password" not in page and "/account/code" not in page


@pytest.mark.parametrize(
    ("claims", "account"),
    [
        ({"groups": ["mail-owners", "mail-reviewers"]}, Account("sara@darban.test", "owner")),
        ({"groups": "mail-reviewers"}, Account("sara@darban.test", "reviewer", ("darban.test",))),
        ({"groups": ["mail-owners"], "email": None}, Account("248289", "owner")),
        ({"groups": ["mail-owners"], "email_verified": "yes"}, Account("248289", "owner")),
    ],
)
def test_groups_say_the_role(web: WebApp, issuer: OidcServer, claims: dict[str, Any], account: Account) -> None:
    issuer.claims |= claims
    client = web.client()
    assert client.get(leave(client)).status_code == 303
    assert web.accounts.record(account.name).account == account


def test_a_role_is_the_one_of_now(web: WebApp, issuer: OidcServer) -> None:
    client = web.client()
    issuer.claims["groups"] = ["mail-reviewers"]
    client.get(leave(client))
    issuer.claims["groups"] = []
    client.get(leave(client))
    assert web.accounts.record("sara@darban.test").account.role == "recipient"
    web.accounts.disable("sara@darban.test", True)
    assert client.get(leave(client)).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"email_verified": False},  # anybody may write an address there
        {"email_verified": None},
        {"email": "sara@elsewhere.example"},
        {"email": "sara@elsewhere.example@darban.test"},
        {"email": ""},
    ],
)
def test_who_is_nobody_here(web: WebApp, issuer: OidcServer, claims: dict[str, Any]) -> None:
    issuer.claims |= claims
    client = web.client()
    assert client.get(leave(client)).status_code == 401
    assert web.accounts.list() == []


def test_an_account_of_ours_is_not_taken_over(web: WebApp, issuer: OidcServer) -> None:
    web.accounts.add(Account("sara@darban.test", "owner"))
    client = web.client()
    assert client.get(leave(client)).status_code == 401
    assert web.accounts.record("sara@darban.test").account.role == "owner"


def expired(claims: dict[str, Any], header: dict[str, Any]) -> None:
    claims["exp"] = int(time.time()) - 600


def of_another_client(claims: dict[str, Any], header: dict[str, Any]) -> None:
    claims["aud"] = "another"


def of_another_issuer(claims: dict[str, Any], header: dict[str, Any]) -> None:
    claims["iss"] = "https://evil.example"


def of_another_time(claims: dict[str, Any], header: dict[str, Any]) -> None:
    claims["nonce"] = "replayed"


def without_nonce(claims: dict[str, Any], header: dict[str, Any]) -> None:
    del claims["nonce"]


@pytest.mark.parametrize("spoil", [expired, of_another_client, of_another_issuer, of_another_time, without_nonce])
def test_what_an_id_token_must_be(web: WebApp, issuer: OidcServer, spoil: Callable[..., None]) -> None:
    issuer.spoil = spoil
    client = web.client()
    assert client.get(leave(client)).status_code == 503
    assert web.accounts.list() == []


def by_hand(algorithm: str, key: bytes) -> Callable[[dict[str, Any], dict[str, Any]], str]:
    """A token as an attacker makes it: no signature, or the public key taken for a shared secret."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).decode().rstrip("=")

    def sign(header: dict[str, Any], claims: dict[str, Any]) -> str:
        said = ".".join(part(json.dumps(one).encode()) for one in (header | {"alg": algorithm}, claims))
        return f"{said}.{part(hmac.digest(key, said.encode(), 'sha256')) if key else ''}"

    return sign


@pytest.mark.parametrize("trick", ["another key", "public key as secret", "client's secret", "none"])
def test_signed_by_the_issuers_key_alone(web: WebApp, issuer: OidcServer, trick: str) -> None:
    another = RSAKey.generate_key(2048, {"kid": "1"})
    issuer.sign = {
        "another key": lambda header, claims: jwt.encode(header, claims, another),
        "public key as secret": by_hand("HS256", issuer.key.as_pem(private=False)),
        "client's secret": by_hand("HS256", SECRET.encode()),
        "none": by_hand("none", b""),
    }[trick]
    client = web.client()
    assert client.get(leave(client)).status_code == 503
    assert web.accounts.list() == []


def test_an_issuer_may_change_its_keys(web: WebApp, issuer: OidcServer) -> None:
    client = web.client()
    assert client.get(leave(client)).status_code == 303
    issuer.key = RSAKey.generate_key(2048, {"kid": "2", "use": "sig"})

    def second(claims: dict[str, Any], header: dict[str, Any]) -> None:
        header["kid"] = "2"

    issuer.spoil = second
    assert client.get(leave(client)).status_code == 303


def test_only_the_browser_that_left_comes_back(web: WebApp) -> None:
    attacker, victim = web.client(), web.client()
    back = leave(attacker)
    assert victim.get(back).status_code == 401  # signed in as the attacker, one would read him one's mail
    victim.cookies.set("darban_issuer", "x.y.z", path="/sign-in/oidc")
    assert victim.get(back).status_code == 401
    assert attacker.get(back).status_code == 303
    assert attacker.get(back).status_code == 401  # the state was spent


def test_an_answer_of_another_issuer(web: WebApp) -> None:
    client = web.client()
    query = parse_qs(urlsplit(leave(client)).query)
    answer = client.get(
        "/sign-in/oidc/back",
        params={"code": query["code"][0], "state": query["state"][0], "iss": "https://evil.example"},
    )
    assert answer.status_code == 503


def test_an_issuer_that_is_another(web: WebApp, issuer: OidcServer) -> None:
    issuer.says_issuer = "https://evil.example"
    assert web.client().get("/sign-in/oidc").status_code == 503


def test_as_configured(issuer: OidcServer, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    oidc = Oidc(issuer=issuer.url, client_id=CLIENT, client_secret_file=str(secret))
    settings = Settings(sign_in=SignIn(oidc=oidc))
    url, kept = make_sign_in(settings, make_web_app(tmp_path).accounts).ask_issuer()
    assert url.startswith(issuer.url + "/authorize?") and "redirect_uri=http%3A%2F%2F127.0.0.1%3A8025%2F" in url
    assert kept.split(".")[0] in url and kept.split(".")[2] not in url
