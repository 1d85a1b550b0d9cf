"""Webhooks of a running gateway: verdicts and acts arrive signed, whatever fails meanwhile, and are told apart."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.builders import message_bytes
from tests.e2e import peers
from tests.e2e.test_gateway import eventually
from tests.webhook_receiver import SECRET, Receiver, receiver

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def hook() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, hook: Receiver) -> Iterator[peers.Gateway]:
    """It holds every message to held.test."""
    folder = tmp_path_factory.mktemp("webhooks")
    secret = folder / "webhook-secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    extra = f"""
[[domain]]
name = "held.test"
next_hop = "maildir:{folder}/mail"
tag_at = -90.0
quarantine_at = -90.0
reject_at = 90.0
[[webhook]]
name = "siem"
url = "{hook.url}"
secret_file = "{secret}"
domains = ["held.test"]
allow_private = true
"""
    with peers.gateway(folder, f"maildir:{folder}/mail", extra=extra) as running:
        yield running


def send(gateway: peers.Gateway, subject: str, to: str = "you@held.test") -> None:
    assert peers.send(gateway.smtp_port, message_bytes(Subject=subject), rcpt_to=[to])[0] == 250


def held(hook: Receiver) -> dict[str, str]:
    """Subject -> id of the event."""
    return {one["data"]["subject"]: one["id"] for one in hook.of("message.held")}


def test_verdicts_and_acts_are_told(gateway: peers.Gateway, hook: Receiver) -> None:
    send(gateway, "told")
    send(gateway, "of another domain", "you@darban.test")
    eventually(lambda: "told" in held(hook))
    (event,) = hook.of("message.held")
    assert event["domain"] == "held.test" and event["data"]["recipient"] == "you@held.test"
    (listed,) = map(json.loads, gateway.cli("quarantine", "list", "--json").stdout.splitlines())
    assert listed["queue_id"] == event["data"]["queue_id"]
    assert gateway.cli("quarantine", "release", listed["id"]).returncode == 0
    eventually(lambda: hook.of("message.released"))
    (released,) = hook.of("message.released")
    assert released["data"]["subject"] == listed["id"] and released["data"]["client"] == "command"
    assert {one["domain"] for _, one in hook.seen} == {"held.test"}
    assert hook.faults == []


def test_the_command_tries_a_webhook(gateway: peers.Gateway, hook: Receiver) -> None:
    told = gateway.cli("webhook", "test")
    assert (told.returncode, told.stdout) == (0, "siem\ttaken\tanswered 200\n"), told
    assert hook.of("webhook.test")
    hook.answers.append(503)
    told = gateway.cli("webhook", "test", "siem")
    assert (told.returncode, told.stdout) == (1, "siem\tnot taken\tanswered 503\n")
    assert "there is no webhook nobody; there are siem" in gateway.cli("webhook", "test", "nobody").stderr


def test_failures_and_a_killed_process_lose_nothing(gateway: peers.Gateway, hook: Receiver) -> None:
    hook.answers.extend([500, 503])
    subjects = [f"under fire {number}" for number in range(24)]
    for number, subject in enumerate(subjects):
        send(gateway, subject)
        if number % 8 == 4:
            eventually(lambda: gateway.processes().get("admin", 0) > 0, 60)  # 0 is our own process group
            os.kill(gateway.processes()["admin"], signal.SIGKILL)
    eventually(lambda: set(subjects) <= set(held(hook)), 120)
    by_subject: dict[str, set[str]] = {}
    for event_id, event in hook.seen:
        if event["type"] == "message.held":
            by_subject.setdefault(event["data"]["subject"], set()).add(event_id)
    assert all(len(by_subject[subject]) == 1 for subject in subjects), "told twice it has one id"
    assert hook.faults == []
    eventually(lambda: "siem\t0 waiting\t0 given up" in gateway.cli("webhook", "list").stdout, 30)
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics_port}/metrics") as answer:
        text = answer.read().decode()
    assert 'darban_webhook_lost_total{webhook="siem"} 0.0' in text


def test_mail_flows_while_a_webhook_fails(gateway: peers.Gateway, hook: Receiver) -> None:
    hook.answers.append(500)
    began = time.monotonic()
    send(gateway, "while it fails")
    assert time.monotonic() - began < 10
    eventually(lambda: "while it fails" in held(hook), 90)
