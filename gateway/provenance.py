"""Did we deliver this message, and how did it come? Its fields say so, and the message log has to agree.

A field is easily forged, so a queue id counts only with a row of the log that has the same Message-ID and was not
refused. What is given back is what was judged then: envelope and content, with the results of authentication.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.mail import parse
from gateway.mail.address import domain_of
from gateway.mail.delivered import read_delivered
from gateway.mail.summary import summarise
from gateway.ports import MessageLog
from gateway.types import AuthResult, Client, Envelope, LogRow, Recipient

_DELIVERED = ("accept", "tag", "quarantine")  # what was held may have been released


class Judged(NamedTuple):
    """A message as it was judged."""

    envelope: Envelope
    content: bytes
    auth: tuple[AuthResult, ...]


def trace_back(content: bytes, message_log: MessageLog, hostname: str) -> Judged | None:
    """What we delivered as this content; None for what we did not. Blocking. Raises StoreError.

    Args:
        content: as it lies in a mailbox.
        hostname: ours, as it stands in what we deliver.
    """
    found = read_delivered(content, hostname)
    if found is None:
        return None
    rows = [row for row in message_log.of_message(found.queue_id) if row.action in _DELIVERED]
    if not rows or rows[0].summary.message_id != summarise(parse(found.content)).message_id:
        return None
    return Judged(_envelope(rows, hostname), found.content, found.auth)


def _envelope(rows: list[LogRow], hostname: str) -> Envelope:
    first = rows[0]
    return Envelope(
        queue_id=first.queue_id,
        client=Client(first.client_ip, helo=first.helo),
        reverse_path=first.reverse_path,
        recipients=tuple(Recipient(row.recipient, domain_of(row.recipient)) for row in rows),
        received_at=first.at,
        hostname=hostname,
    )
