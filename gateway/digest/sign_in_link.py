"""Links that sign in, mailed to whoever asks at the door: through the next hop of the address, as digests are.

Whoever asks hears the same whether there is such a mailbox or not, at once: what he asked for waits here. So many a
mailbox gets in an hour, whoever asks; what fails is not tried again, as he asks again. Cost: one question to the next
hop, one commit and one delivery a letter.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from gateway.digest.message import Sender, envelope_of, write_message
from gateway.errors import DarbanError, InputError
from gateway.mail.address import domain_of
from gateway.mail.route import next_hop_of
from gateway.policy.sender_form import sender_recipient
from gateway.policy.token_bucket import TokenBuckets
from gateway.ports import NextHop, PolicySource
from gateway.types import DigestLetter, LinkContent, NextHopUrls, Recipient, Reply

_OF_A_MAILBOX = 3  # letters an hour
_HOUR_S = 3600.0
_WAITING = 200
_AT_ONCE = 4

log = structlog.get_logger("darban.sign_in_link")


class Asked(NamedTuple):
    """Somebody wants a link."""

    address: str  # as he typed it
    language: str
    client_ip: str


class LinkMailer:
    """Composed in gateway/app."""

    def __init__(
        self,
        *,
        link_for: Callable[[str], str | None],
        policies: PolicySource,
        next_hop: Callable[[NextHopUrls], NextHop],
        write: Callable[[LinkContent], DigestLetter],
        record: Callable[[str, str], object],
        sender: Sender,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`link_for` is SignIn's, `write` web/letter.py's; `record` writes (address, client) into the audit log."""
        self._link_for = link_for
        self._policies = policies
        self._next_hop = next_hop
        self._write = write
        self._record = record
        self._sender = sender
        self._now = now
        self._waiting: asyncio.Queue[Asked] = asyncio.Queue(_WAITING)
        self._buckets = TokenBuckets(_OF_A_MAILBOX, _HOUR_S, now)

    def ask(self, address: str, language: str, client_ip: str) -> None:
        """Never waits and says nothing of the address. Inside the loop."""
        try:
            self._waiting.put_nowait(Asked(address, language, client_ip))
        except asyncio.QueueFull:
            log.warning("sign-in link not sent", result="too many wait", client=client_ip)

    async def run(self) -> None:
        """For ever."""
        await asyncio.gather(*(self._work() for _ in range(_AT_ONCE)))

    async def _work(self) -> None:
        while True:
            asked = await self._waiting.get()
            try:
                said = await self.send(asked)
                log.info("sign-in link", client=asked.client_ip, result=said)
            except DarbanError as error:
                log.warning("sign-in link not sent", client=asked.client_ip, error=str(error))

    async def send(self, asked: Asked) -> str:
        """What became of it, in words for the log. Raises DarbanError where the next hop or the store is down."""
        try:
            address = sender_recipient(asked.address)
        except InputError:
            return "no address"
        recipient = Recipient(address, domain_of(address))
        policy = self._policies.policy(recipient.domain)
        if "@" not in address or policy is None:
            return "no address of ours"
        if self._buckets.wait_s(address):
            return "the mailbox had enough of them"
        hop = self._next_hop(next_hop_of(policy, recipient))
        known = await hop.verify(recipient)
        if known.code // 100 != 2:
            return f"the next hop has no such mailbox: {known.code} {known.enhanced} {known.text}"
        token = await asyncio.to_thread(self._link_for, address)
        if token is None:
            return "the account is disabled, or signs in elsewhere"
        name = secrets.token_hex(16)
        content = self._message(asked, address, token, name)
        replies = await hop.deliver(envelope_of(self._sender, recipient, name, self._now()), content, [recipient])
        reply = replies.get(recipient.address, Reply(451, "4.3.0", "the next hop said nothing"))
        if reply.code // 100 == 2:
            await asyncio.to_thread(self._record, address, asked.client_ip)
        return f"{reply.code} {reply.enhanced} {reply.text}"

    def _message(self, asked: Asked, address: str, token: str, name: str) -> bytes:
        minutes = int(self._sender.link_s // 60)
        link = LinkContent(address, asked.language, f"{self._sender.url}/link/{token}", minutes, asked.client_ip)
        return write_message(self._write(link), self._sender, address, name, asked.language, self._now())
