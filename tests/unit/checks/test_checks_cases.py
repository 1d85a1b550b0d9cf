"""Every case of tests/cases/checks, and that the cases leave nothing out."""

from __future__ import annotations

import pytest

from gateway.checks import CHECKS
from gateway.mail import parse
from gateway.ports import MessageCheck
from gateway.types import MailObject
from tests.builders import envelope
from tests.check_case import Case, findings_of, judge, load_case, load_cases

CASES = load_cases()
MESSAGE_FINDINGS = sorted(name for check in CHECKS for name in check.findings)


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_case(case: Case):
    assert list(judge(case)) == []


@pytest.mark.parametrize("name", MESSAGE_FINDINGS)
def test_every_finding_is_expected_by_a_case(name: str):
    assert any(name in case.expected for case in CASES)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_has_a_case_that_comes_near_and_is_not_found(check: MessageCheck):
    own = [case for case in CASES if case.id.startswith(f"{check.name}/")]
    assert any(case.is_exact and not case.expected & set(check.findings) for case in own)


def test_cases_name_only_findings_that_exist():
    named = {
        name for case in CASES for name in (*case.expected, *case.unwanted, *(found for found, _ in case.evidence))
    }
    assert named <= set(MESSAGE_FINDINGS)


def test_there_is_enough_good_mail():
    assert sum(case.is_exact and not case.expected for case in CASES) >= 12


def test_no_two_cases_are_the_same():
    assert len({(case.mail.message.raw, case.mail.envelope, case.mail.auth) for case in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("expect: DATE_INVALID\n", "no line ---"),
        ("expected: DATE_INVALID\n---\n", "cannot read 'expected"),
        ("not: DATE_INVALID\n---\n", "needs either"),
        ("expect:\nexpect-some: DATE_INVALID\n---\n", "needs either"),
        ("expect:\nperson: Sara Rahimi\n---\n", "cannot read person"),
        ("expect:\nauth: spf=pass example.org aligend\n---\n", "cannot read auth"),
    ],
)
def test_slips_in_a_case_are_errors(text: str, words: str, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.check_case.FOLDER", tmp_path)
    (tmp_path / "slip.case").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        load_case(tmp_path / "slip.case")


def test_judge_finds_what_is_wrong():
    mail = MailObject(envelope(), parse(b"From: sara@example.org\r\n\r\n"))
    names = frozenset(finding.name for finding in findings_of(mail))
    right = Case("right", names, True, frozenset(), (("SUBJECT_MISSING", "no Subject"),), mail)
    assert list(judge(right)) == []
    wrong = (
        Case("missing", names | {"URL_DATA"}, True, frozenset(), (), mail),
        Case("surplus", names - {"DATE_MISSING"}, True, frozenset(), (), mail),
        Case("unwanted", frozenset(), False, frozenset({"DATE_MISSING"}), (), mail),
        Case("evidence", names, True, frozenset(), (("DATE_MISSING", "no Subject"),), mail),
    )
    assert [len(list(judge(case))) for case in wrong] == [1, 1, 1, 1]
