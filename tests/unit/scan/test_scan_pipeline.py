"""scan/pipeline.py: one slow or failing method does not take the others' results away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import MappingProxyType

import pytest

from gateway.auth import spf
from gateway.scan.pipeline import Pipeline
from gateway.types import DnsAnswer, Finding, Hit, MailObject, Prediction, Verdict
from tests.builders import envelope, message_bytes
from tests.fakes import FakeResolver

ZONES = {"_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject"]}, "evil.example": {"TXT": ["v=spf1 -all"]}}


class SlowZone:
    """A resolver whose answers about names with this ending do not come."""

    def __init__(self, ending: str) -> None:
        self.ending = ending
        self.known = FakeResolver(ZONES)

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        if name.endswith(self.ending):
            await asyncio.sleep(3600)
        return await self.known.query(name, rdtype)


class NoRules:
    id = "none"
    descriptions = MappingProxyType[str, str]({})
    scores = MappingProxyType[str, float]({})
    firm: frozenset[str] = frozenset()

    def match(
        self, mail: MailObject, findings: Sequence[Finding], prediction: Prediction | None = None
    ) -> tuple[Hit, ...]:
        return ()


async def judge(ending: str) -> Verdict:
    pipeline = Pipeline(
        resolver=SlowZone(ending),
        message_checks=(),
        envelope_checks=(),
        rules=NoRules(),  # type: ignore[arg-type]
        classifier=None,
        deadline_s=0.5,
    )
    content = message_bytes(From="a@bank.example")
    return await pipeline.score(envelope(reverse_path="x@evil.example"), content)


@pytest.mark.parametrize(
    ("slow", "late"), [("in-addr.arpa", "iprev"), ("evil.example", "spf"), ("bank.example", "dmarc")]
)
async def test_who_is_slow_hides_nothing_else(slow: str, late: str) -> None:
    verdict = await judge(slow)
    found = {one.method: one.result for one in verdict.auth}
    usual = {"iprev": "permerror", "spf": "fail", "dmarc": "fail"}
    assert found == usual | {late: "temperror"}
    assert verdict.incomplete == (f"dns: {late} could not be looked up",)


async def test_a_method_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(spf, "evaluate", broken)
    verdict = await judge("nothing")
    assert {one.method: one.result for one in verdict.auth}["dmarc"] == "fail"
    assert "spf: ZeroDivisionError" in verdict.incomplete
