"""What webhooks tell, and how: events of the message log and of the audit log, signatures (Standard Webhooks), when a
failed post is tried again. docs/webhooks.md has the form in words.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from gateway.mail.address import domain_of
from gateway.types import AuditEntry, Event, EventType, LogRow

KEPT_S: Final = 3 * 86_400.0  # how long an event is tried
_FIRST_S: Final = 5.0
_LONGEST_S: Final = 3600.0
_MIN_KEY: Final = 24  # bytes, as the specification has it
_OF_ACTION: Final[Mapping[str, EventType]] = {
    "accept": "message.delivered",
    "tag": "message.tagged",
    "quarantine": "message.held",
    "reject": "message.refused",
}
_OF_ACT: Final[Mapping[str, EventType]] = {
    "spam": "message.spam",
    "delete": "message.deleted",
    "account": "account.changed",
    "password": "account.changed",
}
_BY_PREFIX: Final[Mapping[str, EventType]] = {"account-": "account.changed", "sender": "sender.changed"}


def event_of_row(row: LogRow, subject: Callable[[str], str] = str) -> Event | None:
    """What became of a message for one recipient; None for what was deferred or only judged. `subject` says what of
    its subject is told."""
    kind = _OF_ACTION.get(row.action)
    if kind is None:
        return None
    name = "\0".join(("row", row.queue_id, row.recipient, row.action, repr(row.at)))
    data = {
        "queue_id": row.queue_id,
        "recipient": row.recipient,
        "reverse_path": row.reverse_path,
        "author": row.summary.author,
        "subject": subject(row.summary.subject),
        "message_id": row.summary.message_id,
        "client_ip": row.client_ip,
        "score": round(row.score, 3),
        "hits": list(row.hits),
        "reason": row.reason,
        "reply": row.reply,
    }
    return Event(_id(name), kind, row.at, domain_of(row.recipient), data)


def event_of_act(entry: AuditEntry) -> Event | None:
    """What somebody did; None for what nobody is told of."""
    kind = _OF_ACT.get(entry.act)
    kind = kind or next((one for prefix, one in _BY_PREFIX.items() if entry.act.startswith(prefix)), None)
    if entry.act in ("release", "redirect"):
        kind = "message.released" if entry.detail.startswith("released") else "message.release_failed"
    if kind is None:
        return None
    data = {"number": entry.number, "act": entry.act, "account": entry.account, "subject": entry.subject}
    data |= {"detail": entry.detail, "client": entry.client}
    return Event(_id(f"act\0{entry.number}\0{entry.hash}"), kind, entry.at, entry.domain, data)


def test_event(at: float, hostname: str) -> Event:
    """What is posted to try a webhook."""
    return Event(_id(f"test\0{at!r}"), "webhook.test", at, "", {"hostname": hostname})


def is_for(event: Event, events: Sequence[str], domains: Sequence[str]) -> bool:
    """Whether a webhook with these settings is told; () means all."""
    return (not events or event.type in events) and (not domains or event.domain in domains)


def body_of(event: Event) -> bytes:
    """The JSON that is posted and signed; the same at every try."""
    when = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = {"id": event.id, "type": event.type, "timestamp": when, "domain": event.domain, "data": event.data}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def read_keys(text: str) -> tuple[bytes, ...]:
    """The keys of a secret's file, one or two. Raises ValueError in words."""
    keys = []
    for line in text.split():
        try:
            keys.append(base64.b64decode(line.removeprefix("whsec_"), validate=True))
        except binascii.Error:
            raise ValueError("is not whsec_ and base64") from None
    if not 1 <= len(keys) <= 2 or any(len(key) < _MIN_KEY for key in keys):
        raise ValueError('holds no key; write one by: echo "whsec_$(openssl rand -base64 32)"')
    return tuple(keys)


def header_fields(keys: Sequence[bytes], event_id: str, at: int, body: bytes) -> dict[str, str]:
    """Standard Webhooks 1.0.0: who knows the key can tell that we said this, and when."""
    signed = b".".join((event_id.encode(), str(at).encode(), body))
    digests = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{digest}" for digest in digests),
    }


def wait_s(tries: int, jitter: float) -> float:
    """How long after so many failed tries; jitter is 0 to 1, so that many do not come at once."""
    longest: float = min(_LONGEST_S, _FIRST_S * 3.0 ** min(tries - 1, 10))
    return longest * (0.8 + 0.4 * jitter)


def _id(name: str) -> str:
    return "evt_" + hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:32]
