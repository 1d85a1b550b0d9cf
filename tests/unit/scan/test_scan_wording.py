"""scan/wording.py: what people read of contributions and changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gateway.checks import FINDINGS, observe
from gateway.classify import explanation, facts
from gateway.classify.features import SIZE, extract
from gateway.classify.model import Model
from gateway.mail.encoding import ENCODINGS
from gateway.scan.change import Change
from gateway.scan.counterfactual import Flip, flip_object
from gateway.scan.wording import change_text, contribution_text, flip_text
from gateway.types import AuthResult, Finding
from tests.builders import mail, message_bytes
from tests.unit.classify.test_classify_features import ATTACHED, HTML

TOLD_TWICE = (
    "Subject: BUY NOW IT IS\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    "<form><script>1</script><iframe></iframe><a href='http://192.0.2.1/'>v\u200bi\u200bag\u200bra pаypаl pаypаl</a>"
    f"<p style='display:none'>{'hidden words ' * 50}</p></form>"
)
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
        ("name_words", "0", "no sender's name"),
        ("name_words", "1", "the sender's name is one word"),
        ("name_words", "4+", "the sender's name has 4 or more words"),
        ("encoding", "1", "text sent as 1"),
        ("html_only", "", "HTML without a plain text beside it"),
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


def is_told(key: str) -> bool:
    kind, value = facts.describe(key)
    return contribution_text(kind, value) != f"{kind} {value}".strip()


@pytest.mark.parametrize(
    "content", [HTML, ATTACHED, "\r\nvi\u200bagra pаypаl http://192.0.2.1/ !!! $", "Subject: BUY NOW IT IS\r\n\r\n"]
)
def test_every_fact_has_words(content: str) -> None:
    auth = (AuthResult("spf", "fail"), AuthResult("dmarc", "fail"))
    for author in ("", "From: a@x.example\r\n", "From: A B <a@z.example>\r\n"):
        seen = extract(mail(f"{author}{content}".encode(), *auth)).facts
        assert [key for key in seen if not is_told(key)] == []


def test_every_finding_and_encoding_has_words() -> None:
    names, encodings = facts.OF_BODY | facts.OF_RELATIONS, ENCODINGS | {"x-unheard"}
    seen = replace(mail(message_bytes()), findings=tuple(Finding(name) for name in names))
    keys = {*facts.findings(seen), *(f"encoding:{name}" for name in encodings)}
    assert len({facts.describe(key) for key in keys}) == len(names) + len(encodings)
    assert [key for key in keys if not is_told(key)] == []


def test_no_words_for_findings_that_are_no_features() -> None:
    silent = FINDINGS - facts.OF_BODY - facts.OF_RELATIONS - {"REPLY_TO_ELSEWHERE"}  # which is a fact too
    assert [name for name in sorted(silent) if contribution_text(name.lower(), "") != name.lower()] == []


def test_a_name_of_many_words() -> None:
    seen = extract(mail(message_bytes(From="A B C D E <a@z.example>"))).facts
    (key,) = [key for key in seen if key.startswith("name_words")]
    assert contribution_text(*facts.describe(key)) == "the sender's name has 4 or more words"


def test_what_says_the_same_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanation, "_SHOWN", 1 << 30)
    seen = observe(mail(TOLD_TWICE.encode()))
    of_all = Model("m", np.ones(SIZE, np.float32), 0.0, 1.0, 0.0).read(seen).explain()
    weights = {contribution_text(one.kind, one.value): one.weight for one in of_all}
    assert len(weights) == len(of_all)
    one_finding = weights["HTML without a plain text beside it"]
    for text in (
        "<form> in the HTML",
        "text hidden from the reader",
        "a subject in capitals",
        "a script in the HTML",
        "another page inside the HTML",
        "invisible characters inside words",
        "foreign look-alikes of letters inside words",
        "link to a bare address",
    ):
        assert weights[text] == pytest.approx(one_finding * 4 / 3), text  # three voices, and the fact


def test_persian_inside_an_english_sentence_is_isolated() -> None:
    flip = Flip("tag", (Change("attachment", "فاکتور.exe"), Change("reply_to", "")), "accept", 1.0, 3, 4)
    assert flip_object(flip)["text"] == (
        "It would have been delivered untagged without the attachment “\u2068فاکتور.exe\u2069” and with answers going to its author."
    )
