"""rules/modifier.py: hosts, registered domains and addresses in header values."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.modifier import REDUCING, reduced
from gateway.rules.text import Texts
from tests.builders import mail, message_bytes


def is_known(host: str) -> bool:
    return host.endswith((".org", ".uk"))


@pytest.mark.parametrize(
    ("value", "modifiers", "found"),
    [
        ("<1.2@mail.example.org>", "host", "mail.example.org"),
        ("<a.example.org@mail.example.org>", "host", "mail.example.org"),
        ("from pc.nowhere (mx.example.org [192.0.2.1])", "host", "mx.example.org"),
        ("from pc (mx.a.co.uk [192.0.2.1])", "domain", "a.co.uk"),
        ("sara@mail.example.nowhere", "addr host", "mail.example.nowhere"),
        ("sara@mail.example.org", "addr domain", "example.org"),
        ("sara", "addr host", ""),
        ("none here, but 192.0.2.1", "host", ""),
        ("from pc (mx.example.org [192.0.2.1])", "ip", "192.0.2.1"),
        ("[ ip=2001:db8::1 rdns= ]", "ip", "2001:db8::1"),
        ("at 10:00:00 by 192.0.2.999 and 192.0.2.1.5", "ip", ""),
        ("[192.0.2.1]", "revip", "1.2.0.192"),
        ("2001:db8::1", "revip", "1." + "0." * 23 + "8.b.d.0.1.0.0.2"),
    ],
)
def test_reduced(value: str, modifiers: str, found: str) -> None:
    assert reduced([value], modifiers.split(), is_known) == [one for one in (found,) if one]


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ("From:addr:domain", b"example.org\n"),
        ("Reply-To:addr:host", b"mail.example.org\nx.example.net\n"),
        ("EnvelopeFrom:domain", b"example.org\n"),
        ("Message-ID:host", b"mail.example.org\n"),
        ("Received:last:ip", b"192.0.2.9\n"),
        ("Received:first:revip", b"8.2.0.192\n"),
        ("Subject:host", None),
        ("X-None:ip", None),
    ],
)
def test_selectors(selector: str, text: bytes | None) -> None:
    content = b"Received: from pc ([192.0.2.8])\r\nReceived: from pc ([192.0.2.9])\r\n" + message_bytes(
        Reply_To="a@mail.example.org, b@x.example.net", Message_ID="<1@mail.example.org>"
    )
    assert Texts(mail(content)).header(selector) == text


@given(st.text(max_size=200) | st.text("ab.@:-[]0 1", max_size=200), st.sampled_from(sorted(REDUCING)))
def test_total(value: str, modifier: str) -> None:
    assert all(reduced([value], [modifier], is_known))


@pytest.mark.parametrize("unit", ["a.", "a@", "1.", ":", "1:", "a.org@", "-"])
def test_linear(unit: str) -> None:
    started = time.process_time()
    for modifier in REDUCING:
        reduced([unit * 100_000], [modifier], is_known)
    assert time.process_time() - started < 0.2
