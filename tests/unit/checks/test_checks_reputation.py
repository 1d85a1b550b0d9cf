"""checks/reputation.py beyond its cases: what is remembered is worth little, and never decides alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import rules
from gateway.checks.new_domain import NewDomain
from gateway.checks.reputation import Reputation
from gateway.config.shipped import rules_path
from gateway.policy.reputation import OWN_HITS
from gateway.types import DomainPolicy, Finding
from tests.builders import mail, message_bytes
from tests.compiled_rules import COMPILED

POLICY = DomainPolicy("darban.test", "smtp://a:25")


@pytest.fixture(scope="module")
def shipped() -> rules.Rules:
    return rules.load([rules_path()], COMPILED)


def total(shipped: rules.Rules, *names: str) -> float:
    hits = shipped.match(mail(message_bytes()), [Finding(name) for name in names])
    return sum(hit.score for hit in hits if hit.name in OWN_HITS | set(names))


def test_a_bad_name_alone_does_not_even_tag(shipped: rules.Rules) -> None:
    worst = [name for name in (*Reputation.findings, *NewDomain.findings) if shipped.scores[name] > 0]
    assert 0 < total(shipped, *worst) < POLICY.tag_at


def test_a_new_domain_is_worth_no_more_than_a_rate_that_is_high(shipped: rules.Rules) -> None:
    assert 0 < total(shipped, *NewDomain.findings) <= shipped.scores["SENDER_RATE_HIGH"]


def test_a_good_name_does_not_make_clean_what_would_be_held(shipped: rules.Rules) -> None:
    best = [name for name in Reputation.findings if shipped.scores[name] < 0]
    assert -2.0 < total(shipped, *best) < 0
    assert POLICY.quarantine_at + total(shipped, *best) > POLICY.tag_at


@pytest.mark.parametrize("danger", ["ATTACHMENT_EXECUTABLE", "ATTACHMENT_DISGUISED", "ATTACHMENT_MACRO", "URL_PROGRAM"])
def test_who_is_known_gains_nothing_with_what_a_stolen_account_sends(shipped: rules.Rules, danger: str) -> None:
    plain, dangerous = total(shipped, "KNOWN_SENDER"), total(shipped, "KNOWN_SENDER", danger)
    assert plain == pytest.approx(-1.2)
    assert dangerous - shipped.scores[danger] == pytest.approx(-0.2)


def test_a_program_from_a_known_sender_is_still_tagged(shipped: rules.Rules) -> None:
    best = [name for name in Reputation.findings if shipped.scores[name] < 0]
    assert total(shipped, "ATTACHMENT_EXECUTABLE", *best) >= POLICY.tag_at


def test_what_lowers_the_score_for_a_good_name_is_left_out_of_what_teaches(shipped: rules.Rules) -> None:
    lines = [line.split() for line in (Path(rules_path()) / "40_meta.cf").read_text("utf-8").splitlines()]
    metas = {words[1] for words in lines if words[:1] == ["meta"] and set(words) & set(Reputation.findings)}
    lowering = {name for name in metas if shipped.scores[name] < 0}
    assert lowering | {*Reputation.findings, *NewDomain.findings} == OWN_HITS
