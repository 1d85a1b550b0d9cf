"""What a person decides about a held message, carried out (release, delete, spam), and what is learned from it.

The act comes first and stands whatever becomes of the lesson; what is said afterwards is what happened. A message that
was not released teaches nothing, nor does an act that came too late.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal

import structlog

from gateway.actions.hold import held_id as id_of
from gateway.errors import InputError, StoreError
from gateway.learning import Teacher
from gateway.mail.address import domain_of, parse_mailboxes
from gateway.ports import QuarantineStore
from gateway.reputation import Reputation
from gateway.scan.explain import auth_from_json
from gateway.service import held_envelope
from gateway.types import HeldMessage, TaughtHow, Via

# "": nothing was to be learned; failed: the ledger did not take it; spent: it did, but a cap leaves nothing to move
Learned = TaughtHow | Literal["", "failed", "spent"]

_LONGEST_ADDRESS = 320  # RFC 5321 §4.5.3.1

log = structlog.get_logger("darban.review")


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A held message after an act, and what was learned from that."""

    held: HeldMessage
    learned: Learned = ""

    @property
    def told(self) -> str:
        """For the audit log: the state it came to first, then the next hop's words, then what was learned."""
        return f"{self.held.state}: {self.held.note}{f'; {self.learned}' if self.learned else ''}"


class Review:
    """For the pages and the command line; composed in gateway/app."""

    def __init__(
        self,
        *,
        quarantine: QuarantineStore,
        release: Callable[[str, str], Awaitable[HeldMessage]],
        is_ours: Callable[[str], bool],
        teacher: Teacher,
        reputation: Reputation,
        hostname: str,
        is_spent: Callable[[str], bool],
    ) -> None:
        """`release` is service.Releaser.release, `is_ours` whether mail for a domain is relayed, `is_spent`
        learning.Publisher.is_spent.
        """
        self._quarantine = quarantine
        self._release = release
        self._is_ours = is_ours
        self._teacher = teacher
        self._reputation = reputation
        self._hostname = hostname
        self._is_spent = is_spent

    async def release(self, held_id: str, who: str, *, learns: bool = True, via: Via = "release") -> Reviewed:
        """Hand it to its next hop; taken there, it teaches that such mail is wanted. Raises InputError, StoreError."""
        held = await self._release(held_id, who)
        if held.state != "released" or not learns:
            return Reviewed(held)
        return Reviewed(held, await asyncio.to_thread(self._learn_release, held, who, via))

    def spam(self, held_id: str, who: str, *, via: Via = "review") -> Reviewed:
        """Delete it, and learn that such mail is not wanted. Blocking. Raises InputError, StoreError."""
        held = self._quarantine.get(held_id)
        content = self._quarantine.content(held_id) if held is not None and held.state == "held" else b""
        held = self.delete(held_id, who)
        self._reputation.forget(held_envelope(held, self._hostname), content)
        return Reviewed(held, self._learn(held, content, who, via, is_spam=True))

    async def redirect(self, held_id: str, address: str, who: str) -> Reviewed:
        """Release a copy to another address. It is held for that address first, so it goes out once and its row says
        what came of it; the message itself stays as it is. Teaches nothing. Raises InputError, StoreError.
        """
        copy = await asyncio.to_thread(self._copy, held_id, address)
        return Reviewed(await self._release(copy.id, who))

    def _copy(self, held_id: str, address: str) -> HeldMessage:
        held = self._quarantine.get(held_id)
        if held is None or held.state == "deleted":
            raise InputError("the message is not there any more")
        found = parse_mailboxes(address[:_LONGEST_ADDRESS])
        recipient = found[0].address if len(found) == 1 else ""
        if not recipient or not self._is_ours(domain_of(recipient)):
            raise InputError("mail for that address does not go through this gateway")
        if recipient.lower() == held.recipient.lower():
            raise InputError("the message is for that address already")
        copy = replace(
            held,
            id=id_of(held.content_hash, held.reverse_path, recipient),
            recipient=recipient,
            domain=domain_of(recipient),
            state="held",
            state_at=time.time(),
            state_by="",
            note="",
        )
        self._quarantine.hold([copy], self._quarantine.content(held_id))
        return copy

    def delete(self, held_id: str, who: str = "") -> HeldMessage:
        """Blocking. Raises InputError when it is not held any more, StoreError."""
        if not self._quarantine.transition(held_id, ("held",), "deleted", by=who):
            raise InputError(f"{held_id}: is not held")
        held = self._quarantine.get(held_id)
        if held is None:  # nothing takes rows out
            raise StoreError(f"{held_id}: gone")
        return held

    def _learn_release(self, held: HeldMessage, who: str, via: Via) -> Learned:
        try:
            content = self._quarantine.content(held.id)
        except StoreError as error:
            log.warning("nothing learned from a release", held_id=held.id, error=str(error))
            return "failed"
        return self._learn(held, content, who, via, is_spam=False)

    def _learn(self, held: HeldMessage, content: bytes, who: str, via: Via, *, is_spam: bool) -> Learned:
        is_spent = self._is_spent(who)
        try:
            taught = self._teacher.teach(
                trainer=who,
                is_spam=is_spam,
                via=via,
                envelope=held_envelope(held, self._hostname),
                content=content,
                auth=auth_from_json(held.verdict_json),
            )
        except StoreError as error:
            log.warning("nothing learned", held_id=held.id, trainer=who, is_spam=is_spam, error=str(error))
            return "failed"
        log.info("learned", held_id=held.id, trainer=who, is_spam=is_spam, taught=taught.what)
        return "spent" if is_spent and taught.what in ("learned", "relearned") else taught.what
