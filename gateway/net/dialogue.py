"""A dialogue with a server behind us, as the client: SMTP (RFC 5321) or LMTP (RFC 2033), no policy.

Commands go out together where the server offers PIPELINING (RFC 2920): a write wakes the other side, and that is most
of what relaying costs. Replies are taken strictly in step. One that nobody asked for, or that makes no sense, ends the
dialogue, so that no reply is ever taken for the answer to something else.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, cast

from gateway.mail.edit import to_crlf


class ClientTls(Protocol):
    """How a server's certificate is looked at."""

    @property
    def context(self) -> ssl.SSLContext:
        """With what is verified by OpenSSL."""

    @property
    def name(self) -> str:
        """The server's, for SNI and where the context verifies names; "" for none."""

    def mismatch(self, established: ssl.SSLObject) -> str:
        """What speaks against a server whose handshake succeeded, "" when nothing does."""


_MAX_LINE = 4096  # RFC 5321 §4.5.3.1.5 says 512
_MAX_LINES = 200


class Answer(NamedTuple):
    """A reply as it came."""

    code: int
    lines: tuple[str, ...]

    @property
    def is_positive(self) -> bool:
        """2xx."""
        return self.code // 100 == 2


class Dialogue(asyncio.Protocol):
    """One connection. Nothing here raises for what the server does: `is_open` and `fault` tell."""

    def __init__(self) -> None:
        self.offers: dict[str, str] = {}  # EHLO keyword, upper-case -> its parameters
        self.is_open = False
        self.is_encrypted = False
        self.greeting = ""  # the words behind 220
        self.fault = ""  # why it ended
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._answers: list[Answer] = []
        self._wanted = 0
        self._waiting: asyncio.Future[None] | None = None

    # --- as a protocol ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The greeting is what is waited for first."""
        self._transport = cast(asyncio.Transport, transport)
        self.is_open, self._wanted = True, 1

    def data_received(self, data: bytes) -> None:
        """Lines of replies."""
        self._buffer += data
        while self.is_open and (end := self._buffer.find(b"\n")) >= 0:
            line = self._buffer[:end].decode("utf-8", "replace").rstrip("\r")
            del self._buffer[: end + 1]
            self._take(line)
        if len(self._buffer) > _MAX_LINE:
            self.end("a reply line without an end")

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits hears of it."""
        self.end(f"closed: {exc}" if exc else "closed by the server")

    def _take(self, line: str) -> None:
        if not (line[:3].isdecimal() and line[:3].isascii() and line[3:4] in ("", " ", "-")):
            self.end("a reply without a code")
            return
        self._lines.append(line[4:])
        if line[3:4] == "-":
            if len(self._lines) > _MAX_LINES:
                self.end("a reply without an end")
            return
        if len(self._answers) >= self._wanted:
            self.end(f"a reply nobody asked for: {line[:100]}")
            return
        self._answers.append(Answer(int(line[:3]), tuple(self._lines)))
        self._lines.clear()
        if self._answers[-1].code == 421:  # it closes now (RFC 5321 §3.8)
            self.end(line[:100])
        elif len(self._answers) == self._wanted:
            self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def end(self, why: str) -> None:
        """Close without a word."""
        if self.is_open:
            self.is_open, self.fault = False, why
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    # --- speaking -----------------------------------------------------------------------------------------------------

    async def ask(self, said: bytes, replies: int, within_s: float) -> list[Answer]:
        """Say this and take so many replies; fewer when the dialogue ends before, at the latest after within_s."""
        if not self.is_open or self._transport is None:
            return []
        loop = asyncio.get_running_loop()
        self._answers, self._wanted = ([], replies) if said else (self._answers, self._wanted)
        if said:
            self._transport.write(said)
        if len(self._answers) < self._wanted:
            self._waiting = loop.create_future()
            timer = loop.call_later(within_s, self.end, f"no reply within {within_s:g} s")
            try:
                await self._waiting
            except BaseException:
                self.end("given up")  # its replies would come out of step
                raise
            finally:
                timer.cancel()
                self._waiting = None
        return self._answers

    async def command(self, line: str, within_s: float) -> Answer | None:
        """One command; None when the dialogue ended instead of a reply."""
        answers = await self.ask(line.encode("utf-8") + b"\r\n", 1, within_s)
        return answers[0] if answers else None

    async def commands(
        self, lines: Sequence[str], within_s: float, goes_on: Callable[[Sequence[Answer]], bool]
    ) -> list[Answer]:
        """Several together where that is offered, else one by one while `goes_on` says so of the answers before."""
        if "PIPELINING" in self.offers:
            return list(await self.ask("".join(f"{line}\r\n" for line in lines).encode("utf-8"), len(lines), within_s))
        answers: list[Answer] = []
        for line in lines:
            if answers and not goes_on(answers):
                break
            answer = await self.command(line, within_s)
            if answer is None:
                break
            answers.append(answer)
        return answers

    async def begin(self, verb: str, hostname: str, within_s: float) -> bool:
        """Greeting and EHLO (or LHLO); HELO where EHLO is not known. Whether both were positive."""
        greeting = await self.ask(b"", 1, within_s)
        if not greeting or greeting[0].code != 220:
            self._refused("greeted with", greeting[0] if greeting else None)
            return False
        self.greeting = greeting[0].lines[0]
        return await self._introduce(verb, hostname, within_s)

    def preface(self, said: bytes) -> None:
        """What stands before the dialogue: no reply is waited for."""
        if self._transport is not None:
            self._transport.write(said)

    async def start_tls(
        self,
        tls: ClientTls,
        verb: str,
        hostname: str,
        within_s: float,
    ) -> bool:
        """STARTTLS and what is offered under it (RFC 3207). Whether the dialogue is encrypted now."""
        answer = await self.command("STARTTLS", within_s)
        if answer is None or answer.code != 220 or self._transport is None:
            self._refused("STARTTLS answered with", answer)
            return False
        if self._buffer:  # what came in the clear must not be read as if it came under TLS
            self.end("more than one reply to STARTTLS")
            return False
        self._wanted = 0
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(
                self._transport,
                self,
                tls.context,
                server_hostname=tls.name or None,
                ssl_handshake_timeout=within_s,
            )
        except (OSError, ssl.SSLError, ValueError) as error:  # ValueError: a name that no certificate can have
            self.end(f"TLS: {error}"[:200])
            return False
        if transport is None:
            self.end("TLS: closed")
            return False
        wrong = tls.mismatch(transport.get_extra_info("ssl_object"))
        if wrong:
            self.end(f"TLS: {wrong}"[:200])
            return False
        self._transport, self.is_encrypted = transport, True
        return await self._introduce(verb, hostname, within_s)

    async def _introduce(self, verb: str, hostname: str, within_s: float) -> bool:
        self.offers = {}
        answer = await self.command(f"{verb} {hostname}", within_s)
        if answer is not None and answer.code == 250:
            self._learn(answer)
            return True
        if answer is not None and verb == "EHLO" and answer.code in (500, 501, 502, 504):
            answer = await self.command(f"HELO {hostname}", within_s)
            if answer is not None and answer.code == 250:
                return True
        self._refused(f"{verb} answered with", answer)
        return False

    def _learn(self, answer: Answer) -> None:
        words = (line.partition(" ") for line in answer.lines[1:])
        self.offers = {word.upper(): parameters for word, _, parameters in words}

    def _refused(self, what: str, answer: Answer | None) -> None:
        self.end(f"{what} {answer.code} {' '.join(answer.lines)[:100]}" if answer else self.fault)

    async def speak_for(self, xclient: str, verb: str, helo: str, within_s: float) -> Answer | None:
        """XCLIENT: from here on the server sees another client, and the dialogue begins anew in that one's name.

        None when it does; else what was answered. The dialogue goes on where XCLIENT alone was refused.
        """
        answer = await self.command(xclient, within_s)
        if answer is not None and answer.code == 220:
            answer = await self.command(f"{verb} {helo}", within_s)
            if answer is not None and answer.code == 250:
                self._learn(answer)
                return None
        elif answer is not None and answer.code // 100 == 5:
            self.offers.pop("XCLIENT", None)
            return answer
        self._refused("XCLIENT answered with", answer)
        return answer or Answer(451, ("4.4.2 The next hop broke the dialogue",))

    async def log_in(self, user: str, password: str, within_s: float) -> bool:
        """AUTH (RFC 4954) by PLAIN (RFC 4616), or LOGIN where only that is offered. Whether we are let in."""
        offered = self.offers.get("AUTH", "").upper().split()
        words = [user, password] if "PLAIN" not in offered and "LOGIN" in offered else [f"\0{user}\0{password}"]
        coded = [b64encode(word.encode("utf-8")).decode("ascii") for word in words]
        lines = [f"AUTH PLAIN {coded[0]}"] if len(coded) == 1 else ["AUTH LOGIN", *coded]
        answer = None
        for number, line in enumerate(lines, 1):
            answer = await self.command(line, within_s)
            if answer is None or answer.code != (235 if number == len(lines) else 334):
                self._refused("AUTH answered with", answer)
                return False
        return True

    async def send(self, content: bytes, replies: int, within_s: float) -> list[Answer]:
        """The content after a 354, dots stuffed, line ends CRLF; and so many replies to its end."""
        return list(await self.ask(_stuffed(content), replies, within_s))

    async def leave(self, within_s: float) -> None:
        """QUIT."""
        if self.is_open:
            await self.command("QUIT", within_s)
        self.end("")


def _stuffed(content: bytes) -> bytes:
    """RFC 5321 §4.5.2, with the end."""
    content = to_crlf(content)
    end = b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n"
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", b"\r\n..")
    return b"".join((b"." if content.startswith(b".") else b"", content, end))
