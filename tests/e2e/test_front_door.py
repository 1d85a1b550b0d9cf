"""The front door over real sockets, a real Postfix behind it: one message out for each message in, no relaying, limits."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dns_server import DnsServer
from tests.e2e import peers
from tests.e2e.test_gateway import eventually

pytestmark = pytest.mark.e2e

HEAD = "From: Sara <sara@example.org>\r\nTo: you@darban.test\r\nDate: Mon, 21 Sep 2026 13:33:20 +0000\r\n"
SMUGGLED = (
    b"MAIL FROM:<smuggled@example.org>\r\nRCPT TO:<reza@darban.test>\r\nDATA\r\n"
    b"From: Sara <sara@example.org>\r\nSubject: smuggled\r\n\r\nsmuggled\r\n"
)
# What some server takes or took for the end of a message: CVE-2023-51764 (Postfix), -51765 (Sendmail), -51766 (Exim),
# CVE-2024-27305 (aiosmtpd), the matrix of the SMTP-Smuggling-Tools, and octets some readers drop or turn into others
LOOK_ALIKES = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r.\n", b"\n.\r", b"\r\n.\r\r\n", b"\r\r\n.\r\n",
    b"\r\r\n.\r\r\n", b"\n\r.\n\r", b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\x00\n.\r\n", b"\r\n.\r\x00\n", b"\n\x00.\n",
    b"\r\n. \r\n", b"\r\n.\t\r\n", b"\r\n .\r\n", b"\r\n..\r\n", b"\r\n.\x85", b"\x85.\x85", b"\r\n.\xc2\x85", b"\x0b.\x0b",
    b"\r\n.\x0b\r\n", b"\x0c.\x0c", b"\xe2\x80\xa8.\xe2\x80\xa8",
]  # fmt: skip
ENDS = {b"\r\r\n.\r\n"}  # a look-alike that holds the real end: the message ends there, and a second one follows


class Raw:
    """A client that sends exactly these bytes."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), 30, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def hear(self) -> str:
        while True:
            line = self.file.readline().decode()
            if line[3:4] != "-":
                return line.rstrip("\r\n")

    def say(self, *said: bytes) -> str:
        """In pieces, each a packet; the last reply."""
        for one in said:
            self.socket.sendall(one)
        return self.hear()

    def begin(self, *recipients: str) -> Raw:
        assert self.hear().startswith("220")
        assert self.say(b"EHLO client.example.org\r\n").startswith("250")
        return self.transaction(*recipients)

    def transaction(self, *recipients: str) -> Raw:
        assert self.say(b"MAIL FROM:<sara@example.org> BODY=8BITMIME\r\n").startswith("250")
        for one in recipients or ("you@darban.test",):
            assert self.say(f"RCPT TO:<{one}>\r\n".encode()).startswith("250")
        return self


@pytest.fixture(scope="module")
def strict(postfix_behind: peers.Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Gateway]:
    """A gateway that refuses what can be refused, and trusts nobody: small limits."""
    folder = tmp_path_factory.mktemp("strict")
    peers.make_certificate(folder, "mx.darban.test")
    smtp = f"""bare_line_ends = "refuse"
nul_bytes = "refuse"
timeout_s = 5
tls_certificate = "{folder}/cert.pem"
tls_key = "{folder}/key.pem"
"""
    extra = """
[reputation]
trusted_networks = ["127.0.0.1/32"]
[defence]
connections_per_client = 3
connects_per_network = 1000
max_refused_recipients = 4
helo_no_domain = "refuse"
"""
    hop = f"smtp://127.0.0.1:{postfix_behind.port}"
    with peers.gateway(folder, hop, extra=extra, smtp_extra=smtp) as running:
        yield running


def told(running: peers.Gateway, words: str) -> list[dict]:
    return [json.loads(line) for line in running.cli("trace", words, "--json", "--limit", "1000").stdout.splitlines()]


def metrics(running: peers.Gateway) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{running.metrics_port}/metrics") as answer:
        return answer.read().decode()


def subjects(postfix: peers.Postfix) -> list[str]:
    every = [*postfix.messages("you"), *postfix.messages("reza")]
    return [found[1].decode() for one in every if (found := re.search(rb"^Subject: (\S+)", one, re.MULTILINE))]


# --- one in, one out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["whole", "octets", "pipelined", "after RSET", "BDAT", "BDAT in two"])
def test_one_message_out_for_each_message_in(
    door: peers.Gateway, strict: peers.Gateway, postfix_behind: peers.Postfix, way: str
) -> None:
    """Through both policies every look-alike; Postfix counts."""
    expected: list[str] = []
    for policy, running in (("normal", door), ("strict", strict)):
        for number, look_alike in enumerate(LOOK_ALIKES):
            name = f"{policy}-{way.replace(' ', '-')}-{number}"
            taken = sent(running, look_alike, way, name, is_strict=policy == "strict")
            expected += [name] if taken else []
    mine = re.compile(rf"(normal|strict)-{way.replace(' ', '-')}-\d+|smuggled")
    eventually(lambda: len([one for one in subjects(postfix_behind) if mine.fullmatch(one)]) >= len(expected), 60)
    assert sorted(one for one in subjects(postfix_behind) if mine.fullmatch(one)) == sorted(expected)
    for one in [*postfix_behind.messages("you"), *postfix_behind.messages("reza")]:
        assert b"Return-Path: <smuggled@" not in one
        assert b"\r" not in one.replace(b"\r\n", b"")


def sent(running: peers.Gateway, look_alike: bytes, way: str, name: str, *, is_strict: bool) -> bool:
    """Whether the gateway took the one message; AssertionError when it answered out of step."""
    content = f"{HEAD}Subject: {name}\r\n\r\nHello".encode() + look_alike + SMUGGLED
    holds_end = b"\r\n.\r\n" in content and not way.startswith("BDAT")
    if holds_end:  # one look-alike does: a bare CR before the real end
        content = content[: content.index(b"\r\n.\r\n")] + b"\r\n"
    with Raw(running.smtp_port).begin() as client:
        if way == "after RSET":
            assert client.say(b"RSET\r\n").startswith("250")
            client.transaction()
        if way.startswith("BDAT"):
            half = content.index(b"Hello") + 6 if way != "BDAT" else 0
            if half:
                assert client.say(b"BDAT %d\r\n" % half + content[:half]).startswith("250")
            heard = client.say(b"BDAT %d LAST\r\n" % (len(content) - half), content[half:])
        else:
            assert client.say(b"DATA\r\n").startswith("354")
            if way == "octets":
                at = content.index(b"Hello")
                heard = client.say(content[:at], *(bytes([one]) for one in content[at:] + b".\r\n"))
            elif way == "pipelined":
                heard = client.say(content + b".\r\nNOOP\r\n")
                assert client.hear() == "250 2.0.0 OK"
            else:
                heard = client.say(content + b".\r\n")
        assert client.say(b"NOOP\r\n") == "250 2.0.0 OK", f"{name} is out of step"
        assert client.say(b"QUIT\r\n").startswith("221")
    bare = content.replace(b"\r\n", b"")
    is_odd = b"\0" in content or b"\r" in bare or b"\n" in bare
    assert heard[:3] == ("550" if is_strict and is_odd else "250"), f"{name}: {heard}"
    return heard.startswith("250")


def test_messages_in_one_write_are_as_many(door: peers.Gateway, postfix_behind: peers.Postfix) -> None:
    """RFC 2920: behind the end of a message the next group may follow at once."""
    group = b"MAIL FROM:<sara@example.org>\r\nRCPT TO:<you@darban.test>\r\n"
    with Raw(door.smtp_port) as client:
        client.hear()
        client.say(b"EHLO client.example.org\r\n")
        said = b""
        for number in range(10):
            content = f"{HEAD}Subject: many-{number}\r\n\r\nHello\r\n.dot\r\n".encode()
            said += group + b"BDAT %d LAST\r\n" % len(content) + content
        replies = [client.say(said), *(client.hear() for _ in range(29))]
    assert {one[:3] for one in replies} == {"250"}
    eventually(lambda: len([one for one in subjects(postfix_behind) if one.startswith("many-")]) == 10)


def test_what_comes_in_the_clear_behind_starttls_is_forgotten_and_told(strict: peers.Gateway) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with Raw(strict.smtp_port) as client:
        client.hear()
        client.say(b"EHLO client.example.org\r\n")
        injected = b"EHLO evil.example\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<you@darban.test>\r\n"
        assert client.say(b"STARTTLS\r\n" + injected).startswith("220")
        with context.wrap_socket(client.socket, server_hostname="mx.darban.test") as secure:
            secure.sendall(b"DATA\r\n")
            assert secure.recv(1000).startswith(b"503")
    eventually(lambda: "in the clear behind STARTTLS" in strict.log())
    eventually(lambda: 'darban_smtp_violations_total{kind="tls_injection"} 1.0' in metrics(strict))


# --- no open relay ----------------------------------------------------------------------------------------------------

SPELLINGS = """
<victim@elsewhere.example>
<victim%elsewhere.example@darban.test>
<victim%elsewhere.example@[127.0.0.1]>
<victim%elsewhere.example>
<"victim@elsewhere.example"@darban.test>
<"victim%elsewhere.example"@darban.test>
<"victim@elsewhere.example">
<"victim"@elsewhere.example>
<elsewhere.example!victim@darban.test>
<elsewhere.example!victim>
<darban.test!victim@elsewhere.example>
<"elsewhere.example!victim"@darban.test>
<@darban.test:victim@elsewhere.example>
<@darban.test,@mx.darban.test:victim@elsewhere.example>
<@elsewhere.example:victim%elsewhere.example@darban.test>
<@elsewhere.example:@darban.test:victim@elsewhere.example>
<victim@elsewhere.example@darban.test>
<victim@darban.test@elsewhere.example>
<victim\\@elsewhere.example@darban.test>
<"victim\\@elsewhere.example"@darban.test>
<victim@[127.0.0.1]>
<victim@[IPv6:::1]>
<victim@127.0.0.1>
<victim@localhost>
<victim@mx.darban.test>
<victim@behind.darban.test>
<victim@sub.darban.test>
<victim@darban.test.elsewhere.example>
<victim@elsewhere.example.>
<victim@ELSEWHERE.EXAMPLE>
<victim@elsewhere.example,you@darban.test>
<you@darban.test,victim@elsewhere.example>
<you@darban.test>,<victim@elsewhere.example>
<you@darban.test> <victim@elsewhere.example>
<you@darban.test>victim@elsewhere.example
<victim@elsewhere.example> ORCPT=rfc822;you@darban.test
<you@darban.test> ORCPT=rfc822;victim@elsewhere.example
victim@elsewhere.example
<<victim@elsewhere.example>>
<victim@elsewhere.example:you@darban.test>
<victim:you@darban.test>
<victim (you@darban.test)@elsewhere.example>
<victim@elsewhere.example(@darban.test)>
<victim@elsewhere.example\\x00@darban.test>
<victim@elsewhere.example\\x0a@darban.test>
<victim@elsewhere.example\\x0d@darban.test>
<victim@elsewhere.example\\x09@darban.test>
<victim@elsewhere\\xe3\\x80\\x82example>
<victim@elsewhere.example\\xef\\xbc\\xa0darban.test>
<victim\\xef\\xbc\\x85elsewhere.example@darban.test>
<victim\\xef\\xbc\\x81elsewhere.example@darban.test>
<victim@>
<@darban.test>
<victim>
<>
<victim@elsewhere.example#@darban.test>
<//victim@elsewhere.example/@darban.test>
<smtp:victim@elsewhere.example@darban.test>
<IMCEASMTP-victim+40elsewhere+2Eexample@darban.test>
<victim+elsewhere.example@darban.test>
<victim=elsewhere.example@darban.test>
<\\@victim@elsewhere.example>
<you@darban.test\\x0d\\x0aRCPT TO:<victim@elsewhere.example>
""".strip().splitlines()


def test_no_spelling_makes_an_open_relay(
    door: peers.Gateway, strict: peers.Gateway, postfix_behind: peers.Postfix
) -> None:
    """The Postfix behind relays whatever we hand it (mynetworks): it is handed nothing for anybody else."""
    accepted = []
    for running in (door, strict):
        for number, spelling in enumerate(SPELLINGS):
            raw = re.sub(rb"\\x(..)", lambda found: bytes.fromhex(found[1].decode()), spelling.encode())
            with Raw(running.smtp_port, f"127.0.8.{number + 1}") as client:
                client.hear()
                client.say(b"EHLO client.example.org\r\n")
                client.say(b"MAIL FROM:<sara@example.org> SMTPUTF8\r\n")
                heard = client.say(b"RCPT TO:" + raw + b"\r\n")
                if not heard.startswith("250"):
                    assert heard[:1] in "45", (spelling, heard)
                    continue
                accepted.append(spelling)
                if client.say(b"DATA\r\n").startswith("354"):
                    client.say(f"{HEAD}Subject: relay-{number}\r\n\r\nHello\r\n.\r\n".encode())
    log = (postfix_behind.folder / "mail.log").read_text()
    assert {to.rpartition("@")[2] for to in re.findall(r"\bto=<([^>]*)>", log)} <= {"darban.test"}
    assert accepted == []  # what is left are names of ours, of which the server behind knows none


# --- limits -----------------------------------------------------------------------------------------------------------


def test_connections_over_the_limit_hear_421(strict: peers.Gateway) -> None:
    open_now = [Raw(strict.smtp_port, "127.0.9.1") for _ in range(3)]
    assert [one.hear()[:3] for one in open_now] == ["220"] * 3
    with Raw(strict.smtp_port, "127.0.9.1") as fourth, Raw(strict.smtp_port, "127.0.10.1") as other:
        assert fourth.hear().startswith("421 4.7.0")
        assert other.hear().startswith("220")
    for one in open_now:
        one.__exit__()
    eventually(lambda: any(row["reason"] == "connection limit: client" for row in told(strict, "127.0.9.1")))
    eventually(lambda: 'darban_smtp_stopped_total{limit="client"} 1.0' in metrics(strict))


def test_a_harvest_is_stopped_and_told_without_filling_the_log(strict: peers.Gateway) -> None:
    tried = 0
    for _ in range(6):
        with Raw(strict.smtp_port, "127.0.11.1") as client:
            client.hear()
            client.say(b"EHLO client.example.org\r\n")
            client.say(b"MAIL FROM:<sara@example.org>\r\n")
            while client.say(f"RCPT TO:<name{tried}@darban.test>\r\n".encode()).startswith("550"):
                tried += 1
    assert tried == 4 + 2 * 5
    eventually(lambda: len(told(strict, "127.0.11.1")) >= 5)
    rows = told(strict, "127.0.11.1")
    assert {row["action"] for row in rows} == {"reject", "tempfail"}
    assert len([row for row in rows if row["reason"] == "unknown recipient"]) == 5
    (counted,) = re.findall(r'darban_refusals_total{reason="unknown recipient"} (\d+)', metrics(strict))
    assert int(counted) >= tried


def test_helo_is_judged_at_rcpt_where_asked(strict: peers.Gateway, door: peers.Gateway) -> None:
    for running, recipient, code in (
        (strict, "you", "550"), (strict, "postmaster", "550 5.1.1"), (door, "you", "250")
    ):  # fmt: skip
        with Raw(running.smtp_port, "127.0.12.1") as client:
            client.hear()
            client.say(b"EHLO friend\r\n")
            client.say(b"MAIL FROM:<sara@example.org>\r\n")
            assert client.say(f"RCPT TO:<{recipient}@darban.test>\r\n".encode()).startswith(code)


def test_a_slow_sender_is_cut_off(strict: peers.Gateway, postfix_behind: peers.Postfix) -> None:
    """An octet each second: every one within timeout_s (5 s here), all together not at min_data_rate."""
    with Raw(strict.smtp_port, "127.0.13.1").begin() as client:
        assert client.say(b"DATA\r\n").startswith("354")
        client.socket.settimeout(1)
        heard = b""
        for _ in range(15):
            client.socket.sendall(b"x")
            try:
                heard = client.socket.recv(100)
            except TimeoutError:
                continue
            break
        assert heard.startswith(b"421 4.4.2")


@pytest.mark.parametrize("said", [b"EHLO a.example\r\nMAIL FROM:<sara@example.org>\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_who_does_not_wait_is_refused(strict: peers.Gateway, said: bytes) -> None:
    with Raw(strict.smtp_port, "127.0.14.1") as client:
        client.hear()
        assert client.say(said).startswith("554 5.5")
        assert client.hear() == ""


# --- what the DNS says of a client --------------------------------------------------------------------------------------

ZONES = {
    "1.15.0.127.in-addr.arpa": {"PTR": ["mx.good.example"]},
    "mx.good.example": {"A": ["127.0.15.1"]},
    "2.15.0.127.in-addr.arpa": {"PTR": ["mx.good.example"]},
    "3.15.0.127.in-addr.arpa": "servfail",
}


def test_clients_without_a_name_wait_and_are_refused_where_asked(postfix_behind: peers.Postfix, tmp_path: Path) -> None:
    """With a real nameserver: good, lying, silent and nameless clients."""
    extra = """
[reputation]
trusted_networks = ["127.0.0.1/32"]
[defence]
greeting_delay_s = 1.0
no_reverse_dns = "refuse"
unconfirmed_reverse_dns = "defer"
"""
    hop = f"smtp://127.0.0.1:{postfix_behind.port}"
    with DnsServer(ZONES) as dns, peers.gateway(tmp_path, hop, nameserver=dns.address, extra=extra) as running:
        for number, code, is_late in (
            (1, "250", False),
            (2, "450 4.7.25", True),
            (3, "250", False),
            (4, "550 5.7.25", True),
        ):
            started = time.monotonic()
            with Raw(running.smtp_port, f"127.0.15.{number}") as client:
                assert client.hear().startswith("220")
                assert (time.monotonic() - started > 0.9) is is_late, number
                client.say(b"EHLO client.example.org\r\n")
                client.say(b"MAIL FROM:<sara@example.org>\r\n")
                assert client.say(b"RCPT TO:<you@darban.test>\r\n").startswith(code)
                assert client.say(b"RCPT TO:<postmaster@darban.test>\r\n").startswith("550 5.1.1")  # Postfix's word
        with Raw(running.smtp_port, "127.0.15.4") as client:
            client.socket.sendall(b"EHLO client.example.org\r\n")
            assert client.hear().startswith("554 5.5.0")
        with Raw(running.smtp_port, "127.0.0.1") as client:  # trusted
            assert client.begin() is client
        eventually(
            lambda: {"reverse dns", "SMTP_EARLY_TALKER"} <= {row["reason"] for row in told(running, "127.0.15.0/24")}
        )


LISTED = {
    "2.0.0.127.bad.example": {"A": ["127.0.0.2"]},
    "1.64.83.45.bad.example": {"A": ["127.0.0.2"]},
}


def test_a_listed_client_is_refused_at_rcpt(tmp_path: Path) -> None:
    """Behind a proxy, which says who the client is: lists are asked about addresses of the internet alone."""
    extra = '[[dns_list]]\nname = "bad"\nzone = "bad.example"\nat_rcpt = "refuse"\n'
    smtp = 'trusted_proxies = ["127.0.0.0/8"]\nproxy_protocol = true\n'
    with (
        DnsServer(LISTED) as dns,
        peers.gateway(
            tmp_path, f"maildir:{tmp_path}/mail", nameserver=dns.address, extra=extra, smtp_extra=smtp
        ) as running,
    ):
        for ip, recipient, code in (
            ("45.83.64.1", "you", "554 5.7.1"), ("45.83.64.2", "you", "250"), ("45.83.64.1", "abuse", "250")
        ):  # fmt: skip
            with Raw(running.smtp_port) as client:
                assert client.say(f"PROXY TCP4 {ip} 192.0.2.1 1000 25\r\n".encode()).startswith("220")
                client.say(b"EHLO client.example.org\r\n")
                client.say(b"MAIL FROM:<sara@example.org>\r\n")
                assert client.say(f"RCPT TO:<{recipient}@darban.test>\r\n".encode()).startswith(code)
        eventually(lambda: any(row["reason"] == "dns list: DNSBL_BAD" for row in told(running, "45.83.64.1")))
