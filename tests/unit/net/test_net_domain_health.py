"""net/domain_health.py: checkdmarc over a DNS server of the tests."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.auth.advice import Topic
from gateway.errors import ConfigError, InputError
from gateway.net.domain_health import Question, examine, greeting
from tests.dkim_keys import rsa_record
from tests.dns_server import DnsServer

ZONES: dict[str, Any] = {
    "good.example": {"MX": ["10 mx.good.example"], "TXT": ["v=spf1 mx -all"], "NS": ["ns.good.example"]},
    "mx.good.example": {"A": ["192.0.2.1"]},
    "mail2024._domainkey.good.example": {"TXT": [rsa_record(2048)]},
    "google._domainkey.good.example": {"TXT": ["not a key"]},
    "_dmarc.good.example": {"TXT": ["v=DMARC1; p=reject; rua=mailto:dmarc@good.example"]},
    "_smtp._tls.good.example": {"TXT": ["v=TLSRPTv1; rua=mailto:tls@good.example"]},
    "bad.example": {
        "MX": ["10 mx.good.example", "20 old.bad.example"],
        "TXT": ["v=spf1 include:many.example ~all"],
        "NS": ["ns.bad.example"],
    },
    "old.bad.example": {"A": ["192.0.2.66"]},
    "many.example": {"TXT": ["v=spf1 " + " ".join(f"include:i{number}.example" for number in range(11)) + " ~all"]},
    **{f"i{number}.example": {"TXT": ["v=spf1 ip4:192.0.2.9 ~all"]} for number in range(11)},
    "selector1._domainkey.bad.example": {"TXT": [rsa_record(1024)]},
    "silent.example": {"MX": ["10 mx.silent.example"]},
}


@pytest.fixture(scope="module")
def server() -> Iterator[DnsServer]:
    with DnsServer(ZONES, {"silent.example": "silent"}) as running:
        yield running


def ask(server: DnsServer, domain: str, **more: Any) -> dict[str, Topic]:
    question = Question(domain, nameservers=(server.address,), timeout_s=0.5, hosts=("mx.good.example",), **more)
    return {topic.name: topic for topic in examine(question)}


def test_a_domain_in_order(server: DnsServer) -> None:
    found = ask(server, "Good.Example.", selectors=("mail2024",), next_hop="smtp://10.0.0.5:25")
    assert {name: topic.status for name, topic in found.items()} == {
        "MX": "good", "backend": "good", "SPF": "good", "DKIM": "good", "DMARC": "good", "MTA-STS": "advice",
        "TLS-RPT": "good", "DNSSEC": "advice", "BIMI": "good",
    }  # fmt: skip
    assert found["DKIM"].found == "mail2024"
    assert found["SPF"].words[0] == "1 of 10 look-ups, 0 of 2 that find nothing"


def test_a_domain_out_of_order(server: DnsServer) -> None:
    found = ask(server, "bad.example", selectors=("gone",), next_hop="smtp://old.bad.example:25")
    statuses = {name: topic.status for name, topic in found.items()}
    assert {name for name, status in statuses.items() if status == "problem"} == {"MX", "SPF", "DKIM", "DMARC"}
    assert "over old.bad.example" in found["MX"].words[0]
    assert "11/10" in found["SPF"].words[0]
    assert any("1024 bits" in word for word in found["DKIM"].words)
    assert found["DMARC"].publish[0].name == "_dmarc.bad.example"


def test_a_probe_tells_what_answers(server: DnsServer) -> None:
    """192.0.2.66 is a documentation address: nothing answers there, and no greeting is made up."""
    found = ask(server, "bad.example", has_probe=True, next_hop="maildir:/var/mail")
    assert not any("answers" in word for word in found["MX"].words)


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        ("nowhere.example", "no such domain"),
        ("silent.example", "did not answer"),
        ("single", "not a domain"),
        ("[::1]", "not a domain"),
    ],
)
def test_what_cannot_be_examined(server: DnsServer, domain: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        ask(server, domain)


def test_a_nameserver_that_is_none() -> None:
    with pytest.raises(ConfigError, match="not an address"):
        examine(Question("good.example", nameservers=("bananas",)))


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "checkdmarc", None)
    with pytest.raises(ConfigError, match=r"pip install 'darban\[domain\]'"):
        examine(Question("good.example"))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"220 mx.example ESMTP\r\nmore", "220 mx.example ESMTP"),
        (b"", "(nothing)"),
        (b"\x1b[31m\xff\r\n", "?[31m\ufffd"),
    ],
)
def test_greeting(sent: bytes, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:

        def answer() -> None:
            connection, _ = door.accept()
            with connection:
                connection.sendall(sent)

        thread = threading.Thread(target=answer)
        thread.start()
        assert greeting("127.0.0.1", door.getsockname()[1], 2.0) == said
        thread.join()


def test_nothing_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    assert greeting("127.0.0.1", port, 0.5) == ""
