"""Custody, counted: real mail replayed into a real Postfix, and workers killed under load."""

from __future__ import annotations

import collections
import os
import random
import re
import signal
import smtplib
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.classify.corpus import Sample, read_source, sources
from tests.builders import message_bytes
from tests.e2e import peers

pytestmark = pytest.mark.e2e
MARK = re.compile(rb"^X-Replay: (\d+)\r?$", re.MULTILINE)
SOURCES = ("spamassassin", "phishing_pot", "list_usrp_users")
REPLAYED = 1000
SESSIONS = 200


def marked(number: int, content: bytes) -> bytes:
    return b"X-Replay: %d\r\n" % number + content


def numbers(contents: Iterable[bytes]) -> collections.Counter[int]:
    """How often each marked message is there."""
    found = (MARK.search(content) for content in contents)
    return collections.Counter(int(match[1]) for match in found if match)


def held(running: peers.Gateway) -> collections.Counter[int]:
    blobs = [file for file in (running.folder / "var" / "blobs").rglob("*") if file.is_file()]
    return numbers(file.read_bytes() for file in blobs)


def settled(postfix: peers.Postfix, enough: Callable[[set[int]], bool], within_s: float = 60.0) -> set[int]:
    """What the next hop delivered; waits until it is enough, as Postfix delivers after it has answered."""
    deadline = time.monotonic() + within_s
    while not enough(found := set(numbers(postfix.messages()))) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def mixed(folder: Path, number: int) -> list[Sample]:
    """The same messages every time, evenly from the sources and their labels."""
    groups: dict[tuple[str, bool], list[Sample]] = collections.defaultdict(list)
    for name, path in sources([folder]).items():
        if name in SOURCES:
            for sample in read_source(name, path):
                groups[name, sample.is_spam].append(sample)
    chooser = random.Random(20261123)
    share = -(-number // len(groups))
    chosen = [one for group in groups.values() for one in chooser.sample(group, share)]
    chooser.shuffle(chosen)
    return chosen[:number]


def test_a_thousand_real_messages_are_each_in_one_place(
    corpora: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chosen = mixed(corpora, REPLAYED)
    with peers.postfix() as behind, peers.gateway(tmp_path, f"smtp://127.0.0.1:{behind.port}") as running:

        def play(part: int, of: int = 8) -> dict[int, int]:
            return {
                number: peers.send(running.smtp_port, marked(number, chosen[number].content))[0]
                for number in range(part, len(chosen), of)
            }

        with ThreadPoolExecutor(8) as pool:
            codes = {number: code for part in pool.map(play, range(8)) for number, code in part.items()}
        refused = {number for number, code in codes.items() if code == 550}
        quarantined = set(held(running))
        expected = set(range(len(chosen))) - refused - quarantined
        delivered = settled(behind, lambda found: found >= expected)
        flags = {
            int(match[1]): b"X-Spam-Flag: YES" in content
            for content in behind.messages()
            if (match := MARK.search(content))
        }
    assert len(codes) == REPLAYED
    assert set(codes.values()) <= {250, 550}, collections.Counter(codes.values())
    assert delivered | quarantined | refused == set(range(REPLAYED))
    assert not delivered & quarantined
    assert not delivered & refused
    assert not quarantined & refused
    table = collections.Counter()
    for number, sample in enumerate(chosen):
        place = "held" if number in quarantined else "refused" if number in refused else ""
        place = place or ("tagged" if flags[number] else "delivered")
        table[sample.source, "spam" if sample.is_spam else "ham", place] += 1
    for (source, label, place), count in sorted(table.items()):
        record_property(f"{source} {label} {place}", count)
    ham_stopped = sum(count for (_, label, place), count in table.items() if label == "ham" and place != "delivered")
    assert ham_stopped <= REPLAYED // 100


@pytest.mark.parametrize("victim", ["listener", "scorer"])
def test_a_worker_killed_under_load_loses_nothing(
    victim: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    spam = "Dear friend, you have won US$1,500,000.00 in the international lottery. Click here.\r\n"
    answered: dict[int, int] = {}
    all_ready = threading.Barrier(SESSIONS + 1)
    half_done = threading.Semaphore(0)

    def session(number: int) -> None:
        content = marked(number, message_bytes(spam if number % 4 == 0 else "Hello\r\n", Subject=f"load {number}"))
        with smtplib.SMTP("127.0.0.1", running.smtp_port, local_hostname="client.example.org", timeout=60) as client:
            client.ehlo()
            client.mail("sara@example.org")
            client.rcpt("you@darban.test")
            all_ready.wait(60)
            try:
                answered[number] = client.data(content)[0]
            except (smtplib.SMTPServerDisconnected, ConnectionError):
                answered[number] = 0  # no answer: the client keeps the message and sends it again
                client.sock = None
            half_done.release()

    with (
        peers.postfix() as behind,
        peers.gateway(tmp_path, f"smtp://127.0.0.1:{behind.port}", smtp_extra="workers = 2") as running,
    ):
        threads = [threading.Thread(target=session, args=(number,)) for number in range(SESSIONS)]
        for thread in threads:
            thread.start()
        target = victim_pid(running, victim)
        all_ready.wait(60)
        for _ in range(20):
            half_done.acquire(timeout=60)
        os.kill(target, signal.SIGKILL)
        for thread in threads:
            thread.join(90)
        promised = {number for number, code in answered.items() if code == 250}
        in_quarantine = set(held(running))
        delivered = settled(behind, lambda found: found | in_quarantine >= promised)
        peers.wait_for_ready(running)
        assert peers.send(running.smtp_port, marked(SESSIONS, message_bytes()))[0] == 250
    record_property("answers", dict(collections.Counter(answered.values())))
    assert len(answered) == SESSIONS
    assert len(promised) >= 20
    assert set(answered.values()) <= {250, 451, 421, 0}
    assert not promised - delivered - in_quarantine, "answered 250 and in no place"
    assert not delivered & in_quarantine
    if victim == "scorer":
        assert set(answered.values()) == {250}, "a scorer's death is nobody's business but ours"


def victim_pid(running: peers.Gateway, victim: str) -> int:
    pids = running.processes()
    if victim == "listener":
        return next(pid for name, pid in pids.items() if name.startswith("listener"))
    parent = next(pid for name, pid in pids.items() if name.startswith("scorer"))
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(children[0])
