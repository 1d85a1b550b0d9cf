"""scan/wording.py: what people read of contributions and changes."""

from __future__ import annotations

import pytest

from gateway.classify import facts
from gateway.scan.change import Change
from gateway.scan.counterfactual import Flip, flip_object
from gateway.scan.wording import change_text, contribution_text, flip_text
from gateway.types import AuthResult
from tests.builders import mail
from tests.unit.classify.test_classify_features import ATTACHED, HTML

FLIP = {"was": "quarantine", "action": "accept", "is_needed": True, "signs": 3, "changes": []}
LINK, SIGNED = {"kind": "link", "value": "x.example"}, {"kind": "dkim", "value": "y.example"}


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("words", "click", "word “click”"),
        ("words", "click here", "words “click here”"),
        ("subject", "You won", "“You won” in the subject"),
        ("everyday", "the, of", "everyday words such as “the, of”"),
        ("numbers", "", "numbers and dates"),
        ("links", "0", "no links"),
        ("links", "1", "1 link"),
        ("links", "4-7", "4 to 7 links"),
        ("dollars", "4+", "4 or more dollar signs"),
        ("name", "0", "“0” in the sender's name"),
        ("words", "100% of %(value)s", "words “100% of %(value)s”"),
        ("unheard", "of %s", "unheard of %s"),
        ("", "", ""),
    ],
)
def test_contributions(kind: str, value: str, shown: str) -> None:
    assert contribution_text(kind, value) == shown


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"changes": [LINK]}, "It would have been delivered without the link to x.example."),
        (
            {"changes": [LINK, SIGNED]},
            "It would have been delivered without the link to x.example and with a valid DKIM signature of y.example.",
        ),
        (
            {"changes": [LINK], "action": "tag"},
            "It would have been delivered, though tagged, without the link to x.example.",
        ),
        ({"changes": [LINK], "was": "tag"}, "It would have been delivered untagged without the link to x.example."),
        ({}, "No single change and no two together would have had it delivered: 3 signs agree."),
        ({"is_needed": False}, "Judged again now, it is delivered as it is."),
    ],
)
def test_flips(changed: dict, shown: str) -> None:
    assert flip_text(FLIP | changed) == shown


def test_a_long_passage_is_cut() -> None:
    assert change_text("passage", "x" * 500) == f"without the passage “{'x' * 120}…”"
    assert change_text("unheard", "of %s") == "unheard of %s"


@pytest.mark.parametrize(
    "content", [HTML, ATTACHED, "\r\nvi\u200bagra pаypаl http://192.0.2.1/ !!! $", "Subject: BUY NOW IT IS\r\n\r\n"]
)
def test_every_fact_has_words(content: str) -> None:
    from gateway.classify.features import extract

    auth = (AuthResult("spf", "fail"), AuthResult("dmarc", "fail"))
    for key in extract(mail(content.encode(), *auth)).facts:
        kind, value = facts.describe(key)
        assert contribution_text(kind, value) != f"{kind} {value}".strip()


def test_every_finding_that_is_a_feature_has_words() -> None:
    for name in facts.OF_BODY | facts.OF_RELATIONS:
        assert contribution_text(*facts.describe(f"finding:{name}~")) == f"the finding {name}"


def test_persian_inside_an_english_sentence_is_isolated() -> None:
    flip = Flip("tag", (Change("attachment", "فاکتور.exe"), Change("reply_to", "")), "accept", 1.0, 3, 4)
    assert flip_object(flip)["text"] == (
        "It would have been delivered untagged without the attachment “\u2068فاکتور.exe\u2069” and with answers going to its author."
    )
