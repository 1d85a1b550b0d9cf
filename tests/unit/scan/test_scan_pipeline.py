"""scan/pipeline.py: one slow or failing method does not take the others' results away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from gateway.auth import spf
from gateway.scan.pipeline import MAX_QUERIES, Pipeline
from gateway.types import DnsAnswer, Verdict
from tests.builders import envelope, message_bytes
from tests.fakes import FakeResolver, NoRules

ZONES = {
    "_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject"]},
    "evil.example": {"TXT": ["v=spf1 -all exp=why.else.example"]},
    "why.else.example": {"TXT": ["we do not mail"]},
}


class SlowZone:
    """A resolver whose answers about names with this ending do not come."""

    def __init__(self, ending: str) -> None:
        self.ending = ending
        self.known = FakeResolver(ZONES)

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        if name.endswith(self.ending):
            await asyncio.sleep(3600)
        return await self.known.query(name, rdtype)


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
    ("slow", "late"),
    [
        ("in-addr.arpa", "iprev"),
        ("evil.example", "spf"),
        ("bank.example", "dmarc"),
        ("mail.example.org", "spf of HELO"),
    ],
)
async def test_who_is_slow_hides_nothing_else(slow: str, late: str) -> None:
    with capture_logs() as logged:
        verdict = await judge(slow)
    found = {f"{one.method}{' of HELO' if one.identity == 'helo' else ''}": one.result for one in verdict.auth}
    usual = {"iprev": "permerror", "spf": "fail", "spf of HELO": "none", "dmarc": "fail"}
    assert found == usual | {late: "temperror"}
    assert verdict.incomplete == (f"dns: {late} could not be looked up",)
    assert logged == [], "a DNS that is slow is no fault of ours"


@pytest.mark.parametrize(
    ("slow", "words"), [("nothing", 'evil.example says: "we do not mail"'), ("else.example", "-all")]
)
async def test_a_slow_explanation_loses_the_words_alone(slow: str, words: str) -> None:
    verdict = await judge(slow)
    sender = verdict.auth[1]
    assert (sender.method, sender.result, verdict.incomplete) == ("spf", "fail", ())
    assert sender.reason.endswith(words)


async def test_a_method_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(spf.Evaluation, "main", broken)
    verdict = await judge("nothing")
    assert {one.method: one.result for one in verdict.auth}["dmarc"] == "fail"
    assert "spf: ZeroDivisionError" in verdict.incomplete


def greedy(depth: int) -> dict:
    """A sender's SPF record that costs as many look-ups as it may, and a victim's policy."""
    many = {f"m{n}.evil.example": {"MX": [f"{i} x{i}.m{n}.evil.example" for i in range(10)]} for n in range(depth)}
    hosts = {f"x{i}.m{n}.evil.example": {"A": ["198.51.100.1"]} for n in range(depth) for i in range(10)}
    record = "v=spf1 " + " ".join(f"mx:m{n}.evil.example" for n in range(depth)) + " -all"
    return ZONES | many | hosts | {"evil.example": {"TXT": [record]}}


async def test_one_asker_cannot_use_up_the_look_ups_of_the_others() -> None:
    resolver = FakeResolver(greedy(9))
    whole = await asking(resolver, MAX_QUERIES)
    assert {one.method: one.result for one in reversed(whole.auth)}["spf"] == "fail"
    assert whole.incomplete == ()
    needed = len(resolver.queries)
    resolver = FakeResolver(greedy(9))
    short = await asking(resolver, 100)
    assert {one.method: one.result for one in reversed(short.auth)} == {
        "iprev": "permerror",
        "spf": "temperror",
        "dmarc": "fail",
    }
    assert "dns: spf asked for more than 40 look-ups" in short.incomplete
    assert "dns: spf could not be looked up" in short.incomplete
    assert len(resolver.queries) <= 50 < needed


async def test_trouble_of_the_dns_is_told_to_those_who_asked() -> None:
    resolver = FakeResolver({"evil.example": "timeout"})
    verdict = await asking(resolver, MAX_QUERIES, lambda: "no nameserver answers")
    assert verdict.incomplete == ("dns: spf could not be looked up", "dns: no nameserver answers")
    verdict = await asking(FakeResolver(), MAX_QUERIES, lambda: "no nameserver answers")
    assert verdict.incomplete == ()  # all was in the cache


async def asking(resolver: FakeResolver, max_queries: int, trouble: Callable[[], str] = lambda: "") -> Verdict:
    pipeline = Pipeline(
        resolver=resolver,
        message_checks=(),
        envelope_checks=(),
        rules=NoRules(),  # type: ignore[arg-type]
        classifier=None,
        deadline_s=10,
        max_queries=max_queries,
        trouble=trouble,
    )
    return await pipeline.score(envelope(reverse_path="x@evil.example"), message_bytes(From="a@bank.example"))
