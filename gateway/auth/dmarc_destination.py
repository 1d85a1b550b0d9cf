"""Where a domain's DMARC reports may go (RFC 9990 §4): to its own organisation, and to others that agreed.

Else anybody could have reports about a flood of forged mail sent to a victim. An organisation agrees with a record at
<policy domain>._report._dmarc.<its host>, which may name another address of the same host.

Cost: for each address at most 16 look-ups of two tree walks, and one. Never raises.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.auth.dmarc import Discovery, organisation
from gateway.auth.dmarc_record import Record, ReportUri, is_record, parse_record
from gateway.auth.iprev import FAILURES
from gateway.ports import Resolver

_MAX_NAME = 253  # RFC 1035 §2.3.4


class Destination(NamedTuple):
    """One address of a rua=, or why it is none."""

    address: str  # "" where the URI has none
    problem: str = ""  # "" for one that may be used
    is_temporary: bool = False  # the problem may be gone at another time
    max_bytes: int | None = None  # the largest report it wants, in RFC 7489's mode


async def destinations(
    record: Record, policy_domain: str, resolver: Resolver, discovery: Discovery
) -> tuple[Destination, ...]:
    """Those of the record, in its order (§3.5), each address once."""
    found: dict[str, Destination] = {}
    for uri in record.reports_to:
        for one in await _resolve(uri, policy_domain, resolver, discovery):
            limit = one.max_bytes if discovery == "public_suffix_list" else None  # "!10m" is obsolete (RFC 9989 §4.8)
            found.setdefault(f"{one.address}|{one.problem}", one._replace(max_bytes=limit))
    return tuple(found.values())


async def _resolve(uri: ReportUri, policy_domain: str, resolver: Resolver, discovery: Discovery) -> list[Destination]:
    if not uri.address:
        return [Destination("", "not a mailto: address")]
    host = uri.address.rpartition("@")[2]
    own = Destination(uri.address, max_bytes=uri.max_bytes)
    if host == policy_domain:
        return [own]
    ours, theirs = [await organisation(one, resolver, discovery) for one in (policy_domain, host)]
    if ours is None or theirs is None:
        return [_unknown(uri.address, host)]
    if ours == theirs:
        return [own]
    name = f"{policy_domain}._report._dmarc.{host}"
    if len(name) > _MAX_NAME:
        return [Destination(uri.address, f"the name at which {host} would agree is too long for the DNS")]
    answer = await resolver.query(name, "TXT")
    if answer.status in FAILURES:
        return [_unknown(uri.address, host)]
    agreed = [parse_record(one) for one in answer.records if isinstance(one, bytes) and is_record(one)]
    if not agreed:
        return [Destination(uri.address, f"{host} has not agreed to get reports about {policy_domain}")]
    instead = [other for one in agreed if one is not None for other in one.reports_to]
    if any(other.address.rpartition("@")[2] != host for other in instead):
        return [Destination(uri.address, f"{host} names an address that is not its own")]
    return [Destination(other.address, max_bytes=other.max_bytes) for other in instead] or [own]


def _unknown(address: str, host: str) -> Destination:
    return Destination(address, f"whether {host} wants reports could not be looked up", is_temporary=True)
