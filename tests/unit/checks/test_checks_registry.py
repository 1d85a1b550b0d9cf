"""What holds for all checks: names, files, scores and descriptions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.checks import CHECKS, ENVELOPE_CHECKS, FINDINGS
from gateway.checks.domain_list import FREEMAIL, SHORTENERS
from gateway.mail.domain import to_a_label
from gateway.rules.ruleset import FINDINGS as RULE_FINDINGS

ROOT = Path(__file__).parents[3]
ALL = (*CHECKS, *ENVELOPE_CHECKS)
NOT_CHECKS = {"__init__", "domain_list", "dns_list"}  # the last is made from the configuration


def _names_in_rules(pattern: str) -> set[str]:
    text = (ROOT / "rules" / "10_findings.cf").read_text(encoding="utf-8")
    return set(re.findall(pattern, text, re.MULTILINE))


def test_every_file_is_registered_under_its_name():
    files = {path.stem for path in (ROOT / "gateway" / "checks").glob("*.py")} - NOT_CHECKS
    assert sorted(check.name for check in ALL) == sorted(files)
    assert all(type(check).__module__ == f"gateway.checks.{check.name}" for check in ALL)


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.name)
def test_findings_are_stable_names_of_one_check(check):
    assert all(re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", name) for name in check.findings)
    others = [name for other in ALL if other is not check for name in other.findings]
    assert len(set(check.findings)) == len(check.findings) > 0
    assert not set(check.findings) & set(others)
    assert set(check.findings) <= FINDINGS


@pytest.mark.parametrize(
    "pattern", [r"^score +(\w+) ", r"^describe +(\w+) \S", r"^lang fa describe +(\w+) \S"], ids=["score", "en", "fa"]
)
def test_every_finding_has_a_score_and_words_in_both_languages(pattern: str):
    assert _names_in_rules(pattern) == FINDINGS | RULE_FINDINGS | {"CLASSIFIER"}


@pytest.mark.parametrize("domains", [FREEMAIL, SHORTENERS], ids=["freemail", "shorteners"])
def test_listed_domains_are_what_they_are_compared_with(domains: frozenset[str]):
    assert all(to_a_label(domain) == domain for domain in domains)
    assert all("." in domain for domain in domains)
