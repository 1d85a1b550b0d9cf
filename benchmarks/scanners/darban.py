"""Darban: the pipeline in a process of its own, and the scorer processes behind the gateway's own pool.

No DNS (OfflineResolver); each message is authenticated, checked, matched and classified as far as that goes without.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from benchmarks.processes import family, running
from benchmarks.scanners import Absent, Answer, Mail, OneAtATime, Timed, require
from gateway import __version__
from gateway.errors import ConfigError
from gateway.scan.pool import ScorerPool
from gateway.types import Client, Envelope, Recipient, Verdict

CACHE = ROOT / "var" / "cache"
SPAMASSASSIN_RULES = Path("/usr/share/spamassassin")
_SCAN_S = 60.0
_START_S = 600.0  # compiling the whole SpamAssassin set the first time
_LENGTH = struct.Struct("!I")


class Darban:
    """`rules` as [rules] paths; with `pool` through scorer processes, else in one process, which calls the pipeline."""

    def __init__(self, name: str, rules: Sequence[Path], *, pool: bool) -> None:
        self.name = name
        self.max_workers = 2 if pool else 1
        self._rules = [str(path) for path in rules]
        self._pool = pool
        self._facts: dict[str, Any] = {}

    def missing(self) -> str:
        """The rules that are not there."""
        absent = [path for path in self._rules if not Path(path).exists()]
        return f"no {', '.join(absent)} here" if absent else ""

    def facts(self) -> dict[str, Any]:
        """Version, rules loaded, lines that could not be obeyed, seconds of loading with a warm cache."""
        return {"version": __version__, **self._facts}

    def prepare(self, folder: Path, training: Sequence[Mail]) -> None:
        """Load the rules once, so that they are compiled and cached."""
        from gateway import rules

        self._folder = folder
        try:
            files = rules.load([Path(path) for path in self._rules], CACHE).files
            began = time.perf_counter()
            rules.load([Path(path) for path in self._rules], CACHE)
        except ConfigError as error:
            raise Absent(f"the rules do not load: {error}") from None
        self._facts = {
            "rules": len(files.rules),
            "lines_not_obeyed": len(files.problems),
            "load_s": round(time.perf_counter() - began, 2),
        }

    @contextlib.contextmanager
    def start(self, workers: int, cores: Sequence[int]) -> Iterator[_Pool | _InProcess]:
        """A process that has loaded everything before this returns."""
        ours, theirs = socket.socketpair()
        order = ["pool" if self._pool else "in-process", str(theirs.fileno()), str(self._folder), *self._rules]
        command = [sys.executable, "-m", "benchmarks.scanners.darban_process", *order]
        log = self._folder / "log"
        with ours, running(cores, command, log, cwd=ROOT, pass_fds=[theirs.fileno()]) as process:
            theirs.close()
            ours.settimeout(_START_S)
            require(ours.recv(1) == b"+", f"{self.name} did not start: {log.read_text('utf-8', 'replace')[-2000:]}")
            if self._pool:
                yield _Pool(process, self._folder / "scorers.sock", workers)
            else:
                yield _InProcess(process, ours)

    def check(self, answers: Sequence[Answer]) -> None:
        """Rules must have hit, and the classifier said what it thinks of nearly every message."""
        judging = sum("CLASSIFIER" in one.symbols for one in answers)
        require(judging >= 0.9 * len(answers), f"{self.name}: the classifier judged {judging} of {len(answers)}")
        require(sum(len(one.symbols) for one in answers) >= 2 * len(answers), f"{self.name}: hardly a rule hits")


class _Pool(OneAtATime):
    """The listener's side, in this process; the scorers are the children of another one."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path, count: int) -> None:
        self.roots = [process.pid]
        self.count = count
        self._path = path
        self._pool: ScorerPool | None = None

    def workers(self) -> list[int]:
        """The parent's children."""
        return family(self.roots[0])[1:]

    async def scan(self, mail: Mail) -> Answer:
        """Through a scorer."""
        if self._pool is None:
            self._pool = ScorerPool(self._path, self.count, _SCAN_S)
            await self._pool.start()
            while len(self.workers()) < self.count:
                await asyncio.sleep(0.01)
        return judged(await self._pool.score(envelope(mail), mail.content))


class _InProcess:
    """Blocks go to the process, and answers come back when all are judged: between, it waits for nobody."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self.roots = [process.pid]
        self._channel = channel

    def workers(self) -> list[int]:
        """The one."""
        return self.roots

    async def scan_block(self, block: Sequence[Mail]) -> list[Timed]:
        """As Running."""
        return await asyncio.to_thread(self._scan_block, block)

    def _scan_block(self, block: Sequence[Mail]) -> list[Timed]:
        for mail in block:
            fields = [mail.number, mail.client_ip, mail.helo, mail.mail_from]
            send(self._channel, json.dumps(fields).encode() + b"\0" + mail.content)
        send(self._channel, b"")
        answers = json.loads(receive(self._channel))
        return [Timed(Answer(score, tuple(symbols)), seconds) for score, symbols, seconds in answers]


def envelope(mail: Mail) -> Envelope:
    """As a listener would have written it down."""
    client = Client(mail.client_ip, helo=mail.helo)
    to = (Recipient("you@darban.test", "darban.test"),)
    return Envelope(f"BENCH{mail.number:07d}", client, mail.mail_from, to, 0.0, "mx.darban.test")


def judged(verdict: Verdict) -> Answer:
    """Raises Misconfigured when anything but the DNS was left out."""
    left_out = [one for one in verdict.incomplete if not one.startswith("dns")]
    require(not left_out, f"Darban left out: {left_out}")
    require(verdict.prediction is not None, "Darban runs without its classifier")
    return Answer(verdict.score, tuple(hit.name for hit in verdict.hits))


def send(channel: socket.socket, payload: bytes) -> None:
    """With its length before it."""
    channel.sendall(_LENGTH.pack(len(payload)) + payload)


def receive(channel: socket.socket) -> bytes:
    """One payload; raises EOFError when the other side is gone."""
    return _exactly(channel, _LENGTH.unpack(_exactly(channel, _LENGTH.size))[0])


def _exactly(channel: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        part = channel.recv(size - len(found))
        if not part:
            raise EOFError
        found += part
    return bytes(found)
