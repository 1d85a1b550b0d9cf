"""gateway.auth.iprev: RFC 8601 §3."""

from __future__ import annotations

import pytest

from gateway.auth import iprev
from gateway.types import Client
from tests.builders import envelope
from tests.fakes import FakeResolver, Zones

PTR4 = "1.2.0.192.in-addr.arpa"
PTR6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"


@pytest.mark.parametrize(
    ("address", "zones", "result", "domain"),
    [
        (
            "192.0.2.1",
            {PTR4: {"PTR": ["mx.example.org"]}, "mx.example.org": {"A": ["192.0.2.1"]}},
            "pass",
            "mx.example.org",
        ),
        ("::ffff:192.0.2.1", {PTR4: {"PTR": ["m.example"]}, "m.example": {"A": ["192.0.2.1"]}}, "pass", "m.example"),
        (
            "2001:db8::1%eth0",
            {PTR6: {"PTR": ["m.example"]}, "m.example": {"AAAA": ["2001:DB8:0::1"]}},
            "pass",
            "m.example",
        ),
        (
            "192.0.2.1",
            {PTR4: {"PTR": ["a.example", "b.example"]}, "b.example": {"A": ["192.0.2.1"]}},
            "pass",
            "b.example",
        ),
        ("192.0.2.1", {PTR4: {"PTR": ["a.example"]}, "a.example": {"A": ["192.0.2.7"]}}, "fail", "a.example"),
        ("192.0.2.1", {PTR4: {"PTR": ["a.example"]}}, "fail", "a.example"),
        ("192.0.2.1", {PTR4: {"PTR": ["a.example"]}, "a.example": "timeout"}, "temperror", "a.example"),
        ("192.0.2.1", {PTR4: "servfail"}, "temperror", ""),
        ("192.0.2.1", {}, "permerror", ""),
        ("", {}, "none", ""),
        ("not an address", {}, "none", ""),
    ],
)
async def test_evaluate(address: str, zones: Zones, result: str, domain: str) -> None:
    found = await iprev.evaluate(envelope(client=Client(address)), FakeResolver(zones))
    assert (found.method, found.result, found.domain) == ("iprev", result, domain)
    assert found.reason


async def test_at_most_ten_names_are_confirmed() -> None:
    names = [f"n{number}.example" for number in range(50)]
    resolver = FakeResolver({PTR4: {"PTR": names}, "n49.example": {"A": ["192.0.2.1"]}})
    assert (await iprev.evaluate(envelope(), resolver)).result == "fail"
    assert len(resolver.queries) == 11
