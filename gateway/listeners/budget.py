"""What messages may take of a process's memory and disk, so that no load makes it swap (RFC 3463 X.3.1): one budget for
all its doors.

One half of the memory is for messages as long as `spool_above` at most: they are held as they come, and when it is full
nobody begins a new one. Whatever is longer, or comes while that is half full, is in an unlinked file until all of it is
there; then it waits for its turn in the other half, first come, first served, in which it counts _COPIES times: as it
came, with our fields, as it is sent on. So a few large messages are judged at a time, and small ones never wait for
them. What has waited in vain stays with its sender: 452.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog
from prometheus_client import Counter, Gauge

from gateway.config.settings import Smtp

SPOOLED = Gauge("darban_spool_bytes", "Disk that messages on their way in take.", multiprocess_mode="livesum")
JUDGED = Gauge("darban_large_bytes", "Memory of large messages being judged.", multiprocess_mode="livesum")
NO_ROOM = Counter("darban_no_room_total", "What was deferred for want of memory or disk, by the step.", ["step"])

_COPIES = 4
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h
_PATIENCE_S = 60.0  # clients wait ten minutes for the answer to the dot (RFC 5321 §4.5.3.2.6)

log = structlog.get_logger("darban.budget")


class Budget:
    """Of one process; in its loop only."""

    def __init__(
        self, memory: int, spool: int, spool_above: int, folder: Path | None, patience_s: float = _PATIENCE_S
    ) -> None:
        """Bytes; `folder`: where spooled messages are, the system's for temporary files when None."""
        self.spool_above = spool_above
        self.folder = folder
        self.held = 0  # bytes of small messages
        self.spooled = 0  # bytes on disk
        self._small = memory // 2
        self._large = memory - self._small
        self._spool = spool
        self._patience_s = patience_s
        self._judged = 0  # bytes of large messages, copies counted
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()
        for step in ("connect", "mail", "data", "content"):
            NO_ROOM.labels(step)  # a series that is there from the start can be alarmed on

    @property
    def is_full(self) -> bool:
        """No message may be begun now."""
        return self.held >= self._small

    @property
    def is_tight(self) -> bool:
        """What comes goes to disk at once, so that large messages do not fill the half of the small ones."""
        return self.held * 2 >= self._small

    def refuses(self, size: int) -> bool:
        """A message announced with so many bytes (RFC 1870) would be read for nothing."""
        if self.is_full:
            return True
        waiting = sum(cost for cost, _ in self._line)
        return size > self.spool_above and (self.spooled + size > self._spool or waiting > self._large)

    def begin(self) -> Incoming:
        """For one message."""
        return Incoming(self)

    def spool(self, size: int) -> bool:
        """So much more (or less) on disk; False when there is no room."""
        if size > 0 and self.spooled + size > self._spool:
            return False
        self.spooled += size
        SPOOLED.set(self.spooled)
        return True

    async def turn(self, size: int) -> bool:
        """Wait until a large message may be in memory; done() ends it. False when it waited in vain."""
        cost = size * _COPIES
        if self._line or not self._fits(cost):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._line.append((cost, turn))
            try:
                await asyncio.wait({turn}, timeout=self._patience_s)
            except BaseException:
                self._leave(cost, turn)
                raise
            if not turn.done():
                self._leave(cost, turn)
                return False
        else:
            self._count(cost)
        return True

    def done(self, size: int) -> None:
        """It is settled."""
        self._count(-size * _COPIES)
        self._call()

    def _leave(self, cost: int, turn: asyncio.Future[None]) -> None:
        if turn.done():
            self._count(-cost)
        else:
            self._line.remove((cost, turn))
        self._call()  # whoever stood behind may fit

    def _call(self) -> None:
        while self._line and self._fits(self._line[0][0]):
            cost, turn = self._line.popleft()
            self._count(cost)
            turn.set_result(None)

    def _fits(self, cost: int) -> bool:
        """A single message may be larger than all of it: max_message_size is what was promised."""
        return not self._judged or self._judged + cost <= self._large

    def _count(self, cost: int) -> None:
        self._judged += cost
        JUDGED.set(self._judged)


class Incoming:
    """A message on its way in, and what it takes until it is settled; close() gives that back."""

    __slots__ = ("_budget", "_file", "_held", "_is_closed", "_pieces", "_spooled", "_turn", "has_failed", "size")

    def __init__(self, budget: Budget) -> None:
        self.size = 0  # bytes
        self.has_failed = False  # the disk had no room: what comes is dropped
        self._budget = budget
        self._pieces: list[bytes] = []
        self._held = 0  # bytes counted in budget.held
        self._spooled = 0  # bytes in the file
        self._turn = 0  # bytes whose turn it is
        self._file: _File | None = None
        self._is_closed = False

    def add(self, piece: bytes) -> bool:
        """True when flush() is due."""
        self.size += len(piece)
        if self.has_failed:
            return False
        self._pieces.append(piece)
        self._hold(len(piece))
        return self._file is not None or self._held > self._budget.spool_above or self._budget.is_tight

    async def flush(self) -> None:
        """Out of memory, into the file. In a thread: a disk that is busy stops its own message alone."""
        pieces, size = self._pieces, self._held
        self._pieces = []
        try:
            if not self._budget.spool(size):
                self.drop()
                return
            self._spooled += size
            file = self._file = self._file or _File(self._budget.folder)
            await asyncio.to_thread(file.write, pieces)
        except OSError as error:
            log.error("a message on its way in cannot be kept on disk", error=error.strerror)
            self.drop()
        finally:
            self._hold(-min(size, self._held))

    def drop(self) -> None:
        """It will not be taken; the rest of it is only counted."""
        self.has_failed = True
        self._pieces.clear()
        self._hold(-self._held)
        self._give_back_disk()

    async def whole(self) -> bytes | None:
        """All of it; None when there is no room for it."""
        if self.has_failed:
            return None
        is_long = self._file is not None or self.size > self._budget.spool_above
        if not is_long and not self._budget.is_full:
            self._hold(self.size * (_COPIES - 1))
            content = b"".join(self._pieces)
            self._pieces.clear()
            return content
        if is_long and self._pieces:
            await self.flush()  # it is read in one piece
        if self.has_failed or not await self._budget.turn(self.size):
            return None
        self._turn = self.size
        try:
            content = await asyncio.to_thread(self._file.read, self._spooled) if self._file else b"".join(self._pieces)
        except OSError as error:
            log.error("a message on its way in cannot be read from disk", error=error.strerror)
            return None
        self.drop()  # it is in the other half now
        return content

    def close(self) -> None:
        """Settled, refused or lost. May be called again."""
        if not self._is_closed:
            self._is_closed = True
            self.drop()
            if self._turn:
                self._budget.done(self._turn)

    def _hold(self, size: int) -> None:
        self._held += size
        self._budget.held += size

    def _give_back_disk(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None
        if self._spooled:
            self._budget.spool(-self._spooled)
            self._spooled = 0


class _File:
    """Without a name: gone with us, whatever becomes of us. Read and written in threads, closed when none is at it."""

    def __init__(self, folder: Path | None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - close() is ours
        self._is_used = threading.Lock()
        self._is_left = False

    def write(self, pieces: Sequence[bytes]) -> None:
        """At the end. Raises OSError."""
        with self._in_use() as fd:
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(fd, rest) :]

    def read(self, size: int) -> bytes:
        """From the beginning. Raises OSError."""
        with self._in_use() as fd:
            content = os.pread(fd, size, 0)  # all at once: it is some megabytes, in the page cache
        if len(content) < size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return content

    def close(self) -> None:
        """At once, or by the thread that is at it."""
        self._is_left = True
        if self._is_used.acquire(blocking=False):
            self._file.close()
            self._is_used.release()

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[int]:
        with self._is_used:
            if self._file.closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            yield self._file.fileno()
        if self._is_left:
            self.close()


def make_budget(settings: Smtp, processes: int = 1, folder: Path | None = None) -> Budget:
    """One process's share of what [smtp] says."""
    memory = machine_memory() // 4 if settings.memory == "auto" else settings.memory
    return Budget(memory // processes, settings.spool // processes, settings.spool_above, folder)


def give_memory_back() -> None:
    """Blocks from 128 KiB on are the system's again when they are freed (mallopt(3)), whatever was freed before: else
    glibc keeps what a burst of large messages took, in an arena for each thread. Nothing where there is no mallopt."""
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((_M_MMAP_THRESHOLD, 1 << 17), (_M_TRIM_THRESHOLD, 1 << 18), (_M_ARENA_MAX, 2)):
            mallopt(option, value)


def machine_memory(root: Path = Path("/")) -> int:
    """Bytes that we may use of it: the container's limit (cgroup v2), where there is one."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        own = (root / "proc/self/cgroup").read_text().strip().rpartition("::")[2].lstrip("/")
        for place in ("sys/fs/cgroup", f"sys/fs/cgroup/{own}"):
            with contextlib.suppress(OSError, ValueError):
                installed = min(installed, int((root / place / "memory.max").read_text()))
    return installed
