"""The scanners that are measured side by side, one file each: Darban, Rspamd, SpamAssassin's spamd, bogofilter.

A scanner is prepared once (trained, compiled), then started with one or two workers; what runs is given blocks of
messages and gives back an answer and the seconds it took for each. An answer that is no verdict raises Misconfigured,
and so does a run whose answers show that not everything was looked at: the benchmark ends rather than lie.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Misconfigured(Exception):
    """The scanner runs, but not as it is meant to: what it says would be no figure of it."""


class Absent(Exception):
    """The scanner cannot be had here, and why: the others are measured without it."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One message as the border server got it, the same for every scanner."""

    number: int
    content: bytes  # CRLF line ends
    client_ip: str
    helo: str
    mail_from: str  # "" is the null reverse-path
    is_spam: bool
    file: Path  # where bogofilter finds the content


@dataclass(frozen=True, slots=True)
class Answer:
    """What a scanner thinks of one message."""

    score: float
    symbols: tuple[str, ...]  # names of the rules that hit
    learned: float | None = None  # what its trained classifier alone makes of it, more is spammier; None: nothing


@dataclass(frozen=True, slots=True)
class Timed:
    """An answer, and the seconds from handing the message over to having it."""

    answer: Answer
    seconds: float


class Running(Protocol):
    """A started scanner."""

    roots: Sequence[int]  # the processes that are, with all below them, the scanner's

    def workers(self) -> list[int]:
        """The processes that scan."""

    async def scan_block(self, block: Sequence[Mail]) -> list[Timed]:
        """Every message of the block, as many at a time as there are workers. Raises Misconfigured."""


class Scanner(Protocol):
    """One that can be measured."""

    name: str
    max_workers: int

    def missing(self) -> str:
        """Why it cannot be measured here, "" when it can."""

    def facts(self) -> dict[str, Any]:
        """Version, number of rules and the like."""

    def prepare(self, folder: Path, training: Sequence[Mail]) -> None:
        """Once, before it is started: its files go into `folder`. Raises Absent, Misconfigured."""

    def start(self, workers: int, cores: Sequence[int]) -> AbstractContextManager[Running]:
        """Until the block ends."""

    def check(self, answers: Sequence[Answer]) -> None:
        """Of all messages of a run. Raises Misconfigured when they cannot be those of a scanner that looked at them."""


class OneAtATime(ABC):
    """scan_block for scanners that are asked message by message: each worker has one message in hand."""

    count: int

    @abstractmethod
    async def scan(self, mail: Mail) -> Answer:
        """One message. Raises Misconfigured."""

    async def scan_block(self, block: Sequence[Mail]) -> list[Timed]:
        """As Running."""
        done: dict[int, Timed] = {}
        waiting = iter(block)

        async def client() -> None:
            for mail in waiting:
                began = time.perf_counter()
                answer = await self.scan(mail)
                done[mail.number] = Timed(answer, time.perf_counter() - began)

        async with asyncio.TaskGroup() as clients:
            for _ in range(self.count):
                clients.create_task(client())
        return [done[mail.number] for mail in block]


def require(holds: bool, what: str) -> None:
    """Raises Misconfigured."""
    if not holds:
        raise Misconfigured(what)
