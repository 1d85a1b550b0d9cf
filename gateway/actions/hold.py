"""quarantine: keep the message as it was received, fsync'd and committed, before anybody hears 250."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence

import structlog

from gateway.actions.danger import kind_of
from gateway.errors import StoreError
from gateway.ports import QuarantineStore
from gateway.types import Delivery, Disposition, Envelope, HeldMessage, Reply, Verdict

HELD = Reply(250, "2.0.0", "Message accepted")  # the client is not told that it was held
_STORE_DOWN = Reply(451, "4.3.0", "Temporary problem, please try again later")

log = structlog.get_logger("darban.hold")


def held_id(content_hash: str, reverse_path: str, recipient: str) -> str:
    """One id for the same content, reverse-path and recipient: a retry makes no second copy."""
    return hashlib.sha256(f"{content_hash}|{reverse_path}|{recipient}".encode()).hexdigest()[:32]


class Hold:
    """Stores all recipients' rows in one transaction, or none."""

    def __init__(self, store: QuarantineStore, to_json: Callable[[Verdict, Disposition], str]) -> None:
        self._store = store
        self._to_json = to_json

    async def apply(
        self, envelope: Envelope, content: bytes, verdict: Verdict, wanted: Sequence[Disposition]
    ) -> tuple[Delivery, ...]:
        """All held, or a 451 for each."""
        content_hash = hashlib.sha256(content).hexdigest()
        rows = [self._row(envelope, content_hash, verdict, one) for one in wanted]
        try:
            await asyncio.to_thread(self._store.hold, rows, content)
        except StoreError as error:
            log.error("not held", queue_id=envelope.queue_id, error=str(error))
            return tuple(
                Delivery(one.recipient, one.action, _STORE_DOWN, "quarantine store unavailable") for one in wanted
            )
        return tuple(Delivery(one.recipient, "quarantine", HELD, one.reason) for one in wanted)

    def _row(self, envelope: Envelope, content_hash: str, verdict: Verdict, wanted: Disposition) -> HeldMessage:
        recipient = wanted.recipient
        return HeldMessage(
            id=held_id(content_hash, envelope.reverse_path, recipient.address),
            queue_id=envelope.queue_id,
            content_hash=content_hash,
            reverse_path=envelope.reverse_path,
            recipient=recipient.address,
            domain=recipient.domain,
            client_ip=envelope.client.ip,
            helo=envelope.client.helo,
            received_at=envelope.received_at,
            summary=verdict.summary,
            score=verdict.score,
            reason=wanted.reason,
            verdict_json=self._to_json(verdict, wanted),
            is_8bitmime=envelope.is_8bitmime,
            is_smtputf8=envelope.is_smtputf8,
            state_at=envelope.received_at,
            kind=kind_of(verdict.hits),
            hits=tuple([hit.name for hit in verdict.hits]),
            campaign=verdict.campaign,
            attachments=verdict.attachments,
        )
