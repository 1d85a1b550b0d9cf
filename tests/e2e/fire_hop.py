"""The next hops of the fault test, in a process of their own: python -m tests.e2e.fire_hop LEDGER CONTROL PORT...

Two SMTP servers, an LMTP server and a DNS server, on the four ports. What a next hop takes is a line in the ledger before
the reply is said, so that it survives the process; a second line says "lost" where the reply could not be said. A fault is
armed by one line of JSON on the unix socket CONTROL, {"hop", "step", "for_s"}, and answered when it is over, with how often
it struck. Steps:

    refuse     no connection is taken              greeting   hangs up instead of a greeting
    mail       hangs up at MAIL                    rcpt       hangs up at RCPT
    rcpt 4xx   451 to RCPT                         data       hangs up at DATA
    354        hangs up after 354                  content    hangs up in the middle of it
    dot        hangs up after the dot, not taken   dot 4xx    452, not taken
    lost       takes it, and hangs up              hang       takes it, and says nothing for long
    late       takes it, and says so late          silent, refused   (DNS)

At the LMTP server "dot", "dot 4xx" and "lost" strike at every second recipient.

unknown...@ is nobody; later...@ is refused when a message comes, not when it is asked about.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

HOPS = ("a", "b", "l", "dns")
_HEADS = {
    "number": re.compile(rb"^X-Fire: (\d+)\r$", re.MULTILINE),
    "digest": re.compile(rb"^X-Fire-Digest: (\w+)\r$", re.MULTILINE),
    "session": re.compile(rb"^Received: from s(\d+)\.fire\.test ", re.MULTILINE),
    "queue_id": re.compile(rb"^X-Darban-Id: (\w+)\r$", re.MULTILINE),
}


def examine(content: bytes) -> dict[str, Any]:
    """What one of our messages says of itself, as it came out of the gateway (or was put in)."""
    head, _, body = content.partition(b"\r\n\r\n")
    head += b"\r\n"
    found = {name: pattern.search(head) for name, pattern in _HEADS.items()}
    said = {name: match[1].decode() if match else "" for name, match in found.items()}
    return {
        "number": int(said["number"] or -1),
        "session": int(said["session"] or -1),
        "queue_id": said["queue_id"],
        "is_whole": sha256(body).hexdigest()[:16] == said["digest"],
        "is_released": b"\r\nX-Darban-Released:" in head,
    }


class _Closed(Exception):
    pass


class Hop:
    """One server behind the gateway."""

    def __init__(self, name: str, port: int, ledger: int) -> None:
        self.name, self.port, self._ledger = name, port, ledger
        self.is_lmtp = name == "l"
        self._armed = ""
        self._struck = 0
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.StreamWriter, list[dict[str, Any]]] = {}  # what is taken, and not said yet

    async def open(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 23, backlog=512)

    async def suffer(self, step: str, for_s: float) -> int:
        """The fault for so long; how often it struck."""
        self._armed, self._struck = step, 0
        if step == "refuse":
            self._struck = 1
            assert self._server is not None
            self._server.close()
            self._hang_up(*self._writers)
            await asyncio.sleep(for_s)
            await self.open()
        else:
            if step == "greeting":
                self._hang_up(*self._writers)
            await _until(lambda: self._struck, for_s)
        self._armed = ""
        return self._struck

    def _hang_up(self, *writers: asyncio.StreamWriter) -> None:
        """What was to be said yet is not said any more, and the ledger says so."""
        for writer in writers:
            writer.transport.abort()
            self._write([one | {"said": "lost"} for one in self._writers.pop(writer, [])])

    def _is(self, step: str) -> bool:
        if self._armed != step:
            return False
        if self.is_lmtp and step in ("dot", "dot 4xx", "lost"):
            self._turn += 1
            if self._turn % 2:
                return False
        self._struck += 1
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers[writer] = []
        with contextlib.suppress(_Closed, ConnectionError, asyncio.IncompleteReadError):
            await self._session(reader, writer)
        self._hang_up(writer)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(text: str) -> None:
            writer.write(text.encode() + b"\r\n")

        def close_if(step: str) -> None:
            if self._is(step):
                raise _Closed

        close_if("greeting")
        say("220 hop ESMTP")
        sender, recipients = "", list[str]()
        while True:
            await writer.drain()
            text = (await reader.readuntil(b"\r\n")).decode().rstrip("\r\n")
            verb, path = text.split(" ")[0].upper(), text.partition("<")[2].partition(">")[0]
            if verb in ("EHLO", "LHLO"):
                say("250-hop\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 100000000\r\n250 ENHANCEDSTATUSCODES")
            elif verb == "MAIL":
                close_if("mail")
                sender, recipients = path, []
                say("250 2.1.0 ok")
            elif verb == "RCPT":
                close_if("rcpt")
                code = self._about(path, sender)
                say(code)
                recipients += [path] if code.startswith("2") else []
            elif verb == "DATA":
                close_if("data")
                if not recipients:
                    say("554 5.5.1 nobody")
                    continue
                say("354 go")
                await writer.drain()
                close_if("354")
                if self._is("content"):
                    await reader.read(100)
                    raise _Closed
                await self._end(await _content(reader), recipients, writer, say)
            elif verb == "QUIT":
                say("221 2.0.0 bye")
                await writer.drain()
                raise _Closed
            else:
                say("250 2.0.0 ok")

    def _about(self, path: str, sender: str) -> str:
        if self._is("rcpt 4xx"):
            return "451 4.3.0 not now"
        if path.startswith("unknown") or (path.startswith("later") and sender):
            return "550 5.1.1 nobody of that name"
        return "250 2.1.5 ok"

    async def _end(self, content: bytes, recipients: list[str], writer: asyncio.StreamWriter, say: Any) -> None:
        about = examine(content)
        for group in [[one] for one in recipients] if self.is_lmtp else [recipients]:
            if self._is("dot"):
                raise _Closed
            if self._is("dot 4xx"):
                say("452 4.3.1 full")
                continue
            if self._is("lost"):
                self._take(about, group, "lost")
                raise _Closed
            if self._is("hang"):
                self._take(about, group, "lost")
                await asyncio.sleep(6)
                raise _Closed
            self._take(about, group, "250", writer)
            if self._is("late"):
                await asyncio.sleep(2)
            say("250 2.0.0 taken")
            await writer.drain()
            if writer in self._writers:
                self._writers[writer] = []

    def _take(
        self, about: dict[str, Any], recipients: list[str], said: str, writer: asyncio.StreamWriter | None = None
    ) -> None:
        lines = [about | {"hop": self.name, "recipient": one, "said": said, "at": time.time()} for one in recipients]
        self._write(lines)
        if writer in self._writers:
            self._writers[writer] = lines

    def _write(self, lines: list[dict[str, Any]]) -> None:
        os.write(self._ledger, "".join(f"{json.dumps(line)}\n" for line in lines).encode())


async def _until(struck: Callable[[], int], for_s: float) -> None:
    """So long, and longer where nothing has come that could be struck."""
    await asyncio.sleep(for_s)
    for _ in range(100):
        if struck():
            return
        await asyncio.sleep(0.1)


async def _content(reader: asyncio.StreamReader) -> bytes:
    blocks = [await reader.readuntil(b"\r\n")]
    while blocks[-1] != b".\r\n":
        blocks.append(await reader.readuntil(b"\r\n"))
    return b"".join(one.removeprefix(b".") for one in blocks[:-1])


class Dns(asyncio.DatagramProtocol):
    """Knows no name."""

    def __init__(self) -> None:
        self._mode = ""
        self._struck = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._struck += bool(self._mode)
        if self._mode == "silent" or len(data) < 17:
            return
        end = data.index(0, 12) + 5
        code = 5 if self._mode == "refused" else 3
        head = data[:2] + bytes((0x81, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0))
        self._transport.sendto(head + data[12:end], addr)

    async def suffer(self, step: str, for_s: float) -> int:
        """As Hop's."""
        self._mode, self._struck = step, 0
        await _until(lambda: self._struck, for_s)
        self._mode = ""
        return self._struck


async def _main(ledger: Path, control: Path, ports: list[int]) -> None:
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    hops: dict[str, Any] = {name: Hop(name, port, file) for name, port in zip(HOPS[:3], ports[:3], strict=True)}
    for hop in hops.values():
        await hop.open()
    loop = asyncio.get_running_loop()
    _, hops["dns"] = await loop.create_datagram_endpoint(Dns, local_addr=("127.0.0.1", ports[3]))

    async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wanted = json.loads(await reader.readline())
        struck = await hops[wanted["hop"]].suffer(wanted["step"], wanted["for_s"])
        writer.write(json.dumps(struck).encode() + b"\n")
        writer.close()

    control.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(obey, str(control))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), Path(sys.argv[2]), [int(port) for port in sys.argv[3:]]))
