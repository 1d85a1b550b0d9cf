"""The milter door under a real Postfix."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import smtplib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.cli.demo import samples
from gateway.mail import parse
from tests import door_contract, milter_mta
from tests.builders import message_bytes
from tests.dkim_keys import rsa_record, sign
from tests.dns_server import DnsServer
from tests.e2e import peers
from tests.e2e.test_custody import held, marked, numbers, settled
from tests.e2e.test_gateway import SPAM, arrived, eventually, unique

pytestmark = pytest.mark.e2e
SAMPLES = dict(samples())
# what reaches the milter is what the client sent
UNTOUCHED = "local_header_rewrite_clients =\nmessage_drop_headers =\nsmtpd_authorized_xclient_hosts = 127.0.0.0/8\n"
STRICT = "virtual_alias_domains = strict.test\nvirtual_alias_maps = inline:{ {ali@strict.test = reza@darban.test} }\n"


class Pair:
    """Postfix, and the gateway it asks."""

    def __init__(self, postfix: peers.Postfix, gateway: peers.Gateway) -> None:
        self.postfix, self.gateway = postfix, gateway

    def send(self, content: bytes, *recipients: str) -> tuple[int, str]:
        return peers.send(self.postfix.port, content, rcpt_to=list(recipients) or None)

    def rows(self, text: str, number: int = 1) -> list[dict]:
        """Of the message log, once there are so many."""
        found: list[dict] = []

        def are_there() -> bool:
            lines = self.gateway.cli("trace", text, "--json", "--limit", "1000").stdout.splitlines()
            found[:] = [json.loads(line) for line in lines]
            return len(found) >= number

        eventually(are_there)
        return found

    def logged(self, event: str) -> list[dict]:
        """Lines of the gateway's log."""
        lines = [json.loads(line) for line in self.gateway.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def mail_log(self) -> str:
        return (self.postfix.folder / "mail.log").read_text()


@contextlib.contextmanager
def pair(
    folder: Path, *, settings: str = "", postfix: str = UNTOUCHED, nameserver: str = "127.0.0.1:9", place: str = ""
) -> Iterator[Pair]:
    listen = place or f"127.0.0.1:{peers.free_port()}"
    asked = listen if place else f"inet:{listen}"
    with peers.postfix(milter=asked, extra=postfix) as mta:
        strict = f'[[domain]]\nname = "strict.test"\nnext_hop = "smtp://127.0.0.1:{mta.inner_port}"\n'
        extra = f'[milter]\nlisten = "{listen}"\n{settings}\n{strict}tag_at = -50\nquarantine_at = -40\n'
        hop = f"smtp://127.0.0.1:{mta.inner_port}"
        with peers.gateway(folder, hop, extra=extra, nameserver=nameserver, smtp_extra="workers = 2") as running:
            yield Pair(mta, running)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """With a domain strict.test beside darban.test, that holds everything; Postfix knows it as an alias of reza's."""
    with pair(tmp_path_factory.mktemp("milter"), postfix=UNTOUCHED + STRICT) as both:
        yield both


# --- what becomes of a message -----------------------------------------------------------------------------------------


def test_clean_mail_is_annotated(asked: Pair) -> None:
    forged = (
        b"X-Spam-Flag: NO\r\nX-Darban-Id: FORGED\r\nAuthentication-Results: mx.elsewhere.example; spf=fail\r\n"
        b"authentication-results:\r\n\tmx.darban.test; dmarc=pass\r\nX-SPAM-flag: NO\r\nX-Darban-Mta: a b\r\n"
    )
    content = forged + unique("milter-clean")
    assert asked.send(content)[0] == 250
    eventually(lambda: len(arrived(asked.postfix, "milter-clean")) == 1)
    (received,) = arrived(asked.postfix, "milter-clean")
    names = [field.name for field in parse(received).fields]
    first = names.index("X-Spam-Flag")
    ours = ["X-Spam-Flag", "X-Spam-Status", "X-Spam-Score", "X-Spam-Level", "X-Darban-Id", "X-Darban-Incomplete"]
    assert names[first : first + 9] == [*ours, "X-Darban-Mta", "Authentication-Results", "Received"]
    assert b"FORGED" not in received and b"dmarc=pass" not in received
    left = b"Authentication-Results: mx.elsewhere.example; spf=fail\r\n" + unique("milter-clean")
    assert received.replace(b"\n", b"\r\n").endswith(left)
    (row,) = asked.rows("milter-clean")
    assert (row["action"], row["client_ip"], row["helo"]) == ("accept", "127.0.0.1", "client.example.org")
    queue_id = re.search(r"with the MTA as (\w+)", row["next_hop_reply"])[1]
    assert f"{queue_id}: message-id=" in asked.mail_log()
    assert asked.rows(queue_id)[0]["queue_id"] == row["queue_id"]


def test_spam_is_refused_in_our_words(asked: Pair) -> None:
    code, text = asked.send(SAMPLES["2-spam.eml"])
    assert code == 550
    assert text.startswith("5.7.1 Message refused as unsolicited or unsafe (")
    queue_id = text.rpartition("(")[2].rstrip(")")
    assert asked.rows(queue_id)[0]["action"] == "reject"


def test_what_is_held_is_shown_and_released_without_being_asked_about_again(asked: Pair) -> None:
    assert asked.send(SPAM.replace(b"{}", b"milter-held"))[0] == 250
    listed = asked.gateway.cli("quarantine", "list", "--json", "--search", "milter-held")
    held = json.loads(listed.stdout)
    assert (held["recipient"], held["state"]) == ("you@darban.test", "held")
    assert "milter-discard" in asked.mail_log()
    assert not arrived(asked.postfix, "milter-held")
    released = asked.gateway.cli("quarantine", "release", held["id"])
    assert released.returncode == 0, released.stdout
    eventually(lambda: len(arrived(asked.postfix, "milter-held")) == 1)
    assert b"X-Darban-Released:" in arrived(asked.postfix, "milter-held")[0]
    assert len(asked.rows("milter-held")) == 1


def test_one_of_two_recipients_is_held(asked: Pair) -> None:
    assert asked.send(unique("milter-mixed"), "you@darban.test", "ali@strict.test")[0] == 250
    eventually(lambda: len(arrived(asked.postfix, "milter-mixed")) == 1)
    rows = {row["recipient"]: row["action"] for row in asked.rows("milter-mixed", 2)}
    assert rows == {"you@darban.test": "accept", "ali@strict.test": "quarantine"}
    time.sleep(0.5)
    assert not arrived(asked.postfix, "milter-mixed", "reza")
    assert "accept" in asked.gateway.cli("trace", "milter-mixed").stdout


def test_several_messages_of_one_session(asked: Pair) -> None:
    with smtplib.SMTP("127.0.0.1", asked.postfix.port, local_hostname="client.example.org", timeout=60) as client:
        client.ehlo()
        for number in range(3):
            client.mail("sara@example.org")
            client.rcpt("you@darban.test")
            client.rset()
            client.mail("sara@example.org")
            client.rcpt("you@darban.test")
            assert client.data(unique(f"milter-of-three-{number}"))[0] == 250
        client.mail("sara@example.org")
        client.rcpt("you@darban.test")
        assert client.data(SAMPLES["2-spam.eml"])[0] == 550
    eventually(lambda: all(len(arrived(asked.postfix, f"milter-of-three-{number}")) == 1 for number in range(3)))


def test_what_goes_out_is_not_judged(asked: Pair) -> None:
    assert asked.send(SPAM.replace(b"{}", b"milter-out"), "x@elsewhere.example")[0] == 250
    eventually(lambda: [one["reason"] for one in asked.logged("not judged")] == ["goes out"])
    assert asked.gateway.cli("trace", "milter-out", "--json").stdout == ""


def test_large_bodies_come_whole(asked: Pair) -> None:
    lines = b"".join(b"%07d " % number + b"x" * 60 + b"\r\n" for number in range(60_000))
    content = message_bytes(Subject="milter-large") + lines
    assert asked.send(content)[0] == 250
    (row,) = asked.rows("milter-large")
    assert row["summary"]["size_bytes"] == len(content)


def test_metrics(asked: Pair) -> None:
    asked.send(unique("milter-counted"))
    with urllib.request.urlopen(f"http://127.0.0.1:{asked.gateway.metrics_port}/metrics") as answer:
        text = answer.read().decode()
    assert 'darban_milter_connections_total{result="accepted"}' in text
    assert "darban_milter_open_connections" in text
    assert re.search(r'darban_messages_total\{outcome="accepted"\} [1-9]', text)


def test_what_postfix_delivered_can_teach(asked: Pair, tmp_path: Path) -> None:
    assert asked.send(unique("milter-teaches"))[0] == 250
    eventually(lambda: len(arrived(asked.postfix, "milter-teaches")) == 1)
    asked.rows("milter-teaches")
    (content,) = arrived(asked.postfix, "milter-teaches")
    for name, found in (("delivered", content), ("forged", content.replace(b"X-Darban-Mta: ", b"X-Darban-Mta: x"))):
        (tmp_path / f"{name}.eml").write_bytes(found)
    done = asked.gateway.cli("learn", "spam", "--delivered", "--json", str(tmp_path / "forged.eml"))
    assert '"learned"' not in done.stdout
    done = asked.gateway.cli("learn", "spam", "--delivered", "--json", str(tmp_path / "delivered.eml"))
    assert '"learned"' in done.stdout, done.stdout + done.stderr


# --- settings and faults ---------------------------------------------------------------------------------------------


def scorers(running: peers.Gateway) -> list[int]:
    parent = running.processes()["scorers"]
    return [int(one) for one in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def test_a_scan_that_takes_long_a_store_that_is_down_and_a_gateway_that_dies(tmp_path: Path) -> None:
    """Postfix waits 6 s for an answer: told that we are at it, it waits on; without us it keeps nothing."""
    with pair(tmp_path, postfix=UNTOUCHED + "milter_content_timeout = 6s\nmilter_default_action = tempfail\n") as one:
        stopped = scorers(one.gateway)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        threading.Timer(10, lambda: [os.kill(pid, signal.SIGCONT) for pid in stopped]).start()
        assert one.send(unique("milter-slow"))[0] == 250
        eventually(lambda: len(arrived(one.postfix, "milter-slow")) == 1)
        assert one.logged("message")[-1]["ms"] > 9000

        blobs = one.gateway.folder / "var" / "blobs"
        blobs.rename(blobs.with_name("away"))
        blobs.touch()
        code, text = one.send(SPAM.replace(b"{}", b"milter-down"))
        assert (code, text[:5]) == (451, "4.3.0")
        assert one.send(unique("milter-clean-meanwhile"))[0] == 250
        blobs.unlink()
        blobs.with_name("away").rename(blobs)
        assert one.send(SPAM.replace(b"{}", b"milter-down"))[0] == 250
        assert len(one.gateway.cli("quarantine", "list", "--json", "--search", "milter-down").stdout.splitlines()) == 1
        assert not arrived(one.postfix, "milter-down")

        for pid in scorers(one.gateway):
            os.kill(pid, signal.SIGSTOP)
        victims = [*scorers(one.gateway), *one.gateway.processes().values()]
        one.gateway.process.send_signal(signal.SIGSTOP)  # or it would start others

        def kill() -> None:
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            one.gateway.process.kill()

        threading.Timer(2, kill).start()
        code, text = one.send(unique("milter-killed"))
        assert (code, text[:5]) == (451, "4.7.1")
        one.gateway.process.wait(10)
        assert not arrived(one.postfix, "milter-killed")
        assert "Mail queue is empty" in one.postfix.command("postqueue", "-p").stdout


def test_a_listener_killed_under_load_loses_nothing(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Every 250 is delivered or held, once; whatever else was said, nothing is delivered."""
    number, killed_at = 240, 80
    answered: dict[int, int] = {}

    def play(part: int) -> None:
        for one in range(part, number, 8):
            content = SPAM.replace(b"{}", b"load") if one % 4 == 0 else unique("load")
            answered[one] = both.send(marked(one, content))[0]

    with pair(tmp_path, postfix=f"{UNTOUCHED}smtpd_client_connection_rate_limit = 0\n") as both:
        threads = [threading.Thread(target=play, args=(part,)) for part in range(8)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(answered) >= killed_at, 60)
        os.kill(both.gateway.processes()["listener-1"], signal.SIGKILL)
        for thread in threads:
            thread.join(120)
        taken = {one for one, code in answered.items() if code == 250}
        in_quarantine = held(both.gateway)
        expected = taken - set(in_quarantine)
        settled(both.postfix, lambda found: found >= expected)
        delivered = numbers(both.postfix.messages())
    record_property("deferred", number - len(taken))
    assert len(answered) == number
    assert set(answered.values()) <= {250, 451}
    assert taken <= set(delivered) | set(in_quarantine)
    assert set(delivered) <= taken
    assert not set(delivered) & set(in_quarantine)
    assert set(delivered.values()) | set(in_quarantine.values()) == {1}
    assert number - len(taken) < 20


def test_postfix_holds_what_is_to_be_held_where_it_shall(tmp_path: Path) -> None:
    with pair(tmp_path, settings='quarantine = "mta"', postfix=UNTOUCHED + STRICT) as one:
        with smtplib.SMTP("127.0.0.1", one.postfix.port, local_hostname="client.example.org", timeout=60) as client:
            client.sendmail("sara@example.org", ["you@darban.test"], SPAM.replace(b"{}", b"milter-hold-one"))
            client.sendmail("sara@example.org", ["you@darban.test"], unique("milter-hold-none"))
            client.sendmail("sara@example.org", ["you@darban.test", "ali@strict.test"], unique("milter-hold-both"))
        queue = one.postfix.command("postqueue", "-p").stdout
        assert len(re.findall(r"^\w+!", queue, re.MULTILINE)) == 2, queue
        eventually(lambda: len(arrived(one.postfix, "milter-hold-none")) == 1)
        assert one.gateway.cli("quarantine", "list", "--json").stdout == ""
        rows = [row for name in ("one", "both") for row in one.rows(f"milter-hold-{name}", 1 + (name == "both"))]
        assert [row["action"] for row in rows] == ["quarantine"] * 3
        assert all("held by the MTA as" in row["next_hop_reply"] for row in rows)
        one.postfix.command("postsuper", "-H", "ALL")
        one.postfix.command("postqueue", "-f")
        eventually(lambda: len(arrived(one.postfix, "milter-hold-one")) == 1)
        assert b"X-Spam-Flag: YES" in arrived(one.postfix, "milter-hold-one")[0]
        eventually(lambda: len(arrived(one.postfix, "milter-hold-both", "reza")) == 1)


ODD = (
    b"From: Sara <sara@example.org>\r\nTo:you@darban.test\r\nSubject:  two  spaces \r\nX-Tab:\ttab\r\n"
    b"X-Folded: a\r\n  b\r\n\tc \r\nX-Empty:\r\nX-Long: " + b"x" * 2500 + b"\r\nX-8bit: \xd8\xb3\xff\r\n"
    b"\r\n.\r\n..\r\nspaces at the end  \r\n\r\n" + b"y" * 2500 + b"\r\n\r\n\r\n"
)  # fmt: skip
NAMES = [b"from", b"to", b"subject", b"x-tab", b"x-folded", b"x-empty", b"x-long", b"x-8bit"]


@pytest.mark.parametrize("form", [b"simple", b"relaxed"])
def test_signatures_of_what_postfix_took_verify(form: bytes, tmp_path: Path) -> None:
    zones = {"s1._domainkey.example.org": {"TXT": [rsa_record()]}}
    content = sign(ODD, canonicalize=(form, form), include_headers=NAMES)
    with DnsServer(zones) as dns:
        with pair(tmp_path, nameserver=dns.address) as one:
            assert one.send(content)[0] == 250
            eventually(lambda: len(one.postfix.messages()) == 1)
            (received,) = one.postfix.messages()
    (results,) = [field.text for field in parse(received).fields if field.name == "Authentication-Results"]
    assert "dkim=pass" in results, results


def test_the_client_is_the_one_postfix_knows(tmp_path: Path) -> None:
    """XCLIENT stands in for a client of another network."""
    zones = {"example.org": {"TXT": ["v=spf1 ip4:192.0.2.7 -all"]}}
    relay = "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n"
    with DnsServer(zones) as dns, pair(tmp_path, nameserver=dns.address, postfix=UNTOUCHED + relay) as both:
        with smtplib.SMTP("127.0.0.1", both.postfix.port, local_hostname="mx.example.org", timeout=60) as client:
            client.ehlo()
            assert client.docmd("XCLIENT NAME=mx.example.org ADDR=192.0.2.7 PORT=4711")[0] == 220
            client.ehlo()
            client.sendmail("sara@example.org", ["you@darban.test"], unique("milter-client"))
        eventually(lambda: len(both.postfix.messages()) == 1)
        assert b"spf=pass" in both.postfix.messages()[0]
        (row,) = both.rows("milter-client")
        assert (row["client_ip"], row["helo"]) == ("192.0.2.7", "mx.example.org")


def test_mail_of_who_signed_in_is_not_judged(tmp_path: Path) -> None:
    port = peers.free_port()
    listener = f"service auth {{\n  inet_listener {{\n    address = 127.0.0.1\n    port = {port}\n  }}\n}}\n"
    sasl = f"smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = inet:127.0.0.1:{port}\n"
    with peers.dovecot(extra=f"{listener}auth_mechanisms = plain\n"), pair(tmp_path, postfix=UNTOUCHED + sasl) as both:
        with smtplib.SMTP("127.0.0.1", both.postfix.port, local_hostname="laptop.example", timeout=60) as client:
            client.login("reza@darban.test", peers.PASSWORD)
            client.sendmail("reza@darban.test", ["you@darban.test"], SAMPLES["2-spam.eml"])
        eventually(lambda: len(both.postfix.messages()) == 1)
        assert b"X-Darban-Id" not in both.postfix.messages()[0]
        assert [one["reason"] for one in both.logged("not judged")] == ["authenticated"]


def test_a_path_of_two_listeners_goes_on_over_a_reload_and_a_death(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="darban-milter-"))
    folder.chmod(0o755)  # Postfix is nobody of ours
    try:
        with pair(tmp_path, place=f"unix:{folder}/milter") as one:
            assert one.send(unique("milter-path-1"))[0] == 250
            one.gateway.process.send_signal(signal.SIGHUP)
            eventually(lambda: "reloaded" in one.gateway.log(), 60)
            assert one.send(unique("milter-path-2"))[0] == 250
            first = one.gateway.processes()["listener-1"]
            os.kill(first, signal.SIGKILL)
            for number in range(3, 9):
                assert one.send(unique(f"milter-path-{number}"))[0] == 250
            eventually(lambda: one.gateway.processes().get("listener-1") not in (None, first))
            assert [file.name for file in folder.iterdir()] == ["milter"]
            second = one.gateway.cli("run")
            assert (second.returncode, "is another gateway running?" in second.stderr) == (2, True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def written(folder: Path, path: Path) -> Path:
    """A configuration whose only door is this path."""
    config = folder / "darban.toml"
    config.write_text(
        f'[smtp]\nlisten = []\n[web]\nlisten = "127.0.0.1:{peers.free_port()}"\n'
        f'[metrics]\nlisten = "127.0.0.1:{peers.free_port()}"\n[milter]\nlisten = "unix:{path}"\n'
    )
    return config


async def test_the_only_door(tmp_path: Path) -> None:
    """No SMTP door, and an MTA that is played: it needs neither Postfix nor a port."""
    path = tmp_path / "milter"
    command = [sys.executable, "-m", "gateway", "run", "--config", str(written(tmp_path, path))]
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, cwd=peers.ROOT)
    try:
        eventually(lambda: b"Darban stands" in (tmp_path / "log").read_bytes(), 120)  # the path is there before
        talker = milter_mta.Mta(*await asyncio.open_unix_connection(str(path)))
        await talker.greet()
        await talker.envelope()
        await talker.say(*milter_mta.content(message_bytes()))
        assert (await talker.hear_all())[-1] == ("c", b"")
        talker.close()
        eventually(lambda: f"mail     unix:{path} (milter)" in (tmp_path / "log").read_text())
    finally:
        running.terminate()
        assert running.wait(60) == 0, (tmp_path / "log").read_text()


def test_a_path_that_cannot_be_is_said_in_a_line(tmp_path: Path) -> None:
    config = written(tmp_path, tmp_path / "not" / "there")
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "run", "--config", str(config)], capture_output=True, text=True, check=False,
        cwd=peers.ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith("No such file or directory; write an address of ours")


# --- the same verdict --------------------------------------------------------------------------------------------------


def test_the_verdict_is_the_one_of_darban_scan(
    corpora: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    contents = door_contract.messages(corpora)
    with DnsServer({}) as dns:
        with pair(tmp_path / "g", nameserver=dns.address) as one:
            with smtplib.SMTP("127.0.0.1", one.postfix.port, local_hostname=door_contract.HELO, timeout=60) as client:
                replies = []
                for content in contents:
                    client.mail(door_contract.MAIL_FROM)
                    client.rcpt(door_contract.RCPT_TO)
                    replies.append(client.data(content)[0])
                    if replies[-1] != 250:
                        client.rset()
            assert set(replies) <= {250, 550}
            order = [line["queue_id"] for line in one.logged("message")]
            rows = {row["queue_id"]: row for row in one.rows("sara@example.org", len(contents))}
            said = [
                door_contract.judged(row["score"], row["hits"], row["action"]) for row in map(rows.__getitem__, order)
            ]
            (tmp_path / "mail").mkdir()
            expected = door_contract.scanned(one.gateway.config, contents, tmp_path / "mail")
    found = door_contract.differences(expected, said)
    record_property("messages", len(contents))
    record_property("different", len(found))
    assert found == []
