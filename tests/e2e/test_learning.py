"""A person teaches, and the running gateway judges by it: other processes, no gap, no message lost."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import message_bytes
from tests.e2e import peers
from tests.e2e.test_gateway import eventually

pytestmark = pytest.mark.e2e
NEWS = "Dear reader, click here for our great offers of the week, order now and save money\r\n"


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Gateway]:
    """A gateway that holds every message, so that its verdicts can be read."""
    folder = tmp_path_factory.mktemp("learner")
    extra = f"""
[[domain]]
name = "held.test"
next_hop = "maildir:{folder}/mail"
tag_at = -90.0
quarantine_at = -90.0
reject_at = 90.0
"""
    with peers.gateway(folder, f"maildir:{folder}/mail", extra=extra) as running:
        yield running


def send(gateway: peers.Gateway, subject: str) -> int:
    content = message_bytes(NEWS, Subject=subject)
    return peers.send(gateway.smtp_port, content, rcpt_to=["you@held.test"])[0]


def held(gateway: peers.Gateway, subject: str) -> list[dict]:
    told = gateway.cli("quarantine", "list", "--search", subject, "--limit", "1000", "--json").stdout
    return [json.loads(line) for line in told.splitlines()]


def prediction(gateway: peers.Gateway, subject: str) -> dict:
    """Of a message sent now."""
    assert send(gateway, subject) == 250
    (one,) = held(gateway, subject)
    return json.loads(gateway.cli("quarantine", "show", one["id"], "--json").stdout)["verdict"]["prediction"]


def learn(gateway: peers.Gateway, *arguments: str) -> dict:
    told = gateway.cli("learn", *arguments, "--json")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout.splitlines()[-1])


def published(gateway: peers.Gateway) -> dict:
    path = gateway.folder / "var" / "model" / "current" / "manifest.json"
    return json.loads(path.read_text()) if path.exists() else {"id": ""}


def test_the_next_message_is_judged_by_what_was_taught(learner: peers.Gateway, tmp_path: Path) -> None:
    before = prediction(learner, "first")
    assert "+" not in before["model_id"]
    sent, stop = [0], threading.Event()

    def keep_sending() -> None:
        while not stop.is_set():
            assert send(learner, f"meanwhile {sent[0]}") == 250
            sent[0] += 1

    sender = threading.Thread(target=keep_sending)
    sender.start()
    for number in range(3):
        (tmp_path / f"{number}.eml").write_bytes(message_bytes(NEWS, Subject=f"taught {number}"))
    assert learn(learner, "ham", str(tmp_path), "--trainer", "sara")["what"] == "learned"
    eventually(lambda: published(learner)["id"].startswith(f"{before['model_id']}+3-"))
    time.sleep(3)  # scorers look every 1.25 s
    after = prediction(learner, "second")
    stop.set()
    sender.join()
    assert after["model_id"] == published(learner)["id"]
    assert after["probability"] < before["probability"] - 0.05
    assert sent[0] > 5
    assert len(held(learner, "meanwhile")) == sent[0], "every message that was answered 250 is there"

    with urllib.request.urlopen(f"http://127.0.0.1:{learner.metrics_port}/metrics") as answer:
        text = answer.read().decode()
    assert 'darban_learning_lessons{label="ham",via="command"} 3.0' in text
    assert f'darban_learning_model_info{{model_id="{after["model_id"]}"}} 1.0' in text
    scanned = learner.cli("scan", str(tmp_path / "0.eml"), "--no-dns", "--json").stdout
    assert json.loads(scanned)["prediction"]["model_id"] == after["model_id"], (
        "`darban scan` judges as the gateway does"
    )

    assert learn(learner, "revoke", "--trainer", "sara") == {"revoked": 3}
    eventually(lambda: published(learner)["id"] == "")
    time.sleep(3)
    third = prediction(learner, "third")
    assert third["model_id"] == before["model_id"]
    assert third["probability"] == pytest.approx(before["probability"], abs=0.04)  # by another subject
    assert learn(learner, "restore", "--trainer", "sara") == {"restored": 3}
    eventually(lambda: published(learner)["id"] == after["model_id"])
    assert learner.cli("learn", "status").returncode == 0


def test_a_broken_model_is_put_right_and_mail_flows(learner: peers.Gateway, tmp_path: Path) -> None:
    (tmp_path / "1.eml").write_bytes(message_bytes(NEWS, Subject="of reza"))
    learn(learner, "spam", str(tmp_path), "--trainer", "reza")
    folder = learner.folder / "var" / "model"
    eventually(lambda: published(learner)["id"] != "" and learner.cli("learn", "status").returncode == 0)
    good = published(learner)["id"]
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text('{"id": "broken"}')
    (folder / "fresh").symlink_to("broken")
    (folder / "fresh").replace(folder / "current")
    assert send(learner, "while it is broken") == 250
    eventually(lambda: published(learner)["id"] == good)  # the admin process writes it again
    time.sleep(3)
    assert prediction(learner, "after")["model_id"] == good
