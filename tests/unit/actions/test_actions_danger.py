"""actions/danger.py: what kind of mail the hits speak of, and that its names are names that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.actions import danger
from gateway.types import Hit

RULES = Path(__file__).parents[3] / "rules"


@pytest.mark.parametrize(
    ("hits", "kind"),
    [
        ((), "spam"),
        ((("MONEY_WON", 5.0),), "spam"),
        ((("PHISH_VERIFY_ACCOUNT", 1.0), ("MONEY_WON", 5.0)), "spam"),
        ((("PHISH_VERIFY_ACCOUNT", 1.0), ("LOOKALIKE_LINK", 1.5)), "phishing"),
        ((("DNSBL_SPAMHAUS_DBL_PHISH", 4.0),), "phishing"),
        ((("PHISH_VERIFY_ACCOUNT", 3.0), ("ATTACHMENT_MACRO", 0.5)), "malware"),
        ((("DNSBL_SURBL_MALWARE", 4.0),), "malware"),
        ((("VIRUS_EICAR", 4.0),), "malware"),
        ((("ATTACHMENT_EXECUTABLE", 0.0), ("LOOKALIKE_LINK", -3.0)), "spam"),
    ],
)
def test_kinds(hits: tuple[tuple[str, float], ...], kind: str) -> None:
    assert danger.kind_of([Hit(name, score, "") for name, score in hits]) == kind


def test_names_are_names_that_there_are() -> None:
    known = {name for path in RULES.glob("*.cf") for name in re.findall(r"^score\s+(\w+)", path.read_text(), re.M)}
    assert known >= danger._MALWARE | danger._PHISHING
    for topic in danger._PHISHING_TOPICS:
        assert any(name.startswith(topic) for name in known), topic
