"""Handing over by SMTP (RFC 5321) or LMTP (RFC 2033, a reply for each recipient); connections are kept. Implements
ports.NextHop.

A connection that was kept may have been closed by the next hop meanwhile: then the transaction begins again on a
fresh one, once, and only while no content was sent. After the final dot nothing is ever repeated here: a lost reply is
a 451, and the client decides. STARTTLS is used where it is offered, its certificate not verified: the next hop is
named by the admin, and plain text would be the alternative. 8-bit content is sent as it is to a next hop that does not
announce 8BITMIME: every server in use takes it, and converting would break signatures.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from gateway.net.dialogue import Answer, Dialogue
from gateway.types import Envelope, Recipient, Reply

_CONNECT_S = 15.0
_COMMAND_S = 60.0
_DATA_S = 300.0
_QUIT_S = 2.0
_IDLE_S = 20.0
_MAX_IDLE = 20
_MAX_USES = 100

UNREACHABLE = Reply(451, "4.4.1", "The next hop cannot be reached now")
BROKEN = Reply(451, "4.4.2", "The next hop broke the dialogue")
NEEDS_SMTPUTF8 = Reply(550, "5.6.7", "The next hop does not take internationalized addresses")
NOT_VERIFIED = Reply(250, "2.1.5", "The next hop does not tell")

_OF_THE_DIALOGUE = frozenset((500, 502, 503, 504, 530, 534, 535, 538, 555))

log = structlog.get_logger("darban.next_hop")

Connect = Callable[[Callable[[], Dialogue]], Awaitable[tuple[Any, Dialogue]]]  # a loop's create_connection, bound


class SmtpNextHop:
    """One server behind us."""

    def __init__(self, name: str, connect: Connect, hostname: str, *, is_lmtp: bool = False) -> None:
        self._name, self._connect, self._hostname = name, connect, hostname
        self._verb = "LHLO" if is_lmtp else "EHLO"
        self._kept: list[_Kept] = []

    async def verify(self, recipient: Recipient) -> Reply:
        """MAIL, RCPT, RSET; nothing is sent."""
        return (await self._transact(_Transaction("", [recipient], _utf8([recipient]))))[recipient.address]

    async def deliver(self, envelope: Envelope, content: bytes, recipients: Sequence[Recipient]) -> Mapping[str, Reply]:
        """One transaction."""
        wanted = {"SIZE": str(len(content))}
        if envelope.is_8bitmime:
            wanted["BODY"] = "8BITMIME"
        if envelope.is_smtputf8:
            wanted["SMTPUTF8"] = ""
        one = _Transaction(envelope.reverse_path, recipients, wanted, content, self._verb == "LHLO", envelope.queue_id)
        return await self._transact(one)

    async def close(self) -> None:
        """Give up what is kept."""
        kept, self._kept = self._kept, []
        for one in kept:
            await one.dialogue.leave(_QUIT_S)

    async def _transact(self, wanted: _Transaction) -> dict[str, Reply]:
        while True:
            kept = await self._ready()
            if kept is None:
                return wanted.all(UNREACHABLE)
            was_used = kept.uses > 0
            replies = await wanted.over(kept.dialogue)
            if replies is None and was_used:  # closed while it was kept: a fresh one is tried
                continue
            if not kept.dialogue.is_open:
                self._tell(wanted.step, kept.dialogue.fault, wanted.queue_id)
            await self._keep(kept)
            return wanted.all(BROKEN) if replies is None else replies

    async def _ready(self) -> _Kept | None:
        while self._kept:
            kept = self._kept.pop()
            if kept.is_fresh_enough():
                return kept
            await kept.dialogue.leave(_QUIT_S)
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, dialogue = await self._connect(Dialogue)
        except (OSError, TimeoutError) as error:
            self._tell("connect", repr(error)[:200])
            return None
        if await dialogue.begin(self._verb, self._hostname, _COMMAND_S) and "STARTTLS" in dialogue.offers:
            await dialogue.start_tls(_UNVERIFIED, self._hostname, self._verb, self._hostname, _COMMAND_S)
        return _Kept(dialogue)  # one that was not begun well has a fault to tell

    async def _keep(self, kept: _Kept) -> None:
        kept.uses += 1
        kept.idle_since = time.monotonic()
        if kept.dialogue.is_open and len(self._kept) < _MAX_IDLE:
            self._kept.append(kept)
        else:
            await kept.dialogue.leave(_QUIT_S)

    def _tell(self, step: str, error: str, queue_id: str = "") -> None:
        log.warning("next hop fault", next_hop=self._name, step=step, queue_id=queue_id, error=error)


class _Kept:
    """A connection between transactions."""

    def __init__(self, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.uses = 0
        self.idle_since = time.monotonic()

    def is_fresh_enough(self) -> bool:
        """Whether it is worth trying."""
        return self.dialogue.is_open and self.uses < _MAX_USES and time.monotonic() - self.idle_since < _IDLE_S


class _Transaction:
    """One message, or with content None the question whether a recipient would be taken."""

    def __init__(
        self,
        reverse_path: str,
        recipients: Sequence[Recipient],
        wanted: Mapping[str, str],
        content: bytes | None = None,
        is_lmtp: bool = False,
        queue_id: str = "",
    ) -> None:
        self._reverse_path = reverse_path
        self._recipients = recipients
        self._wanted = wanted  # parameters of MAIL, where they are offered
        self._content = content
        self._is_lmtp = is_lmtp
        self.queue_id = queue_id
        self.step = "mail"

    def all(self, reply: Reply) -> dict[str, Reply]:
        """The same for each recipient."""
        return {one.address: reply for one in self._recipients}

    async def over(self, dialogue: Dialogue) -> dict[str, Reply] | None:
        """A reply for each recipient; None when the dialogue ended before anything was said or sent."""
        is_utf8 = "SMTPUTF8" in dialogue.offers
        if not is_utf8 and not self._reverse_path.isascii():
            return self.all(NEEDS_SMTPUTF8)
        replies = {} if is_utf8 else {one.address: NEEDS_SMTPUTF8 for one in self._recipients if not _is_ascii(one)}
        asked = [one for one in self._recipients if one.address not in replies]
        if not asked:
            return replies
        commands = [
            f"MAIL FROM:<{self._reverse_path}>{self._parameters(dialogue)}",
            *(f"RCPT TO:<{' '.join((f'{one.address}>', *one.parameters))}" for one in asked),
            "RSET" if self._content is None else "DATA",
        ]
        answers = await dialogue.commands(commands, _COMMAND_S, _goes_on)
        if not answers or answers[0].code == 421:
            return None
        if any(answer.code // 100 == 3 for answer in answers[: len(commands) - 1]):
            dialogue.end("out of step: 3xx before DATA")
            return self.all(BROKEN)
        if not answers[0].is_positive:
            replies |= dict.fromkeys((one.address for one in asked), self._about_sender(answers[0]))
        else:
            self.step = "rcpt"
            for one, answer in zip(asked, answers[1:], strict=False):
                replies[one.address] = as_reply(answer)
        last = answers[len(commands) - 1] if len(answers) == len(commands) else None
        if self._content is not None:
            await self._hand_over(dialogue, self._content, last, replies)
        elif last is None and dialogue.is_open:
            await dialogue.command("RSET", _COMMAND_S)  # one that hangs up now has answered all the same
        return self.all(BROKEN) | replies

    async def _hand_over(
        self, dialogue: Dialogue, content: bytes, start: Answer | None, replies: dict[str, Reply]
    ) -> None:
        """`replies` holds those to RCPT; afterwards those to the end of the content."""
        taken = [address for address, reply in replies.items() if reply.code // 100 == 2]
        self.step = "data"
        if start is not None and start.code == 354 and taken:
            replies |= dict.fromkeys(taken, BROKEN)
            answers = await dialogue.send(content, len(taken) if self._is_lmtp else 1, _DATA_S)
            for address, answer in zip(taken, answers if self._is_lmtp else answers * len(taken), strict=False):
                replies[address] = as_reply(answer)
            return
        replies |= dict.fromkeys(taken, BROKEN if start is None else refusal(as_reply(start)))
        if start is not None and start.code in (250, 354):  # 354 with nobody to take it: nothing ends it but this
            dialogue.end(f"out of step: {start.code} to DATA")
        elif dialogue.is_open:
            await dialogue.command("RSET", _COMMAND_S)

    def _about_sender(self, answer: Answer) -> Reply:
        reply = as_reply(answer)
        if self._content is not None:
            return refusal(reply)
        # the null reverse-path refused for good says nothing of a recipient: the message itself will have to tell
        return NOT_VERIFIED if reply.code // 100 == 5 else reply

    def _parameters(self, dialogue: Dialogue) -> str:
        offered = {name for name in self._wanted if ("8BITMIME" if name == "BODY" else name) in dialogue.offers}
        return "".join(
            f" {name}={value}" if value else f" {name}" for name, value in self._wanted.items() if name in offered
        )


def _goes_on(answers: Sequence[Answer]) -> bool:
    """One by one: nothing after a MAIL that was refused."""
    return answers[0].is_positive


def _is_ascii(recipient: Recipient) -> bool:
    return recipient.address.isascii()


def _utf8(recipients: Sequence[Recipient]) -> dict[str, str]:
    return {} if all(map(_is_ascii, recipients)) else {"SMTPUTF8": ""}


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


_UNVERIFIED = _unverified()


def as_reply(answer: Answer) -> Reply:
    """The next hop's words as a Reply of ours; its enhanced code where it gave one.

    A 5xx that complains about the dialogue and not about the message or its addresses (a missing STARTTLS or AUTH, an
    unknown command or parameter) is a fault between us and the next hop: 451, or a misconfiguration would bounce mail.
    What is no final reply is one out of step: 451 too.
    """
    first = " ".join(answer.lines).strip()
    if answer.code in _OF_THE_DIALOGUE or not 200 <= answer.code <= 599:
        return Reply(451, "4.3.5", f"next hop: {answer.code} {first}"[:300])
    if answer.code // 100 == 3:
        return BROKEN
    word, _, rest = first.partition(" ")
    parts = word.split(".")
    if len(parts) == 3 and all(part.isdigit() for part in parts):
        return Reply(answer.code, word, rest[:300])
    return Reply(answer.code, f"{answer.code // 100}.0.0", first[:300])


def refusal(reply: Reply) -> Reply:
    """What stands where only a refusal can: a 2xx there is no custody, but a dialogue out of step."""
    return reply if reply.code // 100 in (4, 5) else BROKEN
