"""Digests end to end: from a real mailbox into a real browser and back; by the plan; and under kill -9."""

from __future__ import annotations

import email
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import policy as email_policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.builders import message_bytes
from tests.e2e import peers
from tests.e2e.test_gateway import eventually
from tests.e2e.test_milter import pair
from tests.e2e.test_pages import SPAM

pytestmark = pytest.mark.e2e
MANY = [f"user{number}@darban.test" for number in range(40)]
PLANNED = ("morning@darban.test", "morning-fa@darban.test")
PLAN = """[[domain.digest]]
addresses = ["morning*"]
at = {times}
[[domain.digest]]
addresses = ["reza"]
language = "fa"
time_zone = "Asia/Tehran"
at = ["{long_ago}"]
[[domain.digest]]
at = ["{long_ago}"]
"""


def letters(mailbox: list[bytes]) -> list[EmailMessage]:
    parsed = [email.message_from_bytes(raw, policy=email_policy.default) for raw in mailbox]
    return [one for one in parsed if one["Auto-Submitted"]]  # type: ignore[misc]


@pytest.fixture(scope="module")
def behind() -> Iterator[peers.Dovecot]:
    with peers.dovecot(("you@darban.test", "reza@darban.test", *PLANNED, *MANY)) as running:
        yield running


@pytest.fixture(scope="module")
def door(behind: peers.Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Gateway]:
    """Where one plan is due every minute, and the others half a day ago."""
    now = datetime.now(UTC)
    times = [f"{now + timedelta(minutes=minute):%H:%M}" for minute in range(2, 30)]
    plans = PLAN.format(times=json.dumps(times), long_ago=f"{now - timedelta(hours=12):%H:%M}")
    with peers.gateway(
        tmp_path_factory.mktemp("gateway"), f"lmtp+unix:{behind.socket}", domain_extra=plans,
        # what one test releases must not have the next one's mail delivered
        extra='[digest]\naddress = "quarantine@darban.test"\n[learning]\nenabled = false\n',
    ) as running:  # fmt: skip
        yield running


@pytest.mark.parametrize(("user", "language"), [("you@darban.test", "en"), ("reza@darban.test", "fa")])
def test_a_recipient_releases_from_a_digest(
    door: peers.Gateway, behind: peers.Dovecot, browser: Browser, tmp_path: Path, user: str, language: str
) -> None:
    subject = f"Prize of the digest for {user.partition('@')[0]}"
    assert peers.send(door.smtp_port, message_bytes(SPAM, Subject=subject), rcpt_to=[user])[0] == 250
    sent = door.cli("digest", "send", "--address", user)
    assert (sent.returncode, sent.stdout.splitlines()[-1]) == (0, "digests sent: 1"), sent
    (letter,) = letters(behind.messages(user))
    assert letter["Content-Language"] == language
    html = letter.get_body(("html",)).get_content()  # type: ignore[union-attr]
    (tmp_path / "letter.html").write_text(html)
    context = browser.new_context(viewport={"width": 390, "height": 850}, locale="de")
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{tmp_path}/letter.html")
    assert len(asked) == 1  # nothing is loaded
    expect(page.locator("td[dir=auto] > bdi")).to_have_text([subject])
    page.locator("td.act a").click()
    expect(page.locator("html")).to_have_attribute("lang", language)
    assert "lottery" not in page.content()
    context.request.head(page.url)
    context.request.post(page.url)
    assert len(behind.messages(user)) == 1  # looking is not acting
    page.locator("main button").click()
    expect(page.locator(".released")).to_be_visible()
    released = [raw for raw in behind.messages(user) if subject.encode() in raw and b"lottery" in raw]
    assert len(released) == 1  # the page said so after the mailbox had it
    page.reload()
    expect(page.locator("main button")).to_have_count(0)
    context.close()
    lines = [json.loads(line).get("entry", {}) for line in door.cli("audit", "export").stdout.splitlines()]
    (entry,) = [one for one in lines if one.get("account") == user]
    assert (entry["act"], entry["client"]) == ("release", "127.0.0.1")
    assert entry["detail"].startswith("released: 250 ") and entry["detail"].endswith("; from a digest")


def test_by_the_plan_each_gets_one(door: peers.Gateway, behind: peers.Dovecot) -> None:
    """Nobody calls it: the admin process does, at the time."""
    subject = "Prize by the plan"
    for user in PLANNED:
        assert peers.send(door.smtp_port, message_bytes(SPAM, Subject=subject), rcpt_to=[user])[0] == 250
    assert door.cli("quarantine", "list", "--search", subject).stdout.count(subject) == len(PLANNED)
    eventually(lambda: all(letters(behind.messages(user)) for user in PLANNED), within_s=400)
    time.sleep(95)  # the next time, and the next look
    assert [len(letters(behind.messages(user))) for user in PLANNED] == [1, 1]
    metrics = metrics_of(door)
    assert re.search(r'darban_digests_total\{result="sent"\} 2\.0', metrics)


def metrics_of(door: peers.Gateway) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{door.metrics_port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def test_nothing_is_sent_twice_under_kill_9(door: peers.Gateway, behind: peers.Dovecot) -> None:
    """Runs are killed at any moment, several at a time: a mailbox gets its digest once, or, of a run that was killed
    while it handed it over, not at all."""
    assert peers.send(door.smtp_port, message_bytes(SPAM, Subject="Prize for many"), rcpt_to=MANY)[0] == 250
    command = [sys.executable, "-m", "gateway", "digest", "send", "--config", str(door.config)]
    chance, kills = random.Random(7), 0

    def arrived() -> Counter[str]:
        return Counter({user: len(letters(behind.messages(user))) for user in MANY})

    for attempt in itertools.count():
        assert attempt < 25
        runs = [subprocess.Popen(command, cwd=peers.ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]
        start = arrived().total()
        deadline = time.monotonic() + 30
        while arrived().total() <= start and time.monotonic() < deadline and any(one.poll() is None for one in runs):
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.05))
        for one in runs:
            if one.poll() is None:
                kills += 1
                os.kill(one.pid, signal.SIGKILL)
            one.wait(30)
        if arrived().total() <= start:
            break
    assert kills >= 4
    time.sleep(1)
    found = arrived()
    assert max(found.values()) == 1
    missing = [user for user in MANY if not found[user]]
    assert len(missing) <= 4 * kills
    assert "Prize for many" in door.cli("quarantine", "list", "--search", "Prize for many").stdout


def test_our_own_digest_is_not_judged(tmp_path: Path) -> None:
    """It lists what is spam: where the MTA asks us about its mail, digests go in where released mail does, unasked."""
    plan = '[digest]\naddress = "quarantine@darban.test"\n[[domain.digest]]\n'
    with pair(tmp_path, settings=plan) as both:
        assert both.send(message_bytes(SPAM, Subject="Prize that the milter holds"))[0] == 250
        assert both.gateway.cli("digest", "send").stdout.endswith("digests sent: 1\n")
        eventually(lambda: len(letters(both.postfix.messages())) == 1)
        (letter,) = letters(both.postfix.messages())
        assert letter["Subject"] == "1 message held"
        assert [name for name in letter if name.lower().startswith(("x-spam", "x-darban"))] == []
        assert len(both.rows("Prize that the milter holds")) == 1
        assert both.gateway.cli("trace", "message held", "--json").stdout == ""
