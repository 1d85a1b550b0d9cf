"""Is the author's domain proven, and does a list or a service send?"""

from __future__ import annotations

import pytest

from gateway.auth.sender import is_bulk, is_proven
from gateway.types import AuthResult
from tests.builders import mail, message_bytes


@pytest.mark.parametrize(
    ("results", "is_so"),
    [
        ((), False),
        ((AuthResult("dmarc", "pass", "example.org"),), True),
        ((AuthResult("dmarc", "fail", "example.org"),), False),
        ((AuthResult("spf", "pass", "other.example"),), False),
        ((AuthResult("spf", "pass", "example.org", is_aligned=True),), True),
        ((AuthResult("spf", "pass", "example.org", identity="helo", is_aligned=True),), False),
        ((AuthResult("dkim", "pass", "example.org", is_aligned=True),), True),
        ((AuthResult("dkim", "fail", "example.org", is_aligned=True),), False),
        ((AuthResult("iprev", "pass", "mail.example.org", is_aligned=True),), False),
        ((AuthResult("arc", "pass", "example.org", is_aligned=True),), False),
    ],
)
def test_proof(results: tuple[AuthResult, ...], is_so: bool):
    assert is_proven(mail(message_bytes(), *results)) is is_so


@pytest.mark.parametrize(
    ("fields", "is_so"),
    [
        ({}, False),
        ({"List_Id": "<a.example>"}, True),
        ({"List_Unsubscribe": "<mailto:a@b.example>"}, True),
        ({"Precedence": "bulk"}, True),
        ({"Precedence": "first-class"}, False),
        ({"Auto_Submitted": "auto-generated"}, True),
        ({"Auto_Submitted": "no"}, False),
        ({"From": "Shop <noreply@example.org>"}, True),
        ({"From": "No <reply@example.org>"}, False),
    ],
)
def test_bulk(fields: dict[str, str], is_so: bool):
    assert is_bulk(mail(message_bytes(**fields))) is is_so
