"""gateway.auth.dmarc_destination: RFC 9990 §4."""

from __future__ import annotations

import pytest

from gateway.auth.dmarc import Discovery
from gateway.auth.dmarc_destination import destinations
from gateway.auth.dmarc_record import parse_record
from tests.fakes import FakeResolver, Zones

BLUE, RED = "blue.example.com", "red.example.net"
AT = f"{BLUE}._report._dmarc.{RED}"


def agreeing(*records: str) -> Zones:
    return {AT: {"TXT": list(records)}}


async def where(rua: str, table: Zones, domain: str = BLUE, discovery: Discovery = "tree_walk") -> list[str]:
    """Addresses, with a "!" and the problem's first words where they are unusable."""
    record = parse_record(f"v=DMARC1; p=none; rua={rua}".encode())
    assert record is not None
    found = await destinations(record, domain, FakeResolver(table), discovery)
    return [f"{'!' if one.problem else ''}{'?' if one.is_temporary else ''}{one.address}" for one in found]


@pytest.mark.parametrize(
    ("rua", "table", "found"),
    [
        ("mailto:d@blue.example.com", {}, ["d@blue.example.com"]),
        # the same organisation, by the tree walk
        ("mailto:d@example.com", {"_dmarc.example.com": {"TXT": ["v=DMARC1; p=none"]}}, ["d@example.com"]),
        ("mailto:d@example.com", {}, ["!d@example.com"]),
        # §4's example
        ("mailto:reports@red.example.net", {}, ["!reports@red.example.net"]),
        ("mailto:reports@red.example.net", agreeing("v=DMARC1"), ["reports@red.example.net"]),
        ("mailto:reports@red.example.net", agreeing("v=DMARC1;"), ["reports@red.example.net"]),
        ("mailto:reports@red.example.net", agreeing("v=spf1 -all"), ["!reports@red.example.net"]),
        ("mailto:reports@red.example.net", agreeing("hello", "v=DMARC1"), ["reports@red.example.net"]),
        ("mailto:reports@red.example.net", agreeing("x=1; v=DMARC1"), ["!reports@red.example.net"]),
        # another address of the same host; of another host: neither
        ("mailto:reports@red.example.net", agreeing("v=DMARC1; rua=mailto:x@red.example.net"), ["x@red.example.net"]),
        ("mailto:reports@red.example.net", agreeing("v=DMARC1; rua=mailto:x@example.net"), ["!reports@red.example.net"]),
        (
            "mailto:reports@red.example.net",
            agreeing("v=DMARC1; rua=mailto:x@red.example.net, mailto:x@victim.example"),
            ["!reports@red.example.net"],
        ),
        ("mailto:reports@red.example.net", agreeing("v=DMARC1; rua=nonsense"), ["reports@red.example.net"]),
        # it may be otherwise tomorrow
        ("mailto:reports@red.example.net", {AT: "timeout"}, ["!?reports@red.example.net"]),
        ("mailto:reports@red.example.net", {"_dmarc.red.example.net": "servfail"}, ["!?reports@red.example.net"]),
        # several, in order, each once
        (
            "mailto:b@blue.example.com,https://example.com/,mailto:r@red.example.net,mailto:b@blue.example.com",
            agreeing("v=DMARC1"),
            ["b@blue.example.com", "!", "r@red.example.net"],
        ),
        ("nonsense", {}, []),
    ],
)  # fmt: skip
async def test_destinations(rua: str, table: Zones, found: list[str]) -> None:
    assert await where(rua, table) == found


async def test_by_the_public_suffix_list() -> None:
    assert await where("mailto:d@example.com", {}, discovery="public_suffix_list") == ["d@example.com"]
    assert await where("mailto:d@example.net", {}, discovery="public_suffix_list") == ["!d@example.net"]


async def test_a_name_too_long_to_agree_at() -> None:
    domain = ".".join(["x" * 60] * 3) + ".example"
    assert await where(f"mailto:d@{'y' * 60}.net", {}, domain=domain) == [f"!d@{'y' * 60}.net"]


@pytest.mark.parametrize(("discovery", "limit"), [("tree_walk", None), ("public_suffix_list", 10 << 20)])
async def test_a_size_limit_counts_in_the_old_mode(discovery: Discovery, limit: int | None) -> None:
    record = parse_record(b"v=DMARC1; p=none; rua=mailto:d@example.org!10m")
    assert record is not None
    (one,) = await destinations(record, "example.org", FakeResolver(), discovery)
    assert one.max_bytes == limit
