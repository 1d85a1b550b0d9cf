"""A forwarded message through the whole pipeline: who vouches, what is found, what it scores."""

from __future__ import annotations

import asyncio

import pytest

from gateway import rules
from gateway.checks import CHECKS
from gateway.config.shipped import rules_path
from gateway.ports import Resolver
from gateway.scan.pipeline import Pipeline, Trust
from gateway.types import DnsAnswer, Verdict
from tests.arc_chain import LIST, PASS, SCHOOL, STRANGER, add_set, chain, zones
from tests.builders import envelope, message_bytes
from tests.compiled_rules import COMPILED
from tests.fakes import FakeResolver

WORLD = zones() | {
    "_dmarc.example.org": {"TXT": ["v=DMARC1; p=reject"]},
    "example.org": {"TXT": ["v=spf1 -all"]},
    LIST: {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
}
CONTENT = message_bytes("The neighbours have the second key, ask them when you come.\r\n")
DMARC = {"DMARC_FAIL_REJECT", "DMARC_FAIL_OVERRIDDEN", "DMARC_PASS"}
ARC = {"ARC_PASS", "ARC_TRUSTED", "ARC_FAIL"}


@pytest.fixture(scope="module")
def ruleset() -> rules.RuleSet:
    return rules.load([rules_path() / "10_findings.cf"], COMPILED)


async def judge(ruleset: rules.RuleSet, content: bytes, *trusted: str, resolver: Resolver | None = None) -> Verdict:
    pipeline = Pipeline(
        resolver=resolver or FakeResolver(WORLD),
        message_checks=CHECKS,
        envelope_checks=(),
        rules=ruleset,
        classifier=None,
        deadline_s=0.5,
        trust_in=Trust(sealers=frozenset(trusted)),
    )
    return await pipeline.score(envelope(reverse_path=f"keys-bounces@{LIST}"), content)


def names(verdict: Verdict, wanted: set[str]) -> set[str]:
    return {hit.name for hit in verdict.hits} & wanted


@pytest.mark.parametrize(
    ("content", "trusted", "found"),
    [
        (CONTENT, (LIST,), {"DMARC_FAIL_REJECT"}),
        (chain(LIST, content=CONTENT), (), {"DMARC_FAIL_REJECT", "ARC_PASS"}),
        (chain(LIST, content=CONTENT), (LIST,), {"DMARC_FAIL_OVERRIDDEN", "ARC_TRUSTED"}),
        (chain(LIST, content=CONTENT), ("example",), {"DMARC_FAIL_REJECT", "ARC_PASS"}),
        (chain(LIST, STRANGER, content=CONTENT), (LIST,), {"DMARC_FAIL_REJECT", "ARC_PASS"}),
        (chain(STRANGER, LIST, content=CONTENT), (LIST,), {"DMARC_FAIL_OVERRIDDEN", "ARC_TRUSTED"}),
        (chain(LIST, SCHOOL, content=CONTENT), (LIST, SCHOOL), {"DMARC_FAIL_OVERRIDDEN", "ARC_TRUSTED"}),
        (chain(LIST, content=CONTENT).replace(b"neighbours", b"bank"), (LIST,), {"DMARC_FAIL_REJECT", "ARC_FAIL"}),
        (add_set(CONTENT, results="dmarc=pass header.from=bank.example"), (LIST,), {"DMARC_FAIL_REJECT", "ARC_PASS"}),
        # two authors are never one that is vouched for
        (b"From: boss@bank.example\r\n" + chain(LIST, content=CONTENT), (LIST,), {"ARC_PASS"}),
    ],
)  # fmt: skip
async def test_who_is_rescued(
    ruleset: rules.RuleSet, content: bytes, trusted: tuple[str, ...], found: set[str]
) -> None:
    verdict = await judge(ruleset, content, *trusted)
    assert names(verdict, DMARC | ARC) == found
    methods = [one.method for one in verdict.auth]
    assert ("arc" in methods) is (b"ARC-Seal" in content)
    assert methods[-1] == "dmarc"


async def test_the_policys_score_does_not_apply(ruleset: rules.RuleSet) -> None:
    content = chain(LIST, content=CONTENT)
    trusting, other = await judge(ruleset, content, LIST), await judge(ruleset, content)
    scores = ruleset.scores
    without, with_trust = ("DMARC_FAIL_REJECT", "ARC_PASS"), ("DMARC_FAIL_OVERRIDDEN", "ARC_TRUSTED")
    assert other.score - trusting.score == pytest.approx(
        sum(scores[name] for name in without) - sum(scores[name] for name in with_trust)
    )
    assert trusting.score < 5.0 <= other.score
    (dmarc,) = (one for one in trusting.auth if one.method == "dmarc")
    assert (dmarc.result, dmarc.policy, dmarc.override) == ("fail", "reject", "trusted_forwarder")
    assert f"{LIST}, a trusted sealer, recorded {PASS.partition(' ')[0]}" in dmarc.reason


class Silent:
    """Answers all but questions about this domain."""

    def __init__(self, ending: str, status: str = "") -> None:
        self.ending, self.status = ending, status

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        if name.endswith(self.ending):
            if self.status:
                return DnsAnswer("servfail")
            await asyncio.sleep(3600)
        return await FakeResolver(WORLD).query(name, rdtype)


@pytest.mark.parametrize("status", ["", "servfail"])
async def test_a_silent_dns_vouches_for_nothing_and_hides_nothing_else(ruleset: rules.RuleSet, status: str) -> None:
    content = chain(STRANGER, LIST, content=CONTENT)
    verdict = await judge(ruleset, content, LIST, resolver=Silent(STRANGER, status))
    found = {one.method: one.result for one in reversed(verdict.auth)}  # SPF of the reverse-path stands first
    assert (found["arc"], found["dmarc"], found["spf"]) == ("temperror", "fail", "pass")
    assert names(verdict, DMARC) == {"DMARC_FAIL_REJECT"}
    assert verdict.incomplete == ("dns: arc could not be looked up",)
