"""DNS and its lists, from the configuration file to the delivered message and the metrics, with a real nameserver."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest

from tests.builders import message_bytes
from tests.dns_server import DnsServer
from tests.e2e import peers
from tests.e2e.test_gateway import eventually

pytestmark = pytest.mark.e2e

ZONES = {
    "example.org": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"], "MX": ["10 mx.example.org"]},
    "test.surbl.org.surbl.example": {"A": ["127.0.0.254"]},
    "spammer.ir.surbl.example": {"A": ["127.0.0.64"]},
    "honest.ir.dead.example": {"A": ["127.0.0.2"]},
}
LISTS = """
[[dns_list]]
preset = "surbl"
zone = "surbl.example"
[[dns_list]]
name = "dead"
zone = "dead.example"
kind = "url"
"""


@pytest.fixture(scope="module")
def nameserver() -> Iterator[DnsServer]:
    with DnsServer(ZONES) as server:
        yield server


@pytest.fixture(scope="module")
def running(nameserver: DnsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Gateway]:
    folder = tmp_path_factory.mktemp("dns")
    with peers.gateway(folder, "maildir:var/maildir", nameserver=nameserver.address, extra=LISTS) as gateway:
        yield gateway


def delivered(running: peers.Gateway, subject: str, body: str) -> str:
    """The header of the message as it was delivered."""
    assert peers.send(running.smtp_port, message_bytes(body, Subject=subject))[0] == 250
    mark = f"Subject: {subject}\r\n".encode()
    files = [path for path in (running.folder / "var/maildir").rglob("*") if path.is_file()]
    (content,) = [
        one
        for one in (path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for path in files)
        if mark in one
    ]
    return content.partition(b"\r\n\r\n")[0].decode().replace("\r\n\t", " ").replace("\r\n ", " ")


def metric(running: peers.Gateway, line: str) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{running.metrics_port}/metrics") as answer:
        return line in answer.read().decode().splitlines()


def test_a_listed_link_scores_and_a_dead_list_is_named(running: peers.Gateway) -> None:
    header = delivered(running, "listed", "see http://www.spammer.ir/x\r\n")
    assert "DNSBL_SURBL_ABUSE" in header
    assert "spf=pass" in header
    assert "dns list dead: switched off: its test entry test is not listed" in header


def test_a_dead_list_lists_nobody_and_does_not_raise_the_action(running: peers.Gateway) -> None:
    header = delivered(running, "honest", "see http://honest.ir/x\r\n")
    assert "DNSBL" not in header
    assert "X-Spam-Flag: NO" in header
    assert "a DNS list is switched off" in running.log()


def test_the_metrics_tell_which_list_is_off(running: peers.Gateway) -> None:
    eventually(lambda: metric(running, 'darban_dns_list_up{list="surbl"} 1.0'), 60)
    assert metric(running, 'darban_dns_list_up{list="dead"} 0.0')
    assert metric(running, "darban_dns_up 1.0")


def test_a_list_without_a_score_is_told_of(running: peers.Gateway) -> None:
    said = running.cli("config", "check")
    assert "[[dns_list]]: DNSBL_DEAD counts nothing: write a line `score DNSBL_DEAD 1.0` in a rule file" in said.stdout
    assert "SURBL" not in said.stdout
    assert said.returncode == 1


def test_when_no_nameserver_answers_mail_flows_and_it_is_told(running: peers.Gateway, nameserver: DnsServer) -> None:
    nameserver.behaviours["*"] = "silent"
    for number in range(3):
        header = delivered(running, f"silent {number}", f"see http://s{number}.ir/ http://t{number}.ir/\r\n")
        assert "X-Darban-Incomplete: dns" in header
    eventually(lambda: metric(running, "darban_dns_up 0.0"), 60)
    assert metric(running, 'darban_dns_list_up{list="surbl"} 1.0')  # nobody knows better
    nameserver.behaviours.clear()
    eventually(lambda: metric(running, "darban_dns_up 1.0"), 60)
