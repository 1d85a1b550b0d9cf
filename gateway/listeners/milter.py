"""The milter door: an MTA asks about each message it takes, keeps it, and does what it is told (docs/milter.md).

Custody stays with the MTA: it says 250 after our answer, or its client hears that we refused, or that we are away
(milter_default_action = tempfail). What is held is in the quarantine, fsync'd, before its recipients are taken from
the MTA's copy. Everything is bounded: connections, the time for a packet, a message, all messages together.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog
from prometheus_client import Counter, Gauge

from gateway.actions.annotate import fields_on_top
from gateway.config.settings import Milter
from gateway.listeners.milter_codec import PROGRESS, TEMPFAIL, Decoder, ProtocolError
from gateway.listeners.milter_session import Desk, Judge, Leave, Room, Session
from gateway.ports import Sealer
from gateway.types import Envelope, Filtered, Mta

CONNECTIONS = Counter("darban_milter_connections_total", "Connections of MTAs by how they began.", ["result"])
OPEN = Gauge("darban_milter_open_connections", "Connections of MTAs open now.", multiprocess_mode="livesum")

_BLOCK = 1 << 16
_HANDSHAKE_S = 30.0
_CONTENT_S = 60.0  # the MTA has all of it, so it comes at once
_PROGRESS_S = 3.0
_LINGER_S = 5.0
_MIN_ROOM = 256 << 20  # bytes of content in one listener; or four of the largest messages
_LONG = 1 << 18  # bytes whose body takes longer to sign (1 ms) than a thread takes to be asked

log = structlog.get_logger("darban.milter")


class Service(Desk, Protocol):
    """What the door needs (service.Gateway)."""

    async def filter(self, envelope: Envelope, content: bytes, mta: Mta) -> Filtered:
        """Judge, hold what is to be held."""


class Server:
    """The listening sockets and the connections."""

    def __init__(
        self, settings: Milter, max_message_size: int, hostname: str, service: Service, sealer: Sealer | None = None
    ) -> None:
        self.settings = settings
        self.max_message_size = max_message_size
        self.hostname = hostname
        self.service = service
        self.sealer = sealer
        self.room = Room(max(_MIN_ROOM, 4 * max_message_size))
        self.connections: set[_Connection] = set()
        self.judging: set[asyncio.Future[Filtered]] = set()
        self.is_stopping = False
        self._servers: list[asyncio.Server] = []

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Listen."""
        for one in sockets:
            kind = asyncio.start_unix_server if one.family == socket.AF_UNIX else asyncio.start_server
            self._servers.append(await kind(self._serve, sock=one, backlog=1024, limit=_BLOCK))

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
        if self.is_stopping or len(self.connections) >= self.settings.max_connections:
            CONNECTIONS.labels("refused").inc()
            writer.close()
            return
        CONNECTIONS.labels("accepted").inc()
        connection = _Connection(self, reader, writer)
        self.connections.add(connection)
        OPEN.inc()
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            OPEN.dec()


async def serve(
    settings: Milter,
    max_message_size: int,
    hostname: str,
    service: Service,
    sockets: Sequence[socket.socket],
    sealer: Sealer | None = None,
) -> Server:
    """Serve on these sockets."""
    server = Server(settings, max_message_size, hostname, service, sealer)
    await server.start(sockets)
    return server


class _Connection:
    """One MTA's, over a stream."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder()
        self._session = Session(server.settings, server.max_message_size, server.hostname, server.service, server.room)
        self._is_waiting = False

    async def run(self) -> None:
        """Until one of us leaves. The outermost handler: a fault of ours is a tempfail and a log line."""
        session = self._session
        try:
            while block := await self._read():
                for event in self._decoder.feed(block):
                    answer = session.take(event)
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
        task = asyncio.ensure_future(server.service.filter(*message))
        server.judging.add(task)
        task.add_done_callback(server.judging.discard)
        while not (await asyncio.wait({task}, timeout=_PROGRESS_S))[0]:
            await self._say(PROGRESS)
        filtered = task.result()
        return self._session.answer(filtered, await self._fields(message, filtered))

    async def _fields(self, message: Judge, filtered: Filtered) -> Sequence[bytes]:
        """What goes on top of a message that goes on."""
        verdict, sealer = filtered.outcome.verdict, self._server.sealer
        if filtered.outcome.reply.code // 100 != 2 or verdict is None:
            return ()
        work = partial(fields_on_top, *message[:2], verdict, filtered.required_score, message.mta, sealer)
        is_long = sealer is not None and len(message.content) > _LONG
        return await asyncio.to_thread(work) if is_long else work()


# --- sockets ----------------------------------------------------------------------------------------------------------


def bind_unix(path: Path, generation: int) -> socket.socket:
    """A listening socket that all listener processes of a generation share; open_unix() puts it at its place."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    waiting = _waiting(path, generation)
    waiting.unlink(missing_ok=True)
    door.bind(str(waiting))
    waiting.chmod(0o666)  # who may enter the folder may ask
    return door


def open_unix(path: Path, generation: int) -> None:
    """From now on who connects to this path reaches this generation."""
    with contextlib.suppress(FileNotFoundError):  # another listener of it was first
        _waiting(path, generation).rename(path)


def _waiting(path: Path, generation: int) -> Path:
    return path.with_name(f"{path.name}.{generation}")
