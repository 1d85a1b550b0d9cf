"""A message judged for another server, which acts on it: the doors spamd and HTTP, beside service.Gateway's.

Nothing is done here: no message is relayed, held or deferred, and none is in our custody. The memory of senders is
neither asked nor taught, and no DMARC report counts the message: what becomes of it, and whether it is asked about
twice, only the other server knows. So the verdict is what `darban scan` gives for the same envelope. A message of a
mail server is counted like others, and stands in the message log as "scanned"; a question that is none is only counted
as a question (docs/doors.md).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from prometheus_client import Counter, Histogram

from gateway.errors import ScorerError
from gateway.policy.decide import as_one, decide
from gateway.ports import Journal, PolicySource
from gateway.service import MESSAGES, count_verdict
from gateway.types import Disposition, DomainPolicy, Envelope, LogRow, Recipient, Verdict

SCANS = Counter(
    "darban_scans_total",
    "Messages judged for a server that acts itself, by door and what was wanted.",
    ["door", "action"],
)
SCAN_SECONDS = Histogram(
    "darban_scan_seconds",
    "From the end of such a message to our answer.",
    ["door"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)

Score = Callable[[Envelope, bytes], Awaitable[Verdict]]

log = structlog.get_logger("darban.scan")


@dataclass(frozen=True, slots=True)
class Scanned:
    """What was found out about a message, and what is wanted for all its recipients together."""

    envelope: Envelope
    verdict: Verdict
    wanted: Disposition
    policy: DomainPolicy  # of the recipient for whom it is wanted

    @property
    def is_spam(self) -> bool:
        """Whether the score has reached what the policy requires of spam."""
        return self.verdict.score >= self.wanted.required_score


class Scanner:
    """One for a door."""

    def __init__(self, door: str, score: Score, policies: PolicySource, journal: Journal) -> None:
        """`score` as ports.Scorer.score."""
        self._door = door
        self._score = score
        self._policies = policies
        self._journal = journal
        SCAN_SECONDS.labels(door)
        for action in ("accept", "tag", "quarantine", "reject", "failed"):
            SCANS.labels(door, action)  # a series that is there from the start can be alarmed on

    async def scan(self, envelope: Envelope, content: bytes, *, is_mail: bool = True, told_as: str = "") -> Scanned:
        """Judge. Raises ScorerError when no verdict can be had.

        Args:
            is_mail: a mail server asks, about a message that it is taking.
            told_as: what that server calls the message, for the log.
        """
        started = time.perf_counter()
        try:
            verdict = await self._score(envelope, content)
        except ScorerError as error:
            SCANS.labels(self._door, "failed").inc()
            if is_mail:
                MESSAGES.labels("deferred").inc()
            log.error("no verdict", door=self._door, queue_id=envelope.queue_id, error=str(error))
            raise
        wanted, policy = self._decide(envelope, verdict)
        seconds = time.perf_counter() - started
        SCANS.labels(self._door, wanted.action).inc()
        SCAN_SECONDS.labels(self._door).observe(seconds)
        if is_mail:
            MESSAGES.labels("scanned").inc()
            count_verdict(verdict)
            self._journal.record(_rows(self._door, envelope, verdict, wanted))
        log.info("scanned", **_line(self._door, envelope, verdict, wanted, told_as), ms=round(seconds * 1000, 1))
        return Scanned(envelope, verdict, wanted, policy)

    def _decide(self, envelope: Envelope, verdict: Verdict) -> tuple[Disposition, DomainPolicy]:
        """A domain that is not ours has the policy of the first that is, as have messages without a recipient."""
        wanted = []
        policies = {}
        for recipient in envelope.recipients or (Recipient("", ""),):
            policy = self._policies.policy(recipient.domain) or self._policies.policy("")
            assert policy is not None  # a configuration has at least one domain
            policies[recipient] = policy
            wanted.append(decide(verdict, recipient, policy))
        chosen = as_one(wanted)
        return chosen, policies[chosen.recipient]


def _rows(door: str, envelope: Envelope, verdict: Verdict, wanted: Disposition) -> tuple[LogRow, ...]:
    return tuple(
        LogRow(
            queue_id=envelope.queue_id,
            at=envelope.received_at,
            client_ip=envelope.client.ip,
            helo=envelope.client.helo,
            reverse_path=envelope.reverse_path,
            recipient=recipient.address,
            summary=verdict.summary,
            action="scanned",
            reply=f"{door}: {wanted.action}",
            score=verdict.score,
            hits=tuple(hit.name for hit in verdict.hits),
            reason=wanted.reason,
        )
        for recipient in envelope.recipients or (Recipient("", ""),)
    )


def _line(door: str, envelope: Envelope, verdict: Verdict, wanted: Disposition, told_as: str) -> dict[str, object]:
    line: dict[str, object] = {
        "door": door,
        "queue_id": envelope.queue_id,
        "client_ip": envelope.client.ip,
        "helo": envelope.client.helo,
        "reverse_path": envelope.reverse_path,
        "recipients": [recipient.address for recipient in envelope.recipients],
        "action": wanted.action,
        "reason": wanted.reason,
        "message_id": verdict.summary.message_id,
        "size": verdict.summary.size_bytes,
        "score": round(verdict.score, 2),
        "hits": [hit.name for hit in verdict.hits],
        "rules": verdict.rules_id,
    }
    if told_as:
        line["told_as"] = told_as
    if verdict.incomplete:
        line["incomplete"] = list(verdict.incomplete)
    return line
