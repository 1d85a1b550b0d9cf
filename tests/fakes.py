"""Fakes that stand in for the outside world in tests: the DNS and the clock.

Zones are plain dicts, shared with tests/dns_server.py:

    {
        "example.org": {"A": ["192.0.2.1"], "MX": ["10 mx.example.org"], "TXT": ["v=spf1 a -all"]},
        "www.example.org": {"CNAME": ["example.org"]},
        "1.2.0.192.in-addr.arpa": {"PTR": ["mx.example.org"]},
        "broken.example.org": "servfail",          # every type; any DnsAnswer.status
        "half.example.org": {"A": ["192.0.2.2"], "TXT": "timeout"},
    }

A name that is not there is nxdomain, unless something lies below it (RFC 8020); a type that is not there is nodata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import cast

from gateway.types import DnsAnswer, DnsStatus, Finding, Hit, MailObject, Prediction

Records = Sequence[str | bytes] | str
Zones = Mapping[str, Mapping[str, Records] | str]

_NAMES = ("PTR", "CNAME", "NS")


def find(zones: Zones, name: str, rdtype: str, ttl_s: int = 300) -> DnsAnswer:
    """What a resolver would say, aliases followed."""
    name = name.rstrip(".").lower()
    for _ in range(8):
        entry = zones.get(name)
        if entry is None:
            has_children = any(other.endswith("." + name) for other in zones)
            return DnsAnswer("nodata" if has_children else "nxdomain", ttl_s=ttl_s)
        records = entry if isinstance(entry, str) else entry.get(rdtype)
        if isinstance(records, str):
            return DnsAnswer(cast(DnsStatus, records))
        if records:
            return DnsAnswer("noerror", tuple(_presented(one, rdtype) for one in records), ttl_s=ttl_s)
        alias = None if isinstance(entry, str) else entry.get("CNAME")
        if not alias or rdtype == "CNAME":
            return DnsAnswer("nodata", ttl_s=ttl_s)
        name = str(alias[0]).rstrip(".").lower()
    return DnsAnswer("servfail")


def _presented(record: str | bytes, rdtype: str) -> str | bytes:
    if rdtype == "TXT":
        return record.encode() if isinstance(record, str) else record
    text = record.decode() if isinstance(record, bytes) else record
    if rdtype == "MX" or rdtype in _NAMES:
        return text.rstrip(".").lower() + "."
    return text


class FakeResolver:
    """ports.Resolver over zones; `queries` tells what was asked, in order."""

    def __init__(self, zones: Zones | None = None) -> None:
        self.zones: Zones = zones or {}
        self.queries: list[tuple[str, str]] = []

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        """The zones' answer at once; "invalid" for what the real resolver would not ask either."""
        self.queries.append((name, rdtype))
        bare = name.rstrip(".")
        if not bare or len(bare) > 253 or any(not 0 < len(label) < 64 for label in bare.split(".")):
            return DnsAnswer("invalid")
        return find(self.zones, name, rdtype)


class FakeClock:
    """ports.Clock that stands still until it is moved."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


class NoRules:
    """ports.RuleSet: nothing hits."""

    id = "none"
    descriptions = MappingProxyType[str, str]({})
    scores = MappingProxyType[str, float]({})
    firm: frozenset[str] = frozenset()

    def match(
        self, mail: MailObject, findings: Sequence[Finding], prediction: Prediction | None = None
    ) -> tuple[Hit, ...]:
        return ()
