"""What a mail server wrote above a message when a client handed it over -> the envelope, and the message as it came.

For doors behind a mail server, whose protocols say little or nothing of the envelope. As SpamAssassin does without
`trusted_networks`: Received fields (RFC 5321 §4.4) are read from the top, hops from private addresses are the server's
own, and the first other address is the client's. What stands there and above was written by servers that are ours; what
stands below came in, and may be forged. The reverse-path is in Return-Path or X-Envelope-From, or in the words of that
Received field; the recipients are in X-Envelope-To, Envelope-To, X-Original-To or Delivered-To, or behind "for".

A server that writes no Received field before it asks must name the client by other means: the next field below would be
believed. Linear; never raises. Cost: 12 µs for each Received field, MAX_HOPS at most.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from gateway.mail.header import read_header
from gateway.mail.received import MAX_HOPS, Hop, parse_received
from gateway.types import HeaderField

NOBODY = "127.0.0.1"  # who hands over what no client handed over: rules then look at the Received fields alone
_MAX_RECIPIENTS = 100
_SENDERS = ("return-path", "x-envelope-from", "envelope-sender")
_RECIPIENTS = ("x-envelope-to", "envelope-to", "x-original-to", "delivered-to")
_ADDRESS = re.compile(r"[^\s<>,;\"()]{1,256}@[^\s<>,;\"()]{1,256}")
_FOR = re.compile(r"\sfor <?([^\s<>,;\"()]{1,256}@[^\s<>,;\"()]{1,256})>?(?=\s*(?:;|$|\())")


class Handover(NamedTuple):
    """A message as its client handed it over. "" and () are what nobody wrote down."""

    content: bytes
    client_ip: str = NOBODY
    helo: str = ""
    reverse_path: str = ""
    recipients: tuple[str, ...] = ()


def read_handover(content: bytes) -> Handover:
    """The handover that the fields on top tell of; the whole content, from nobody, where they tell of none."""
    header, fields = read_header(content)
    hops = 0
    first: tuple[Sequence[HeaderField], Hop | None] | None = None
    for place, field in enumerate(fields):
        if field.name.lower() != "received":
            continue
        hop, hops = parse_received(field.text), hops + 1
        above = fields[: place + 1]
        first = first or (above, hop)
        if hop is not None and not hop.is_private:
            below = [piece for piece in header.pieces if piece[0]][place][2]
            return Handover(content[below:], hop.ip, hop.helo, *_paths(above, hop))
        if hops == MAX_HOPS:
            break
    return Handover(content, NOBODY, "", *_paths(*(first or (fields, None))))


def without_handover(content: bytes, client_ip: str) -> bytes:
    """The message as this client handed it over: a server's own Received field on top, which says what the server has
    told us already, is taken off with what stands above it. As it is where the first hop is another's.
    """
    header, fields = read_header(content)
    for place, field in enumerate(fields):
        hop = parse_received(field.text) if field.name.lower() == "received" else None
        if hop is not None:
            is_told = hop.ip == client_ip
            return content[[piece for piece in header.pieces if piece[0]][place][2] :] if is_told else content
    return content


def _paths(above: Sequence[HeaderField], hop: Hop | None) -> tuple[str, tuple[str, ...]]:
    """Reverse-path and recipients, as the server that took the message wrote them."""
    by_name = {one.name.lower(): one.text for one in reversed(above)}
    said = next((by_name[name] for name in _SENDERS if name in by_name), hop.envelope_from if hop else "")
    sender = _ADDRESS.search(said)
    received = above[-1].text if hop is not None else ""
    to = next((by_name[name] for name in _RECIPIENTS if name in by_name), "")
    found = _ADDRESS.findall(to) or _FOR.findall(received)
    return sender[0] if sender else "", tuple(dict.fromkeys(found))[:_MAX_RECIPIENTS]
