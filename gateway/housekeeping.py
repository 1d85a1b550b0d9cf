"""What the admin process does by itself, on a schedule: the audit log's heads are signed."""

from __future__ import annotations

import asyncio

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.errors import StoreError
from gateway.stores.audit import SqlAudit
from gateway.types import AuditHead

_SIGN_EVERY_S = 300.0

log = structlog.get_logger("darban.housekeeping")


async def sign_now_and_then(audit: SqlAudit, key: Ed25519PrivateKey, every_s: float = _SIGN_EVERY_S) -> None:
    """Sign the audit log's head when it has moved, and say it in the structured log: who cuts entries off has to change
    that too. For ever."""
    while True:
        try:
            await asyncio.to_thread(sign_head, audit, key)
        except StoreError as error:
            log.warning("audit log not signed", error=str(error))
        await asyncio.sleep(every_s)


def sign_head(audit: SqlAudit, key: Ed25519PrivateKey) -> AuditHead | None:
    """Once. Blocking. Raises StoreError."""
    head = audit.sign(key)
    if head is not None:
        log.info("audit head", number=head.number, hash=head.hash, at=head.at, key=head.key, signature=head.signature)
    return head
