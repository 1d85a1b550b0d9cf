"""What recipients are sent, as mail: text and HTML, in the gateway's own name."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from gateway.mail.address import domain_of
from gateway.mail.encoded_word import encode_name, encode_words
from gateway.types import Client, DigestLetter, Envelope, Recipient


@dataclass(frozen=True, slots=True)
class Sender:
    """In whose name it goes out, and where its links lead."""

    address: str
    name: str  # the letter's own when empty
    hostname: str
    url: str  # of the pages, without a slash at the end
    link_s: float  # they work so long


def write_message(
    letter: DigestLetter, sender: Sender, to: str, name: str, language: str, now: float, fields: Sequence[str] = ()
) -> bytes:
    """CRLF line ends, ASCII only. `name`: of its Message-ID and boundary; `fields`: header fields besides."""
    boundary = f"digest-{name}"
    lines = [
        f"From: {encode_name(sender.name or letter.name)} <{sender.address}>",
        f"To: <{_ascii(to)}>",
        f"Subject: {encode_words(letter.subject)}",
        f"Date: {format_datetime(datetime.fromtimestamp(now, UTC))}",
        f"Message-ID: <{name}@{domain_of(sender.address)}>",
        *fields,
        "Auto-Submitted: auto-generated",
        "X-Auto-Response-Suppress: All",
        f"Content-Language: {language}",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"',
        "",
        f"--{boundary}",
        *_part("plain", letter.text),
        f"--{boundary}",
        *_part("html", letter.html),
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode("ascii", "replace")


def envelope_of(sender: Sender, recipient: Recipient, name: str, now: float) -> Envelope:
    """As the next hop is given it."""
    return Envelope(
        queue_id=name[:16],
        client=Client("", helo=sender.hostname),
        reverse_path=sender.address,
        recipients=(recipient,),
        received_at=now,
        hostname=sender.hostname,
        is_smtputf8=not recipient.address.isascii(),
    )


def _part(subtype: str, text: str) -> list[str]:
    encoded = base64.encodebytes(text.encode("utf-8", "replace")).decode("ascii").splitlines()
    return [f"Content-Type: text/{subtype}; charset=utf-8", "Content-Transfer-Encoding: base64", "", *encoded, ""]


def _ascii(address: str) -> str:
    """An address that only SMTPUTF8 can carry is named without it: whom the envelope names gets the mail."""
    return address if address.isascii() else f"undisclosed@{domain_of(address)}"
