"""The milter door: an MTA asks about each message it takes, keeps it, and does what it is told (docs/milter.md).

Custody stays with the MTA: it says 250 after our answer, or its client hears that we refused, or that we are away
(milter_default_action = tempfail). What is held is in the quarantine, fsync'd, before its recipients are taken from
the MTA's copy. Everything is bounded: connections, the time for a packet, a message, all messages together.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import structlog
from prometheus_client import Counter, Gauge

from gateway.actions.annotate import fields_on_top
from gateway.config.settings import Milter
from gateway.listeners.budget import Budget
from gateway.listeners.milter_codec import PROGRESS, TEMPFAIL, Decoder, ProtocolError
from gateway.listeners.milter_session import Desk, Judge, Leave, Session
from gateway.policy.connections import Door
from gateway.policy.tally import Tally
from gateway.ports import Sealer
from gateway.types import Envelope, Filtered, Mta

CONNECTIONS = Counter("darban_milter_connections_total", "Connections of MTAs by how they began.", ["result"])
OPEN = Gauge("darban_milter_open_connections", "Connections of MTAs open now.", multiprocess_mode="livesum")

_BLOCK = 1 << 16
_HANDSHAKE_S = 30.0
_CONTENT_S = 60.0  # the MTA has all of it, so it comes at once
_PROGRESS_S = 3.0
_LINGER_S = 5.0
_LONG = 1 << 18  # bytes whose body takes longer to sign (1 ms) than a thread takes to be asked

log = structlog.get_logger("darban.milter")


class Service(Desk, Protocol):
    """What the door needs (service.Gateway)."""

    async def filter(self, envelope: Envelope, content: bytes, mta: Mta) -> Filtered:
        """Judge, hold what is to be held."""


class Server:
    """The listening sockets and the connections."""

    def __init__(
        self,
        settings: Milter,
        max_message_size: int,
        hostname: str,
        service: Service,
        budget: Budget,
        sealer: Sealer | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.settings = settings
        self.max_message_size = max_message_size
        self.hostname = hostname
        self.service = service
        self.sealer = sealer
        self.budget = budget
        self.door = Door("milter", settings.max_connections, tally or Tally())
        self.connections: set[_Connection] = set()
        self.judging: set[asyncio.Future[Any]] = set()
        self.is_stopping = False
        self._servers: list[asyncio.Server] = []

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Listen."""
        for one in sockets:
            kind = asyncio.start_unix_server if one.family == socket.AF_UNIX else asyncio.start_server
            self._servers.append(await kind(self._serve, sock=one, backlog=1024, limit=_BLOCK))

    async def drain(self, within_s: float) -> None:
        """A new generation serves: as `stop`."""
        await self.stop(within_s)

    async def stop(self, grace_s: float) -> None:
        """No new connection; MTAs between messages are left at once, others after their message, for so long."""
        self.is_stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.leave_if_idle()
        deadline = time.monotonic() + grace_s
        while (self.connections or self.judging) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_stopping or self.door.taken >= 1:
            CONNECTIONS.labels("refused").inc()
            writer.close()
            return
        CONNECTIONS.labels("accepted").inc()
        connection = _Connection(self, reader, writer)
        self.connections.add(connection)
        self.door.begin()
        OPEN.inc()
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            self.door.end()
            OPEN.dec()


async def serve(
    settings: Milter,
    max_message_size: int,
    hostname: str,
    service: Service,
    sockets: Sequence[socket.socket],
    budget: Budget,
    sealer: Sealer | None = None,
    tally: Tally | None = None,
) -> Server:
    """Serve on these sockets."""
    server = Server(settings, max_message_size, hostname, service, budget, sealer, tally)
    await server.start(sockets)
    return server


class _Connection:
    """One MTA's, over a stream."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder()
        self._session = Session(
            server.settings, server.max_message_size, server.hostname, server.service, server.budget
        )
        self._is_waiting = False

    async def run(self) -> None:
        """Until one of us leaves. The outermost handler: a fault of ours is a tempfail and a log line."""
        session = self._session
        try:
            while block := await self._read():
                for event in self._decoder.feed(block):
                    answer = session.take(event)
                    await session.flush()
                    if answer:
                        await self._say(answer if isinstance(answer, bytes) else await self._judge(answer))
        except (Leave, ConnectionError):
            pass
        except TimeoutError:
            log.info("MTA silent too long", state=session.state)
        except ProtocolError as error:
            log.warning("MTA that makes no sense", state=session.state, error=str(error))
        except Exception as error:
            log.error("session fault", state=session.state, exc_info=error)
            self._writer.write(TEMPFAIL)
        finally:
            session.forget()
            self.cut()

    def leave_if_idle(self) -> None:
        """Shutting down: between messages the connection ends now."""
        if self._is_waiting and self._session.is_idle:
            self.cut()

    def cut(self) -> None:
        """Close the connection; an MTA that does not read what was said loses it after a moment."""
        self._writer.close()
        asyncio.get_running_loop().call_later(_LINGER_S, self._writer.transport.abort)

    async def _read(self) -> bytes:
        """A block; b"" at the end, and when we stop between messages."""
        if self._server.is_stopping and self._session.is_idle:
            return b""
        is_flowing = self._session.state in ("header", "body") or self._decoder.is_within_packet
        settled_s = _CONTENT_S if is_flowing else self._server.settings.timeout_s
        self._is_waiting = True
        async with asyncio.timeout(_HANDSHAKE_S if self._session.state == "new" else settled_s):
            block = await self._reader.read(_BLOCK)
        self._is_waiting = False
        return block

    async def _say(self, answer: bytes) -> None:
        self._writer.write(answer)
        async with asyncio.timeout(_CONTENT_S):
            await self._writer.drain()

    async def _judge(self, message: Judge) -> bytes:
        """The answer. It is judged to the end, also when the MTA goes away meanwhile, who hears that we are at it."""
        server = self._server
        task = asyncio.ensure_future(self._judged(message))
        server.judging.add(task)
        task.add_done_callback(server.judging.discard)
        while not (await asyncio.wait({task}, timeout=_PROGRESS_S))[0]:
            await self._say(PROGRESS)
        judged = task.result()
        return self._session.defer() if judged is None else self._session.answer(*judged)

    async def _judged(self, message: Judge) -> tuple[Filtered, Sequence[bytes]] | None:
        """What became of it, and what goes on top of it; None when there is no room for it."""
        try:
            content = await message.content.whole()
            if content is None:
                return None
            filtered = await self._server.service.filter(message.envelope, content, message.mta)
            return filtered, await self._fields(message, content, filtered)
        finally:
            message.content.close()

    async def _fields(self, message: Judge, content: bytes, filtered: Filtered) -> Sequence[bytes]:
        """What goes on top of a message that goes on."""
        verdict, sealer = filtered.outcome.verdict, self._server.sealer
        if filtered.outcome.reply.code // 100 != 2 or verdict is None:
            return ()
        work = partial(fields_on_top, message.envelope, content, verdict, filtered.required_score, message.mta, sealer)
        is_long = sealer is not None and len(content) > _LONG
        return await asyncio.to_thread(work) if is_long else work()
