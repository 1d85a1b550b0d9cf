"""The check that asks the DNS whether the reverse-path can take an answer."""

from __future__ import annotations

import pytest

from gateway.checks import ENVELOPE_CHECKS
from gateway.checks.origin import Origin
from gateway.types import Finding, Missing
from tests.builders import mail, message_bytes
from tests.fakes import FakeResolver, Zones


async def _look(zones: Zones, reverse_path: str = "sara@example.org") -> tuple[list[Finding | Missing], FakeResolver]:
    resolver = FakeResolver(zones)
    return list(await Origin().check(mail(message_bytes(), reverse_path=reverse_path), resolver)), resolver


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        ({"example.org": {"MX": ["10 mx.example.org"]}}, []),
        ({"example.org": {"MX": ["0 ."]}}, ["ORIGIN_NO_MAIL"]),
        ({"example.org": {"MX": ["0 .", "10 mx.example.org"]}}, []),
        ({"example.org": {"A": ["192.0.2.1"]}}, []),
        ({"example.org": {"AAAA": ["2001:db8::1"]}}, []),
        ({"example.org": {"TXT": ["v=spf1 -all"]}}, ["ORIGIN_NO_MAIL"]),
        ({"www.example.org": {"A": ["192.0.2.1"]}}, ["ORIGIN_NO_MAIL"]),
        ({"example.org": {"CNAME": ["mail.example.net"]}, "mail.example.net": {"MX": ["5 mx.example.net"]}}, []),
        ({"example.net": {"A": ["192.0.2.1"]}}, ["ORIGIN_UNKNOWN_DOMAIN"]),
        ({}, ["ORIGIN_UNKNOWN_DOMAIN"]),
    ],
)
async def test_what_the_zone_says(zones: Zones, expected: list[str]):
    found, resolver = await _look(zones)
    assert [finding.name for finding in found] == expected
    assert all("example.org" in finding.evidence[0] for finding in found)
    assert 1 <= len(resolver.queries) <= 3


@pytest.mark.parametrize("status", ["servfail", "timeout", "refused", "invalid"])
@pytest.mark.parametrize("rdtype", ["", "MX", "A", "AAAA"])
async def test_a_dns_that_does_not_answer_condemns_nobody(status: str, rdtype: str):
    zone = {"TXT": ["hello"], rdtype: status} if rdtype else status
    found, _ = await _look({"example.org": zone})
    missing = [] if status == "invalid" else [Missing(f"dns: the {rdtype or 'MX'} of example.org: {status}")]
    assert found == missing


@pytest.mark.parametrize("reverse_path", ["", "sara", "sara@[192.0.2.1]", "sara@[IPv6:2001:db8::1]", "sara@"])
async def test_what_is_no_domain_is_not_asked_for(reverse_path: str):
    found, resolver = await _look({}, reverse_path)
    assert (found, resolver.queries) == ([], [])


@pytest.mark.parametrize("reverse_path", ["Sara@EXAMPLE.org", '"a@b"@example.org', "sara@example.org."])
async def test_the_domain_stands_behind_the_last_at(reverse_path: str):
    _, resolver = await _look({"example.org": {"MX": ["10 mx.example.org"]}}, reverse_path)
    assert resolver.queries == [("example.org", "MX")]


async def test_names_are_asked_for_as_a_labels():
    found, resolver = await _look({}, "سارا@نامه.example")
    assert resolver.queries == [("xn--mgb4dbg.example", "MX")]
    assert [finding.name for finding in found] == ["ORIGIN_UNKNOWN_DOMAIN"]


def test_it_is_registered():
    assert [check.name for check in ENVELOPE_CHECKS] == ["origin", "new_domain", "virus"]
