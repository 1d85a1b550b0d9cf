"""The steps of judging one message, in order: parse, authenticate, checks, rules, classify, conclude.

The same object judges in a scorer process and in `darban scan`. Every stage may be left out by name (a scorer died in
it before); what was left out stands in Verdict.incomplete.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from gateway.auth import dkim, dmarc, iprev, spf
from gateway.mail import parse
from gateway.mail.summary import summarise
from gateway.ports import Classifier, EnvelopeCheck, MessageCheck, Resolver, RuleSet
from gateway.scan.conclude import conclude
from gateway.scan.runner import attempt, attempt_async, run_envelope_checks, run_message_checks
from gateway.types import (
    AuthMethod,
    AuthResult,
    CheckReport,
    DnsAnswer,
    Envelope,
    Finding,
    MailObject,
    Message,
    Prediction,
    Verdict,
)

STAGES = ("parse", "authenticate", "checks", "rules", "classify", "conclude")
_HEADER_MAX_BYTES = 1 << 18  # what is parsed when the whole message could not be
# Each method has this part of the deadline, DMARC the rest. Whoever owns the client's reverse zone or a signature's
# domain can make those slow: that must not take away what the others found.
_METHOD_SHARE = 0.6

T = TypeVar("T")


def _ignore(_stage: str) -> None:
    """No one watches."""


class Pipeline:
    """One for a process; judges many messages side by side, as DNS lets it."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        message_checks: Sequence[MessageCheck],
        envelope_checks: Sequence[EnvelopeCheck],
        rules: RuleSet,
        classifier: Classifier | None,
        deadline_s: float,
    ) -> None:
        self.rules = rules
        self.classifier = classifier
        self._resolver = resolver
        self._message_checks = message_checks
        self._envelope_checks = envelope_checks
        self._deadline_s = deadline_s

    async def score(
        self, envelope: Envelope, content: bytes, skip: Sequence[str] = (), mark: Callable[[str], None] = _ignore
    ) -> Verdict:
        """Judge. `mark` is told each stage as it begins (and again after each wait)."""
        run = _Run(skip, mark)
        message = run.stage("parse", lambda: parse(content)) or _header_only(content)
        resolver = _MarkingResolver(self._resolver, mark)
        auth = await self._authenticate(run, envelope, message, resolver)
        mail = MailObject(envelope, message, auth)
        findings = await self._check(run, mail, resolver)
        hits = run.stage("rules", lambda: self.rules.match(mail, findings)) or ()
        prediction = self._predict(run, mail)
        run.begin("conclude")
        return conclude(
            envelope.queue_id,
            hits,
            prediction,
            self.rules.scores,
            auth=auth,
            incomplete=run.incomplete,
            summary=summarise(message),
            rules_id=self.rules.id,
            stages=run.times,
        )

    async def _authenticate(
        self, run: _Run, envelope: Envelope, message: Message, resolver: Resolver
    ) -> tuple[AuthResult, ...]:
        if not run.begin("authenticate"):
            return ()
        started = time.perf_counter()
        limit = self._deadline_s * _METHOD_SHARE
        reverse, sender, signatures = await asyncio.gather(
            run.wait("iprev", iprev.evaluate(envelope, resolver), limit, _late("iprev")),
            run.wait("spf", spf.evaluate(envelope, resolver), limit, _late("spf")),
            run.wait("dkim", dkim.evaluate(message, resolver), limit, (_late("dkim"),)),
        )
        sender, signatures, policy = await run.wait(
            "dmarc",
            dmarc.evaluate(message, sender, signatures, resolver),
            self._deadline_s - limit,
            (sender, signatures, _late("dmarc")),
        )
        results = (reverse, sender, *signatures, policy)
        run.incomplete += [f"dns: {r.method} could not be looked up" for r in results if r.result == "temperror"]
        run.times.append(("authenticate", time.perf_counter() - started))
        return results

    async def _check(self, run: _Run, mail: MailObject, resolver: Resolver) -> list[Finding]:
        reports = run.stage("checks", lambda: run_message_checks(self._message_checks, mail)) or []
        if self._envelope_checks and "checks" not in run.skip:
            reports += await run_envelope_checks(self._envelope_checks, mail, resolver, self._deadline_s)
        run.incomplete += [_failure(report) for report in reports if report.failed]
        return [finding for report in reports for finding in report.findings]

    def _predict(self, run: _Run, mail: MailObject) -> Prediction | None:
        classifier = self.classifier
        return None if classifier is None else run.stage("classify", lambda: classifier.predict(mail))


class _Run:
    """What one message's way through the stages leaves behind."""

    def __init__(self, skip: Sequence[str], mark: Callable[[str], None]) -> None:
        self.skip = frozenset(skip)
        self.incomplete = [f"{stage}: gave up on this message" for stage in STAGES if stage in self.skip]
        self.times: list[tuple[str, float]] = []
        self._mark = mark

    def begin(self, stage: str) -> bool:
        """Mark the stage; False when it is to be left out."""
        if stage in self.skip:
            return False
        self._mark(stage)
        return True

    async def wait(self, name: str, work: Awaitable[T], limit_s: float, otherwise: T) -> T:
        """The work's result; `otherwise` when it takes longer or fails, which is noted."""
        result, failed = await attempt_async(name, asyncio.wait_for(work, limit_s))
        if failed and not failed.endswith("TimeoutError"):
            self.incomplete.append(failed)
        return otherwise if result is None else result

    def stage(self, name: str, work: Callable[[], T]) -> T | None:
        """The work's result, timed; None when the stage is left out."""
        if not self.begin(name):
            return None
        started = time.perf_counter()
        result, failed = attempt(name, work)
        if failed:
            self.incomplete.append(failed)
        self.times.append((name, time.perf_counter() - started))
        return result


class _MarkingResolver:
    """After a wait another message's stage may be marked: mark ours again before going on."""

    def __init__(self, resolver: Resolver, mark: Callable[[str], None]) -> None:
        self._resolver = resolver
        self._mark = mark

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        """As the resolver beneath."""
        answer = await self._resolver.query(name, rdtype)
        self._mark("authenticate")
        return answer


def _late(method: AuthMethod) -> AuthResult:
    return AuthResult(method, "temperror", reason="the DNS took too long")


def _header_only(content: bytes) -> Message:
    head = content[:_HEADER_MAX_BYTES]
    end = head.find(b"\r\n\r\n")
    return parse(head[: end + 4] if end >= 0 else head)


def _failure(report: CheckReport) -> str:
    return f"check {report.check}: {report.failed}"
