"""Bytes from the client as command lines, as a message after DATA, or as a chunk of BDAT. Holds a block, or the message
it is reading. Only CRLF ends a line, only <CRLF>.<CRLF> a message (RFC 5321 §2.3.8, §4.1.1.4), however the bytes come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

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

    async def message(self, limit: int) -> bytes | None:
        """The message up to <CRLF>.<CRLF>, dots unstuffed; None when it exceeds the limit (and was drained).

        Raises ConnectionResetError also for far more than the limit.
        """
        while not self._buffer.startswith(b".\r\n"):
            if len(self._buffer) >= 3:
                break
            await self._more_or_reset()
        else:
            del self._buffer[:3]
            return b""
        searched, dropped = 0, 0
        while (end := self._buffer.find(b"\r\n.\r\n", searched)) < 0:
            if len(self._buffer) + dropped > limit * DRAIN + BLOCK:
                raise ConnectionResetError("message far too large")
            if dropped or len(self._buffer) > limit + BLOCK:
                dropped += len(self._buffer) - 4
                del self._buffer[:-4]
            searched = max(0, len(self._buffer) - 4)
            await self._more_or_reset()
        content = bytes(self._buffer[: end + 2])
        del self._buffer[: end + 5]
        if dropped or len(content) > limit:
            return None
        return content.replace(b"\r\n.", b"\r\n").removeprefix(b".")

    async def chunk(self, size: int) -> bytes:
        """Exactly so many octets, as they are (RFC 3030)."""
        while len(self._buffer) < size:
            await self._more_or_reset()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

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
