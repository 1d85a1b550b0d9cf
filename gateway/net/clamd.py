"""ClamAV's daemon, asked whether it knows something in a message (clamd(8), INSTREAM).

The message goes over as it is: clamd takes MIME, archives and documents apart, in its own process and under its own
limits. A connection for each message: 0.4 ms of our CPU on one machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram

from gateway.types import ScannerAnswer

SCANS = Counter("darban_clamav_scans_total", "Messages shown to ClamAV, by its answer.", ["answer"])
SECONDS = Histogram(
    "darban_clamav_seconds", "Time for its answer.", buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
)
UP = Gauge("darban_clamav_up", "0 while it does not answer.", multiprocess_mode="mostrecent")
SIGNATURES = Gauge(
    "darban_clamav_signatures_timestamp_seconds", "When its signatures were made.", multiprocess_mode="mostrecent"
)
for _answer in ("clean", "found", "failed"):
    SCANS.labels(_answer)  # a series that is there from the start can be drawn

_PIECE = 1 << 18
_REPLY_MAX = 4096
_UNCLEAR = "it did not say what it found"
_REST_S = 5.0  # so long it is not asked after it let a message wait in vain
_FOUND = re.compile(r"stream: (?P<signature>.+) FOUND")
_TOO_LARGE = re.compile(r"INSTREAM[: ]+size limit exceeded", re.IGNORECASE)


class Version(NamedTuple):
    """Of the program, and of its signatures."""

    said: str
    made_at: float | None  # epoch seconds; None when it did not say


class Clamd:
    """One for a process."""

    def __init__(self, address: str, timeout_s: float) -> None:
        """`address` is host:port or unix:/path."""
        self._address = address
        self._timeout_s = timeout_s
        self._rest_until = 0.0

    async def scan(self, content: bytes) -> ScannerAnswer:
        """Implements ports.ContentScanner."""
        if time.monotonic() < self._rest_until:
            SCANS.labels("failed").inc()
            return ScannerAnswer(fault="it did not answer a moment ago")
        began = time.perf_counter()
        size = len(content).to_bytes(4, "big")
        pieces: list[bytes] = [content[at : at + _PIECE] for at in range(0, len(content), _PIECE)]
        # an empty chunk is the end: of an empty message there is nothing else
        answer = _read(await self._ask([b"zINSTREAM\0", *([size, *pieces] if content else []), bytes(4)]))
        SECONDS.observe(time.perf_counter() - began)
        SCANS.labels("failed" if answer.fault else "found" if answer.signature else "clean").inc()
        return answer

    async def version(self) -> Version | None:
        """None when it does not answer."""
        said = await self._ask([b"zVERSION\0"])
        if isinstance(said, ScannerAnswer) or not said.startswith("ClamAV "):
            return None
        made = said.split("/")[2:]  # "ClamAV 1.4.3/27500/Mon Nov 23 09:26:24 2026"
        with contextlib.suppress(ValueError, IndexError):
            return Version(said, time.mktime(time.strptime(made[0].strip(), "%a %b %d %H:%M:%S %Y")))
        return Version(said, None)

    async def _ask(self, said: Sequence[bytes]) -> str | ScannerAnswer:
        """Its reply, or why there is none."""
        await asyncio.sleep(0)  # a task from here on, which a timeout can end (gateway/begun.py)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._talk(said)
        except TimeoutError:
            self._rest_until = time.monotonic() + _REST_S
            return ScannerAnswer(fault=f"no answer within {self._timeout_s:g} s")

    async def _talk(self, said: Sequence[bytes]) -> str | ScannerAnswer:
        try:
            reader, writer = await self._connect()
        except OSError:
            return ScannerAnswer(fault="it cannot be reached")
        try:
            for piece in said:
                writer.write(piece)
                await writer.drain()
            return (await reader.readuntil(b"\0"))[:-1].decode("utf-8", "replace")
        except asyncio.LimitOverrunError:
            return ScannerAnswer(fault=_UNCLEAR)
        except (OSError, asyncio.IncompleteReadError):  # the words it had for a large one go with the connection
            return ScannerAnswer(fault="it hung up, perhaps as the message is larger than its StreamMaxLength")
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._address.startswith("unix:"):
            return await asyncio.open_unix_connection(self._address.removeprefix("unix:"), limit=_REPLY_MAX)
        host, _, port = self._address.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port), limit=_REPLY_MAX)


async def watch(clamd: Clamd, every_s: float = 30.0) -> None:
    """For ever, in one process: what the alerts look at."""
    while True:
        version = await clamd.version()
        UP.set(version is not None)
        if version is not None and version.made_at is not None:
            SIGNATURES.set(version.made_at)
        await asyncio.sleep(every_s)


def _read(said: str | ScannerAnswer) -> ScannerAnswer:
    if isinstance(said, ScannerAnswer):
        return said
    if said == "stream: OK":
        return ScannerAnswer()
    if found := _FOUND.fullmatch(said):
        return ScannerAnswer(found["signature"])
    if _TOO_LARGE.match(said):
        return ScannerAnswer(fault="larger than its StreamMaxLength")
    return ScannerAnswer(fault=_UNCLEAR)
