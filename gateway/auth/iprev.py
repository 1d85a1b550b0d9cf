"""iprev (RFC 8601 §3): the client's address has a name, and the name has that address.

Cost: one PTR look-up and at most MAX_NAMES look-ups more. Never raises.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from gateway.mail.domain import to_a_label
from gateway.ports import Resolver
from gateway.types import AuthResult, DnsStatus, Envelope

MAX_NAMES = 10  # of the names an address may have; the limit RFC 7208 §4.6.4 sets for PTR
FAILURES: frozenset[DnsStatus] = frozenset(("servfail", "timeout", "refused", "limit"))  # may be otherwise tomorrow

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


async def evaluate(envelope: Envelope, resolver: Resolver) -> AuthResult:
    """pass with the confirmed name; fail, permerror (no name at all) or temperror; none without a client address."""
    address = parse_address(envelope.client.ip)
    if address is None:
        return AuthResult("iprev", "none", reason="no client address is known")
    pointer, written = _names(address)
    answer = await resolver.query(pointer, "PTR")
    if answer.status in FAILURES:
        return _result("temperror", written, f"the name of {written} could not be looked up ({answer.status})")
    names = [name for record in answer.records[:MAX_NAMES] if (name := to_a_label(str(record)))]
    if not names:
        return _result("permerror", written, f"{written} has no usable name in the DNS")
    failed = ""
    for name in names:
        forward = await resolver.query(name, "A" if address.version == 4 else "AAAA")
        if address in (parse_address(str(record)) for record in forward.records):
            return _result("pass", written, f"{written} and {name} name each other", name)
        failed = failed or (name if forward.status in FAILURES else "")
    if failed:
        return _result("temperror", written, f"the address of {failed} could not be looked up", failed)
    return _result("fail", written, f"{written} calls itself {names[0]}, which does not have that address", names[0])


@lru_cache(maxsize=1024)
def parse_address(text: str) -> Address | None:
    """The address without scope, an IPv4-mapped one as IPv4 (RFC 7208 §5); None for what is none."""
    try:
        address = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=1024)
def _names(address: Address) -> tuple[str, str]:
    """Its name in the reverse zone, and itself as it is written."""
    return address.reverse_pointer, str(address)


def _result(result: str, address: str, reason: str, name: str = "") -> AuthResult:
    return AuthResult("iprev", result, domain=name, identity=address, reason=reason)
