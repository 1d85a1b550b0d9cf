"""A message judged for another server: what is wanted for all its recipients, and what is counted and written down."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from gateway.errors import ScorerError
from gateway.policy.domains import ConfiguredDomains
from gateway.scanning import Scanned, Scanner
from gateway.types import DomainPolicy, Verdict
from tests.builders import envelope, message_bytes, verdict
from tests.memory import FixedScorer, MemoryJournal

POLICIES = ConfiguredDomains(
    [DomainPolicy("darban.test", "smtp://a:25"), DomainPolicy("strict.test", "smtp://a:25", 3.0, 4.0, 7.0)]
)


async def scan(score: float, *recipients: str, journal: MemoryJournal | None = None, **said: object) -> Scanned:
    scanner = Scanner("spamd", FixedScorer(verdict(score)).score, POLICIES, journal or MemoryJournal())
    changes = {} if recipients else {"recipients": ()}
    return await scanner.scan(envelope(*recipients, **changes), message_bytes(), **said)


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("score", "recipients", "action", "required"),
    [
        (1.0, ("you@darban.test",), "accept", 5.0),
        (6.0, ("you@darban.test",), "tag", 5.0),
        (9.0, ("you@darban.test",), "quarantine", 5.0),
        (16.0, ("you@darban.test",), "reject", 5.0),
        (6.0, (), "tag", 5.0),  # the first domain's
        (6.0, ("a@elsewhere.test",), "tag", 5.0),
        (3.5, ("you@darban.test", "you@strict.test"), "tag", 3.0),
        (7.5, ("you@strict.test",), "reject", 3.0),
        (7.5, ("you@darban.test", "you@strict.test"), "quarantine", 3.0),  # not refused for one alone
        (16.0, ("you@darban.test", "you@strict.test"), "reject", 5.0),
    ],
)
async def test_what_is_wanted(score: float, recipients: tuple[str, ...], action: str, required: float) -> None:
    found = await scan(score, *recipients)
    assert (found.wanted.action, found.wanted.required_score) == (action, required)
    assert found.policy.tag_at == required
    assert found.is_spam == (score >= required)


async def test_a_mail_servers_message_is_counted_and_written_down() -> None:
    journal, before = MemoryJournal(), value("darban_messages_total", outcome="scanned")
    await scan(9.0, "you@darban.test", "reza@darban.test", journal=journal)
    assert [(row.recipient, row.action, row.reply) for row in journal.rows] == [
        ("you@darban.test", "scanned", "spamd: quarantine"),
        ("reza@darban.test", "scanned", "spamd: quarantine"),
    ]
    assert value("darban_messages_total", outcome="scanned") == before + 1


async def test_a_question_is_only_counted_as_one() -> None:
    journal, messages = MemoryJournal(), value("darban_messages_total", outcome="scanned")
    scans = value("darban_scans_total", door="spamd", action="tag")
    await scan(6.0, "you@darban.test", journal=journal, is_mail=False)
    assert journal.rows == []
    assert value("darban_messages_total", outcome="scanned") == messages
    assert value("darban_scans_total", door="spamd", action="tag") == scans + 1


async def test_no_verdict_is_a_deferral() -> None:
    deferred = value("darban_messages_total", outcome="deferred")
    scanner = Scanner("spamd", FixedScorer(None).score, POLICIES, MemoryJournal())
    with pytest.raises(ScorerError):
        await scanner.scan(envelope(), message_bytes())
    assert value("darban_messages_total", outcome="deferred") == deferred + 1


async def test_the_memory_of_senders_is_not_asked() -> None:
    asked = []

    async def score(one: object, _content: bytes) -> Verdict:
        asked.append(one)
        return verdict(1.0)

    await Scanner("spamd", score, POLICIES, MemoryJournal()).scan(envelope(), message_bytes())
    assert asked[0].history is None
