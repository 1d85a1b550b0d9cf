"""rules/relays.py: the relays a message passed, and how far they are trusted."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.rules.relays import relays_of
from gateway.rules.rule import Networks
from gateway.rules.text import Texts
from gateway.types import AuthResult, Client, MailObject
from tests.builders import mail

INNER = "Received: from gate.example (gate.example [10.0.0.1]) by store.test with ESMTP id 100\r\n"
BORDER = "Received: from pc (dsl.example.org [198.51.100.7]) by gate.example (Postfix) with ESMTP id 200\r\n"
FIRST = "Received: from [203.0.113.9] by web.example via HTTP\r\n"
LOCAL = Client("127.0.0.1")


def message(*fields: str, **changes: object) -> MailObject:
    return mail(("X-First: 1\r\n" + "".join(fields) + "Subject: hello\r\n\r\ntext\r\n").encode(), **changes)


def addresses(text: str) -> list[str]:
    return [word[3:] for word in text.split() if word.startswith("ip=")]


def kinds(found: MailObject, networks: Networks) -> dict[str, list[str]]:
    return {name: addresses(text) for name, text in relays_of(found, networks).texts.items()}


def test_the_client_comes_first() -> None:
    found = relays_of(message(BORDER), Networks())
    assert addresses(found.text("X-Spam-Relays-Untrusted")) == ["192.0.2.1", "198.51.100.7"]
    assert found.text("X-Spam-Relays-Untrusted").startswith(
        "[ ip=192.0.2.1 rdns= helo=mail.example.org by=mx.darban.test ident= envfrom=sara@example.org intl=0 "
        "id=TESTQUEUEID1 auth= msa=0 ]"
    )
    assert found.text("X-Spam-Relays-Trusted") == ""


@pytest.mark.parametrize("ip", ["", "unknown", "193.ab.1.2", "1.2.3.4.5", "::g"])
def test_a_client_without_an_address_is_no_relay(ip: str) -> None:
    """As a front door that was told nothing of it, or an odd line of XCLIENT, would hand it on."""
    assert kinds(message(BORDER, client=Client(ip)), Networks()) == kinds(message(BORDER, client=LOCAL), Networks())


def test_its_name_is_the_one_iprev_confirmed() -> None:
    found = MailObject(message().envelope, message().message, (AuthResult("iprev", "pass", "mx1.example.org"),))
    assert " rdns=mx1.example.org " in relays_of(found, Networks()).text("X-Spam-Relays-External")


def test_without_networks_private_addresses_are_trusted() -> None:
    assert kinds(message(INNER, BORDER, FIRST, client=LOCAL), Networks()) == {
        "trusted": ["10.0.0.1"],
        "untrusted": ["198.51.100.7", "203.0.113.9"],
        "internal": ["10.0.0.1"],
        "external": ["198.51.100.7", "203.0.113.9"],
    }


def test_networks_say_who_is_trusted() -> None:
    networks = Networks(
        trusted=((ip_network("10.0.0.0/8"), True), (ip_network("198.51.100.0/24"), True)),
        internal=((ip_network("10.0.0.0/8"), True),),
    )
    assert kinds(message(INNER, BORDER, FIRST, client=LOCAL), networks) == {
        "trusted": ["10.0.0.1", "198.51.100.7"],
        "untrusted": ["203.0.113.9"],
        "internal": ["10.0.0.1"],
        "external": ["198.51.100.7", "203.0.113.9"],
    }
    except_one = Networks(trusted=((ip_network("10.0.0.1"), False), (ip_network("10.0.0.0/8"), True)))
    assert kinds(message(INNER, client=LOCAL), except_one)["untrusted"] == ["10.0.0.1"]


def test_what_a_submission_server_took_is_trusted_too() -> None:
    every = ((ip_network("10.0.0.0/8"), True),)
    found = relays_of(message(INNER, BORDER, client=LOCAL), Networks(trusted=every, msa=every))
    assert addresses(found.text("X-Spam-Relays-Trusted")) == ["10.0.0.1", "198.51.100.7"]
    assert found.text("X-Spam-Relays-Trusted").count("msa=1") == 1


def test_a_webmail_user_comes_last() -> None:
    found = message(BORDER, "X-Originating-IP: [203.0.113.77]\r\n", client=LOCAL)
    assert kinds(found, Networks())["external"] == ["198.51.100.7", "203.0.113.77"]
    assert addresses(relays_of(found, Networks(), ()).text("X-Spam-Relays-External")) == ["198.51.100.7"]


def test_fields_are_divided_where_trust_ends() -> None:
    texts = Texts(message(INNER, BORDER, FIRST, client=LOCAL))
    trusted, untrusted = texts.header("ALL-TRUSTED"), texts.header("ALL-UNTRUSTED")
    assert trusted is not None and untrusted is not None
    assert trusted.startswith(b"X-First: 1\nReceived: from gate.example") and trusted.endswith(b"id 200\n")
    assert untrusted.startswith(b"Received: from pc ") and untrusted.endswith(b"Subject: hello\n")


def test_from_an_untrusted_client_everything_is_untrusted() -> None:
    texts = Texts(message(BORDER))
    assert texts.header("ALL-TRUSTED") is None
    assert texts.header("ALL-EXTERNAL") == texts.header("ALL")
