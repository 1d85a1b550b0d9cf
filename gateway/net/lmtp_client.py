"""Delivery over LMTP (RFC 2033), by TCP or a unix socket: a reply for each recipient after the dot."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import structlog

from gateway.mail.edit import to_crlf
from gateway.net.smtp_client import (
    BROKEN,
    NEEDS_SMTPUTF8,
    OFFERS,
    UNREACHABLE,
    about_recipient,
    as_reply,
    options_of,
    refusal,
)
from gateway.types import Envelope, Recipient, Reply

_CONNECT_S = 15.0
_COMMAND_S = 60.0
_DATA_S = 300.0
_MAX_LINES = 200

log = structlog.get_logger("darban.next_hop")

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class LmtpNextHop:
    """One server behind us. A connection for each message: an LMTP server is near."""

    def __init__(self, name: str, connect: Callable[[], Awaitable[Streams]], hostname: str) -> None:
        self._name, self._connect, self._hostname = name, connect, hostname

    async def verify(self, recipient: Recipient) -> Reply:
        """MAIL, RCPT, QUIT; nothing is sent."""
        try:
            async with self._dialogue() as dialogue:
                sender = await dialogue.sender(
                    "", dialogue.options([] if recipient.address.isascii() else ["SMTPUTF8"])
                )
                if sender.code // 100 != 2:
                    return about_recipient(sender)
                return await dialogue.recipient(recipient)
        except (OSError, TimeoutError, ValueError) as error:
            return self._fault("verify", error)

    async def deliver(self, envelope: Envelope, content: bytes, recipients: Sequence[Recipient]) -> Mapping[str, Reply]:
        """One transaction; what was answered before a fault stays answered."""
        replies: dict[str, Reply] = {}
        try:
            async with self._dialogue() as dialogue:
                await dialogue.transact(envelope, content, recipients, replies)
        except (OSError, TimeoutError, ValueError) as error:
            fault = self._fault("deliver", error)
            replies = {one.address: replies.get(one.address, fault) for one in recipients}
        return replies

    async def close(self) -> None:
        """Nothing is kept."""

    @contextlib.asynccontextmanager
    async def _dialogue(self) -> AsyncIterator[_Dialogue]:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await self._connect()
        dialogue = _Dialogue(reader, writer)
        try:
            await dialogue.begin(self._hostname)
            yield dialogue
            writer.write(b"QUIT\r\n")
        finally:
            writer.close()

    def _fault(self, step: str, error: BaseException) -> Reply:
        log.warning("next hop fault", next_hop=self._name, step=step, error=repr(error)[:200])
        return UNREACHABLE if isinstance(error, ConnectionRefusedError | FileNotFoundError | TimeoutError) else BROKEN


class _Dialogue:
    """Commands and replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._offers: set[str] = set()

    async def begin(self, hostname: str) -> None:
        """Greeting and LHLO. Raises ConnectionError when either is refused."""
        greeting, _ = await self._read(_COMMAND_S)
        self._writer.write(f"LHLO {hostname}\r\n".encode())
        reply, lines = await self._read(_COMMAND_S)
        if greeting.code != 220 or reply.code != 250:
            raise ConnectionError(f"greeted with {greeting.code} {reply.code}")
        self._offers = {one.split()[0].upper() for one in lines if one}

    async def ask(self, command: str) -> Reply:
        """One command, its reply."""
        async with asyncio.timeout(_COMMAND_S):
            self._writer.write(command.encode("utf-8") + b"\r\n")
            await self._writer.drain()
        return (await self._read(_COMMAND_S))[0]

    async def sender(self, reverse_path: str, options: str) -> Reply:
        """MAIL, with options that the server offers."""
        if not reverse_path.isascii() and "SMTPUTF8" not in self._offers:
            return NEEDS_SMTPUTF8
        return await self.ask(f"MAIL FROM:<{reverse_path}>{options}")

    async def recipient(self, recipient: Recipient) -> Reply:
        """RCPT."""
        if not recipient.address.isascii() and "SMTPUTF8" not in self._offers:
            return NEEDS_SMTPUTF8
        return await self.ask(f"RCPT TO:<{recipient.address}>")

    async def transact(
        self, envelope: Envelope, content: bytes, recipients: Sequence[Recipient], replies: dict[str, Reply]
    ) -> None:
        """The whole transaction; `replies` is filled as answers come."""
        sender = await self.sender(envelope.reverse_path, self.options(options_of(envelope, len(content))))
        if sender.code // 100 != 2:
            replies.update({one.address: refusal(sender) for one in recipients})
            return
        taken = []
        for one in recipients:
            reply = await self.recipient(one)
            if reply.code // 100 == 2:
                taken.append(one)
            else:
                replies[one.address] = reply
        if not taken:
            return
        start = await self.ask("DATA")
        if start.code != 354:
            replies.update({one.address: refusal(start) for one in taken})
            return
        async with asyncio.timeout(_DATA_S):  # one that reads no more must not hold the message for ever
            self._writer.write(_stuffed(content))
            await self._writer.drain()
        for one in taken:  # RFC 2033 §4.2: in the order of the accepted recipients
            replies[one.address] = (await self._read(_DATA_S))[0]

    def options(self, wanted: Sequence[str]) -> str:
        """Those of MAIL's options that the server offers."""
        return "".join(f" {one}" for one in wanted if OFFERS[one.partition("=")[0]] in self._offers)

    async def _read(self, timeout_s: float) -> tuple[Reply, list[str]]:
        lines: list[str] = []
        async with asyncio.timeout(timeout_s):
            while len(lines) < _MAX_LINES:
                raw = await self._reader.readline()
                if not raw.endswith(b"\n"):
                    raise ConnectionResetError("closed in the middle of a reply")
                text = raw.decode("utf-8", "replace").rstrip("\r\n")
                if not text[:3].isdigit():
                    raise ValueError("a reply without a code")
                lines.append(text[4:])
                if text[3:4] != "-":
                    return as_reply(int(text[:3]), lines[-1]), lines
        raise ValueError("a reply without an end")


def _stuffed(content: bytes) -> bytes:
    content = to_crlf(content)
    content = content if content.endswith(b"\r\n") else content + b"\r\n"
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return (b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n"
