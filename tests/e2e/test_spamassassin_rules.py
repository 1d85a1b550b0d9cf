"""Debian's whole SpamAssassin rule set, as its package installs it: every file loads, every line is obeyed or listed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway.rules import report
from gateway.rules.evals import Calls, Facts, Knowledge
from gateway.rules.reader import read
from gateway.rules.rule import RuleFiles
from gateway.types import AuthResult
from tests.builders import mail, message_bytes

RULES = Path("/usr/share/spamassassin")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (RULES / "72_active.cf").exists(), reason="Debian's package spamassassin is not installed"),
]


@pytest.fixture(scope="module")
def files() -> RuleFiles:
    return read([RULES])


def test_nothing_is_wrong(files: RuleFiles) -> None:
    assert [str(one) for one in files.problems if one.severity == "error"] == []


def test_most_rules_run_and_the_others_have_a_reason(files: RuleFiles) -> None:
    found = report.check(files, ())
    assert found.failures == ()
    assert found.rules > 2500
    assert sum(found.unsupported.values()) < 0.06 * found.rules
    assert not any("no such function" in reason for reason in found.unsupported)
    asking = sum(count for reason, count in found.unsupported.items() if reason.startswith("it asks"))
    assert sum(found.unsupported.values()) - asking < 40


def test_reading_is_quick() -> None:
    started = time.process_time()
    read([RULES])
    assert time.process_time() - started < 3.0


def test_every_eval_rule_can_be_asked(files: RuleFiles) -> None:
    calls = Calls(files.rules.values())
    content = message_bytes("<p>hello <img src=x></p>", Content_Type="text/html")
    facts = Facts(mail(content, AuthResult("spf", "pass", "example.org", identity="mailfrom")), Knowledge(files))
    hits, faults = calls.hits(facts)
    assert faults == []
    assert {"HTML_MESSAGE", "MIME_HTML_ONLY", "SPF_PASS"} <= set(hits)
