from __future__ import annotations

import pytest

from gateway.mail.domain import to_a_label, to_u_label


@pytest.mark.parametrize(
    ("domain", "a_label"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        (" example.com ", "example.com"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("ｅｘａｍｐｌｅ.com", "example.com"),
        ("example。com", "example.com"),
        ("مثال.ایران", "xn--mgbh0fb.xn--mgba3a4f16a"),
        ("💩.example", "xn--ls8h.example"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:db8::1]", "[ipv6:2001:db8::1]"),
        ("", ""),
        ("a..b", ""),
        ("-", ""),
        ("a b.example", ""),
        ("é" * 300, ""),
        ("é" * 100 + ".example", ""),
        ("\ud800.example", ""),
    ],
)
def test_to_a_label(domain: str, a_label: str) -> None:
    assert to_a_label(domain) == a_label


@pytest.mark.parametrize(
    ("domain", "u_label"),
    [
        ("example.com", "example.com"),
        ("xn--bcher-kva.example", "bücher.example"),
        ("xn--mgbh0fb.xn--mgba3a4f16a", "مثال.ایران"),
        ("xn--.example", "xn--.example"),
        ("xn--a\ud800", "xn--a\ud800"),
    ],
)
def test_to_u_label(domain: str, u_label: str) -> None:
    assert to_u_label(domain) == u_label
