"""bogofilter as a stream: each worker is one process that reads file names and prints what it thinks of each.

It is a classifier only, so no peer of the rules; it tells what a word model alone costs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import on_cores
from benchmarks.scanners import Answer, Mail, OneAtATime, require

SPAM_CUTOFF, HAM_CUTOFF = 0.99, 0.45  # its defaults


class Bogofilter:
    """Trained on the same messages as the others' classifiers."""

    name = "bogofilter"
    max_workers = 2

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {}

    def missing(self) -> str:
        """The program, when it is not installed."""
        return "" if shutil.which("bogofilter") else "bogofilter not installed"

    def facts(self) -> dict[str, Any]:
        """Version, messages trained on."""
        return self._facts

    def prepare(self, folder: Path, training: Sequence[Mail]) -> None:
        """Register the training messages."""
        self._folder = folder
        shown = subprocess.run(["bogofilter", "--version"], capture_output=True, text=True, check=False).stdout
        self._facts = {"version": shown.split()[2], "trained_on": len(training)}
        for is_spam in (False, True):
            names = "\n".join(str(mail.file) for mail in training if mail.is_spam is is_spam)
            command = [*self._command(), "-s" if is_spam else "-n", "-b"]
            done = subprocess.run(command, input=names + "\n", capture_output=True, text=True, check=False)
            require(done.returncode == 0, f"bogofilter: {done.stderr[-300:]}")

    @contextlib.contextmanager
    def start(self, workers: int, cores: Sequence[int]) -> Iterator[_Instance]:
        """The processes start with the first block: their pipes belong to its event loop."""
        instance = _Instance(on_cores(cores, [*self._command(), "-b", "-TT", "-v"]), workers)
        try:
            yield instance
        finally:
            for process in instance.processes:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    def check(self, answers: Sequence[Answer]) -> None:
        """Not the same opinion of all."""
        require(len({round(one.score, 3) for one in answers}) > 1, "bogofilter says the same of every message")

    def _command(self) -> list[str]:
        return ["bogofilter", "-C", "-d", str(self._folder)]


class _Instance(OneAtATime):
    """Its processes, each with one message in hand."""

    def __init__(self, command: list[str], count: int) -> None:
        self.count = count
        self.processes: list[asyncio.subprocess.Process] = []
        self._command = command
        self._free: asyncio.Queue[asyncio.subprocess.Process] = asyncio.Queue()

    @property
    def roots(self) -> Sequence[int]:
        """Every process."""
        return [process.pid for process in self.processes]

    def workers(self) -> list[int]:
        """Every process."""
        return list(self.roots)

    async def scan(self, mail: Mail) -> Answer:
        """A name in, a line out: file, spamicity (-T would round it to six digits)."""
        if len(self.processes) < self.count:
            await self._add()
        process = await self._free.get()
        assert process.stdin and process.stdout
        process.stdin.write(os.fsencode(mail.file) + b"\n")
        words = (await process.stdout.readline()).split()
        require(len(words) == 2, f"bogofilter answered {words!r}")
        self._free.put_nowait(process)
        spamicity = float(words[1])
        name = "S" if spamicity >= SPAM_CUTOFF else "H" if spamicity <= HAM_CUTOFF else "U"
        return Answer(spamicity, (name,), spamicity)

    async def _add(self) -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
        self.processes.append(process)
        self._free.put_nowait(process)
