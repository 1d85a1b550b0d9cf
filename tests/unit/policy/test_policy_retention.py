"""policy/retention.py: when its content goes."""

from __future__ import annotations

import pytest

from gateway.policy.retention import DAY_S, Retention
from gateway.types import HeldMessage, Summary

DAYS = {"spam": 30.0, "phishing": 20.0, "malware": 10.0, "released": 5.0, "rows": 90.0}
RETENTION = Retention(
    DAYS,  # type: ignore[arg-type]
    {"example.ir": {"spam": 3.0}, "*.example.ir": {"malware": 1.0}, "*.ir": {"malware": 2.0}},
    domain_sizes={"*.example.ir": 7},
)


@pytest.mark.parametrize(
    ("domain", "kind", "state", "days"),
    [
        ("other.org", "spam", "held", 30.0),
        ("example.ir", "spam", "held", 3.0),
        ("example.ir", "malware", "held", 10.0),  # its own table, which says nothing of that
        ("a.example.ir", "malware", "held", 1.0),
        ("a.other.ir", "malware", "held", 2.0),
        ("a.other.ir", "phishing", "held", 20.0),
        ("example.ir", "spam", "released", 5.0 + 1),  # from the release on, a day later
        ("example.ir", "spam", "releasing", None),
        ("example.ir", "spam", "deleted", None),
    ],
)
def test_when_a_content_goes(domain: str, kind: str, state: str, days: float | None) -> None:
    held = HeldMessage(
        "1", "Q", "h", "", "r", domain, "::1", "h", 1000.0, Summary(), 9.0, "", "{}",
        state=state, kind=kind, state_at=1000.0 + DAY_S,
    )  # fmt: skip
    assert RETENTION.expires_at(held) == (None if days is None else 1000.0 + days * DAY_S)


def test_sizes() -> None:
    assert [RETENTION.size_of(one) for one in ("a.example.ir", "example.ir", "other.org")] == [7, 0, 0]
