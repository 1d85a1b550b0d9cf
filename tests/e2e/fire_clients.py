"""Servers that send to us in the fault test: they behave as real ones do.

They try again after 4xx and after a connection that was lost, and give up after 5xx. Several messages in a session,
several recipients, pipelining or not. Now and then one goes away in the middle of a message, or after the last dot.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from tests.e2e.fire_account import Attempt

_ANSWER_S = 40.0  # RFC 5321 §4.5.3.2 says minutes; longer than any of the gateway's own limits in this test
_TRIES = 60
_LINES = (
    b"Please find the minutes of yesterday's meeting below.",
    b"The invoice was paid on Monday, thank you.",
    "سلام، گزارش هفتگی پیوست است.".encode(),
    b".",
    b"..",
    b". a line that begins with a dot",
    b"Could you call me back about the order?",
    b"",
)
# who gets it, and how often
_KINDS: tuple[tuple[int, str], ...] = (
    (30, "a"), (9, "b"), (9, "l"), (6, "m"), (15, "h"), (7, "p"), (4, "a a a"), (4, "l l l"), (4, "h h"), (6, "a b"),
    (4, "a h"), (2, "a l"), (2, "l p"), (3, "a b h l m"), (1, "later@a"), (2, "a later@a"), (2, "a unknown@a"), (1, "r"),
    (1, "a r"),
)  # fmt: skip


@dataclass
class Mail:
    """One message, and for whom it still has to be sent."""

    number: int
    recipients: list[str]
    seed: str
    tries: int = 0
    open: set[str] = field(default_factory=set)

    def content(self) -> bytes:
        """The same at every try."""
        chance = random.Random(self.seed)
        size = int(
            10
            ** chance.choices(
                (chance.uniform(2.2, 3.6), chance.uniform(3.6, 4.5), chance.uniform(4.5, 6.2)), (70, 28, 2)
            )[0]
        )
        body = b""
        while len(body) < size:
            body += b"\r\n".join(chance.choices(_LINES, k=min(60, 1 + (size - len(body)) // 30))) + b"\r\n"
        head = (
            f"From: Sara <sara@sender.example>\r\nTo: {self.recipients[0]}\r\nSubject: fire {self.number}\r\n"
            f"Message-ID: <{self.seed}.{self.number}@sender.example>\r\nDate: Fri, 27 Nov 2026 08:00:00 +0000\r\n"
            f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
            f"X-Fire: {self.number}\r\nX-Fire-Digest: {sha256(body).hexdigest()[:16]}\r\n\r\n"
        )
        return head.encode() + body


def make_mail(number: int, seed: int, chance: random.Random) -> Mail:
    """One of the kinds."""
    kind = chance.choices([one for _, one in _KINDS], [weight for weight, _ in _KINDS])[0]
    recipients = []
    for place, one in enumerate(kind.split()):
        name, _, hop = one.rpartition("@")
        who = f"{name or 'u'}{(number * 7 + place) % 97}" if hop != "p" else "you"
        recipients.append(f"{who}@{hop}.test")
    return Mail(number, recipients, f"{seed}-{number}", open=set(recipients))


class _Lost(Exception):
    """No answer."""


class Clients:
    """`run` ends when they are closed and every message is settled; `supply` says how many may have been begun."""

    def __init__(
        self,
        door: str,
        port: int,
        messages: int,
        seed: int,
        supply: Callable[[], float],
        parallel: int,
        counts: tuple[Iterator[int], Iterator[int]],
    ) -> None:
        """`counts` number messages and sessions, here and elsewhere."""
        self._door, self._port, self._parallel = door, port, parallel
        self.messages, self._seed, self._supply = messages, seed, supply
        self.is_closed = False  # no more will be asked for
        self._chance = random.Random(f"clients {seed} {door}")
        self._numbers, self._sessions = counts
        self._due: list[tuple[float, int, Mail]] = []
        self._begun = self._settled = 0
        self.attempts: list[Attempt] = []
        self.after_dot = 0  # messages whose answer is waited for now
        self.refused_connections = 0

    @property
    def settled(self) -> int:
        """Messages of which the client has nothing left to do."""
        return self._settled

    async def run(self) -> None:
        """All of them."""
        await asyncio.gather(*(self._client() for _ in range(self._parallel)))

    async def _client(self) -> None:
        while not self.is_closed or self._settled < self.messages:
            batch = self._next(self._chance.choice((1, 1, 1, 2, 3, 6)))
            if not batch:
                await asyncio.sleep(0.05)
                continue
            await self._session(batch)
            for mail in batch:
                self._again_or_done(mail)

    def _next(self, most: int) -> list[Mail]:
        batch: list[Mail] = []
        while len(batch) < most:
            if self._due and self._due[0][0] <= time.monotonic():
                batch.append(heapq.heappop(self._due)[2])
            elif self._begun < min(self.messages, self._supply()):
                self._begun += 1
                batch.append(make_mail(next(self._numbers), self._seed, self._chance))
            else:
                break
        return batch

    def _again_or_done(self, mail: Mail) -> None:
        if not mail.open or mail.tries >= _TRIES:
            self._settled += 1
            return
        pause = min(0.3 * 1.5**mail.tries, 4.0) * self._chance.uniform(0.5, 1.5)
        heapq.heappush(self._due, (time.monotonic() + pause, mail.number, mail))

    async def _session(self, batch: list[Mail]) -> None:
        session = next(self._sessions)
        try:
            async with asyncio.timeout(_ANSWER_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except (OSError, TimeoutError):
            self.refused_connections += 1
            for mail in batch:
                mail.tries += 0.25  # a host that cannot be reached uses up less of a client's patience
            return
        one = _Dialogue(reader, writer)
        try:
            code, _ = await one.answer()
            if code == 220 and (await one.command(f"EHLO s{session}.fire.test"))[0] == 250:
                for mail in batch:
                    await self._send(one, mail, session)
                one.say("QUIT")
                await writer.drain()
        except (_Lost, OSError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()

    async def _send(self, one: _Dialogue, mail: Mail, session: int) -> None:
        mail.tries += 1
        begun, replies, outcome, queue_id = time.time(), {}, "before", ""
        recipients = sorted(mail.open)
        content = mail.content()
        try:
            codes = await self._envelope(one, mail, recipients, len(content))
            replies |= dict(zip(recipients, codes[1:-1], strict=True))
            if codes[-1] == 354:
                outcome, queue_id = await self._content(one, content, replies)
        except BaseException:
            if one.said_dot:
                outcome = "vanished" if one.is_vanished else "after"
            raise
        finally:
            attempt = Attempt(mail.number, session, begun, time.time(), replies, outcome, queue_id, self._door)
            if replies:
                self.attempts.append(attempt)
            mail.open -= {to for to in recipients if attempt.code(to) // 100 in (2, 5)}
            one.said_dot = False
        if outcome == "421":
            raise _Lost

    async def _envelope(self, one: _Dialogue, mail: Mail, recipients: list[str], size: int) -> list[int]:
        """The codes of MAIL, each RCPT, DATA. A refused MAIL's stands for each RCPT's too; 0 where DATA was not said."""
        lines = [
            f"MAIL FROM:<bounce{mail.number}@sender.example> BODY=8BITMIME SIZE={size}",
            *(f"RCPT TO:<{to}>" for to in recipients),
            "DATA",
        ]
        if self._chance.random() < 0.6:
            one.say(*lines)
            codes = [(await one.answer())[0] for _ in lines]
            if codes[-1] != 354:
                await one.command("RSET")
            return codes if codes[0] == 250 else [codes[0]] * len(lines)
        codes = []
        for line in lines[:-1]:
            codes.append((await one.command(line))[0])
            if codes[0] != 250:
                return [*codes * (len(lines) - 1), 0]
        if not any(code == 250 for code in codes[1:]):
            await one.command("RSET")
            return [*codes, 0]
        codes.append((await one.command("DATA"))[0])
        if codes[-1] != 354:
            await one.command("RSET")
        return codes

    async def _content(self, one: _Dialogue, content: bytes, replies: dict[str, int]) -> tuple[str, str]:
        if not any(code == 250 for code in replies.values()):
            raise _Lost  # RFC 2920 §3.1: 354 for nobody; hang up
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        chance = self._chance.random()
        if chance < 0.006:
            one.writer.write(stuffed[: len(stuffed) // 2])
            await one.writer.drain()
            one.writer.transport.abort()
            raise _Lost
        for start in range(0, len(stuffed), 1 << 15):
            one.writer.write(stuffed[start : start + (1 << 15)])
            await one.writer.drain()
        one.said_dot = True
        one.writer.write(b".\r\n")
        self.after_dot += 1
        try:
            await one.writer.drain()
            if chance > 0.985:
                one.is_vanished = True
                await asyncio.sleep(self._chance.choice((0, 0.002, 0.02)))
                one.writer.transport.abort() if chance > 0.992 else one.writer.close()
                raise _Lost
            code, text = await one.answer()
        finally:
            self.after_dot -= 1
        named = re.search(r"\((\w{14})\)$", text)
        return str(code), named[1] if named else ""


class _Dialogue:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.said_dot = self.is_vanished = False

    def say(self, *lines: str) -> None:
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())

    async def command(self, line: str) -> tuple[int, str]:
        self.say(line)
        return await self.answer()

    async def answer(self) -> tuple[int, str]:
        """Raises _Lost for none, OSError."""
        await self.writer.drain()
        try:
            async with asyncio.timeout(_ANSWER_S):
                line = await self.reader.readline()
                while line[3:4] == b"-":
                    line = await self.reader.readline()
        except (TimeoutError, ValueError):
            raise _Lost from None
        if not line.endswith(b"\r\n"):
            raise _Lost
        if line.startswith(b"421") and not self.said_dot:
            raise _Lost
        return int(line[:3]), line[4:].decode().strip()
