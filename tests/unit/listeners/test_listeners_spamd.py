"""The spamd door over a socket, with a scorer that has made up its mind."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config.settings import Smtp, Spamd
from gateway.listeners import spamd
from gateway.listeners import spamd_codec as codec
from gateway.listeners.budget import Budget, make_budget
from gateway.listeners.spamd_codec import Request, pack_request
from gateway.policy.domains import ConfiguredDomains
from gateway.policy.tally import Tally
from gateway.scanning import Scanner
from gateway.sockets import bind
from gateway.types import DomainPolicy, Envelope, Verdict
from tests.builders import message_bytes, verdict
from tests.memory import MemoryJournal

MESSAGE = message_bytes()
POLICIES = ConfiguredDomains([DomainPolicy("darban.test", "smtp://a:25")])
LIMIT = 10_000


class Scorer:
    """Says `verdict`, remembers what it was asked."""

    def __init__(self, says: Verdict | Exception) -> None:
        self.says = says
        self.asked: list[tuple[Envelope, bytes]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def score(self, envelope: Envelope, content: bytes) -> Verdict:
        self.asked.append((envelope, content))
        await self.go_on.wait()
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


@contextlib.asynccontextmanager
async def door(
    folder: Path,
    scorer: Scorer,
    tell: spamd.Tell | None = None,
    budget: Budget | None = None,
    tally: Tally | None = None,
    **settings: object,
) -> AsyncIterator[tuple[str, spamd.Server]]:
    path = f"{folder}/s"
    said = Spamd(listen=f"unix:{path}", **settings)
    scanner = Scanner("spamd", scorer.score, POLICIES, MemoryJournal())
    server = spamd.Server(said, "mx.darban.test", LIMIT, scanner, tell, budget or make_budget(Smtp()), tally)
    await server.start([bind(said.listen)])
    try:
        yield path, server
    finally:
        await server.stop(0.1)


async def ask(path: str, said: bytes, *, ends: bool = True) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(said)
        if ends:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


def request(command: str, content: bytes = MESSAGE, **fields: str) -> bytes:
    return pack_request(Request(command, fields=tuple(fields.items()), content=content))


@pytest.mark.parametrize(
    ("command", "score", "wanted"),
    [
        ("CHECK", 6.0, b"Spam: True ; 6.0 / 5.0\r\n\r\n"),
        ("CHECK", 1.0, b"Spam: False ; 1.0 / 5.0\r\n\r\n"),
        ("SYMBOLS", 6.0, b"\r\n\r\nTEST_HIT"),
        ("REPORT", 1.0, b"  1.0 TEST_HIT                         A hit of the tests\r\n"),
        ("REPORT_IFSPAM", 6.0, b"  6.0 TEST_HIT                         A hit of the tests\r\n"),
        ("REPORT_IFSPAM", 1.0, b"Content-length: 0\r\nSpam: False ; 1.0 / 5.0\r\n\r\n"),
        ("PROCESS", 6.0, MESSAGE),
        ("HEADERS", 6.0, MESSAGE.split(b"\r\n\r\n")[0] + b"\r\n\r\n"),
        ("PING", 6.0, b"SPAMD/1.5 0 PONG\r\n"),
        ("SKIP", 6.0, b""),
    ],
)
async def test_commands(tmp_path: Path, command: str, score: float, wanted: bytes) -> None:
    async with door(tmp_path, Scorer(verdict(score))) as (path, _):
        for ends in (True, False):  # Exim's rspamd variant does not half-close
            told = await ask(path, request(command), ends=ends)
            assert told.endswith(wanted)
            length = [line for line in told.split(b"\r\n") if line.startswith(b"Content-length: ")]
            if length:
                assert int(length[0].split()[1]) == len(told.split(b"\r\n\r\n", 1)[1])


async def test_the_envelope_comes_from_above_the_message(tmp_path: Path) -> None:
    scorer = Scorer(verdict(1.0))
    trace = b"Return-Path: <sara@example.org>\nReceived: from mail.example.org (x [192.0.2.7]) by mx with ESMTP id 1; date\n"
    async with door(tmp_path, scorer) as (path, _):
        await ask(path, request("CHECK", trace + MESSAGE.replace(b"\r\n", b"\n"), user="you@darban.test"))
        await ask(path, request("CHECK", user="reza"))
    (envelope, content), (other, _) = scorer.asked
    assert (envelope.client.ip, envelope.client.helo, envelope.reverse_path) == (
        "192.0.2.7",
        "mail.example.org",
        "sara@example.org",
    )
    assert [one.address for one in envelope.recipients] == ["you@darban.test"]
    assert content == MESSAGE  # as it came to that server, line ends too
    assert (other.client.ip, other.recipients) == ("127.0.0.1", ())


async def test_rspamc_tells_the_envelope(tmp_path: Path) -> None:
    scorer = Scorer(verdict(6.0))
    fields = (("ip", "192.0.2.7"), ("from", "<sara@example.org>"), ("rcpt", "<you@darban.test>"))
    async with door(tmp_path, scorer) as (path, _):
        told = await ask(path, pack_request(Request("CHECK", True, (1, 3), fields, MESSAGE)), ends=False)
        assert told.startswith(
            b"RSPAMD/1.3 0 EX_OK\r\nMetric: default; True; 6.0 / 5.0 / 15.0\r\nAction: add header\r\n"
        )
        wrong = pack_request(Request("CHECK", True, (1, 3), (("ip", "here"),), MESSAGE))
        assert await ask(path, wrong) == b"RSPAMD/1.3 65 'here' is not an IP address\r\n"
    assert scorer.asked[0][0].client.ip == "192.0.2.7"


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"SPAMD/1.0 76 Bad header line: (no command of this protocol)\r\n"),
        (request("CHECK", b"x" * (LIMIT + 1)), b"SPAMD/1.0 65 Message larger than 10000 bytes\r\n"),
        (b"CHECK SPAMC/1.5\r\n\r\n" + b"x" * (LIMIT + 1), b"SPAMD/1.0 65 Message larger than 10000 bytes\r\n"),
        (
            b"CHECK SPAMC/1.5\r\nCompress: zlib\r\n\r\n" + zlib.compress(b"x" * (LIMIT + 1)),
            b"SPAMD/1.0 65 Message larger",
        ),
        (request("TELL"), b"SPAMD/1.0 69 Service Unavailable: TELL is not enabled, set [spamd] learn\r\n"),
        (b"", b""),
    ],
)
async def test_what_is_not_answered(tmp_path: Path, said: bytes, wanted: bytes) -> None:
    async with door(tmp_path, Scorer(verdict(1.0))) as (path, _):
        assert (await ask(path, said)).startswith(wanted)


async def test_a_client_that_sends_far_too_much_hears_why(tmp_path: Path) -> None:
    async with door(tmp_path, Scorer(verdict(1.0))) as (path, _):
        told = await ask(path, request("CHECK", b"x" * 3_000_000))
        assert told == b"SPAMD/1.0 65 Message larger than 10000 bytes\r\n"


@pytest.mark.parametrize("fault", [ValueError("ours"), RuntimeError("ours")])
async def test_our_faults_are_to_be_repeated(tmp_path: Path, fault: Exception) -> None:
    async with door(tmp_path, Scorer(fault)) as (path, _):
        assert await ask(path, request("CHECK")) == b"SPAMD/1.0 75 EX_TEMPFAIL Temporary problem\r\n"


async def test_a_slow_client_is_let_go(tmp_path: Path) -> None:
    async with door(tmp_path, Scorer(verdict(1.0)), timeout_s=0.1) as (path, _):
        assert (await ask(path, b"CHECK SPAMC/1.5\r\nContent-", ends=False)).startswith(b"SPAMD/1.0 79 ")


async def test_more_connections_than_allowed_are_turned_away(tmp_path: Path) -> None:
    scorer = Scorer(verdict(1.0))
    scorer.go_on.clear()
    async with door(tmp_path, scorer, max_connections=2) as (path, _):
        waiting = [asyncio.create_task(ask(path, request("CHECK"))) for _ in range(2)]
        while len(scorer.asked) < 2:
            await asyncio.sleep(0.01)
        assert (await ask(path, request("CHECK"))).startswith(b"SPAMD/1.0 75 ")
        scorer.go_on.set()
        assert all(b"Spam: False" in told for told in await asyncio.gather(*waiting))


async def test_processes_count_their_connections_together(tmp_path: Path) -> None:
    scorer, tally = Scorer(verdict(1.0)), Tally(2)
    scorer.go_on.clear()
    for name in "ab":
        (tmp_path / name).mkdir()
    async with (
        door(tmp_path / "a", scorer, tally=tally.of(0), max_connections=2) as (path, _),
        door(tmp_path / "b", scorer, tally=tally.of(1), max_connections=2) as (other, _),
    ):
        waiting = [asyncio.create_task(ask(one, request("CHECK"))) for one in (path, other)]
        while len(scorer.asked) < 2:
            await asyncio.sleep(0.01)
        for one in (path, other):
            assert await ask(one, request("CHECK")) == b"SPAMD/1.0 75 EX_TEMPFAIL Too many connections\r\n"
        scorer.go_on.set()
        assert all(b"Spam: False" in told for told in await asyncio.gather(*waiting))


TOO_MUCH = b"SPAMD/1.0 75 EX_TEMPFAIL Too much at once\r\n"


async def test_what_there_is_no_room_for_is_deferred(tmp_path: Path) -> None:
    budget = Budget(8_000, 9_000, 2_000, tmp_path, 0.1)
    async with door(tmp_path, Scorer(verdict(1.0)), budget=budget) as (path, _):
        other = budget.begin()
        other.add(b"x" * 4_000)
        for ends in (True, False):
            assert await ask(path, request("CHECK"), ends=ends) == TOO_MUCH
        assert await ask(path, request("PING")) == b"SPAMD/1.5 0 PONG\r\n"
        other.close()
        assert b"Spam: False" in await ask(path, request("CHECK"))
        assert b"Spam: False" in await ask(path, request("CHECK", MESSAGE + b"x" * 5_000))  # by way of the disk
        assert await ask(path, request("CHECK", b"x" * 9_500)) == TOO_MUCH  # announced, and no disk for it
        assert await ask(path, b"CHECK SPAMC/1.5\r\n\r\n" + b"x" * 9_500) == TOO_MUCH
        zipped = b"CHECK SPAMC/1.5\r\nCompress: zlib\r\n\r\n" + zlib.compress(b"x" * 9_500)
        assert await ask(path, zipped) == TOO_MUCH
        assert await budget.turn(4_000)  # a large message of another door is being judged
        assert await ask(path, request("CHECK", MESSAGE + b"x" * 5_000)) == TOO_MUCH
        budget.done(4_000)
        assert (budget.held, budget.spooled) == (0, 0)


async def test_a_stop_answers_what_was_asked(tmp_path: Path) -> None:
    scorer = Scorer(verdict(1.0))
    scorer.go_on.clear()
    async with door(tmp_path, scorer) as (path, server):
        waiting = asyncio.create_task(ask(path, request("CHECK")))
        while not scorer.asked:
            await asyncio.sleep(0.01)
        stopping = asyncio.create_task(server.stop(5.0))
        await asyncio.sleep(0.05)
        scorer.go_on.set()
        assert b"Spam: False" in await waiting
        await stopping
        with pytest.raises(ConnectionRefusedError):
            await ask(path, request("CHECK"))


async def test_tell_is_forwarded(tmp_path: Path) -> None:
    heard: list[Request] = []

    async def teach(one: Request) -> bytes:
        heard.append(one)
        return codec.told({"DidSet": "local"})

    (tmp_path / "a").mkdir()
    async with door(tmp_path, Scorer(verdict(1.0)), teach) as (path, _):
        async with door(tmp_path / "a", Scorer(verdict(1.0)), spamd.forward(Path(path), 5.0)) as (front, _):
            said = request("TELL", user="رضا", **{"message-class": "spam", "set": "local"})
            assert await ask(front, said) == codec.told({"DidSet": "local"})
    assert (heard[0].field("message-class"), heard[0].field("user"), heard[0].content) == ("spam", "رضا", MESSAGE)
    gone = spamd.forward(tmp_path / "nobody", 5.0)
    assert (await gone(Request("TELL"))).startswith(b"SPAMD/1.0 75 ")
