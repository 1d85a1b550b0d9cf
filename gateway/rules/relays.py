"""The relays a message passed, as rules see them: X-Spam-Relays-Trusted, -Untrusted, -Internal and -External.

Newest first: the client that the gateway itself talks to, then what the Received fields tell (gateway.mail.received),
then the webmail user's address where a field names one. A relay is trusted while every one before it was: by
trusted_networks, or without such lines when its address is no public one or it authenticated itself. A client at a
loopback address, or without one, is no relay but whatever hands the gateway its mail (a proxy, a file on the command
line): then the Received fields alone count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from gateway.mail.received import Hop, clean_name, parse_received
from gateway.rules.rule import Network, Networks
from gateway.types import HeaderField, MailObject

MAX_HOPS = 100
_LOOPBACK = ("127.", "::1")
ORIGIN_FIELDS = frozenset(("x-yahoo-post-ip", "x-originating-ip", "x-apparently-from", "x-senderip", "x-aol-ip"))
_ADDRESS = re.compile(
    r"(?<![\w.:])(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b|(?<![\w:])[0-9a-f]{1,4}(?:::?[0-9a-f]{1,4}){2,7}", re.I
)
_FOLD = re.compile(rb"\r?\n[ \t]+")


@dataclass(frozen=True, slots=True)
class Relays:
    """The texts, and where trust ends among the Received fields."""

    texts: dict[str, str]  # of "trusted", "untrusted", "internal", "external"; "unread": fields without a hop, in lines
    trusted_fields: int  # Received fields before the first untrusted relay's; -1 when the client itself is untrusted
    internal_fields: int

    def text(self, selector: str) -> str:
        """X-Spam-Relays-Trusted and so on, Unread for the fields that gave no relay; "" without any."""
        return self.texts.get(selector.rpartition("-")[2].lower(), "")


@dataclass(slots=True)
class _Trust:
    """How far it reaches: what was seen so far decides about the next relay."""

    networks: Networks
    is_trusted: bool = True
    is_internal: bool = True
    has_msa: bool = False  # what stands behind a submission server is as it is
    trusted_fields: int = 0
    internal_fields: int = 0

    def judge(self, hop: Hop) -> None:
        """Whether it reaches as far as this relay."""
        if not self.is_trusted or self.has_msa:
            return
        trusted = self.networks.trusted or self.networks.internal
        if not trusted:
            self.is_trusted = self.is_internal = hop.is_private or bool(hop.auth)
        elif not hop.auth and not is_among(hop.ip, trusted):
            self.is_trusted = self.is_internal = False
        else:
            internal = self.networks.internal or trusted
            self.is_internal = self.is_internal and (bool(hop.auth) or is_among(hop.ip, internal))
            self.has_msa = is_among(hop.ip, self.networks.msa, is_own_always=False)

    def count(self) -> None:
        """One more field."""
        self.trusted_fields += self.is_trusted
        self.internal_fields += self.is_internal


def relays_of(mail: MailObject, networks: Networks, origin_fields: Iterable[str] = ORIGIN_FIELDS) -> Relays:
    """The relays of this message. Never raises.

    Args:
        origin_fields: lower-case names of fields in which webmail servers tell their user's address.
    """
    by_name = mail.message.by_name
    client = _client(mail)
    hops: list[Hop | None] = [client] if client else []
    fields = [_unfolded(field) for field in by_name.get("received", ())[:MAX_HOPS]]
    read = [parse_received(value) for value in fields]
    hops += read
    last_field = len(hops)
    hops += [hop for name in sorted(origin_fields) for hop in _origins(by_name.get(name, ()))]
    texts: dict[str, list[str]] = {"trusted": [], "untrusted": [], "internal": [], "external": []}
    trust = _Trust(networks)
    for number, hop in enumerate(hops):
        if hop is not None:
            trust.judge(hop)
            text = _written(hop, trust, networks)
            texts["trusted" if trust.is_trusted else "untrusted"].append(text)
            texts["internal" if trust.is_internal else "external"].append(text)
        if number < last_field:
            trust.count()
    joined = {name: " ".join(found) for name, found in texts.items()}
    if None in read:
        joined["unread"] = "\n".join([value for value, hop in zip(fields, read, strict=True) if hop is None])
    own = 1 if client else 0
    return Relays(joined, trust.trusted_fields - own, trust.internal_fields - own)


@lru_cache(maxsize=4096)
def is_among(ip: str, networks: tuple[tuple[Network, bool], ...], *, is_own_always: bool = True) -> bool:
    """The first entry that holds the address decides; loopback is among all but MSA networks."""
    address = ip_address(ip)
    if is_own_always and address.is_loopback:
        return True
    return next((is_in for network, is_in in networks if address in network), False)


def _client(mail: MailObject) -> Hop | None:
    client = mail.envelope.client
    if client.ip.startswith(_LOOPBACK) or not _is_address(client.ip):
        return None
    name = next((one.domain for one in mail.auth if one.method == "iprev" and one.result == "pass"), "")
    return Hop(
        ip=client.ip,
        rdns=name,
        helo=clean_name(client.helo),
        by=mail.envelope.hostname,
        envelope_from=clean_name(mail.envelope.reverse_path),
        id=mail.envelope.queue_id,
    )


@lru_cache(maxsize=4096)
def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _unfolded(field: HeaderField) -> str:
    return _FOLD.sub(b" ", field.raw[field.raw.index(b":") + 1 :]).decode("utf-8", "replace")


def _origins(fields: Sequence[HeaderField]) -> list[Hop]:
    """The last field's address."""
    match = _ADDRESS.search(fields[-1].text[:1000]) if fields else None
    try:
        return [Hop(str(ip_address(match[0])))] if match else []
    except ValueError:
        return []


def _written(hop: Hop, trust: _Trust, networks: Networks) -> str:
    is_msa = is_among(hop.ip, networks.msa, is_own_always=False)
    return (
        f"[ ip={hop.ip} rdns={hop.rdns} helo={hop.helo} by={hop.by} ident={hop.ident} envfrom={hop.envelope_from} "
        f"intl={int(trust.is_internal)} id={hop.id} auth={hop.auth} msa={int(is_msa)} ]"
    )
