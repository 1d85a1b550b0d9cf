"""Two gateways for the same domains: one PostgreSQL, which has held contents, too, and one Redis, all else their own.

What came in by one is looked at, released and learned from at the other; who was served by one gets no second copy from the
other; and the other goes on when one is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio

from tests import postgres
from tests.builders import message_bytes
from tests.e2e import peers
from tests.e2e.test_gateway import eventually
from tests.redis_server import redis_server
from tests.smtp_sink import Sink, sink

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
PASSWORD = "two doors of one house"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def behind() -> AsyncIterator[Sink]:
    """The mail server of a.test."""
    async with sink() as one:
        yield one


@pytest.fixture(scope="module")
def pair(behind: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[peers.Gateway, peers.Gateway]]:
    """As docs/several-gateways.md sets them up."""
    with contextlib.ExitStack() as stack:
        cluster, redis = stack.enter_context(postgres.cluster()), stack.enter_context(redis_server())
        database = postgres.fresh_database(cluster.folder)
        yield tuple(  # type: ignore[misc]
            stack.enter_context(one(tmp_path_factory.mktemp(name), database, redis.url, behind.port))
            for name in ("first", "second")
        )


@contextlib.contextmanager
def one(folder: Path, database: str, redis: str, next_hop: int) -> Iterator[peers.Gateway]:
    (folder / "var").mkdir()
    for name in ("secret", "audit.key"):
        (folder / "var" / name).touch(mode=0o600)
        (folder / "var" / name).write_text(f"the {name} of both gateways")
    extra = f"""
[[domain]]
name = "a.test"
next_hop = "smtp://127.0.0.1:{next_hop}"
[[domain]]
name = "strict.test"
next_hop = "maildir:{folder}/strict"
tag_at = -98.0
quarantine_at = -97.0
reject_at = 99.0
"""
    storage = f'database = "{database}"\nblobs = "database"\nstate = "var"\nredis = "{redis}"'
    with peers.gateway(folder, f"maildir:{folder}/mail", extra=extra, storage=storage) as running:
        yield running


def send(gateway: peers.Gateway, subject: str, *rcpt_to: str) -> int:
    return peers.send(gateway.smtp_port, message_bytes(Subject=subject), rcpt_to=list(rcpt_to))[0]


def held(gateway: peers.Gateway, state: str = "held") -> dict[str, str]:
    """Subject -> id."""
    told = gateway.cli("quarantine", "list", "--json", "--state", state).stdout
    return {one["subject"]: one["id"] for one in map(json.loads, told.splitlines())}


def delivered(gateway: peers.Gateway, name: str = "strict") -> str:
    return "".join(file.read_text("latin-1") for file in (gateway.folder / name / "new").glob("*"))


async def test_what_one_holds_the_other_shows_and_releases(pair: tuple[peers.Gateway, peers.Gateway]) -> None:
    first, second = pair
    assert await asyncio.to_thread(send, first, "held at the first", "you@strict.test") == 250
    found = held(second)["held at the first"]
    assert "Subject: held at the first" in second.cli("quarantine", "show", found, "--raw").stdout
    assert second.cli("quarantine", "release", found).returncode == 0
    assert "Subject: held at the first" in delivered(second)
    assert "held at the first" in held(first, "released")


async def test_the_log_is_one(pair: tuple[peers.Gateway, peers.Gateway]) -> None:
    for number, gateway in enumerate(pair):
        assert await asyncio.to_thread(send, gateway, f"logged {number}", "you@darban.test") == 250

    def known(gateway: peers.Gateway) -> list[str]:
        return re.findall(r"logged \d", gateway.cli("trace", "logged", "--json").stdout)

    for gateway in pair:
        eventually(lambda gateway=gateway: {*known(gateway)} == {"logged 0", "logged 1"})  # type: ignore[misc]


async def test_who_signs_in_at_one_is_known_at_the_other(pair: tuple[peers.Gateway, peers.Gateway]) -> None:
    first, second = (f"http://127.0.0.1:{gateway.web_port}" for gateway in pair)
    link = re.search(r"/setup/\S+", pair[0].cli("admin", "create", "--link").stdout)
    assert link
    with httpx.Client(follow_redirects=True) as browser:  # to which a port is no other host
        assert browser.post(second + link[0], data={"name": "sara", "password": PASSWORD}).status_code == 200
        page = browser.get(first + "/?state=")
        assert page.status_code == 200 and "held at the first" in page.text
        found = held(pair[0], "released")["held at the first"]
        assert "held at the first" in browser.get(f"{first}/held/{found}").text


async def test_a_sender_blocked_at_one_is_blocked_at_the_other(pair: tuple[peers.Gateway, peers.Gateway]) -> None:
    first, second = pair
    assert first.cli("senders", "add", "block", "sara@example.org", "--recipient", "you@darban.test").returncode == 0

    def is_held() -> bool:
        assert send(second, "from somebody unwanted", "you@darban.test") == 250
        return "from somebody unwanted" in held(second)

    await asyncio.to_thread(eventually, is_held, 60.0)
    numbers = re.findall(r"^\s*(\d+)", first.cli("senders", "list").stdout, re.MULTILINE)
    assert first.cli("senders", "remove", numbers[0]).returncode == 0


async def test_a_lesson_taught_at_one_moves_the_others_model(
    pair: tuple[peers.Gateway, peers.Gateway], tmp_path: Path
) -> None:
    first, second = pair
    lesson = tmp_path / "lesson.eml"
    lesson.write_bytes(message_bytes("Buy our wonderful carpets now, cheaper than ever\r\n", Subject="carpets"))
    models = [gateway.folder / "var/model" for gateway in pair]
    before = [_newest(model) for model in models]
    assert first.cli("learn", "spam", str(lesson), "--trainer", "sara").returncode == 0, first.log()
    for model, was in zip(models, before, strict=True):
        await asyncio.to_thread(eventually, lambda model=model, was=was: _newest(model) > was, 60.0)  # type: ignore[misc]
    lessons = json.loads(second.cli("learn", "status", "--json").stdout)["lessons"]
    assert {"label": "spam", "via": "command", "number": 1} in lessons


def _newest(folder: Path) -> float:
    return max((file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()), default=0.0)


async def test_who_was_served_by_one_gets_no_second_copy_from_the_other(
    pair: tuple[peers.Gateway, peers.Gateway], behind: Sink
) -> None:
    first, second = pair
    behind.script["RCPT late@a.test"] = [
        "250 2.1.5 Ok",
        "451 4.2.1 not now",
        "250 2.1.5 Ok",
    ]  # asked at RCPT, then given
    to = ("early@a.test", "late@a.test")
    assert await asyncio.to_thread(send, first, "for two", *to) == 451
    assert len(behind.contents) == 1
    assert await asyncio.to_thread(send, second, "for two", *to) == 250
    assert len(behind.contents) == 2


async def test_the_audit_log_is_one_chain(pair: tuple[peers.Gateway, peers.Gateway]) -> None:
    for gateway in pair:
        told = gateway.cli("audit", "verify")
        assert told.returncode == 0, told.stdout + told.stderr


async def test_the_other_goes_on_when_one_is_gone(pair: tuple[peers.Gateway, peers.Gateway]) -> None:
    first, second = pair
    assert await asyncio.to_thread(send, first, "held before it died", "you@strict.test") == 250
    family = [psutil.Process(first.process.pid), *psutil.Process(first.process.pid).children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=20)
    assert await asyncio.to_thread(send, second, "by the other way", "you@darban.test") == 250
    assert second.cli("quarantine", "release", held(second)["held before it died"]).returncode == 0
    assert "Subject: held before it died" in delivered(second)
