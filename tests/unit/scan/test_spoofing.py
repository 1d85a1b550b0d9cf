"""The spoofing table through the real pipeline: no forgery passes DMARC for whom it forges, or comes out clean.

The rules and the model are those that ship, the DNS is the row's. What a message says in words is the forger's to
choose, so a forgery must reach its action without anything the classifier says, and not be accepted with it either.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app import domain_policies, load_pipeline
from gateway.auth.organisation import organisational_domain
from gateway.config.settings import Settings
from gateway.policy.decide import decide
from gateway.scan.conclude import CLASSIFIER
from gateway.scan.pipeline import Pipeline
from gateway.types import ActionName, DomainPolicy, Verdict
from tests.fakes import FakeResolver
from tests.spoofing_case import Row, load_row, paths

_SEVERITY: tuple[ActionName, ...] = ("accept", "tag", "quarantine", "reject")
POLICY = domain_policies(Settings()).policy("darban.test") or DomainPolicy("", "")


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(Settings(), None)()


async def judge(pipeline: Pipeline, row: Row) -> Verdict:
    pipeline._resolver = FakeResolver(row.zones)
    return await pipeline.score(row.envelope, row.content)


def action_of(verdict: Verdict, row: Row) -> ActionName:
    return decide(verdict, row.envelope.recipients[0], POLICY).action


def without_words(verdict: Verdict) -> float:
    return sum(hit.score for hit in verdict.hits if hit.name != CLASSIFIER)


def seen(verdict: Verdict) -> str:
    lines = [f"{hit.score:+.2f} {hit.name}: {'; '.join(hit.evidence)[:160]}" for hit in verdict.hits]
    lines += [f"{one.method}={one.result} {one.domain} ({one.reason})" for one in verdict.auth]
    return "\n".join(lines)


def passes_for(verdict: Verdict) -> set[str]:
    return {organisational_domain(one.domain) for one in verdict.auth if (one.method, one.result) == ("dmarc", "pass")}


@pytest.mark.parametrize("path", paths(), ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_row(pipeline: Pipeline, path: Path) -> None:
    row = load_row(path)
    verdict = await judge(pipeline, row)
    assert verdict.incomplete == (), seen(verdict)
    assert row.expected <= {hit.name for hit in verdict.hits}, seen(verdict)
    if not row.is_attack:
        assert passes_for(verdict), seen(verdict)
        assert action_of(verdict, row) == "accept", seen(verdict)
        return
    assert organisational_domain(row.claims) not in passes_for(verdict), seen(verdict)
    assert action_of(verdict, row) != "accept", seen(verdict)
    wanted = {"tag": POLICY.tag_at, "quarantine": POLICY.quarantine_at, "reject": POLICY.reject_at}[row.action]
    assert without_words(verdict) >= wanted, seen(verdict)


def test_the_table_is_as_large_as_promised() -> None:
    rows = [load_row(path) for path in paths()]
    assert len([row for row in rows if row.is_attack]) >= 90
    assert len([row for row in rows if not row.is_attack]) >= 15
    assert len({row.words for row in rows}) == len(rows)
