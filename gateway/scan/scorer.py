"""The scorers: one parent that has loaded rules and model, and forks a child for every connection it accepts.

A child serves one connection, a listener's or the admin's, until it closes: requests in, verdicts out (frames.py),
several messages in flight, overlapping only where they wait for the DNS. The kernel ends a child whose loop is stuck
with its CPU limit spent (ITIMER_PROF, re-armed at each stage and by the loop's heartbeat; C code cannot be interrupted
any other way), and refuses it memory beyond its limit; the listener then asks another one (pool.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import resource
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import structlog
import uvloop

from gateway.begun import Begun
from gateway.errors import ScorerError
from gateway.scan.asking import ListenersMemory
from gateway.scan.counterfactual import find_flip, flip_object
from gateway.scan.explain import verdict_from_json
from gateway.scan.frames import (
    ASK,
    FAULT,
    FLIP,
    HELLO,
    NEW,
    VERDICT,
    WHY,
    FrameReader,
    pack,
    pack_domains,
    pack_verdict,
    unpack_request,
    unpack_why,
)
from gateway.scan.pipeline import MakePipeline, Pipeline
from gateway.scan.watch import StageMarker, state_file
from gateway.types import Client, Envelope

_HEARTBEATS_PER_LIMIT = 4
_PR_SET_PDEATHSIG = 1
_NICE = 10

# Judged before the first fork. No domain stands in it but a link's, so that the DNS is not asked.
_FIRST_ENVELOPE = Envelope("", Client(""), "", (), 0.0, "")
_FIRST_MESSAGE = b"""\
From: =?utf-8?Q?=D8=AF=D8=B1?= =?windows-1256?B?yMfk?=\r
Date: Mon, 21 Sep 2026 13:33:20 +0000\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
Content-Type: text/html; charset=utf-8\r
Content-Transfer-Encoding: base64\r
\r
PGEgaHJlZj0iaHR0cDovL3d3dy5leGFtcGxlLm9yZy8iIHN0eWxlPSJjb2xvcjpyZWQiPnd3dy5leGFtcGxlLmNvbTwvYT4=\r
--b\r
Content-Type: text/plain; name="a.txt"\r
Content-Disposition: attachment\r
\r
--b--\r
"""

log = structlog.get_logger("darban.scorer")


def bind(path: Path) -> socket.socket:
    """A listening stream socket at `path`, replacing an older one without a gap."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.bind(str(fresh))
    fresh.chmod(0o600)
    door.listen(128)
    fresh.rename(path)
    return door


class ScorerParent:
    """Accepts and forks, nothing else: no loop and no thread is left when it forks, so its children start clean."""

    def __init__(
        self,
        door: socket.socket,
        make_pipeline: MakePipeline,
        *,
        folder: Path,
        stage_cpu_s: float,
        memory: int,
    ) -> None:
        self._door = door
        self._make_pipeline = make_pipeline
        self._folder = folder
        self._stage_cpu_s = stage_cpu_s
        self._memory = memory
        self._stopping = False

    def serve(self) -> None:
        """Until SIGTERM. Children live on until their listener closes the connection."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._door.settimeout(1.0)
        _warm_up(self._make_pipeline(None))
        gc.collect()
        gc.freeze()  # the shared pages stay shared
        while not self._stopping:
            with contextlib.suppress(TimeoutError, InterruptedError):
                connection, _ = self._door.accept()
                self._fork(connection)
            _reap()

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _fork(self, connection: socket.socket) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            connection.close()
            return
        status = 1
        try:
            self._door.close()
            _die_with(parent)
            self._serve_child(connection)
            status = 0
        finally:
            os._exit(status)

    def _serve_child(self, connection: socket.socket) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        _limit_memory(self._memory)
        marker = StageMarker(state_file(self._folder, os.getpid()), self._stage_cpu_s)
        connection.setblocking(False)
        memory = ListenersMemory()
        uvloop.run(_serve(connection, self._make_pipeline(memory), memory, marker, self._stage_cpu_s))
        state_file(self._folder, os.getpid()).unlink(missing_ok=True)


async def _serve(
    connection: socket.socket, pipeline: Pipeline, memory: ListenersMemory, marker: StageMarker, stage_cpu_s: float
) -> None:
    loop = asyncio.get_running_loop()
    _beat(loop, pipeline, marker, stage_cpu_s / _HEARTBEATS_PER_LIMIT)
    transport, protocol = await loop.create_unix_connection(lambda: _Child(pipeline, memory, marker), sock=connection)
    await protocol.closed
    transport.close()


def _beat(loop: asyncio.AbstractEventLoop, pipeline: Pipeline, marker: StageMarker, pause_s: float) -> None:
    """The loop turns: what it does between the messages' stages counts against none of them."""
    marker.rearm()
    loop.call_later(pause_s, _beat, loop, pipeline, marker, pause_s)
    if pipeline.classifier is not None:
        pipeline.classifier.refresh()


class _Child(asyncio.Protocol):
    """One connection's requests."""

    def __init__(self, pipeline: Pipeline, memory: ListenersMemory, marker: StageMarker) -> None:
        self._pipeline = pipeline
        self._memory = memory
        self._marker = marker
        self._reader = FrameReader()
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.Transport
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        classifier = self._pipeline.classifier
        hello = {
            "pid": os.getpid(),
            "rules_id": self._pipeline.rules.id,
            "model_id": classifier.model_id if classifier else "",
        }
        self._write(HELLO, 0, json.dumps(hello).encode("ascii"))
        self._memory.connect(self._ask)

    def data_received(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            if frame.kind == NEW:
                self._memory.take(frame.sequence, frame.head)
                continue
            answer = self._answer_why if frame.kind == WHY else self._answer
            begun = Begun(answer(frame.sequence, frame.head, frame.content))
            if begun.task is None:
                begun.result()  # raises what nobody foresaw: this child ends, and the pool hears of it
            else:
                self._tasks.add(begun.task)
                begun.task.add_done_callback(self._tasks.discard)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    async def _answer(self, sequence: int, head: bytes, content: bytes) -> None:
        mark = self._marker.for_message(sequence)
        mark("receive")
        try:
            envelope, skip, explained = unpack_request(head)
            verdict = await self._pipeline.score(envelope, content, skip, mark, explained=explained)
            self._write(VERDICT, sequence, pack_verdict(verdict))
        except (
            MemoryError,
            RecursionError,
            ValueError,
            TypeError,
            LookupError,
            ArithmeticError,
            AttributeError,
            OSError,
        ) as error:
            # the other stages' faults are named in the verdict; this one's, told to the pool, has it judged without
            log.error("stage failed", error=type(error).__name__, text=str(error)[:200], exc_info=error)
            self._write(FAULT, sequence, b"conclude")
        mark("")

    async def _answer_why(self, sequence: int, head: bytes, content: bytes) -> None:
        """On a connection of its own, behind everybody's mail. One stage: its CPU limit is for all judgements."""
        os.nice(_NICE)
        self._marker.for_message(sequence)("why")
        try:
            envelope, kept, policy, said = unpack_why(head)
            before = verdict_from_json(kept)
            if before is None:
                raise ValueError("no verdict is kept")
            case = self._pipeline.case(envelope, content, before)
            flip = flip_object(find_flip(case, before, self._pipeline.judge_again, policy, said))
            self._write(FLIP, sequence, json.dumps(flip).encode("ascii"))
        except (
            ScorerError,
            MemoryError,
            RecursionError,
            ValueError,
            TypeError,
            LookupError,
            ArithmeticError,
        ) as error:
            log.error("not judged again", error=type(error).__name__, text=str(error)[:200], exc_info=error)
            self._write(FAULT, sequence, b"why")

    def _ask(self, number: int, domains: Sequence[str]) -> None:
        self._write(ASK, number, pack_domains(domains))

    def _write(self, kind: int, sequence: int, head: bytes) -> None:
        if self._transport.is_closing():  # whoever asked has gone
            return
        self._transport.write(pack(kind, sequence, head)[0])


def _warm_up(pipeline: Pipeline) -> None:
    """What is loaded at first use is loaded now, and shared by the children: parts of the parser, public suffixes."""
    asyncio.run(pipeline.score(_FIRST_ENVELOPE, _FIRST_MESSAGE))


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _limit_memory(extra: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + extra
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _die_with(parent: int) -> None:
    """A child must not outlive the gateway (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
