"""The whole way with real servers: Postfix in front, the gateway, Postfix or Dovecot behind."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli.demo import samples
from tests.builders import message_bytes
from tests.e2e import peers

pytestmark = pytest.mark.e2e
SAMPLES = dict(samples())
SPAM = message_bytes(
    "Dear friend, you have won US$1,500,000.00 in the international lottery. Click here.\r\n", Subject="{}"
)


def eventually(found: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not found():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def unique(subject: str) -> bytes:
    return message_bytes(Subject=subject)


def arrived(postfix: peers.Postfix, subject: str, user: str = "you") -> list[bytes]:
    return [one for one in postfix.messages(user) if f"Subject: {subject}".encode() in one]


def test_clean_mail_goes_through_annotated(door: peers.Gateway, postfix_behind: peers.Postfix) -> None:
    content = (
        b"X-Spam-Flag: NO\r\nX-Darban-Id: FORGED\r\nAuthentication-Results: mx.darban.test; dmarc=pass\r\n"
        + unique("clean")
    )
    assert peers.send(door.smtp_port, content)[0] == 250
    eventually(lambda: len(arrived(postfix_behind, "clean")) == 1)
    received = arrived(postfix_behind, "clean")[0]
    assert b"FORGED" not in received
    assert received.count(b"Authentication-Results: mx.darban.test") == 1
    assert received.count(b"X-Spam-Flag: NO") == 1
    assert b"X-Spam-Status: No, score=" in received
    assert b"dmarc=pass" not in received


def test_swaks_is_served(door: peers.Gateway) -> None:
    done = subprocess.run(
        ["swaks", "--server", f"127.0.0.1:{door.smtp_port}", "--from", "sara@example.org", "--to", "you@darban.test"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "250 2.0.0 Message accepted" in done.stdout


@pytest.mark.parametrize(
    ("rcpt_to", "code"),
    [
        ("someone@elsewhere.example", 550),
        ("nobody@darban.test", 550),
        ("you%other.example@darban.test", 550),
        ("you@darban.test", 250),
    ],
)
def test_recipients(door: peers.Gateway, rcpt_to: str, code: int) -> None:
    with smtplib.SMTP("127.0.0.1", door.smtp_port, timeout=30) as client:
        client.ehlo("client.example.org")
        assert client.mail("sara@example.org")[0] == 250
        assert client.rcpt(rcpt_to)[0] == code


def test_spam_is_refused_at_data(door: peers.Gateway, postfix_behind: peers.Postfix) -> None:
    code, text = peers.send(door.smtp_port, SAMPLES["2-spam.eml"])
    assert code == 550
    assert "refused" in text
    assert not arrived(postfix_behind, "CONGRATULATIONS")


def test_held_mail_is_explained_and_released(door: peers.Gateway, postfix_behind: peers.Postfix) -> None:
    content = SPAM.replace(b"{}", b"held-and-released")
    assert peers.send(door.smtp_port, content)[0] == 250
    listed = door.cli("quarantine", "list", "--json", "--search", "held-and-released")
    assert listed.returncode == 1, listed.stderr
    held = json.loads(listed.stdout)
    shown = json.loads(door.cli("quarantine", "show", held["id"], "--json").stdout)
    assert {hit["name"] for hit in shown["verdict"]["hits"]} >= {"MONEY_WON", "MONEY_MILLIONS"}
    assert not arrived(postfix_behind, "held-and-released")
    released = door.cli("quarantine", "release", held["id"][:12])
    assert released.returncode == 0, released.stdout + released.stderr
    assert "queued as" in released.stdout
    eventually(lambda: len(arrived(postfix_behind, "held-and-released")) == 1)
    assert b"X-Darban-Released:" in arrived(postfix_behind, "held-and-released")[0]
    again = door.cli("quarantine", "release", held["id"])
    assert again.returncode == 2
    assert "not held" in again.stderr


def test_the_same_spam_twice_is_held_once(door: peers.Gateway) -> None:
    content = SPAM.replace(b"{}", b"held-once")
    assert [peers.send(door.smtp_port, content)[0] for _ in range(2)] == [250, 250]
    listed = door.cli("quarantine", "list", "--json", "--search", "held-once")
    assert len(listed.stdout.splitlines()) == 1


def test_everything_is_in_the_message_log(door: peers.Gateway) -> None:
    assert peers.send(door.smtp_port, unique("traced"))[0] == 250

    def rows() -> list[dict]:
        return [json.loads(line) for line in door.cli("trace", "traced", "--json").stdout.splitlines()]

    eventually(lambda: len(rows()) == 1)
    assert rows()[0]["action"] == "accept"
    assert "queued as" in rows()[0]["next_hop_reply"]


def test_metrics_of_all_processes(door: peers.Gateway) -> None:
    assert peers.send(door.smtp_port, unique("counted"))[0] == 250
    with urllib.request.urlopen(f"http://127.0.0.1:{door.metrics_port}/metrics") as answer:
        text = answer.read().decode()
    accepted = next(line for line in text.splitlines() if line.startswith('darban_messages_total{outcome="accepted"}'))
    assert float(accepted.split()[-1]) >= 1
    for name in (
        "darban_stage_seconds_bucket",
        "darban_process_up",
        "darban_quarantine_messages",
        "darban_smtp_connections_total",
    ):
        assert name in text


def test_postfix_in_front(door: peers.Gateway, postfix_behind: peers.Postfix) -> None:
    """A real MTA speaks to our listener: PIPELINING, SIZE, 8BITMIME, several recipients."""
    with peers.postfix(domain="front.test", relayhost=f"[127.0.0.1]:{door.smtp_port}") as front:
        body = "سلام، این پیام از پستفیکس می‌آید.\r\n.leading dot\r\n"
        content = message_bytes(body, Subject="from-postfix", Content_Type="text/plain; charset=utf-8")
        assert peers.send(front.port, content, rcpt_to=["you@darban.test", "reza@darban.test"])[0] == 250
        eventually(lambda: all(len(arrived(postfix_behind, "from-postfix", user)) == 1 for user in ("you", "reza")))
    received = arrived(postfix_behind, "from-postfix")[0]
    assert body.replace("\r\n", "\n").encode() in received
    assert b"with ESMTP id" in received


def test_dovecot_behind_lmtp(tmp_path: Path) -> None:
    with peers.dovecot() as behind, peers.gateway(tmp_path, f"lmtp+unix:{behind.socket}") as running:
        code, text = peers.send(running.smtp_port, unique("to-dovecot"), rcpt_to=["nobody@darban.test"])
        assert (code, "5.1.1" in text) == (550, True)
        both = ["you@darban.test", "reza@darban.test"]
        assert peers.send(running.smtp_port, unique("to-dovecot"), rcpt_to=both)[0] == 250
        for user in both:
            assert len([one for one in behind.messages(user) if b"Subject: to-dovecot" in one]) == 1


def test_next_hop_down_leaves_the_message_with_the_client(tmp_path: Path) -> None:
    with peers.gateway(tmp_path, f"smtp://127.0.0.1:{peers.free_port()}") as running:
        code, _ = peers.send(running.smtp_port, unique("nowhere"))
        assert code == 451


def test_a_release_that_fails_says_so(tmp_path: Path) -> None:
    with peers.postfix() as behind, peers.gateway(tmp_path, f"smtp://127.0.0.1:{behind.port}") as running:
        assert peers.send(running.smtp_port, SPAM.replace(b"{}", b"unreleasable"))[0] == 250
        behind.command("postfix", "stop")
        held = json.loads(running.cli("quarantine", "list", "--json").stdout)
        released = running.cli("quarantine", "release", held["id"])
        assert released.returncode == 1
        assert "held: 451" in released.stdout


def test_a_second_gateway_is_refused(door: peers.Gateway) -> None:
    done = door.cli("run")
    assert done.returncode == 2
    assert "is another gateway running?" in done.stderr


def test_a_reload_that_fails_leaves_a_gateway_whose_scorers_can_still_be_replaced(tmp_path: Path) -> None:
    """The new generation's scorers were up before another failed: the old one must not lose its own to them."""
    with peers.gateway(tmp_path, f"maildir:{tmp_path}/mail") as running:
        secret = running.folder / "var" / "secret"
        secret.rename(secret.with_suffix(".away"))
        secret.mkdir()  # what no look at the configuration finds
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "reload failed" in running.log(), 60)
        parent = running.processes()["scorers"]
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        assert peers.send(running.smtp_port, unique("after-reload"))[0] == 250
        eventually(lambda: "after-reload" in running.cli("trace", "after-reload", "--json").stdout)
        secret.rmdir()
        secret.with_suffix(".away").rename(secret)
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "reloaded" in running.log(), 60)
        assert peers.send(running.smtp_port, unique("reloaded"))[0] == 250
