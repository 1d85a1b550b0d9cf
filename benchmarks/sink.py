"""An SMTP server that takes everything and keeps nothing: python -m benchmarks.sink PORT.

To NOOP it answers how many messages it took.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

_EHLO = b"".join(
    b"250-%s\r\n" % word for word in (b"sink", b"PIPELINING", b"SIZE", b"8BITMIME", b"SMTPUTF8", b"CHUNKING")
) + (b"250 ENHANCEDSTATUSCODES\r\n")


class Sink(asyncio.Protocol):
    """One connection."""

    received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self.transport = transport
        self.buffer = bytearray()
        self.in_data = False
        self.chunk = 0  # octets of BDAT that are still to come
        transport.write(b"220 sink ESMTP\r\n")  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Answer whatever is whole, all at once."""
        self.buffer += data
        answers = []
        while answer := self.next_answer():
            answers.append(answer)
        if answers:
            self.transport.write(b"".join(answers))  # type: ignore[attr-defined]

    def next_answer(self) -> bytes:
        """To what is at the front of the buffer; empty when that is not whole."""
        if self.chunk:
            return self.end_of_message(self.chunk) if len(self.buffer) >= self.chunk else b""
        end = self.buffer.find(b"\r\n.\r\n" if self.in_data else b"\r\n")
        if end < 0:
            return b""
        if self.in_data:
            return self.end_of_message(end + 5)
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        if line.startswith(b"BDAT "):  # always the last, and never empty
            self.chunk = int(line.split()[1])
            return self.next_answer()
        return self.answer(line[:4].upper())

    def end_of_message(self, size: int) -> bytes:
        """It is taken, and forgotten."""
        del self.buffer[:size]
        self.in_data, self.chunk = False, 0
        Sink.received += 1
        return b"250 2.0.0 taken\r\n"

    def answer(self, word: bytes) -> bytes:
        """The reply to a command."""
        if word == b"DATA":
            self.in_data = True
            return b"354 go\r\n"
        if word == b"EHLO":
            return _EHLO
        if word == b"NOOP":
            return b"250 %d\r\n" % Sink.received
        return b"221 bye\r\n" if word == b"QUIT" else b"250 2.0.0 ok\r\n"


async def main(port: int) -> None:
    """Until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await loop.create_server(Sink, "127.0.0.1", port, backlog=4096)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
