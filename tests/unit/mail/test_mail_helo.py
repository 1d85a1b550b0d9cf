"""What kind of name stands in HELO."""

from __future__ import annotations

import pytest

from gateway.mail.helo import kind_of_helo


@pytest.mark.parametrize(
    ("helo", "kind"),
    [
        ("mail.example.org", "domain"),
        ("Mail.Example.ORG.", "domain"),
        ("[192.0.2.1]", "literal"),
        ("[IPv6:2001:db8::1]", "literal"),
        ("192.0.2.1", "bare_ip"),
        ("localhost", "localhost"),
        ("friend", "localhost"),
        ("x.localhost", "localhost"),
        ("MX.darban.test", "ours"),
        ("darban.test", "ours"),
        ("sub.darban.test", "domain"),
        ("desktop-1", "no_domain"),
        (".", "no_domain"),
    ],
)
def test_kinds(helo: str, kind: str) -> None:
    assert kind_of_helo(helo, "mx.darban.test", {"darban.test"}) == kind
