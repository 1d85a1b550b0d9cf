"""The doors spamd and HTTP with the clients that speak to them: spamc, Exim, rspamc, and the contract of all doors."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from gateway.cli.demo import samples
from tests.builders import message_bytes
from tests.dns_server import DnsServer
from tests.door_asked import CLIENT_IP, HELO, MAIL_FROM, RCPT_TO, as_taken, scan_objects
from tests.door_contract import Judged, differences, judged, of_object
from tests.door_contract import messages as corpus_messages
from tests.e2e import peers
from tests.e2e.test_gateway import eventually

pytestmark = pytest.mark.e2e
CLEAN = message_bytes("Shall we meet on Tuesday at ten, in the same room?\r\n")
SPAM = next(content for name, content in samples() if "2-spam" in name)
TOKEN = "a long random word"
T = TypeVar("T")


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("doors")
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    spamd, http = peers.free_port(), peers.free_port()
    extra = f"""
[spamd]
listen = "127.0.0.1:{spamd}"
learn = true
trainer = ""
[reputation]
domains_quiet_s = 0.001
[http]
listen = "127.0.0.1:{http}"
learn_token_file = "{folder}/token"
"""
    with DnsServer({}) as dns:
        with peers.gateway(folder, f"maildir:{folder}/mail", nameserver=dns.address, extra=extra) as running:
            yield Doors(running, spamd, http)


class Doors:
    """A gateway with both."""

    def __init__(self, gateway: peers.Gateway, spamd: int, http: int) -> None:
        self.gateway, self.spamd, self.http = gateway, spamd, http

    def spamc(self, content: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
        where = ("-d", "127.0.0.1", "-p", str(self.spamd), "-s", "52428800")
        return subprocess.run(["spamc", *where, *options], input=content, capture_output=True, check=False, timeout=120)

    def rspamc(self, content: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
        where = ("-h", f"127.0.0.1:{self.http}")
        return subprocess.run(
            ["rspamc", *where, *options], input=content, capture_output=True, check=False, timeout=120
        )

    def post(self, path: str, content: bytes, fields: dict[str, str] | None = None) -> tuple[int, dict]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", content, fields or {}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def raw(self, said: bytes) -> bytes:
        """What the spamd door answers to these bytes."""
        with socket.create_connection(("127.0.0.1", self.spamd), timeout=60) as connection:
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))


# --- the contract -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def messages(corpora: Path) -> list[bytes]:
    return corpus_messages(corpora)


@pytest.fixture(scope="module")
def objects(doors: Doors, messages: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    found = scan_objects(doors.gateway, tmp_path_factory.mktemp("messages"), messages)
    assert len(found) == len(messages) == 200
    return found


@pytest.fixture(scope="module")
def wanted(objects: list[dict]) -> list[Judged]:
    return [of_object(one) for one in objects]


def each(ask: Callable[[bytes], T], messages: list[bytes]) -> list[T]:
    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(ask, messages))


@pytest.mark.corpora
def test_spamc_gives_the_verdict_of_scan(doors: Doors, messages: list[bytes], wanted: list[Judged]) -> None:
    def ask(content: bytes) -> tuple[float, list[str]]:
        score = doors.spamc(as_taken(content), "-c")
        told = doors.spamc(as_taken(content).replace(b"\r\n", b"\n"), "--tests")  # a pipe's line ends
        assert told.returncode == 0
        text, required = score.stdout.decode().split("/")
        assert (score.returncode == 1) == (float(text) >= float(required))
        return float(text), told.stdout.decode().split(",")

    told = each(ask, messages)
    assert max(abs(one.score - score) for one, (score, _) in zip(wanted, told, strict=True)) <= 0.051  # one decimal
    exact = [judged(one.score, hits) for one, (_, hits) in zip(wanted, told, strict=True)]
    assert differences(wanted, exact) == []


@pytest.mark.corpora
def test_post_scan_answers_the_object_of_scan(doors: Doors, messages: list[bytes], objects: list[dict]) -> None:
    asked = urllib.parse.urlencode({"client_ip": CLIENT_IP, "helo": HELO, "mail_from": MAIL_FROM, "rcpt_to": RCPT_TO})
    of_this_time = ("path", "queue_id", "seconds", "stages")
    answers = each(lambda content: doors.post(f"/scan?{asked}", content), messages)
    assert {status for status, _ in answers} == {200}
    for wanted, (_, found) in zip(objects, answers, strict=True):
        assert list(found) == list(wanted)
        assert found | dict.fromkeys(of_this_time) == wanted | dict.fromkeys(of_this_time)


@pytest.mark.corpora
def test_checkv2_gives_the_verdict_of_scan(doors: Doors, messages: list[bytes], wanted: list[Judged]) -> None:
    fields = {
        "IP": CLIENT_IP,
        "Helo": HELO,
        "From": f"<{MAIL_FROM}>",
        "Rcpt": f"<{RCPT_TO}>",
        "Queue-Id": "4DoorsTest1",
    }

    def ask(content: bytes) -> Judged:
        status, found = doors.post("/checkv2", as_taken(content), fields)
        assert status == 200
        return judged(found["score"], found["symbols"], found["darban"]["action"])

    assert differences(wanted, each(ask, messages)) == []


# --- spamc ------------------------------------------------------------------------------------------------------------


def test_spamc_check_says_it_by_its_exit_status(doors: Doors) -> None:
    clean, spam = doors.spamc(CLEAN, "-c"), doors.spamc(SPAM, "-c")
    assert (clean.returncode, spam.returncode) == (0, 1)
    assert float(spam.stdout.split(b"/")[0]) >= 5.0 == float(spam.stdout.split(b"/")[1])


def test_spamc_process_puts_our_fields_on_top_and_changes_nothing_else(doors: Doors) -> None:
    forged = b"X-Spam-Flag: NO\r\nAuthentication-Results: mx.darban.test; spf=pass\r\n"
    for newline in (b"\r\n", b"\n"):
        asked = (forged + SPAM.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")).replace(b"\r\n", newline)
        told = doors.spamc(asked, "-x")
        assert told.returncode == 0
        plain = asked.removeprefix(forged.replace(b"\r\n", newline))
        assert told.stdout.endswith(plain)
        on_top = told.stdout.removesuffix(plain)
        assert on_top.startswith(b"X-Spam-Flag: YES" + newline)
        assert on_top.count(b"X-Spam-Flag") == on_top.count(b"Authentication-Results: mx.darban.test;") == 1
        assert newline == b"\r\n" or b"\r" not in told.stdout
        assert doors.spamc(asked, "-x", "--headers").stdout.split(newline * 2, 1)[1] == plain.split(newline * 2, 1)[1]


def test_spamc_keeps_the_line_of_an_mbox(doors: Doors) -> None:
    line = b"From sara@example.org Fri Nov 27 08:00:00 2026\n"
    told = doors.spamc(line + CLEAN.replace(b"\r\n", b"\n"), "-x").stdout
    assert told.startswith(line + b"X-Spam-Flag: NO\n")


def test_spamc_report_symbols_and_ping(doors: Doors) -> None:
    report = doors.spamc(SPAM, "-R").stdout.decode()
    assert "CLASSIFIER" in report and "required" in report
    assert doors.spamc(SPAM, "-r").stdout.decode() == report
    assert b"points" not in doors.spamc(CLEAN, "-r").stdout
    assert b"CLASSIFIER" in doors.spamc(SPAM, "-y").stdout
    ping = doors.spamc(b"", "-K")
    assert (ping.returncode, ping.stdout) == (0, b"SPAMD/1.5 0\n")


def test_spamc_learns_once_and_forgets(doors: Doors) -> None:
    content = message_bytes("Learn this\r\n", Subject="spamc learns")
    said = [
        doors.spamc(content, "-u", "reza", "-L", what).stdout.decode()
        for what in ("spam", "spam", "ham", "forget", "forget")
    ]
    assert ["already" in one for one in said] == [False, True, False, False, True]
    told = doors.gateway.cli("learn", "list", "--trainer", "reza", "--json").stdout.splitlines()
    assert {json.loads(one)["via"] for one in told} <= {"spamd"}


def test_a_message_that_inflates_too_far_is_refused(doors: Doors) -> None:
    bomb = zlib.compress(b"x" * (60 << 20))
    head = f"CHECK SPAMC/1.5\r\nCompress: zlib\r\nContent-length: {len(bomb)}\r\n\r\n".encode()
    assert doors.raw(head + bomb) == b"SPAMD/1.0 65 Message larger than 52428800 bytes\r\n"
    small = zlib.compress(CLEAN)
    head = f"CHECK SPAMC/1.5\r\nCompress: zlib\r\nContent-length: {len(small)}\r\n\r\n".encode()
    assert doors.raw(head + small).startswith(b"SPAMD/1.1 0 EX_OK\r\nSpam: False ; ")


def test_spamc_hands_on_what_cannot_be_judged(doors: Doors) -> None:
    """A message too large for us comes out as it went in."""
    told = doors.spamc(b"Subject: x\n\n" + b"x" * (51 << 20))
    assert told.returncode == 0
    assert told.stdout.startswith(b"Subject: x\n\nxxx")


def test_the_recipient_and_client_come_from_the_fields_above(doors: Doors) -> None:
    doors.spamc(as_taken(CLEAN.replace(b"1@example.org", b"trace-door@example.org")), "-c")

    def rows() -> list[dict]:
        found = doors.gateway.cli("trace", "trace-door@example.org", "--json").stdout
        return [json.loads(line) for line in found.splitlines()]

    eventually(lambda: bool(rows()))
    (row,) = rows()
    assert (row["client_ip"], row["helo"], row["reverse_path"]) == (CLIENT_IP, HELO, MAIL_FROM)
    assert (row["recipient"], row["action"], row["reply"]) == (RCPT_TO, "scanned", "spamd: accept")
    assert " scanned score " in doors.gateway.cli("trace", "trace-door@example.org").stdout


def test_spamc_at_a_path(tmp_path: Path) -> None:
    """[spamd] listen = "unix:...": two listeners at one path, before and after a reload."""
    path = tmp_path / "spamd.sock"
    extra = f'[spamd]\nlisten = "unix:{path}"\nlearn = true\ntrainer = ""\n'
    with peers.gateway(tmp_path, f"maildir:{tmp_path}/mail", extra=extra, smtp_extra="workers = 2") as running:

        def spamc(*options: str) -> subprocess.CompletedProcess[bytes]:
            command = ["spamc", "-U", str(path), *options]
            return subprocess.run(command, input=CLEAN, capture_output=True, check=False, timeout=120)

        for _ in range(2):
            assert path.stat().st_mode & 0o777 == 0o660
            assert spamc("-K").stdout == b"SPAMD/1.5 0\n"
            with ThreadPoolExecutor(8) as threads:
                told = list(threads.map(lambda _: spamc("-c").stdout, range(16)))
            assert all(one.endswith(b"/5.0\n") for one in told), told
            assert b"X-Spam-Score" in spamc("-x").stdout
            assert b"learned" in spamc("-L", "spam").stdout
            before = set(running.processes().values())
            running.process.send_signal(signal.SIGHUP)
            eventually(lambda was=before: not ({0} | was) & set(running.processes().values()), 90)


# --- Rspamd's clients -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("rspamc") is None, reason="rspamc is not installed (Debian: rspamd)")
def test_rspamc_checks_learns_and_asks_for_statistics(doors: Doors) -> None:
    told = doors.rspamc(SPAM, "-i", CLIENT_IP, "-F", MAIL_FROM, "-r", RCPT_TO).stdout.decode()
    assert "Action: reject" in told and "Symbol: CLASSIFIER" in told
    assert "Action: reject" in doors.rspamc(SPAM, "-z").stdout.decode()
    lesson = message_bytes("Learn this too\r\n", Subject="rspamc learns")
    assert "success = true" in doors.rspamc(lesson, "-P", TOKEN, "learn_spam").stdout.decode()
    assert "taught before" in doors.rspamc(lesson, "-P", TOKEN, "learn_spam").stdout.decode()
    assert "401" in doors.rspamc(lesson, "-P", "wrong", "learn_ham").stdout.decode()
    assert "Messages scanned" in doors.rspamc(b"", "stat").stdout.decode()


def linking(domain: str) -> bytes:
    return message_bytes(f"Look at https://{domain}/\r\n", Message_ID=f"<{domain}@example.org>")


def test_a_scan_asks_no_memory(doors: Doors) -> None:
    """The same sender again and again is as unknown as at first; links are new to SMTP's memory, and to no door."""
    numbers = itertools.count()

    def hits_by_smtp() -> list[str]:
        domain = f"brandnew{next(numbers)}.example"
        assert peers.send(doors.gateway.smtp_port, linking(domain))[0] == 250
        line = next(one for one in doors.gateway.log().splitlines() if domain in one and '"event": "message"' in one)
        return json.loads(line)["hits"]

    eventually(lambda: "URL_DOMAIN_NEW" in hits_by_smtp())
    content, fields = linking("unseen.example"), {"IP": CLIENT_IP, "From": MAIL_FROM, "Rcpt": RCPT_TO}
    told = [frozenset(doors.post("/checkv2", content, fields)[1]["symbols"]) for _ in range(3)]
    told += [frozenset(doors.spamc(as_taken(content), "--tests").stdout.decode().split(",")) for _ in range(3)]
    assert len(set(told)) == 1
    assert not {"KNOWN_SENDER", "FIRST_CONTACT", "URL_DOMAIN_NEW"} & told[0]


def test_wrong_and_huge_requests_are_told_in_one_line(doors: Doors) -> None:
    assert doors.post("/checkv2", CLEAN, {"IP": "here"}) == (400, {"error": "'here' is not an IP address"})
    assert doors.post("/scan?rcpt_to=nobody", CLEAN)[0] == 400
    assert doors.post("/scan?who=me", CLEAN)[0] == 400
    assert doors.post("/checkv2", CLEAN, {"Content-Encoding": "br"})[0] == 415
    assert doors.post("/checkv2", CLEAN, {"Content-Encoding": "zstd"})[0] == 400
    assert doors.post("/learnspam", CLEAN)[0] == 401
    assert "Traceback" not in doors.gateway.log()


def test_metrics_and_processes_know_the_doors(doors: Doors) -> None:
    doors.post("/scan", SPAM)
    with urllib.request.urlopen(f"http://127.0.0.1:{doors.gateway.metrics_port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    assert 'darban_scans_total{action="reject",door="scan"}' in text
    assert {"door-http", "door-learn"} <= set(doors.gateway.processes())


# --- Exim -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(peers.exim_program() is None, reason="Exim is not here: tests/install_peers.sh unpacks Debian's")
@pytest.mark.parametrize("variant", ["", " variant=rspamd"])
def test_exim_refuses_marks_and_defers(doors: Doors, variant: str) -> None:
    with peers.exim(f"127.0.0.1 {doors.spamd}{variant}") as exim:
        assert exim.send(SPAM, CLIENT_IP).startswith("550 Refused")
        assert exim.send(CLEAN, CLIENT_IP).startswith("250 OK")
        (message,) = exim.messages()
        assert b"X-Spam-Action: no action\n" in message
    with peers.exim(f"127.0.0.1 {peers.free_port()}{variant}") as exim:  # nobody answers
        assert exim.send(CLEAN, CLIENT_IP).startswith("451")
        assert exim.messages() == []


# --- Haraka -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not peers.HARAKA.exists(), reason="Haraka is not here: tests/install_peers.sh installs it from npm")
def test_haraka_refuses_marks_and_defers(doors: Doors) -> None:
    forged = b"X-Spam-Flag: NO\r\nX-Darban-Id: forged\r\n"
    with peers.haraka(doors.http) as haraka:
        code, text = peers.send(haraka.port, SPAM)
        assert (code, "Message refused as unsolicited or unsafe" in text) == (550, True)
        assert peers.send(haraka.port, forged + CLEAN)[0] == 250
        (message,) = haraka.messages()
        assert message.count(b"X-Spam-Flag: NO") == message.count(b"X-Darban-Id:") == 1
        assert b"forged" not in message
        assert b"Authentication-Results: mx.darban.test;" in message
    with peers.haraka(peers.free_port()) as haraka:  # nobody answers
        assert peers.send(haraka.port, CLEAN)[0] == 450
        assert haraka.messages() == []
