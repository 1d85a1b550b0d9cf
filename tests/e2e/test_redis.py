"""Two gateways with databases of their own, and one real Redis in which they remember senders; and that Redis dead."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.builders import message_bytes
from tests.dns_server import DnsServer
from tests.e2e import peers
from tests.e2e.test_gateway import eventually
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.e2e
ZONES = {
    "example.org": {"A": ["192.0.2.1"], "MX": ["10 mx.example.org"]},
    "proven.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"], "MX": ["10 mx.proven.example"]},
}
WAIT_S = 3
REST_S = 10  # a memory that failed is not asked again before
PASSWORD = "a word among gateways"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server("--requirepass", PASSWORD) as one:
        yield one


@pytest.fixture(scope="module")
def two(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[peers.Gateway, peers.Gateway]]:
    """To whom loopback is a stranger, and every message for grey.test doubtful."""
    with contextlib.ExitStack() as stack:
        dns = stack.enter_context(DnsServer(ZONES))
        yield tuple(  # type: ignore[misc]
            stack.enter_context(wary(tmp_path_factory.mktemp(name), redis, dns.address)) for name in ("one", "two")
        )


@contextlib.contextmanager
def wary(folder: Path, redis: RedisServer, nameserver: str) -> Iterator[peers.Gateway]:
    (folder / "var").mkdir()
    for name, content in (("var/secret", "of the gateways together"), ("password", f"{PASSWORD}\n")):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(content)
    extra = f"""
[[domain]]
name = "grey.test"
next_hop = "maildir:{folder}/grey"
greylist = true
greylist_at = -20.0
[reputation]
trusted_networks = []
greylist_wait_s = {WAIT_S}
"""
    with peers.gateway(
        folder,
        f"maildir:{folder}/mail",
        nameserver=nameserver,
        extra=extra,
        storage=f'{peers.STORAGE}\nredis = "{redis.url}"\nredis_password_file = "password"',
    ) as running:
        yield running


def send(gateway: peers.Gateway, subject: str, rcpt_to: str, mail_from: str = "sara@example.org") -> int:
    content = message_bytes(Subject=subject, From=mail_from)
    return peers.send(gateway.smtp_port, content, mail_from=mail_from, rcpt_to=[rcpt_to])[0]


def hits(gateway: peers.Gateway, subject: str) -> set[str]:
    rows: list[dict] = []

    def found() -> bool:
        rows[:] = [json.loads(line) for line in gateway.cli("trace", subject, "--json").stdout.splitlines()]
        return bool(rows)

    eventually(found)
    return set(rows[0]["hits"])


def remembered(redis: RedisServer) -> float:
    """The sum of what decays."""
    with Redis.from_url(redis.url, password=PASSWORD) as client:
        keys = client.keys("darban:r:*")
        return sum(float(value) for value in client.mget(keys) if value) if keys else 0.0


def blind(gateway: peers.Gateway) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics_port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("darban_reputation_blind_total"))


def is_ready(gateway: peers.Gateway) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics_port}/readyz") as answer:
        return bool(answer.status == 200)


def test_who_waited_at_one_is_let_in_by_the_other(two: tuple[peers.Gateway, peers.Gateway]) -> None:
    one, other = two
    began = time.monotonic()
    assert send(one, "grey", "you@grey.test") == 451
    assert send(other, "grey", "you@grey.test") == 451, "too soon there, too"
    time.sleep(max(0.0, began + WAIT_S + 0.5 - time.monotonic()))
    assert send(other, "grey", "you@grey.test") == 250


def test_an_author_known_to_one_is_known_to_the_other(
    two: tuple[peers.Gateway, peers.Gateway], redis: RedisServer
) -> None:
    one, other = two
    for number in range(2):
        before = remembered(redis)
        assert send(one, f"proven {number}", "mina@grey.test", "sara@proven.example") == 250
        eventually(lambda before=before: remembered(redis) > before)  # type: ignore[misc]
    assert "FIRST_CONTACT" in hits(one, "proven 0")
    assert send(other, "proven elsewhere", "mina@grey.test", "sara@proven.example") == 250
    assert {"KNOWN_SENDER", "KNOWN_SENDER_PLAIN"} <= hits(other, "proven elsewhere")


def test_nothing_of_it_is_in_a_database(two: tuple[peers.Gateway, peers.Gateway]) -> None:
    import sqlite3

    for one in two:
        with contextlib.closing(sqlite3.connect(one.folder / "var/darban.db")) as database:
            assert database.execute("SELECT count(*) FROM counter").fetchone() == (0,)


def test_mail_flows_while_redis_stands_still(two: tuple[peers.Gateway, peers.Gateway], redis: RedisServer) -> None:
    one, _ = two
    with redis.standing_still():
        before, began = blind(one), time.monotonic()
        for number in range(3):
            assert send(one, f"still {number}", "you@darban.test") == 250
        assert time.monotonic() - began < 10, "one waited, the others knew"
        eventually(lambda: blind(one) == before + 3)
        assert is_ready(one)
    time.sleep(REST_S)


def test_mail_flows_without_redis_and_it_is_asked_again(
    two: tuple[peers.Gateway, peers.Gateway], redis: RedisServer
) -> None:
    other = two[1]
    assert redis.kill()
    try:
        for gateway in two:
            assert send(gateway, "without", "you@darban.test") == 250
            assert send(gateway, "without", "reza@grey.test", "new@example.org") == 250, (
                "nobody is put off for our fault"
            )
            assert "reputation store failed" in gateway.log() and "counters: redis: ConnectionError" in gateway.log()
            assert "Traceback" not in gateway.log()
            assert is_ready(gateway)
    finally:
        redis.start()
    eventually(lambda: remembered(redis) > 0)  # what was learned meanwhile had waited
    deadline = time.monotonic() + 3 * REST_S
    while True:
        before = blind(other)
        assert send(other, "again", "you@darban.test") == 250
        time.sleep(1.5)  # counts are written down some times a second
        if blind(other) == before:
            return
        assert time.monotonic() < deadline, "it is not asked again"
