"""Greylisting and rates over real SMTP, with real processes: two listeners that share what they count."""

from __future__ import annotations

import json
import smtplib
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import message_bytes
from tests.dns_server import DnsServer
from tests.e2e import peers
from tests.e2e.test_gateway import eventually

pytestmark = pytest.mark.e2e
ZONES = {
    "example.org": {"A": ["192.0.2.1"], "MX": ["10 mx.example.org"]},
    "proven.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"], "MX": ["10 mx.proven.example"]},
}
WAIT_S = 3


@pytest.fixture(scope="module")
def wary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Gateway]:
    """A gateway to which loopback is a stranger, and every message for grey.test doubtful."""
    folder = tmp_path_factory.mktemp("wary")
    extra = f"""
[[domain]]
name = "grey.test"
next_hop = "maildir:{folder}/grey"
greylist = true
greylist_at = -20.0
[reputation]
trusted_networks = []
greylist_wait_s = {WAIT_S}
[rates]
messages = 25
"""
    with (
        DnsServer(ZONES) as dns,
        peers.gateway(
            folder, f"maildir:{folder}/mail", nameserver=dns.address, extra=extra, smtp_extra="workers = 2"
        ) as running,
    ):
        yield running


def delivered(gateway: peers.Gateway, name: str) -> list[bytes]:
    return [file.read_bytes() for file in (gateway.folder / name / "new").glob("*")]


def rows(gateway: peers.Gateway, text: str) -> list[dict]:
    return [json.loads(line) for line in gateway.cli("trace", text, "--json").stdout.splitlines()]


def send(gateway: peers.Gateway, subject: str, rcpt_to: str, mail_from: str = "sara@example.org") -> tuple[int, str]:
    content = message_bytes(Subject=subject, From=mail_from)
    return peers.send(gateway.smtp_port, content, mail_from=mail_from, rcpt_to=[rcpt_to])


def test_a_doubtful_first_contact_comes_again_and_is_delivered_once(wary: peers.Gateway) -> None:
    first = send(wary, "grey", "you@grey.test")
    began = time.monotonic()
    assert (first[0], first[1][:5]) == (451, "4.7.1")
    assert "First contact, please send it again in some minutes" in first[1]
    assert send(wary, "grey", "you@grey.test")[0] == 451  # the other listener knows it too
    assert delivered(wary, "grey") == []
    eventually(lambda: len(rows(wary, "grey")) == 2)
    again, asked = rows(wary, "grey")
    assert (asked["action"], again["action"]) == ("tempfail", "tempfail")
    assert asked["reason"].startswith("greylisted: first contact from 127.0.0.0/24 with score ")
    assert asked["reason"].endswith("asked to come again")
    assert again["reason"].endswith("came again too soon")
    assert "FIRST_CONTACT" in asked["hits"]
    told = wary.cli("trace", "grey").stdout
    assert "greylisted: first contact" in told
    assert " tempfail score " in told
    assert wary.cli("quarantine", "list", "--state", "any").stdout.splitlines() == ["0 of 0"]

    time.sleep(max(0.0, began + WAIT_S + 0.5 - time.monotonic()))
    assert send(wary, "grey", "you@grey.test")[0] == 250
    assert len(delivered(wary, "grey")) == 1
    time.sleep(2)  # what was learned is written every second
    assert send(wary, "of another, by a known way", "you@grey.test", "reza@example.net")[0] == 250
    assert send(wary, "met", "you@grey.test")[0] == 250
    eventually(lambda: len(rows(wary, "met")) == 1)
    assert "FIRST_CONTACT" not in rows(wary, "met")[0]["hits"]
    with urllib.request.urlopen(f"http://127.0.0.1:{wary.metrics_port}/metrics") as answer:
        text = answer.read().decode()
    assert 'darban_greylist_total{result="asked to come again"} 1.0' in text
    assert 'darban_greylist_total{result="came again too soon"} 1.0' in text
    assert 'darban_greylist_total{result="passed"} 1.0' in text


def test_a_proven_author_is_never_deferred_and_becomes_known(wary: peers.Gateway) -> None:
    for number in range(3):
        assert send(wary, f"proven {number}", "mina@grey.test", "sara@proven.example")[0] == 250
        time.sleep(2)  # what was learned is written every second
    eventually(lambda: len(rows(wary, "proven")) == 3)
    third, _, first = rows(wary, "proven")
    assert "FIRST_CONTACT" in first["hits"]
    assert {"KNOWN_SENDER", "KNOWN_SENDER_PLAIN"} <= set(third["hits"])
    forged = message_bytes(Subject="forged", From="sara@proven.example")
    assert peers.send(wary.smtp_port, forged, mail_from="evil@example.org", rcpt_to=["mina@grey.test"])[0] == 250
    eventually(lambda: len(rows(wary, "forged")) == 1)
    assert not {"KNOWN_SENDER", "DOMAIN_GOOD"} & set(rows(wary, "forged")[0]["hits"])


def test_a_domain_without_greylisting_takes_at_once(wary: peers.Gateway) -> None:
    assert send(wary, "white", "you@darban.test", "mina@example.com")[0] == 250


def test_a_network_over_its_rate_is_deferred_at_mail_by_both_listeners(wary: peers.Gateway) -> None:
    codes: list[int] = []
    deadline = time.monotonic() + 60
    while codes[-8:] != [450] * 8:
        assert time.monotonic() < deadline, codes
        with smtplib.SMTP("127.0.0.1", wary.smtp_port, timeout=30) as client:
            client.ehlo("client.example.org")
            codes.append(client.mail("sara@example.org")[0])
            client.rset()
        time.sleep(0.05)
    assert 10 <= codes.count(250) <= 40
    with urllib.request.urlopen(f"http://127.0.0.1:{wary.metrics_port}/metrics") as answer:
        assert 'darban_rate_limited_total{limit="messages"}' in answer.read().decode()


def test_the_secret_is_the_owners_alone(wary: peers.Gateway) -> None:
    secret = Path(wary.folder) / "var" / "secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    database = b"".join(file.read_bytes() for file in (wary.folder / "var").glob("darban.db*"))
    assert secret.read_bytes() not in database
