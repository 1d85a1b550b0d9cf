"""The spoofing table through the real pipeline: no forgery passes DMARC for whom it forges, or comes out clean.

The rules and the model are those that ship, the DNS is the row's. What a message says in words is the forger's to
choose, so a forgery must reach its action without anything the classifier says, and not be accepted with it either.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from gateway.app.compose import domain_policies
from gateway.app.pipeline import load_pipeline
from gateway.auth.organisation import organisational_domain
from gateway.config.settings import Arc, Settings
from gateway.policy.decide import decide
from gateway.scan.conclude import CLASSIFIER
from gateway.scan.pipeline import Pipeline
from gateway.types import ActionName, DomainPolicy, Verdict
from tests.compiled_rules import COMPILED
from tests.fakes import FakeResolver
from tests.spoofing_case import Row, load_row, paths

_SEVERITY: tuple[ActionName, ...] = ("accept", "tag", "quarantine", "reject")
POLICY = domain_policies(Settings()).policy("darban.test") or DomainPolicy("", "")


@cache
def _pipeline(sealers: frozenset[str]) -> Pipeline:
    return load_pipeline(Settings(arc=Arc(trusted_sealers=tuple(sealers))), COMPILED)()


async def judge(row: Row) -> Verdict:
    pipeline = _pipeline(row.sealers)
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


def is_vouched_for(verdict: Verdict) -> bool:
    return any(one.override for one in verdict.auth)


@pytest.mark.parametrize("path", paths(), ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_row(path: Path) -> None:
    row = load_row(path)
    verdict = await judge(row)
    is_answered = not any(isinstance(entry, str) for entry in row.zones.values())
    assert (verdict.incomplete == ()) is is_answered, seen(verdict)
    assert row.expected <= {hit.name for hit in verdict.hits}, seen(verdict)
    if not row.is_attack:
        assert passes_for(verdict) or is_vouched_for(verdict), seen(verdict)
        assert action_of(verdict, row) == "accept", seen(verdict)
        return
    assert not is_vouched_for(verdict), seen(verdict)
    assert organisational_domain(row.claims) not in passes_for(verdict), seen(verdict)
    assert action_of(verdict, row) != "accept", seen(verdict)
    wanted = {"tag": POLICY.tag_at, "quarantine": POLICY.quarantine_at, "reject": POLICY.reject_at}[row.action]
    assert without_words(verdict) >= wanted, seen(verdict)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("attack: a\nstop: b\n", "no line ---"),
        ("attack: a\n---\n", "needs attack and stop"),
        ("attack: a\nstop: b\ncontrol: c\n---\n", "needs attack and stop"),
        ("attack: a\nstop: b\nattacks: c\n---\n", "cannot read 'attacks"),
        ("attack: a\nstop: b\nclient: 192.0.2.1\nclient: 192.0.2.2\n---\n", "client stands twice"),
        ("attack: a\nstop: b\naction: accept\n---\n", "no such action"),
        ("attack: a\nstop: b\nspoil: i=2 ARC-Seal\n---\n", "nothing to spoil"),
        ("attack: a\nstop: b\ndrop: i=2\n---\n", "no ARC set to drop"),
    ],
)
def test_slips_in_a_row_are_errors(text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_row(paths()[0])  # the common zone is read
    monkeypatch.setattr("tests.spoofing_case.FOLDER", tmp_path)
    (tmp_path / "slip.case").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        load_row(tmp_path / "slip.case")


def test_what_was_signed_and_what_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_row(paths()[0])
    monkeypatch.setattr("tests.spoofing_case.FOLDER", tmp_path)
    (tmp_path / "row.case").write_text(
        "control: c\nsign: d=shop.example s=s1 h=from l=4\n---\n"
        "%signed\nX: 1\n%end\n%added\nX: 2\n%end\nFrom{0x00}: a@shop.example\n\n%repeat 3\nab\n%end\n"
    )
    content = load_row(tmp_path / "row.case").content
    field, _, rest = content.partition(b"\r\n")
    assert field.startswith(b"DKIM-Signature: v=1; a=rsa-sha256; d=shop.example; s=s1; h=from; l=4; c=relaxed/relaxed")
    assert rest == b"X: 2\r\nFrom\0: a@shop.example\r\n\r\nab\r\nab\r\nab\r\n"


def test_the_table_is_as_large_as_promised() -> None:
    rows = [load_row(path) for path in paths()]
    assert len([row for row in rows if row.is_attack]) >= 90
    assert len([row for row in rows if not row.is_attack]) >= 15
    assert len({row.words for row in rows}) == len(rows)
