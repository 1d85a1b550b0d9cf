"""Links to domains that were not seen before, over real SMTP, with real processes: two listeners and one memory."""

from __future__ import annotations

import json
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.builders import message_bytes
from tests.e2e import peers
from tests.e2e.test_gateway import eventually

pytestmark = pytest.mark.e2e
WRITTEN_S = 2  # what is learned is written every second
BELIEVED_S = 10  # so long a scorer does not ask again


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Gateway]:
    """A gateway whose memory of domains is grown up after a second; one domain holds all mail, one refuses it."""
    folder = tmp_path_factory.mktemp("domains")
    extra = f"""
[[domain]]
name = "held.test"
next_hop = "maildir:{folder}/held"
tag_at = -50.0
quarantine_at = -40.0
[[domain]]
name = "refused.test"
next_hop = "maildir:{folder}/refused"
tag_at = -50.0
quarantine_at = -40.0
reject_at = -30.0
[reputation]
domains_quiet_s = 1.0
"""
    with peers.gateway(folder, f"maildir:{folder}/mail", extra=extra, smtp_extra="workers = 2") as gateway:
        assert hits(gateway, "the first", "http://first.example/") is not None
        time.sleep(WRITTEN_S + 1)
        yield gateway


def send(gateway: peers.Gateway, subject: str, body: str, rcpt_to: str = "you@darban.test") -> int:
    content = message_bytes(f"The agenda is at {body}\r\n", Subject=subject, From="sara@author.example")
    return peers.send(gateway.smtp_port, content, rcpt_to=[rcpt_to])[0]


def hits(gateway: peers.Gateway, subject: str, body: str, rcpt_to: str = "you@darban.test") -> list[str]:
    assert send(gateway, subject, body, rcpt_to) == (550 if rcpt_to.endswith("@refused.test") else 250)
    return row(gateway, subject)["hits"]


def row(gateway: peers.Gateway, subject: str) -> dict:
    found: list[dict] = []

    def is_there() -> bool:
        found[:] = [json.loads(one) for one in gateway.cli("trace", subject, "--json").stdout.splitlines()]
        return bool(found)

    eventually(is_there)
    return found[0]


def change(gateway: peers.Gateway, statement: str) -> None:
    with closing(sqlite3.connect(gateway.folder / "var" / "darban.db", timeout=30)) as database:
        database.execute(statement)
        database.commit()


def a_day_goes_by(gateway: peers.Gateway) -> None:
    time.sleep(WRITTEN_S + BELIEVED_S)
    change(gateway, "DELETE FROM counter WHERE key LIKE 'f:n:%'")


def test_a_link_to_a_new_domain_is_told_for_a_day(running: peers.Gateway) -> None:
    assert "URL_DOMAIN_NEW" in hits(running, "fresh one", "http://www.paypa1.example/login")
    for number in range(3):
        assert "URL_DOMAIN_NEW" in hits(running, f"flood {number}", "http://www.paypa1.example/login")
    assert "URL_DOMAIN_NEW" not in hits(running, "no link", "the door")
    a_day_goes_by(running)
    for number in range(3):
        assert "URL_DOMAIN_NEW" not in hits(running, f"old by now {number}", "http://paypa1.example/")
    assert "URL_DOMAIN_NEW" not in hits(running, "of the author", "http://author.example/")


def test_a_held_message_says_which_domain(running: peers.Gateway) -> None:
    assert "URL_DOMAIN_NEW" in hits(running, "held for it", "http://a.evil.example/", "you@held.test")
    held = json.loads(running.cli("quarantine", "list", "--json").stdout.splitlines()[0])
    shown = running.cli("quarantine", "show", held["id"]).stdout
    assert "link to evil.example, a domain first seen here less than a day ago" in shown


def test_a_domain_of_refused_mail_is_remembered(running: peers.Gateway) -> None:
    assert "URL_DOMAIN_NEW" in hits(running, "refused with it", "http://refused.example/", "you@refused.test")
    assert row(running, "refused with it")["action"] == "reject"
    a_day_goes_by(running)
    assert "URL_DOMAIN_NEW" not in hits(running, "later", "http://refused.example/")


def test_mail_flows_without_the_store(running: peers.Gateway) -> None:
    change(running, "ALTER TABLE counter RENAME TO counter_gone")
    try:
        began = time.monotonic()
        for number in range(5):
            assert send(running, f"without {number}", f"http://unheard{number}.example/") == 250
        assert time.monotonic() - began < 10
    finally:
        change(running, "ALTER TABLE counter_gone RENAME TO counter")
    assert "URL_DOMAIN_NEW" not in row(running, "without 4")["hits"]
    with urllib.request.urlopen(f"http://127.0.0.1:{running.metrics_port}/metrics") as answer:
        text = answer.read().decode()
    blind = [line for line in text.splitlines() if line.startswith("darban_domains_blind_total ")]
    assert blind
    assert float(blind[0].split()[1]) >= 1
