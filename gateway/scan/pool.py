"""A listener's side of the scorers: connections to the scorer parent, one child behind each.

A message goes to the child with the fewest in flight, and waits where all are full: first come, first served. When a
child dies, the message whose stage it was in is judged again without that stage; the others in flight are judged again
whole. No message takes the door down: what cannot be judged raises ScorerError, and the client hears 451.

A scorer may ask which domains are new; it is answered from the listener's memory, on the same connection.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import structlog
from prometheus_client import Counter, Gauge

from gateway.begun import Begun
from gateway.errors import ScorerError
from gateway.ports import DomainMemory
from gateway.scan.frames import (
    ASK,
    FAULT,
    HELLO,
    MAX_ANSWER,
    NEW,
    REQUEST,
    VERDICT,
    Frame,
    FrameReader,
    pack,
    pack_domains,
    pack_request,
    unpack_domains,
    unpack_verdict,
)
from gateway.scan.watch import read_state, state_file
from gateway.types import Envelope, Verdict

DEATHS = Counter("darban_scorer_deaths_total", "Scorers that ended while they held messages, by stage.", ["stage"])
IN_FLIGHT = Gauge("darban_scorer_messages", "Messages in the scorers now.", multiprocess_mode="livesum")

_MAX_DEATHS = 20  # that other messages caused
# Those that wait for a DNS of their senders must leave room for the others: 32 were used up by 32 silent domains
_IN_FLIGHT_PER_SCORER = 512
_BYTES_PER_SCORER = 64 << 20  # in flight, but for a single message that is longer
_RECONNECT_S = (0.05, 0.1, 0.2, 0.5, 1.0)

log = structlog.get_logger("darban.pool")


class _NotJudged(Exception):
    """No verdict of this child; `stage` is where it was with our message, "" when it was busy with another."""

    def __init__(self, stage: str, why: str) -> None:
        super().__init__(stage, why)
        self.stage = stage
        self.why = why


class ScorerPool:
    """`count` connections, kept up. Implements ports.Scorer."""

    def __init__(self, socket_path: Path, count: int, scan_s: float, memory: DomainMemory | None = None) -> None:
        self._path = socket_path
        self._memory = memory
        self._count = count
        self._scan_s = scan_s
        self._up: list[_Connection] = []
        self._turn = asyncio.Lock()  # first come, first served
        self._changed = asyncio.Event()  # a scorer came up, or has room again
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect; returns when one scorer is up. Raises ScorerError when none comes within scan_s."""
        DEATHS.labels("other")
        self._keepers = [asyncio.create_task(self._keep()) for _ in range(self._count)]
        try:
            await asyncio.wait_for(self._pick(0), self._scan_s)
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
        return await self._score(envelope, content)

    async def explain(self, envelope: Envelope, content: bytes) -> Verdict:
        """The same, with the words of the prediction whatever the score."""
        return await self._score(envelope, content, explained=True)

    async def _score(self, envelope: Envelope, content: bytes, *, explained: bool = False) -> Verdict:
        IN_FLIGHT.inc()
        try:
            async with asyncio.timeout(self._scan_s):
                return await self._judge(envelope, content, explained=explained)
        except TimeoutError:
            raise ScorerError(f"no verdict within {self._scan_s:g} s") from None
        finally:
            IN_FLIGHT.dec()
            self._changed.set()

    async def _judge(self, envelope: Envelope, content: bytes, *, explained: bool) -> Verdict:
        skip: tuple[str, ...] = ()
        deaths = 0
        while deaths < _MAX_DEATHS:
            connection = await self._pick(len(content))
            try:
                return await connection.ask(pack_request(envelope, skip, explained), content)
            except _NotJudged as cause:
                say = log.error if cause.stage else log.warning
                say("not judged", queue_id=envelope.queue_id, why=cause.why, stage=cause.stage or "another's")
                if cause.stage in skip:
                    raise ScorerError(f"no scorer survives this message: {cause.stage} again") from None
                skip = (*skip, cause.stage) if cause.stage else skip
                deaths += not cause.stage
        raise ScorerError("scorers died again and again")

    async def _pick(self, size_bytes: int) -> _Connection:
        """The scorer with the fewest messages that has room for one more."""
        async with self._turn:
            while True:
                having_room = [connection for connection in self._up if connection.has_room(size_bytes)]
                if having_room:
                    return min(having_room, key=lambda connection: len(connection.waiting))
                self._changed.clear()
                await self._changed.wait()

    async def _keep(self) -> None:
        """Hold one connection up, for ever. What does not come up, or not for long, is tried less and less often."""
        pauses = itertools.chain(_RECONNECT_S, itertools.repeat(_RECONNECT_S[-1]))
        while True:
            try:
                _, connection = await asyncio.get_running_loop().create_unix_connection(
                    lambda: _Connection(self._path.parent, self._memory), str(self._path)
                )
                came_up = await self._hold(connection)
            except OSError:
                came_up = False
            if came_up:
                pauses = itertools.chain(_RECONNECT_S, itertools.repeat(_RECONNECT_S[-1]))
            else:
                await asyncio.sleep(next(pauses))

    async def _hold(self, connection: _Connection) -> bool:
        """Until it ends; False when it never came up."""
        await connection.ready
        if connection.gone.done():
            return False
        self._up.append(connection)
        self._changed.set()
        try:
            await connection.gone
        finally:
            self._up.remove(connection)
            connection.close()
        return True


class _Connection(asyncio.Protocol):
    """One child."""

    def __init__(self, folder: Path, memory: DomainMemory | None) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.waiting: dict[int, asyncio.Future[Verdict]] = {}
        self._size_bytes = 0  # of what is in flight
        self._folder = folder
        self._memory = memory
        self._answers: set[asyncio.Task[None]] = set()
        self._reader = FrameReader(MAX_ANSWER)
        self._sequence = 0
        self._pid = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def has_room(self, size_bytes: int) -> bool:
        """For one more message. A lost connection stays in the pool until its keeper has run: it has none."""
        if self.gone.done() or len(self.waiting) >= _IN_FLIGHT_PER_SCORER:
            return False
        return not self.waiting or self._size_bytes + size_bytes <= _BYTES_PER_SCORER

    async def ask(self, head: bytes, content: bytes) -> Verdict:
        """Raises _NotJudged, ScorerError."""
        assert self._transport is not None
        self._sequence += 1
        sequence = self._sequence
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.waiting[sequence] = answer
        self._size_bytes += len(content)
        self._transport.writelines(pack(REQUEST, sequence, head, content))
        try:
            return await answer
        finally:
            self._size_bytes -= len(content)
            self.waiting.pop(sequence, None)

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except (ValueError, TypeError, LookupError) as error:
            log.error("a scorer that makes no sense", pid=self._pid, error=str(error)[:200])
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        sequence, stage = read_state(state_file(self._folder, self._pid)) if self._pid else (0, "")
        if self.waiting:
            DEATHS.labels(stage or "other").inc()
        for number, answer in self.waiting.items():
            if not answer.done():
                answer.set_exception(_NotJudged(stage if number == sequence else "", "the scorer died"))
        for future in (self.ready, self.gone):
            if not future.done():
                future.set_result(None)

    def _take(self, frame: Frame) -> None:
        if frame.kind == HELLO:
            self._pid = int(json.loads(frame.head)["pid"])
            self.ready.set_result(None)
            return
        if frame.kind == ASK:
            answering = Begun(self._answer(frame.sequence, unpack_domains(frame.head) or ()))
            if answering.task is not None:
                self._answers.add(answering.task)
                answering.task.add_done_callback(self._answers.discard)
            return
        answer = self.waiting.get(frame.sequence)
        if answer is None or answer.done():
            return
        if frame.kind == FAULT:
            answer.set_exception(_NotJudged(frame.head[:24].decode("ascii", "replace"), "a fault in the scorer"))
        elif frame.kind == VERDICT:
            try:
                answer.set_result(unpack_verdict(frame.head))
            except (ValueError, TypeError):
                answer.set_exception(_NotJudged("conclude", "an unreadable verdict"))

    async def _answer(self, number: int, domains: Sequence[str]) -> None:
        new = None if self._memory is None else await self._memory.lookup_new(domains)
        if self._transport is not None and not self.gone.done():
            self._transport.write(pack(NEW, number, pack_domains(new))[0])
