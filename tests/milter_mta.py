"""The MTA's side of the milter protocol, for tests: packets as Postfix and Sendmail write them, and one who sends them."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable

from gateway.listeners.milter_codec import Action, Step, packet

ALL_ACTIONS, ALL_STEPS = sum(Action), sum(Step)
POSTFIX = (6, ALL_ACTIONS | 0x1C0, ALL_STEPS)  # with bits that are not ours to know


def negotiate(version: int = 6, actions: int = POSTFIX[1], steps: int = ALL_STEPS) -> bytes:
    return packet(b"O", struct.pack(">III", version, actions, steps))


def words(*found: str | bytes) -> bytes:
    return b"".join((one if isinstance(one, bytes) else one.encode()) + b"\0" for one in found)


def macros(command: str, **values: str) -> bytes:
    """Names of more than a letter go in braces."""
    pairs = ((name if len(name) == 1 else f"{{{name}}}", value) for name, value in values.items())
    return packet(b"D", command.encode() + words(*(word for pair in pairs for word in pair)))


def connect(ip: str = "192.0.2.1", port: int = 40_000, name: str = "client.example.org") -> bytes:
    family = b"6" if ":" in ip else b"4"
    return packet(b"C", words(name) + family + struct.pack(">H", port) + words(ip))


def local_client() -> bytes:
    return packet(b"C", words("localhost") + b"L" + struct.pack(">H", 0) + words("/run/mta"))


def helo(name: str = "client.example.org") -> bytes:
    return packet(b"H", words(name))


def mail(path: str = "<sara@example.org>", *parameters: str) -> bytes:
    return packet(b"M", words(path, *parameters))


def rcpt(path: str = "<you@darban.test>", *parameters: str) -> bytes:
    return packet(b"R", words(path, *parameters))


DATA, END_OF_HEADER, ABORT, QUIT, NEW_CONNECTION = (packet(one) for one in (b"T", b"N", b"A", b"Q", b"K"))


def header(name: str | bytes, value: str | bytes) -> bytes:
    return packet(b"L", words(name, value))


def body(chunk: bytes) -> bytes:
    return packet(b"B", chunk)


def end(chunk: bytes = b"") -> bytes:
    return packet(b"E", chunk)


def content(raw: bytes, *, chunk: int = 65_535, has_space: bool = True) -> list[bytes]:
    """A message with CRLF line ends as an MTA sends it: fields, the empty line, the body in pieces, the end."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    fields = [one.replace(b"\r\n", b"\n") for one in _unfolded(head)]
    split = [one.partition(b":") for one in fields]
    sent = [header(name, value if has_space else value.removeprefix(b" ")) for name, _, value in split]
    pieces = [rest[at : at + chunk] for at in range(0, len(rest), chunk)] or [b""]
    return [*sent, END_OF_HEADER, *(body(one) for one in pieces[:-1]), end(pieces[-1])]


def _unfolded(head: bytes) -> Iterable[bytes]:
    fields: list[bytes] = []
    for line in head.split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] += b"\r\n" + line
        else:
            fields.append(line)
    return fields


def answers(raw: bytes) -> list[tuple[str, bytes]]:
    """What a filter said: command and data of each packet; what is left over is an error."""
    found = []
    while raw:
        length = int.from_bytes(raw[:4], "big")
        assert len(raw) >= 4 + length > 4
        found.append((raw[4:5].decode(), raw[5 : 4 + length]))
        raw = raw[4 + length :]
    return found


class Mta:
    """Says what it is told to, hears one packet at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> Mta:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def say(self, *packets: bytes) -> None:
        self.writer.write(b"".join(packets))
        await self.writer.drain()

    async def hear(self) -> tuple[str, bytes]:
        """One answer; ("", b"") at the end."""
        async with asyncio.timeout(10):
            try:
                head = await self.reader.readexactly(4)
                found = await self.reader.readexactly(int.from_bytes(head, "big"))
            except (asyncio.IncompleteReadError, ConnectionError):
                return "", b""
        return found[:1].decode(), found[1:]

    async def hear_all(self) -> list[tuple[str, bytes]]:
        """Until a decision."""
        heard = []
        while not heard or heard[-1][0] not in ("", *"cadtyr"):
            heard.append(await self.hear())
        return heard

    async def greet(self) -> None:
        """Negotiation and a client."""
        await self.say(negotiate())
        assert (await self.hear())[0] == "O"
        await self.say(macros("C", j="mail.darban.test"), connect(), macros("H"), helo())

    async def envelope(self, *recipients: str) -> None:
        """MAIL to DATA, all accepted."""
        await self.say(macros("M"), mail())
        for one in recipients or ("<you@darban.test>",):
            await self.say(macros("R", i="4XyZ"), rcpt(one))
            assert (await self.hear())[0] == "c"
        await self.say(macros("T", i="4XyZ"), DATA)
        assert (await self.hear())[0] == "c"

    def close(self) -> None:
        self.writer.close()
