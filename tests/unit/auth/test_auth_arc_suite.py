"""ValiMail's ARC test suite, where a copy of it is at hand (tests/arc_suite.py)."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.auth import arc
from gateway.mail import parse
from tests.arc_suite import VALIDATION, cases
from tests.fakes import FakeResolver


def zones(scenario: dict[str, Any]) -> dict[str, Any]:
    return {name: {"TXT": [record.strip()]} for name, record in scenario["txt-records"].items()}


@pytest.mark.parametrize(("scenario", "case"), cases(VALIDATION))
async def test_validation(scenario: dict[str, Any], case: dict[str, Any]) -> None:
    """Where the newest cv= or an older one is "fail" the suite expects nothing; RFC 8617 §5.2 says "fail"."""
    content = case["message"].replace("\n", "\r\n").encode()
    chain = await arc.evaluate(parse(content), "192.0.2.1", FakeResolver(zones(scenario)))
    assert chain.result.result == (case["cv"].strip().lower() or "fail"), chain.result.reason
