"""A next hop that takes mail, or fails at the step a test names. Speaks SMTP (RFC 5321) and LMTP (RFC 2033).

`script` maps a step to what happens there: a reply ("550 5.1.1 no"), "close", "hang" or "garbage". Steps: "greeting",
"EHLO", "MAIL", "RCPT", "RCPT you@darban.test", "DATA", "content" (while it comes), "dot", "dot 2" (LMTP's second reply),
"RSET", "STARTTLS", "without MAIL", "without RCPT" (what is out of order). A list gives one after the other, its last for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

Script = dict[str, str | list[str]]
EXTENSIONS = ("PIPELINING", "SIZE 100000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


@dataclass
class Sink:
    """What came in."""

    script: Script = field(default_factory=dict)
    extensions: tuple[str, ...] = EXTENSIONS
    is_lmtp: bool = False
    tls: ssl.SSLContext | None = None
    port: int = 0
    connections: int = 0
    commands: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)  # as they came over the wire, dots still stuffed
    is_encrypted: bool = False

    def next(self, *steps: str) -> str:
        """What the script says about the first of these steps that it knows; "" for nothing."""
        for step in steps:
            said = self.script.get(step)
            if isinstance(said, list):
                return said.pop(0) if len(said) > 1 else said[0]
            if said:
                return said
        return ""


class _Closed(Exception):
    pass


@contextlib.asynccontextmanager
async def sink(path: Path | None = None, **changes: object) -> AsyncIterator[Sink]:
    """A running one, on a port of its own or on a unix socket."""
    one = Sink(**changes)  # type: ignore[arg-type]
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        one.connections += 1
        with contextlib.suppress(
            _Closed, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, OSError
        ):
            await _Session(one, reader, writer).run()
        writer.close()
        tasks.discard(task)

    if path is not None:
        server = await asyncio.start_unix_server(serve, str(path), limit=1 << 22)
    else:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 22)
        one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Session:
    def __init__(self, owner: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.owner, self.reader, self.writer = owner, reader, writer
        self.recipients: list[str] = []
        self.has_sender = False

    async def run(self) -> None:
        await self.answer("220 sink ESMTP", "greeting")
        while True:
            text = (await self.reader.readuntil(b"\r\n")).decode("utf-8").rstrip("\r\n")
            self.owner.commands.append(text)
            await self.command(text, text.split(" ")[0].upper())

    async def command(self, text: str, verb: str) -> None:
        if verb in ("EHLO", "LHLO"):
            words = ["sink", *self.owner.extensions, *(["STARTTLS"] if self.owner.tls else [])]
            listed = "\r\n".join(f"250{'-' if word != words[-1] else ' '}{word}" for word in words)
            await self.answer(listed, "EHLO")
        elif verb == "STARTTLS":
            await self.answer("220 2.0.0 go", "STARTTLS")
            await self.writer.start_tls(self.owner.tls)  # type: ignore[arg-type]
            self.owner.is_encrypted = True
        elif verb == "MAIL":
            self.recipients = []
            self.has_sender = (await self.answer("250 2.1.0 ok", "MAIL")).startswith("2")
        elif verb in ("RCPT", "DATA") and not self.has_sender:
            await self.answer("503 5.5.1 MAIL first", "without MAIL")
        elif verb == "RCPT":
            address = text.partition("<")[2].partition(">")[0]
            said = await self.answer("250 2.1.5 ok", f"RCPT {address}", "RCPT")
            if said.startswith("2"):
                self.recipients.append(address)
        elif verb == "DATA" and not self.recipients:
            await self.answer("554 5.5.1 no valid recipients", "without RCPT")
        elif verb == "DATA":
            if (await self.answer("354 go", "DATA")).startswith("3"):
                await self.content()
        elif verb == "QUIT":
            await self.answer("221 2.0.0 bye", "QUIT")
            raise _Closed
        else:
            await self.answer("250 2.0.0 ok", verb)

    async def content(self) -> None:
        if self.owner.next("content"):
            await self.reader.read(10)
            raise _Closed
        content = b""
        while not content.endswith(b"\r\n.\r\n") and content != b".\r\n":
            content += await self.reader.readuntil(b"\r\n")
        self.owner.contents.append(content[:-3])
        for number, address in enumerate(self.recipients if self.owner.is_lmtp else [""], 1):
            await self.answer(
                f"250 2.0.0 taken {address}".rstrip(),
                f"dot {number}" if number > 1 else "dot",
            )

    async def answer(self, usual: str, *steps: str) -> str:
        said = self.owner.next(*steps)
        if said == "close":
            raise _Closed
        if said == "hang":
            await asyncio.sleep(3600)
        if said == "garbage":
            said = "what?"
        self.writer.write((said or usual).encode() + b"\r\n")
        await self.writer.drain()
        return said or usual
