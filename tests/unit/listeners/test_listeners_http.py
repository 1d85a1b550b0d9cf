"""The HTTP door: what is asked and answered, and what is refused in one line."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import zstandard

from gateway.config.settings import Http, Smtp
from gateway.errors import ScorerError, StoreError
from gateway.listeners import http
from gateway.listeners.budget import Budget, make_budget
from gateway.listeners.http import Door, Server
from gateway.policy.domains import ConfiguredDomains
from gateway.scanning import Scanner
from gateway.sockets import bind
from gateway.types import DomainPolicy, Envelope, Taught, Verdict
from tests.builders import message_bytes, verdict
from tests.memory import MemoryJournal

MESSAGE = message_bytes()
POLICIES = ConfiguredDomains([DomainPolicy("darban.test", "smtp://a:25")])
LIMIT = 10_000


class World:
    """A door over a scorer that has made up its mind."""

    def __init__(self, says: Verdict | Exception, **changes: object) -> None:
        self.says = says
        self.asked: list[tuple[Envelope, bytes]] = []
        self.taught: list[tuple[str, bool, bytes]] = []
        self.teaches: Taught | Exception = Taught("learned", "1")
        self.settings = Http(listen="127.0.0.1:1", **changes.pop("settings", {}))
        self.journal = MemoryJournal()
        self.budget: Budget = changes.pop("budget", None) or make_budget(Smtp())
        values: dict = {"teaching": self, "token": b"", "learn_token": b"sesame"} | changes
        scanner = Scanner("checkv2", self.score, POLICIES, self.journal)
        explainer = Scanner("scan", self.score, POLICIES, self.journal)
        self.door = Door(
            self.settings, "mx.darban.test", LIMIT, self.budget, scanner=scanner, explainer=explainer, **values
        )
        self.app = self.door.app()

    async def score(self, envelope: Envelope, content: bytes) -> Verdict:
        self.asked.append((envelope, content))
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    async def teach(self, user: str, is_spam: bool, content: bytes) -> Taught:
        self.taught.append((user, is_spam, content))
        if isinstance(self.teaches, Exception):
            raise self.teaches
        return self.teaches

    async def ask(self, method: str, path: str, content: bytes = MESSAGE, **fields: str) -> httpx.Response:
        headers = [(name.replace("_", "-"), value) for name, value in fields.items()]
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            return await client.request(method, path, content=content, headers=headers)


async def test_scan_answers_the_object_of_darban_scan() -> None:
    world = World(verdict(6.0))
    query = "client_ip=192.0.2.7&helo=mail.example.org&mail_from=sara@example.org&rcpt_to=you@darban.test&rcpt_to=b@darban.test"
    found = (await world.ask("POST", f"/scan?{query}")).json()
    assert (found["action"], found["score"], found["required_score"]) == ("tag", 6.0, 5.0)
    assert {"hits", "authentication", "prediction", "incomplete", "seconds", "queue_id", "path"} <= set(found)
    envelope, content = world.asked[0]
    assert (envelope.client.ip, envelope.client.helo, envelope.reverse_path) == (
        "192.0.2.7",
        "mail.example.org",
        "sara@example.org",
    )
    assert [one.address for one in envelope.recipients] == ["you@darban.test", "b@darban.test"]
    assert content == MESSAGE
    assert world.journal.rows == []


async def test_scan_takes_the_defaults_of_darban_scan() -> None:
    world = World(verdict(1.0))
    assert (await world.ask("POST", "/scan?mail_from=")).status_code == 200
    assert (world.asked[0][0].client.ip, world.asked[0][0].reverse_path) == ("127.0.0.1", "")


async def test_checkv2_judges_the_message_as_the_server_got_it() -> None:
    world = World(verdict(16.0))
    trace = b"Received: from mail.example.org (x [192.0.2.7]) by mx with ESMTP id 1; date\r\n"
    fields = {"IP": "192.0.2.7", "From": "<sara@example.org>", "Rcpt": "you@darban.test", "Queue_Id": "4Q"}
    found = (await world.ask("POST", "/checkv2", trace + MESSAGE, **fields)).json()
    assert (found["action"], found["messages"]["smtp_message"][:15]) == ("reject", "Message refused")
    assert world.asked[0][1] == MESSAGE
    assert [row.action for row in world.journal.rows] == ["scanned"]
    await world.ask("POST", "/checkv2", MESSAGE, Flags="no_log")
    assert len(world.journal.rows) == 1


async def test_a_surrogate_in_a_verdict_is_no_fault() -> None:
    found = await World(verdict(6.0, incomplete=("check \ud800",))).ask("POST", "/checkv2")
    assert found.status_code == 200
    json.loads(found.content)


@pytest.mark.parametrize("path", ["/check", "/symbols"])
async def test_the_older_paths(path: str) -> None:
    assert (await World(verdict(6.0)).ask("POST", path)).json()["default"]["action"] == "add header"


async def test_ping_and_stat() -> None:
    world = World(verdict(6.0))
    assert (await world.ask("GET", "/ping")).text == "pong\r\n"
    await world.ask("POST", "/checkv2")
    stat = (await world.ask("GET", "/stat")).json()
    assert (stat["scanned"], stat["spam_count"], stat["actions"]["add header"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(MESSAGE, mtime=0)),
        ("deflate", zlib.compress(MESSAGE)),
        ("zstd", zstandard.compress(MESSAGE)),
        ("identity", MESSAGE),
    ],
)
async def test_compressed_bodies(coding: str, body: bytes) -> None:
    world = World(verdict(1.0))
    assert (await world.ask("POST", "/checkv2", body, Content_Encoding=coding)).status_code == 200
    assert world.asked[0][1] == MESSAGE


HUGE = b"x" * (LIMIT + 1)


@pytest.mark.parametrize(
    ("path", "body", "fields", "status", "words"),
    [
        ("/checkv2", MESSAGE, {"IP": "here"}, 400, "'here' is not an IP address"),
        ("/scan?client_ip=here", MESSAGE, {}, 400, "'here' is not an IP address"),
        ("/scan?rcpt_to=nobody", MESSAGE, {}, 400, "rcpt_to 'nobody' is no address"),
        ("/scan?sender=x", MESSAGE, {}, 400, "'sender' is no parameter"),
        ("/checkv2", b"", {"File": "/etc/passwd"}, 400, "File: the message has to stand in the body"),
        ("/checkv2", b"", {"Shm": "x"}, 400, "in the body"),
        ("/checkv2", HUGE, {}, 413, "larger than 10000 bytes"),
        ("/checkv2", gzip.compress(HUGE, mtime=0), {"Content_Encoding": "gzip"}, 413, "larger than 10000 bytes"),
        ("/checkv2", zstandard.compress(HUGE), {"Content_Encoding": "zstd"}, 413, "larger than 10000 bytes"),
        ("/checkv2", gzip.compress(MESSAGE, mtime=0)[:-9], {"Content_Encoding": "gzip"}, 400, "cut short"),
        ("/checkv2", zstandard.compress(MESSAGE)[:-9], {"Content_Encoding": "zstd"}, 400, "zstd"),
        ("/checkv2", gzip.compress(MESSAGE, mtime=0) * 2, {"Content_Encoding": "gzip"}, 400, "no single gzip stream"),
        ("/checkv2", zstandard.compress(MESSAGE) * 2, {"Content_Encoding": "zstd"}, 400, "no single zstd stream"),
        ("/checkv2", zstandard.compress(MESSAGE) + b"x" * 2000, {"Content_Encoding": "zstd"}, 400, "no single zstd"),
        ("/checkv2", b"", {"Content_Encoding": "zstd"}, 400, "no single zstd stream"),
        ("/checkv2", MESSAGE, {"Content_Encoding": "gzip"}, 400, "the body is not gzip"),
        ("/checkv2", MESSAGE, {"Compression": "zstd"}, 400, "the body is not zstd"),
        ("/checkv2", MESSAGE, {"Content_Encoding": "br"}, 415, "'br' is not known"),
        ("/learnspam", MESSAGE, {}, 401, "a token is needed"),
        ("/learnspam", MESSAGE, {"Password": "wrong"}, 401, "a token is needed"),
        ("/nothing", MESSAGE, {}, 404, "Not Found"),
        ("/ping/..", MESSAGE, {}, 404, "Not Found"),
    ],
)
async def test_what_is_refused(path: str, body: bytes, fields: dict[str, str], status: int, words: str) -> None:
    world = World(verdict(1.0))
    answer = await world.ask("POST", path, body, **fields)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert (world.budget.held, world.budget.spooled) == (0, 0)


async def test_a_wrong_method_is_told() -> None:
    answer = await World(verdict(1.0)).ask("GET", "/checkv2")
    assert (answer.status_code, answer.json()) == (405, {"error": "Method Not Allowed"})


@pytest.mark.parametrize("fields", [{"Password": "open"}, {"Authorization": "Bearer open"}])
async def test_a_token_is_asked_for_where_one_is_set(fields: dict[str, str]) -> None:
    world = World(verdict(1.0), token=b"open")
    for path in ("/scan", "/checkv2"):
        assert (await world.ask("POST", path)).status_code == 401
        assert (await world.ask("POST", path, **fields)).status_code == 200
    assert (await world.ask("GET", "/stat")).status_code == 401
    assert (await world.ask("GET", "/ping")).status_code == 200


async def test_learning() -> None:
    world = World(verdict(1.0))
    assert (await world.ask("POST", "/learnspam", Password="sesame", User="reza")).json()["success"] is True
    assert (await world.ask("POST", "/learnham", Authorization="Bearer sesame")).json()["success"] is True
    assert world.taught == [("reza", True, MESSAGE), ("", False, MESSAGE)]
    for said, status in ((Taught("known", "1"), 208), (Taught("limited"), 429), (StoreError("full"), 503)):
        world.teaches = said
        assert (await world.ask("POST", "/learnspam", Password="sesame")).status_code == status
    assert (await World(verdict(1.0), teaching=None).ask("POST", "/learnspam", Password="sesame")).status_code == 403


@pytest.mark.parametrize("fault", [ScorerError("no scorer"), ValueError("ours")])
async def test_without_a_verdict_the_message_is_to_come_again(fault: Exception) -> None:
    answer = await World(fault).ask("POST", "/checkv2")
    assert (answer.status_code, answer.json()["action"]) == (503, "soft reject")
    assert "ours" not in answer.text


# --- over a socket ----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def served(world: World) -> AsyncIterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(world.app, world.settings)
    await server.start([bind(f"127.0.0.1:{port}")])
    try:
        yield port
    finally:
        await server.stop(1.0)


async def say(port: int, said: bytes) -> bytes:
    """All that is answered until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(said)
        with contextlib.suppress(ConnectionResetError):
            return await asyncio.wait_for(reader.read(), 10)
        return b""
    finally:
        writer.close()


async def test_slow_and_silent_clients_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_REAP_EVERY_S", 0.05)
    async with served(World(verdict(1.0), settings={"timeout_s": 0.3})) as port:
        assert await say(port, b"") == b""
        assert await say(port, b"POST /checkv2 HTTP/1.1\r\nHost: x\r\n") == b""
        told = await say(port, b"POST /checkv2 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nSubject")
        assert b" 408 " in told.split(b"\r\n")[0]


async def test_what_there_is_no_room_for_is_deferred(tmp_path: Path) -> None:
    budget = Budget(8_000, 9_000, 2_000, tmp_path, 0.1)
    world = World(verdict(1.0), budget=budget)
    other = budget.begin()
    other.add(b"x" * 4_000)
    for path in ("/scan", "/checkv2"):
        answer = await world.ask("POST", path)
        assert (answer.status_code, answer.json()) == (503, {"error": "too much at once"})
    assert (await world.ask("GET", "/ping")).status_code == 200
    other.close()
    long = MESSAGE + b"x" * 5_000
    for body, fields in ((MESSAGE, {}), (long, {}), (gzip.compress(long), {"Content_Encoding": "gzip"})):
        assert (await world.ask("POST", "/checkv2", body, **fields)).status_code == 200
    assert [content for _, content in world.asked] == [MESSAGE, long, long]  # by way of the disk
    for body, fields in ((b"x" * 9_500, {}), (gzip.compress(b"x" * 9_500), {"Content_Encoding": "gzip"})):
        assert (await world.ask("POST", "/checkv2", body, **fields)).status_code == 503
    assert await budget.turn(4_000)  # a large message is being judged
    assert (await world.ask("POST", "/checkv2", long)).status_code == 503
    budget.done(4_000)
    assert (budget.held, budget.spooled) == (0, 0)


async def test_what_a_client_leaves_behind_is_given_back(tmp_path: Path) -> None:
    world = World(verdict(1.0), budget=Budget(100_000, 90_000, 2_000, tmp_path))
    head = b"POST /checkv2 HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n"
    async with asyncio.timeout(20), served(world) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        for _, writer in held:
            writer.write(head + b"x" * 9_000)
        while world.budget.spooled < 20_000:
            await asyncio.sleep(0.01)
        for _, writer in held:
            writer.close()
        while world.budget.spooled:
            await asyncio.sleep(0.01)
        assert world.budget.held == 0


async def test_more_connections_than_allowed_are_answered_503() -> None:
    async with served(World(verdict(1.0), settings={"max_connections": 2})) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await asyncio.sleep(0.1)
        held[0][1].write(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await held[0][0].readline()).startswith(b"HTTP/1.1 200")
        assert (
            b" 503 "
            in (await say(port, b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).split(b"\r\n")[0]
        )
        for _, writer in held:
            writer.close()
