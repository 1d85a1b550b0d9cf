"""A listener's side of the scorers: connections to the scorer parent, one child behind each.

A message goes to the child with the fewest in flight. When a child dies, the message whose stage it was in is judged
again without that stage; the others in flight are judged again whole. No message takes the door down: what cannot be
judged raises ScorerError, and the client hears 451.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import cast

import structlog
from prometheus_client import Counter, Gauge

from gateway.errors import ScorerError
from gateway.scan.frames import FAULT, HELLO, REQUEST, VERDICT, Frame, FrameReader, pack, pack_request, unpack_verdict
from gateway.scan.watch import read_state, state_file
from gateway.types import Envelope, Verdict

DEATHS = Counter("darban_scorer_deaths_total", "Scorers that ended while they held messages, by stage.", ["stage"])
IN_FLIGHT = Gauge("darban_scorer_messages", "Messages in the scorers now.", multiprocess_mode="livesum")

_MAX_TRIES = 5  # deaths that other messages caused
_IN_FLIGHT_PER_SCORER = 32
_RECONNECT_S = (0.05, 0.1, 0.2, 0.5, 1.0)

log = structlog.get_logger("darban.pool")


class _ScorerDied(Exception):
    """The child is gone; `stage` is where it was with our message, "" when it was busy with another."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage


class ScorerPool:
    """`count` connections, kept up. Implements ports.Scorer."""

    def __init__(self, socket_path: Path, count: int, scan_s: float) -> None:
        self._path = socket_path
        self._count = count
        self._scan_s = scan_s
        self._up: list[_Connection] = []
        self._changed = asyncio.Condition()
        self._room = asyncio.Semaphore(count * _IN_FLIGHT_PER_SCORER)
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect; returns when one scorer is up. Raises ScorerError when none comes within scan_s."""
        DEATHS.labels("other")
        self._keepers = [asyncio.create_task(self._keep()) for _ in range(self._count)]
        try:
            await asyncio.wait_for(self._pick(), self._scan_s)
        except TimeoutError:
            raise ScorerError(f"no scorer answers at {self._path}") from None

    async def close(self) -> None:
        """Give up the connections; the children end by themselves."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for connection in self._up:
            connection.close()

    async def score(self, envelope: Envelope, content: bytes) -> Verdict:
        """Raises ScorerError when no verdict can be had within scan_s, or no scorer survives the message."""
        async with self._room:
            IN_FLIGHT.inc()
            try:
                return await asyncio.wait_for(self._judge(envelope, content), self._scan_s)
            except TimeoutError:
                raise ScorerError(f"no verdict within {self._scan_s:g} s") from None
            finally:
                IN_FLIGHT.dec()

    async def _judge(self, envelope: Envelope, content: bytes) -> Verdict:
        skip: tuple[str, ...] = ()
        for _ in range(_MAX_TRIES):
            connection = await self._pick()
            try:
                return await connection.ask(pack_request(envelope, content, skip))
            except _ScorerDied as death:
                DEATHS.labels(death.stage or "other").inc()
                log.error("scorer died", queue_id=envelope.queue_id, stage=death.stage or "busy with another message")
                if death.stage:
                    skip = (*skip, death.stage)
        raise ScorerError("scorers died again and again")

    async def _pick(self) -> _Connection:
        async with self._changed:
            await self._changed.wait_for(self._alive)
            return min(self._alive(), key=lambda connection: len(connection.waiting))

    def _alive(self) -> list[_Connection]:
        """A lost connection stays in `_up` until its keeper has run."""
        return [connection for connection in self._up if not connection.gone.done()]

    async def _keep(self) -> None:
        """Hold one connection up, for ever."""
        for pause in itertools.chain(_RECONNECT_S, itertools.repeat(_RECONNECT_S[-1])):
            try:
                _, connection = await asyncio.get_running_loop().create_unix_connection(
                    lambda: _Connection(self._path.parent), str(self._path)
                )
            except OSError:
                await asyncio.sleep(pause)
                continue
            await self._hold(connection)

    async def _hold(self, connection: _Connection) -> None:
        await connection.ready
        if connection.gone.done():
            return
        async with self._changed:
            self._up.append(connection)
            self._changed.notify_all()
        try:
            await connection.gone
        finally:
            self._up.remove(connection)
            connection.close()


class _Connection(asyncio.Protocol):
    """One child."""

    def __init__(self, folder: Path) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.waiting: dict[int, asyncio.Future[Verdict]] = {}
        self._folder = folder
        self._reader = FrameReader()
        self._sequence = 0
        self._pid = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    async def ask(self, request: bytes) -> Verdict:
        """Raises _ScorerDied, ScorerError."""
        if self._transport is None or self.gone.done():
            raise _ScorerDied("")
        self._sequence += 1
        sequence = self._sequence
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.waiting[sequence] = answer
        self._transport.write(pack(REQUEST, sequence, request))
        try:
            return await answer
        finally:
            self.waiting.pop(sequence, None)

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            if frame.kind == HELLO:
                self._pid = int(json.loads(frame.payload)["pid"])
                self.ready.set_result(None)
            else:
                self._settle(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        sequence, stage = read_state(state_file(self._folder, self._pid)) if self._pid else (0, "")
        for number, answer in list(self.waiting.items()):
            if not answer.done():
                answer.set_exception(_ScorerDied(stage if number == sequence else ""))
        for future in (self.ready, self.gone):
            if not future.done():
                future.set_result(None)

    def _settle(self, frame: Frame) -> None:
        answer = self.waiting.get(frame.sequence)
        if answer is None or answer.done():
            return
        if frame.kind == FAULT:
            answer.set_exception(ScorerError(f"scorer: {frame.payload.decode('ascii', 'replace')}"))
        elif frame.kind == VERDICT:
            try:
                answer.set_result(unpack_verdict(frame.payload))
            except (ValueError, TypeError):
                answer.set_exception(ScorerError("scorer: unreadable verdict"))
