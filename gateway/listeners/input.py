"""Bytes from the client as command lines, as a message after DATA, or as a chunk of BDAT. Holds a block or
two; content goes on into an Incoming. Only CRLF ends a line, only <CRLF>.<CRLF> a message (RFC 5321 §2.3.8, §4.1.1.4),
however the bytes come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.listeners.budget import Incoming
from gateway.listeners.command import MAX_LINE

BLOCK = 1 << 16
DRAIN = 2  # a message too large is read to its end up to so many times the limit, then the connection is closed


class Input:
    """What was read and not yet used. Raises ConnectionResetError where the client goes away within content."""

    def __init__(self, read: Callable[[int], Awaitable[bytes]]) -> None:
        self._read = read
        self._buffer = bytearray()

    def __len__(self) -> int:
        """Octets that wait: what the client said before it heard the answer to what is being handled."""
        return len(self._buffer)

    def discard(self) -> None:
        """Forget what came before TLS (RFC 3207 §4.2)."""
        self._buffer.clear()

    async def line(self) -> bytes | None:
        """One command line without its CRLF; None at the end of the connection. Raises ValueError when too long."""
        searched = 0
        while (end := self._buffer.find(b"\r\n", searched)) < 0:
            searched = max(0, len(self._buffer) - 1)
            if len(self._buffer) > BLOCK:
                self._buffer.clear()
                raise ValueError("line too long")
            if not await self.more():
                return None
        found = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        if len(found) > MAX_LINE:
            raise ValueError("line too long")
        return found

    async def message(self, limit: int, into: Incoming) -> bool:
        """The message up to <CRLF>.<CRLF>, dots stuffed; False when it exceeds the limit (and was drained).

        Raises ConnectionResetError also for far more than the limit.
        """
        while not self._buffer.startswith(b".\r\n"):
            if len(self._buffer) >= 3:
                break
            await self._more_or_reset()
        else:
            del self._buffer[:3]
            return True
        searched = 0
        while (end := self._buffer.find(b"\r\n.\r\n", searched)) < 0:
            if into.size + len(self._buffer) > limit * DRAIN + BLOCK:
                raise ConnectionResetError("message far too large")
            if len(self._buffer) > BLOCK:  # in pieces as large: many small ones would take more than they hold
                await self._hand_on(len(self._buffer) - 4, into, limit)
            searched = max(0, len(self._buffer) - 4)
            await self._more_or_reset()
        await self._hand_on(end + 2, into, limit)
        del self._buffer[:3]
        return into.size <= limit

    async def chunk(self, size: int, into: Incoming) -> None:
        """Exactly so many octets, as they are (RFC 3030)."""
        limit = into.size + size
        while size > len(self._buffer):
            if len(self._buffer) > BLOCK:
                size -= len(self._buffer)
                await self._hand_on(len(self._buffer), into, limit)
            await self._more_or_reset()
        await self._hand_on(size, into, limit)

    async def _hand_on(self, size: int, into: Incoming, limit: int) -> None:
        with memoryview(self._buffer) as view:
            piece = bytes(view[:size])
        del self._buffer[:size]
        if into.size + size > limit:
            into.drop()
        if into.add(piece):
            await into.flush()

    async def skip(self, size: int) -> None:
        """A chunk that is not wanted: read, and not kept."""
        while size > len(self._buffer):
            size -= len(self._buffer)
            self._buffer.clear()
            await self._more_or_reset()
        del self._buffer[:size]

    async def more(self) -> bool:
        """Wait for bytes; False at the end of the connection."""
        block = await self._read(BLOCK)
        self._buffer += block
        return bool(block)

    async def _more_or_reset(self) -> None:
        if not await self.more():
            raise ConnectionResetError("the client went away in the middle of a message")


def unstuff(content: bytes) -> bytes:
    """What stands behind DATA as it was meant (RFC 5321 §4.5.2)."""
    return content.replace(b"\r\n.", b"\r\n").removeprefix(b".")
