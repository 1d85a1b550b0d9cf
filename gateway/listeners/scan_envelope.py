"""What a client says of a message's envelope -> an Envelope, for the doors that only judge."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable

from gateway.errors import InputError
from gateway.listeners.reply import new_queue_id
from gateway.mail.domain import to_a_label
from gateway.mail.handover import NOBODY
from gateway.types import Client, Envelope, Recipient

_MAX_HELO = 255
_MAX_RECIPIENTS = 1000


def scan_envelope(
    hostname: str,
    *,
    client_ip: str = "",
    helo: str = "",
    reverse_path: str = "",
    recipients: Iterable[Recipient] = (),
    tls: str = "",
) -> Envelope:
    """Received now, with a queue id of ours; a client without an address is at loopback, as for `darban scan`.

    Raises InputError when client_ip is no address.
    """
    return Envelope(
        queue_id=new_queue_id(),
        client=Client(
            _address(client_ip or NOBODY), helo=helo[:_MAX_HELO], protocol="ESMTPS" if tls else "ESMTP", tls=tls
        ),
        reverse_path=reverse_path.strip().removeprefix("<").removesuffix(">"),
        recipients=tuple(dict.fromkeys(recipients))[:_MAX_RECIPIENTS],
        received_at=time.time(),
        hostname=hostname,
    )


def read_recipient(text: str) -> Recipient | None:
    """None for what is no address."""
    local, at, domain = text.strip().removeprefix("<").removesuffix(">").rpartition("@")
    domain = to_a_label(domain)
    return Recipient(f"{local}@{domain}", domain) if local and at and domain else None


def read_recipients(texts: Iterable[str]) -> tuple[Recipient, ...]:
    """Those that are addresses."""
    return tuple(one for one in map(read_recipient, texts) if one is not None)


def _address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text.strip().strip("[]").removeprefix("IPv6:"))
    except ValueError:
        raise InputError(f"{text[:100]!r} is not an IP address") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
