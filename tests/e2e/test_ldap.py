"""Sign-in with the password of a real OpenLDAP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import Domain, Ldap, RoleGroup, Settings, SignIn
from gateway.errors import SignInError
from gateway.net.ldap import LdapDirectory
from gateway.types import Account
from tests.directory import BASE, SEARCH_PASSWORD, SEARCHER, Served, serve
from tests.web_app import make_web_app

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with serve() as served:
        yield served


def searching(served: Served, /, **changes: Any) -> Ldap:
    values: dict[str, Any] = {
        "server": served.tls,
        "ca": str(served.ca),
        "search_dn": SEARCHER,
        "search_password_file": "x",
        "search_base": f"ou=people,{BASE}",
    }
    return Ldap(**values | changes)


def binding(served: Served) -> Ldap:
    return Ldap(server=served.tls, ca=str(served.ca), bind_dn=f"uid={{name}},ou=people,{BASE}")


@pytest.mark.parametrize("way", [searching, binding])
@pytest.mark.parametrize(
    ("name", "password", "found"),
    [
        ("Sara", "sara's password", "sara"),
        ("sara", "sara's password", "sara"),
        (" SARA ", "sara's password", "sara"),  # however typed, it is one account
        ("sara", "mina's password", None),
        ("sara", "", None),  # an anonymous bind, which the directory grants
        ("sara", "sara's passwor*", None),
        ("nobody", "sara's password", None),
        ("", "sara's password", None),
        ("s*", "sara's password", None),
        ("*", "star's password", None),
        ("a*b", "star's password", "a*b"),
        ("sara)(uid=*", "sara's password", None),
        ("sara,ou=people", "sara's password", None),
        ("sara\0", "sara's password", None),
        ("سارا", "sara's password", None),
        ("x" * 10_000, "sara's password", None),
    ],
)
def test_names_and_passwords(server: Served, way: Any, name: str, password: str, found: str | None) -> None:
    entry = LdapDirectory(way(server), SEARCH_PASSWORD).authenticate(name, password)
    assert (entry and entry.name) == found


@pytest.mark.parametrize("tls", ["tls", "starttls", "none"])
def test_ways_to_connect(server: Served, tls: str) -> None:
    settings = searching(server, tls=tls, server=server.tls if tls == "tls" else server.plain)
    entry = LdapDirectory(settings, SEARCH_PASSWORD).authenticate("mina", "mina's password")
    assert entry is not None
    assert entry.groups == (f"cn=mail admins,ou=groups,{BASE}",)
    assert entry.addresses == ("mina@darban.test",)


def test_groups_that_name_their_members(server: Served) -> None:
    settings = searching(server, groups_attribute="none", groups_base=f"ou=groups,{BASE}")
    entry = LdapDirectory(settings, SEARCH_PASSWORD).authenticate("mina", "mina's password")
    assert entry is not None and entry.groups == (f"cn=mail admins,ou=groups,{BASE}",)


def test_two_of_a_name_are_nobody(server: Served) -> None:
    settings = searching(server, search_filter="(|(uid={name})(uid=mina))")
    assert LdapDirectory(settings, SEARCH_PASSWORD).authenticate("sara", "sara's password") is None
    assert LdapDirectory(settings, SEARCH_PASSWORD).authenticate("nobody", "mina's password") is not None


@pytest.mark.parametrize("tls", ["tls", "starttls"])
def test_a_certificate_that_nobody_vouches_for(server: Served, tls: str) -> None:
    settings = searching(server, tls=tls, ca="", server=server.tls if tls == "tls" else server.plain)
    with pytest.raises(SignInError, match="CERTIFICATE_VERIFY_FAILED"):
        LdapDirectory(settings, SEARCH_PASSWORD).authenticate("sara", "sara's password")


def test_a_certificate_of_another_name(server: Served) -> None:
    settings = searching(server, server=server.tls.replace("localhost", "127.0.0.1"))
    with pytest.raises(SignInError, match="CERTIFICATE_VERIFY_FAILED"):
        LdapDirectory(settings, SEARCH_PASSWORD).authenticate("sara", "sara's password")


@pytest.mark.parametrize(
    ("changes", "password", "said"),
    [
        ({}, "wrong", "does not take search_dn"),
        ({"search_base": "ou=nowhere,dc=example,dc=org"}, SEARCH_PASSWORD, None),
        ({"search_filter": "(uid={name}"}, SEARCH_PASSWORD, "directory"),
        ({"name_attribute": "nickname"}, SEARCH_PASSWORD, "has no nickname"),
        ({"server": "127.0.0.1:1", "tls": "none"}, SEARCH_PASSWORD, "ConnectionRefusedError"),
    ],
)
def test_what_is_set_up_wrongly(server: Served, changes: dict[str, str], password: str, said: str | None) -> None:
    directory = LdapDirectory(searching(server, **changes), password)
    if said is None:
        assert directory.authenticate("sara", "sara's password") is None
        return
    with pytest.raises(SignInError, match=said):
        directory.authenticate("sara", "sara's password")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x30\x84\xff\xff\xff\xff",
        b"220 mx ESMTP\r\n",
        b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00" * 3,
    ],
)
def test_something_else_answers(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve_once() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve_once)
        thread.start()
        port = listening.getsockname()[1]
        settings = Ldap(server=f"127.0.0.1:{port}", tls="none", bind_dn="uid={name}")
        with pytest.raises(SignInError):
            LdapDirectory(settings).authenticate("sara", "x")
        thread.join()


def test_people_of_the_directory_sign_in(server: Served, tmp_path: Path) -> None:
    ldap = searching(server, group=(RoleGroup(name="mail admins", role="domain_admin", domains=("darban.test",)),))
    settings = Settings(domain=(Domain(name="darban.test", next_hop="maildir:x"),), sign_in=SignIn(ldap=ldap))
    web = make_web_app(tmp_path, settings, directory=LdapDirectory(ldap, SEARCH_PASSWORD))
    web.accounts.create("sara.local", "a long password")
    client = web.client()
    for name, password, account in (
        ("SARA", "sara's password", Account("sara", "recipient", (), ("sara@darban.test", "info@darban.test"))),
        ("mina", "mina's password", Account("mina", "domain_admin", ("darban.test",))),
        ("sara.local", "a long password", Account("sara.local", "owner")),
    ):
        answer = client.post("/sign-in", data={"name": name, "password": password})
        assert (answer.status_code, answer.headers.get("location")) == (303, "/"), name
        assert web.accounts.record(account.name).account == account
    for name, password in (("sara", "mina's password"), ("nobody", "x"), ("sara.local", "mina's password")):
        assert client.post("/sign-in", data={"name": name, "password": password}).status_code == 401
    web.accounts.disable("sara", True)
    for name in ("sara", "Sara", " sara"):
        assert client.post("/sign-in", data={"name": name, "password": "sara's password"}).status_code == 401
    web.engine.dispose()
