"""The steps of judging one message, in order: parse, authenticate, checks, classify, rules, conclude.

The same object judges in a scorer process and in `darban scan`. Every stage may be left out by name (a scorer died in
it before); what was left out stands in Verdict.incomplete. Without "parse" only the header is read, in a stage of its
own; without "conclude" the verdict is there, but not its words.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from gateway.auth import dkim, dmarc, iprev, spf
from gateway.mail import parse
from gateway.mail.summary import summarise
from gateway.ports import Classifier, EnvelopeCheck, MessageCheck, Resolver, RuleSet
from gateway.scan.conclude import conclude
from gateway.scan.runner import (
    Begun,
    attempt,
    attempt_async,
    run_envelope_checks,
    run_message_checks,
    side_by_side,
    within,
)
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
    Summary,
    Verdict,
)

STAGES = ("parse", "header", "authenticate", "checks", "classify", "rules", "conclude")
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
        message = (
            run.stage("parse", lambda: parse(content))
            or run.stage("header", lambda: _header_only(content))
            or replace(parse(b""), raw=content)
        )
        auth = await self._authenticate(run, envelope, message)
        mail = MailObject(envelope, message, auth)
        findings = await self._check(run, mail)
        prediction = self._predict(run, mail)
        hits = run.stage("rules", lambda: self.rules.match(mail, findings, prediction)) or ()
        has_words = run.begin("conclude")
        return conclude(
            envelope.queue_id,
            hits,
            prediction if has_words or prediction is None else replace(prediction, contributions=()),
            self.rules.scores,
            firm=self.rules.firm,
            auth=auth,
            incomplete=run.incomplete,
            summary=summarise(message) if has_words else Summary(size_bytes=len(content)),
            rules_id=self.rules.id,
            stages=run.times,
        )

    async def _authenticate(self, run: _Run, envelope: Envelope, message: Message) -> tuple[AuthResult, ...]:
        if not run.begin("authenticate"):
            return ()
        started = time.perf_counter()
        resolver = _MarkingResolver(self._resolver, run, "authenticate")
        limit = self._deadline_s * _METHOD_SHARE
        reverse, sender, signatures = await side_by_side(
            run.wait("iprev", iprev.evaluate(envelope, resolver), limit, _late("iprev")),
            run.wait("spf", spf.evaluate(envelope, resolver), limit, _late("spf")),
            run.wait("dkim", dkim.evaluate(message, resolver), limit, (_late("dkim"),)),
        )
        resolver.mark()
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

    async def _check(self, run: _Run, mail: MailObject) -> list[Finding]:
        reports = run.stage("checks", lambda: run_message_checks(self._message_checks, mail)) or []
        if self._envelope_checks and "checks" not in run.skip:
            resolver = _MarkingResolver(self._resolver, run, "checks")
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

    async def wait(self, name: str, work: Coroutine[Any, Any, T], limit_s: float, otherwise: T) -> T:
        """The work's result; `otherwise` when it takes longer or fails, which is noted."""
        begun = Begun(work)
        if begun.task is None:
            result, failed = attempt(name, begun.result)
        else:
            in_time = within(limit_s, begun)
            result, failed = await attempt_async(name, in_time)
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

    def __init__(self, resolver: Resolver, run: _Run, stage: str) -> None:
        self._resolver = resolver
        self._run = run
        self._stage = stage

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        """As the resolver beneath."""
        answer = await self._resolver.query(name, rdtype)
        self.mark()
        return answer

    def mark(self) -> None:
        """This message's stage is the one that goes on."""
        self._run.begin(self._stage)


def _late(method: AuthMethod) -> AuthResult:
    return AuthResult(method, "temperror", reason="the DNS took too long")


def _header_only(content: bytes) -> Message:
    head = content[:_HEADER_MAX_BYTES]
    end = head.find(b"\r\n\r\n")
    return parse(head[: end + 4] if end >= 0 else head)


def _failure(report: CheckReport) -> str:
    return f"check {report.check}: {report.failed}"
