"""[[domain.route]]: which address goes where."""

from __future__ import annotations

import pytest

from gateway.mail.route import fits, next_hop_of
from gateway.types import DomainPolicy
from tests.builders import recipient


@pytest.mark.parametrize(
    ("pattern", "address", "is_fitting"),
    [
        ("info", "info@darban.test", True),
        ("info", "INFO@darban.test", True),
        ("info", "info2@darban.test", False),
        ("info", "info+x@darban.test", False),
        ("info*", "info+x@darban.test", True),
        ("sales-*", "sales-@darban.test", True),
        ("*", "anything@darban.test", True),
        ("a.c", "abc@darban.test", False),
        ("[ab]", "a@darban.test", False),
        ("info@darban.test", "info@darban.test", True),
        ("info@*", "info@deep.darban.test", True),
        ("*@deep.darban.test", "info@darban.test", False),
        ("postmaster", "postmaster", True),
        ("دربان", "دربان@darban.test", True),
    ],
)
def test_patterns(pattern: str, address: str, is_fitting: bool) -> None:
    assert fits(pattern, address) is is_fitting


def test_the_first_route_that_fits_holds() -> None:
    policy = DomainPolicy("darban.test", "smtp://a:25", routes=(("sara", ("smtp://b:25", "smtp://c:25")), ("s*", "x")))
    went = [next_hop_of(policy, recipient(f"{local}@darban.test")) for local in ("sara", "sina", "reza")]
    assert went == [("smtp://b:25", "smtp://c:25"), "x", "smtp://a:25"]
