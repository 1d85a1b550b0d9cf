"""An SMTP server that takes everything and keeps nothing: python -m benchmarks.sink PORT.

To NOOP it answers how many messages it took.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

_EHLO = b"250-sink\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n"


class Sink(asyncio.Protocol):
    """One connection."""

    received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self.transport = transport
        self.buffer = bytearray()
        self.in_data = False
        transport.write(b"220 sink ESMTP\r\n")  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Answer whatever is whole, all at once."""
        self.buffer += data
        answers = []
        while (end := self.buffer.find(b"\r\n.\r\n" if self.in_data else b"\r\n")) >= 0:
            word = bytes(self.buffer[:4]).upper()
            del self.buffer[: end + (5 if self.in_data else 2)]
            answers.append(self.answer(word))
        if answers:
            self.transport.write(b"".join(answers))  # type: ignore[attr-defined]

    def answer(self, word: bytes) -> bytes:
        """The reply to a command, or to the end of a message."""
        if self.in_data:
            self.in_data = False
            Sink.received += 1
            return b"250 2.0.0 taken\r\n"
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
