"""Message-log rows, and what DMARC reports count, on their way from the listeners to the admin process: JSON lines
over a unix stream socket; how many are stored comes back.

Never on the path of custody: rows wait in bounded memory while the admin process is away, and beyond that are counted
as lost. The quarantine does not come this way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog
from prometheus_client import Counter

from gateway.types import DmarcRow, JournalRow, LogRow, Summary

LOST = Counter(
    "darban_journal_lost_rows_total", "Message-log rows that found no room while the admin process was away."
)

_MAX_WAITING = 50_000  # rows, about 50 MB at the worst
_BATCH = 500
_RETRY_S = 1.0
_MAX_REFUSALS = 5
_GATHER_S = 0.05  # what comes within it is sent together: each time wakes the admin process
_LINE_LIMIT = 1 << 20

log = structlog.get_logger("darban.journal")


class JournalSender:
    """A listener's end. Implements ports.Journal."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: deque[JournalRow] = deque()
        self._wake = asyncio.Event()
        self._refusals = 0  # of the first row, by an end that was there
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin sending; call inside the loop."""
        self._task = asyncio.create_task(self._run())

    def record(self, rows: Sequence[JournalRow]) -> None:
        """Take the rows."""
        room = _MAX_WAITING - len(self._rows)
        if len(rows) > room:
            LOST.inc(len(rows) - max(room, 0))
        self._rows.extend(rows[: max(room, 0)])
        self._wake.set()

    async def close(self, grace_s: float = 2.0) -> None:
        """Send what waits, for so long at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._rows:
                    await asyncio.sleep(0.01)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._send(*await asyncio.open_unix_connection(str(self._path)))
            except OSError:
                await asyncio.sleep(_RETRY_S)

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the other end is gone: a reload has put another in its place. Rows wait here until it says that they
        are stored; what it had then and did not say comes again."""
        with contextlib.closing(writer):
            while True:
                await self._wake.wait()
                await asyncio.sleep(_GATHER_S)
                if reader.at_eof() or writer.is_closing():  # a reset is no end of file
                    return
                self._wake.clear()
                while self._rows:
                    if not await self._send_batch(reader, writer):
                        self._wake.set()
                        return

    async def _send_batch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether all of it is stored. Where the other end went away instead, one row goes at a time: a row that it
        goes away from each time is lost, and not those behind it too."""
        batch = [self._rows[index] for index in range(min(1 if self._refusals else _BATCH, len(self._rows)))]
        writer.write(b"".join(_encode(row) for row in batch))
        left = len(batch)
        while left:
            with contextlib.suppress(OSError):
                await writer.drain()
            line = await _line(reader)
            if not line:
                self._refusals += 1
                if self._refusals > _MAX_REFUSALS:
                    self._refusals = 0
                    self._rows.popleft()
                    LOST.inc()
                return False
            for _ in range(int(line)):
                self._rows.popleft()
            left -= int(line)
            self._refusals = 0
        return True


async def serve_journal(path: Path, store: Callable[[Sequence[JournalRow]], Awaitable[None]]) -> asyncio.AbstractServer:
    """The admin process's end: `store` gets the rows in batches."""

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # a task that ends cancelled is a traceback in asyncio.streams before Python 3.12
        with contextlib.closing(writer), contextlib.suppress(asyncio.CancelledError):
            while lines := await _lines(reader):
                await store([_decode(line) for line in lines])
                writer.write(b"%d\n" % len(lines))

    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(receive, str(path), limit=_LINE_LIMIT)
    path.chmod(0o600)
    return server


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readline()
    except (OSError, ValueError):
        return b""
    return line if line.endswith(b"\n") else b""


async def _lines(reader: asyncio.StreamReader) -> list[bytes]:
    """At least one line, and whatever else comes within a moment; [] at the end."""
    try:
        lines = [await reader.readline()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                while lines[-1] and len(lines) < _BATCH:
                    lines.append(await reader.readline())
    except (OSError, ValueError):
        return []
    return [line for line in lines if line.endswith(b"\n")]


def _encode(row: JournalRow) -> bytes:
    values = {name: getattr(row, name) for name in type(row).__slots__}
    if isinstance(row, LogRow):
        values["summary"] = [getattr(row.summary, name) for name in Summary.__slots__]
    return json.dumps(values).encode("ascii") + b"\n"


def _decode(line: bytes) -> JournalRow:
    values = json.loads(line)
    if "published" in values:
        values |= {name: tuple(values[name]) for name in ("overrides", "spf")}
        values["dkim"] = tuple(tuple(one) for one in values["dkim"])
        return DmarcRow(**values)
    values["summary"] = Summary(*values["summary"])
    values["hits"] = tuple(values["hits"])
    return LogRow(**values)
