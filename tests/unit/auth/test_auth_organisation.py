"""gateway.auth.organisation: RFC 7489 §3.2."""

from __future__ import annotations

import pytest

from gateway.auth.organisation import is_public_suffix, organisational_domain


@pytest.mark.parametrize(
    ("domain", "organisation", "is_suffix"),
    [
        ("example.org", "example.org", False),
        ("a.b.example.org", "example.org", False),
        ("mail.example.co.uk", "example.co.uk", False),
        ("mail.example.ac.ir", "example.ac.ir", False),
        ("example.ir", "example.ir", False),
        ("co.uk", "co.uk", True),
        ("org", "org", True),
        ("a.b.not-a-known-suffix", "b.not-a-known-suffix", False),
        ("[192.0.2.1]", "[192.0.2.1]", False),
        ("", "", False),
        ("a..b", "a..b", False),
    ],
)
def test_organisation(domain: str, organisation: str, is_suffix: bool) -> None:
    assert organisational_domain(domain) == organisation
    assert is_public_suffix(domain) is is_suffix
