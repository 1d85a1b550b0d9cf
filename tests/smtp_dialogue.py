"""Dialogues with the SMTP listener as data: tests/cases/dialogues/<topic>.dialogue, read and held.

# why this dialogue is here
set max_recipients = 2             a setting of [smtp]
set defence.tarpit_s = 1           one of [defence]; then the client is of no trusted network
screen reza@darban.test = 550 5.1.1 no such user      what the service says about a recipient
screen MAIL sara@example.org = 450 4.7.1 later        and about a reverse-path
outcome = 451 4.3.0 later          what it says to the message; "raise" makes it fail, "reset" the client's choice
---
S: 220                             the reply must begin so; of a long reply, its last line
C: EHLO client.example             a command, sent with CRLF
S+ 250-SIZE                        one of the lines of the reply before it
C~ .\\n                             bytes as written in Python, nothing added
S: closed                          the server has closed
received: Subject: a\\r\\n\\r\\nb\\r\\n   one message that the service got, as written in Python; all of them, in order
envelope: "" -> you@darban.test    the reverse-path and recipients of the message above
manner: SMTP_NUL                   its Envelope.manner
refusal: relay trick               a reason the listener gave the service for a row in the message log; all, in order
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.settings import Defence, Smtp
from gateway.listeners import smtp
from gateway.policy.tally import Tally
from gateway.types import Client, Envelope, Outcome, Recipient, Reply

FOLDER = Path(__file__).parent / "cases" / "dialogues"
HOSTNAME = "mx.darban.test"
ACCEPTED = Reply(250, "2.0.0", "Message accepted")


@dataclass
class RecordingService:
    """The listener's Service: remembers what it was given, says what it was told to."""

    outcome: Reply | Exception = ACCEPTED
    screened: dict[str, Reply] = field(default_factory=dict)
    received: list[tuple[Envelope, bytes]] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)  # reasons of the listener's own
    doubtful: bool = False
    hold_back: asyncio.Event | None = None  # receive() waits for it
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    def admit(self, client: Client, reverse_path: str) -> Reply | None:
        return self.screened.get(f"MAIL {reverse_path}")

    async def screen(self, client: Client, reverse_path: str, recipient: Recipient) -> Reply | None:
        self.clients.append(client)
        answer = self.screened.get(recipient.address)
        if answer is not None and answer.code == 0:
            raise RuntimeError("screen")
        return answer

    async def is_doubtful(self, client_ip: str) -> bool:
        return self.doubtful

    def refused(self, client: Client, reverse_path: str, recipient: str, reply: Reply, reason: str) -> None:
        self.refusals.append(reason)

    async def receive(self, envelope: Envelope, content: bytes) -> Outcome:
        self.entered.set()
        if self.hold_back is not None:
            await self.hold_back.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        self.received.append((envelope, content))
        return Outcome(envelope.queue_id, self.outcome, (), None)


@dataclass
class Dialogue:
    """What a file says."""

    id: str
    settings: dict[str, object]
    service: RecordingService
    steps: list[tuple[str, str]]
    defence: dict[str, object] | None = None


@contextlib.asynccontextmanager
async def listening(
    service: RecordingService,
    defence: dict[str, object] | None = None,
    tally: Tally | None = None,
    **settings: object,
) -> AsyncIterator[tuple[smtp.Server, int]]:
    """The real listener on a port of its own; with `defence` nobody is trusted."""
    door = socket.create_server(("127.0.0.1", 0))
    about = () if defence is None else (Defence(**defence), ())  # type: ignore[arg-type]
    server = await smtp.serve(Smtp(**settings), HOSTNAME, service, [door], *about, tally=tally)  # type: ignore[arg-type]
    try:
        yield server, door.getsockname()[1]
    finally:
        await server.stop(2.0)


class Talker:
    """A client that says exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.last: list[str] = []

    @classmethod
    async def connect(cls, port: int) -> Talker:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def say(self, *commands: str) -> None:
        await self.send("".join(f"{command}\r\n" for command in commands).encode("utf-8", "surrogateescape"))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self) -> str:
        """The last line of one reply; "closed" at the end. Its lines stay in `last`."""
        self.last = []
        async with asyncio.timeout(10):
            while True:
                try:
                    raw = await self.reader.readline()
                except ConnectionError:
                    raw = b""
                if not raw:
                    return "closed"
                assert raw.endswith(b"\r\n") and raw.count(b"\r") == 1, raw
                text = raw.decode("ascii").rstrip("\r\n")
                self.last.append(text)
                if text[3:4] != "-":
                    return text

    async def ask(self, command: str) -> str:
        await self.say(command)
        return await self.hear()

    async def transaction(self, *recipients: str) -> None:
        """Greeting to 354."""
        await self.hear()
        await self.ask("EHLO client.example")
        await self.ask("MAIL FROM:<sara@example.org>")
        for one in recipients or ("you@darban.test",):
            await self.ask(f"RCPT TO:<{one}>")
        assert (await self.ask("DATA")).startswith("354")

    def close(self) -> None:
        self.writer.close()


def load_dialogues() -> list[Dialogue]:
    """Every file."""
    return [load_dialogue(path) for path in sorted(FOLDER.rglob("*.dialogue"))]


def load_dialogue(path: Path) -> Dialogue:
    """One file. Raises ValueError for what it does not understand."""
    head, separator, body = ("\n" + path.read_text(encoding="utf-8")).partition("\n---\n")
    if not separator:
        raise ValueError(f"{path.name}: there is no line ---")
    found = Dialogue(path.stem, {}, RecordingService(), [])
    for line in head.splitlines():
        name, equals, value = line.partition(" = ")
        if not line or line.startswith("#"):
            continue
        if not equals:
            raise ValueError(f"{path.name}: cannot read {line!r}")
        if name.startswith("set defence."):
            found.defence = {**(found.defence or {}), name[12:]: ast.literal_eval(value)}
        elif name.startswith("set "):
            found.settings[name[4:]] = ast.literal_eval(value)
        elif name.startswith("screen "):
            found.service.screened[name[7:]] = _reply(value)
        elif name == "outcome":
            found.service.outcome = RuntimeError("receive") if value == "raise" else _reply(value)
        else:
            raise ValueError(f"{path.name}: cannot read {line!r}")
    for line in body.splitlines():
        word, _, rest = line.partition(" ")
        if word in ("C:", "C~", "S:", "S+", "received:", "envelope:", "manner:", "refusal:"):
            found.steps.append((word, rest))
        elif line and not line.startswith("#"):
            raise ValueError(f"{path.name}: cannot read {line!r}")
    return found


def written(text: str) -> bytes:
    """Bytes as in Python's source: \\r, \\n, \\x00; other characters as UTF-8."""
    quoted = text.replace('"', '\\"').encode("unicode_escape").replace(b"\\\\", b"\\").decode("ascii")
    return bytes(ast.literal_eval(f'b"{quoted}"')) if text.isascii() else text.encode()


def _reply(text: str) -> Reply:
    if text == "raise":
        return Reply(0, "", "")
    code, enhanced, words = text.split(" ", 2)
    return Reply(int(code), enhanced, words)


async def hold(dialogue: Dialogue) -> None:
    """Hold the dialogue with a fresh listener; AssertionError names the step that went otherwise."""
    messages: list[bytes] = []
    envelopes: list[str] = []
    manners: list[str] = []
    refusals: list[str] = []
    async with listening(dialogue.service, dialogue.defence, **dialogue.settings) as (_, port):
        talker = await Talker.connect(port)
        for number, (word, text) in enumerate(dialogue.steps, 1):
            where = f"{dialogue.id}, step {number}: {word} {text}"
            if word == "C:":
                await talker.say(text)
            elif word == "C~":
                await talker.send(written(text))
            elif word == "S:":
                heard = await talker.hear()
                assert heard.startswith(text), f"{where}\n  heard {heard}"
            elif word == "S+":
                assert any(line.startswith(text) for line in talker.last), f"{where}\n  heard {talker.last}"
            elif word == "received:":
                messages.append(written(text))
            else:
                {"envelope:": envelopes, "manner:": manners, "refusal:": refusals}[word].append(text)
        talker.close()
    got = dialogue.service.received
    assert [content for _, content in got] == messages, f"{dialogue.id}: received {got}"
    if envelopes:
        assert [_spoken(envelope) for envelope, _ in got] == envelopes
    if manners:
        assert [" ".join(envelope.manner) for envelope, _ in got] == manners
    if refusals:
        assert dialogue.service.refusals == refusals


def _spoken(envelope: Envelope) -> str:
    flags = [
        word for word, is_set in (("8BITMIME", envelope.is_8bitmime), ("SMTPUTF8", envelope.is_smtputf8)) if is_set
    ]
    recipients = " ".join(one.address for one in envelope.recipients)
    return " ".join((f"<{envelope.reverse_path}> -> {recipients}", envelope.client.protocol, *flags))
