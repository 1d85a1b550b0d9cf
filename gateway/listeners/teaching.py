"""What the doors spamd and HTTP learn through: a message as a mail program has it -> a lesson of its trainer.

Heavy, as it parses messages: it runs in a process of its own (`door-learn`) or in the HTTP door's, never in a listener.
One lesson at a time. Taught is the message as it came to the mail server, without fields of ours; nobody says what
authentication found, so that is left out. The caps of [learning] bound what one trainer and one day may move.
"""

from __future__ import annotations

import asyncio
import hashlib

import structlog

from gateway.errors import StoreError
from gateway.learning import Teacher
from gateway.listeners import spamd_codec as codec
from gateway.listeners.scan_envelope import read_recipients, scan_envelope
from gateway.listeners.spamd_codec import Request
from gateway.mail.edit import edit_header, inbound_field_to_strip, to_crlf
from gateway.mail.handover import read_handover
from gateway.ports import TrainingLedger
from gateway.types import Envelope, Lessons, Taught, Via

log = structlog.get_logger("darban.teaching")


class Teaching:
    """One for a door."""

    def __init__(self, teacher: Teacher, ledger: TrainingLedger, hostname: str, trainer: str, via: Via) -> None:
        """`trainer` is in whose name is taught; "" for the user that the client names."""
        self._teacher = teacher
        self._ledger = ledger
        self._hostname = hostname
        self._trainer = trainer
        self._via: Via = via
        self._turn = asyncio.Lock()

    async def teach(self, user: str, is_spam: bool, content: bytes) -> Taught:
        """Raises StoreError."""
        trainer = self._name(user)
        async with self._turn:
            envelope, judged = await asyncio.to_thread(as_it_came, content, self._hostname)
            taught = await asyncio.to_thread(
                self._teacher.teach, trainer=trainer, is_spam=is_spam, via=self._via, envelope=envelope, content=judged
            )
        log.info("taught", via=self._via, trainer=trainer, is_spam=is_spam, taught=taught.what)
        return taught

    async def forget(self, user: str, content: bytes) -> int:
        """Take back what this trainer taught of the message; how many lessons that were. Raises StoreError."""
        trainer = self._name(user)
        async with self._turn:
            _, judged = await asyncio.to_thread(as_it_came, content, self._hostname)
            which = Lessons(trainer=trainer, content_hash=hashlib.sha256(judged).hexdigest(), is_revoked=False)
            number = await asyncio.to_thread(self._ledger.revoke, which, trainer)
        log.info("forgotten", via=self._via, trainer=trainer, lessons=number)
        return number

    async def tell(self, request: Request) -> bytes:
        """The answer to TELL: Set: local teaches, Remove: local takes back; there is nobody remote to tell."""
        words = {name: request.field(name).lower() for name in ("message-class", "set", "remove")}
        user = request.field("user")
        done: dict[str, str] = {}
        try:
            if "local" in words["set"]:
                if words["message-class"] not in ("spam", "ham"):
                    return codec.failure(codec.EX_PROTOCOL, "Bad header line: (Message-class is neither spam nor ham)")
                taught = await self.teach(user, words["message-class"] == "spam", request.content)
                done |= {"DidSet": "local"} if taught.what in ("learned", "relearned") else {}
            if "local" in words["remove"] and await self.forget(user, request.content):
                done["DidRemove"] = "local"
        except StoreError as error:
            log.error("nothing learned", via=self._via, error=str(error))
            return codec.failure(codec.EX_TEMPFAIL, "EX_TEMPFAIL Nobody learns now")
        return codec.told(done)

    def _name(self, user: str) -> str:
        named = "".join(char for char in user if char.isprintable())[:100]
        return self._trainer or named or f"unknown ({self._via})"


def as_it_came(content: bytes, hostname: str) -> tuple[Envelope, bytes]:
    """A message from a mailbox, or from a mail server's filter -> envelope and message as they came to that server."""
    handover = read_handover(content)
    envelope = scan_envelope(
        hostname,
        client_ip=handover.client_ip,
        helo=handover.helo,
        reverse_path=handover.reverse_path,
        recipients=read_recipients(handover.recipients),
    )
    domains = {one.domain for one in envelope.recipients}
    return envelope, edit_header(
        to_crlf(handover.content), lambda name, raw: inbound_field_to_strip(name, raw, hostname, domains), ()
    )
