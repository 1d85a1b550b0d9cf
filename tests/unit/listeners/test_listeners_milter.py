"""The milter door over sockets: progress, limits, MTAs that stall, lie or go away, faults of ours, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.config.settings import Milter, Smtp
from gateway.listeners import milter
from gateway.listeners.budget import Budget, make_budget
from gateway.listeners.milter_codec import packet
from gateway.policy.tally import Tally
from gateway.types import Client, Delivery, Envelope, Filtered, Mta, Outcome, Reply
from tests import milter_mta as mta
from tests.builders import message_bytes, verdict

OK = Reply(250, "2.0.0", "OK")


@dataclass
class RecordingService:
    """Accepts everything; remembers what it was given."""

    filtered: list[tuple[Envelope, bytes, Mta]] = field(default_factory=list)
    hold_back: asyncio.Event | None = None  # filter() waits for it
    fault: Exception | None = None

    def is_ours(self, domain: str) -> bool:
        return True

    def admit(self, client: Client, reverse_path: str) -> Reply | None:
        return None

    def count_recipient(self, client: Client) -> Reply | None:
        return None

    async def filter(self, envelope: Envelope, content: bytes, asking: Mta) -> Filtered:
        self.filtered.append((envelope, content, asking))
        if self.hold_back is not None:
            await self.hold_back.wait()
        if self.fault is not None:
            raise self.fault
        deliveries = tuple(Delivery(one, "accept", OK, "") for one in envelope.recipients)
        return Filtered(Outcome(envelope.queue_id, OK, deliveries, verdict(1.0)), 5.0)


@contextlib.asynccontextmanager
async def listening(
    service: RecordingService,
    sealer: object = None,
    budget: Budget | None = None,
    tally: Tally | None = None,
    **settings: object,
) -> AsyncIterator[tuple[milter.Server, int]]:
    door = socket.create_server(("127.0.0.1", 0))
    server = await milter.serve(
        Milter(**settings), 1 << 24, "mx.darban.test", service, [door], budget or make_budget(Smtp()), sealer, tally
    )  # type: ignore[arg-type]
    try:
        yield server, door.getsockname()[1]
    finally:
        await server.stop(2.0)


async def greeted(port: int) -> mta.Mta:
    talker = await mta.Mta.connect(port)
    await talker.greet()
    return talker


async def test_a_message_gets_our_fields() -> None:
    service = RecordingService()
    async with listening(service) as (_, port):
        talker = await greeted(port)
        for _ in range(2):
            await talker.envelope()
            await talker.say(*mta.content(message_bytes()))
            heard = await talker.hear_all()
            assert [one for one, _ in heard] == [*"i" * 7, "c"]
            names = [data[4:].split(b"\0")[0].decode() for _, data in heard[:-1]]
            assert names[-1] == "X-Spam-Flag"
            assert names[:2] == ["Authentication-Results", "X-Darban-Mta"]
            assert heard[1][1].endswith(b"\0 mail.darban.test 4XyZ\0")
        await talker.say(mta.QUIT)
        assert await talker.hear() == ("", b"")
    assert [content for _, content, _ in service.filtered] == [message_bytes()] * 2


async def test_any_cut_of_the_stream_is_the_same_message() -> None:
    service, chooser = RecordingService(), random.Random(21)
    content = message_bytes("x" * 150_000 + "\r\n")
    async with listening(service) as (_, port):
        talker = await greeted(port)
        await talker.envelope()
        raw = b"".join(mta.content(content))
        while raw:
            size = chooser.choice((1, 3, 1000, 60_000))
            await talker.say(raw[:size])
            await asyncio.sleep(0)
            raw = raw[size:]
        assert (await talker.hear_all())[-1] == ("c", b"")
    assert service.filtered[0][1] == content


async def test_what_there_is_no_room_for_is_deferred(tmp_path: Path) -> None:
    budget, service = Budget(100_000, 40_000, 10_000, tmp_path, 0.1), RecordingService()
    async with listening(service, budget=budget) as (_, port):
        talker = await greeted(port)

        async def told(size: int) -> tuple[str, bytes]:
            await talker.envelope()
            await talker.say(*mta.content(message_bytes("x" * size)))
            return (await talker.hear_all())[-1]

        full = ("y", b"452 4.3.1 No room for this message now, please try again later\0")
        assert await told(20_000) == ("c", b"")  # by way of the disk
        assert await told(50_000) == full  # no disk for it
        assert await budget.turn(20_000)  # a large message of another door is being judged
        assert await told(20_000) == full
        assert await told(1_000) == ("c", b"")
        budget.done(20_000)
        assert await told(20_000) == ("c", b"")
        assert [len(content) > 10_000 for _, content, _ in service.filtered] == [True, False, True]
        assert (budget.held, budget.spooled) == (0, 0)


async def test_processes_count_their_connections_together() -> None:
    tally = Tally(2)
    async with (
        listening(RecordingService(), tally=tally.of(0), max_connections=2) as (_, port),
        listening(RecordingService(), tally=tally.of(1), max_connections=2) as (_, other_port),
    ):
        talkers = [await greeted(port), await greeted(other_port)]
        for number in (port, other_port):
            assert await (await mta.Mta.connect(number)).hear() == ("", b"")
        await talkers[0].say(mta.QUIT)
        await talkers[0].hear()
        await asyncio.sleep(0.05)
        await greeted(other_port)


async def test_a_long_scan_says_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milter, "_PROGRESS_S", 0.05)
    service = RecordingService(hold_back=asyncio.Event())
    async with listening(service) as (_, port):
        talker = await greeted(port)
        await talker.envelope()
        await talker.say(*mta.content(message_bytes()))
        assert [await talker.hear() for _ in range(3)] == [("p", b"")] * 3
        service.hold_back.set()
        assert (await talker.hear_all())[-1] == ("c", b"")


async def test_a_fault_of_ours_is_a_tempfail() -> None:
    async with listening(RecordingService(fault=RuntimeError("oops"))) as (server, port):
        talker = await greeted(port)
        await talker.envelope()
        await talker.say(*mta.content(message_bytes()))
        assert await talker.hear_all() == [("t", b"")]
        assert await talker.hear() == ("", b"")
        assert (server.budget.held, server.budget.spooled) == (0, 0)


@pytest.mark.parametrize(
    "said",
    [
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        packet(b"?"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"EHLO client.example\r\n",
        mta.mail(),
        mta.negotiate(1),
        mta.negotiate() + mta.rcpt(),
        mta.negotiate() + mta.mail() + mta.rcpt() + mta.header("A", " b") + packet(b"L", b"broken"),
    ],
)
async def test_who_makes_no_sense_is_left(said: bytes) -> None:
    async with listening(RecordingService()) as (server, port):
        talker = await mta.Mta.connect(port)
        await talker.say(said)
        while (await talker.hear())[0]:
            pass
        await asyncio.sleep(0.01)
        assert not server.connections
        assert (server.budget.held, server.budget.spooled) == (0, 0)


@pytest.mark.parametrize(
    ("limit", "packets"),
    [
        ("_HANDSHAKE_S", []),
        ("_HANDSHAKE_S", [mta.negotiate()[:7]]),
        ("_CONTENT_S", [mta.negotiate(), mta.connect()[:9]]),
        ("_CONTENT_S", [mta.negotiate(), mta.mail(), mta.rcpt(), mta.header("A", " b")]),
        ("timeout_s", [mta.negotiate()]),
        ("timeout_s", [mta.negotiate(), mta.mail(), mta.rcpt()]),
    ],
)
async def test_who_stalls_is_left(limit: str, packets: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"timeout_s": 0.1} if limit == "timeout_s" else {}
    if not settings:
        monkeypatch.setattr(milter, limit, 0.1)
    async with listening(RecordingService(), **settings) as (server, port):
        talker = await mta.Mta.connect(port)
        await talker.say(*packets)
        while (await talker.hear())[0]:
            pass
        await asyncio.sleep(0.01)
        assert not server.connections


async def test_who_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milter, "_CONTENT_S", 0.3)
    async with listening(RecordingService()) as (server, port):
        with socket.create_connection(("127.0.0.1", port)) as deaf:
            deaf.setblocking(False)
            flood = mta.negotiate() * 40_000
            loop = asyncio.get_running_loop()
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(10):
                    await loop.sock_sendall(deaf, flood * 10)
            for _ in range(100):
                if not server.connections:
                    break
                await asyncio.sleep(0.05)
            assert not server.connections


async def test_more_connections_than_allowed_are_closed() -> None:
    async with listening(RecordingService(), max_connections=2) as (_, port):
        first, second = await greeted(port), await greeted(port)
        third = await mta.Mta.connect(port)
        assert await third.hear() == ("", b"")
        first.close()
        await asyncio.sleep(0.05)
        fourth = await greeted(port)
        await fourth.envelope()
        await second.envelope()


async def test_thousand_half_handshakes_do_not_stand_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milter, "_HANDSHAKE_S", 1.0)
    async with listening(RecordingService(), max_connections=400) as (server, port):
        stalled = [await mta.Mta.connect(port) for _ in range(300)]
        for one in stalled:
            await one.say(b"\0\0")
        talker = await greeted(port)
        await talker.envelope()
        await talker.say(*mta.content(message_bytes()))
        assert (await talker.hear_all())[-1] == ("c", b"")
        talker.close()
        await asyncio.sleep(1.3)
        assert not server.connections


async def test_an_mta_that_goes_away_while_it_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milter, "_PROGRESS_S", 0.02)
    service = RecordingService(hold_back=asyncio.Event())
    async with listening(service) as (server, port):
        talker = await greeted(port)
        await talker.envelope()
        await talker.say(*mta.content(message_bytes()))
        await talker.hear()
        talker.writer.transport.abort()
        for _ in range(100):
            if not server.connections:
                break
            await asyncio.sleep(0.02)
        assert not server.connections
        assert len(server.judging) == 1  # what was begun (a hold, perhaps) is finished
        service.hold_back.set()
        await asyncio.sleep(0.02)
        assert not server.judging
        assert (server.budget.held, server.budget.spooled) == (0, 0)


async def test_the_end_waits_for_open_messages_and_leaves_the_others() -> None:
    service = RecordingService()
    async with listening(service) as (server, port):
        idle, busy = await greeted(port), await greeted(port)
        await busy.envelope()
        await asyncio.sleep(0.05)
        ending = asyncio.create_task(server.stop(5.0))
        assert await idle.hear() == ("", b"")
        assert not ending.done()
        await busy.say(*mta.content(message_bytes()))
        assert (await busy.hear_all())[-1] == ("c", b"")
        assert await busy.hear() == ("", b"")
        await ending
        with pytest.raises(OSError, match="Connect call failed"):
            await mta.Mta.connect(port)


async def test_a_seal_goes_on_top() -> None:
    class Sealer:
        def seal(self, content: bytes, results: str, chain: str) -> bytes:
            return b"ARC-Seal: i=1;\r\n b=x\r\nARC-Message-Signature: i=1\r\n" + content

    service = RecordingService()

    async def filter_with_results(envelope: Envelope, content: bytes, asking: Mta) -> Filtered:
        from gateway.types import AuthResult

        found = verdict(1.0, auth=(AuthResult("spf", "pass", "example.org"),))
        return Filtered(Outcome("ID", OK, (Delivery(envelope.recipients[0], "accept", OK, ""),), found), 5.0)

    service.filter = filter_with_results  # type: ignore[method-assign]
    async with listening(service, Sealer()) as (_, port):
        for size in (10, 1 << 19):
            talker = await greeted(port)
            await talker.envelope()
            await talker.say(*mta.content(message_bytes("x" * size)))
            heard = await talker.hear_all()
            assert heard[-2:] == [("i", b"\0\0\0\0ARC-Seal\0 i=1;\n b=x\0"), ("c", b"")]
            assert heard[-3] == ("i", b"\0\0\0\0ARC-Message-Signature\0 i=1\0")
