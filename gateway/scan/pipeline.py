"""The steps of judging one message, in order: parse, authenticate, checks, classify, rules, conclude, explain.

The same object judges in a scorer process and in `darban scan`. Every stage may be left out by name (a scorer died in
it before); what was left out stands in Verdict.incomplete. Without "parse" only the header is read, in a stage of its
own; without "conclude" the verdict is there, but not its words.

What one message may ask of the DNS is limited, and shared out: a sender's SPF record must not use up what the victim's
DMARC policy needs. An answer from the cache counts too, so that the same message is always judged alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeVar

from gateway.auth import arc, dkim, dmarc, iprev, spf, trust
from gateway.begun import Begun
from gateway.mail import parse
from gateway.mail.summary import summarise
from gateway.ports import Classifier, DomainMemory, EnvelopeCheck, MessageCheck, Reading, Resolver, RuleSet
from gateway.scan.campaign import attachments, campaign
from gateway.scan.change import Case
from gateway.scan.conclude import conclude, explained
from gateway.scan.runner import (
    attempt,
    ends_within,
    run_envelope_checks,
    run_message_checks,
    side_by_side,
)
from gateway.types import (
    AuthMethod,
    AuthResult,
    CheckReport,
    Contribution,
    DnsAnswer,
    Envelope,
    Finding,
    MailObject,
    Message,
    Summary,
    Verdict,
)

STAGES = ("parse", "header", "authenticate", "checks", "classify", "rules", "conclude", "explain")
_HEADER_MAX_BYTES = 1 << 18  # what is parsed when the whole message could not be
# Each method has this part of the deadline, DMARC the rest. Whoever owns the client's reverse zone or a signature's
# domain can make those slow: that must not take away what the others found.
_METHOD_SHARE = 0.6
# Of the look-ups of a message. SPF may need 10 terms with 10 names each (RFC 7208 §4.6.4) for both its identities,
# DMARC 8 for each domain that may be aligned (RFC 9989).
_LOOKUPS = {"iprev": 0.05, "spf": 0.4, "dkim": 0.1, "arc": 0.1, "dmarc": 0.15, "checks": 0.2}
MAX_QUERIES = 400
_EXPLANATION_S = 1.0  # for SPF's exp=: words that are nice to have

T = TypeVar("T")


_OVER = DnsAnswer("limit")


def _ignore(_stage: str) -> None:
    """No one watches."""


def _no_trouble() -> str:
    """Nobody knows of any."""
    return ""


class Trust(NamedTuple):
    """What the admin has decided about authentication."""

    dmarc_discovery: dmarc.Discovery = "tree_walk"
    sealers: frozenset[str] = frozenset()  # d= of the ARC seals that are believed


class Pipeline:
    """One for a process; judges many messages side by side, as DNS lets it."""

    def __init__(  # noqa: PLR0913  each is said once, in gateway/app
        self,
        *,
        resolver: Resolver,
        message_checks: Sequence[MessageCheck],
        envelope_checks: Sequence[EnvelopeCheck],
        rules: RuleSet,
        classifier: Classifier | None,
        deadline_s: float,
        max_queries: int = MAX_QUERIES,
        trouble: Callable[[], str] = _no_trouble,
        trust_in: Trust = Trust(),  # noqa: B008  frozen
        explain_at: float = -math.inf,
    ) -> None:
        """`trouble` says what is wrong with the DNS as a whole, "" when nothing is; from the score `explain_at` on the
        verdict has the words of its prediction.
        """
        self.rules = rules
        self.classifier = classifier
        self._resolver = resolver
        self._message_checks = message_checks
        self._envelope_checks = envelope_checks
        self._deadline_s = deadline_s
        self._max_queries = max_queries
        self._trouble = trouble
        self._trust = trust_in
        self._explain_at = explain_at

    async def score(
        self,
        envelope: Envelope,
        content: bytes,
        skip: Sequence[str] = (),
        mark: Callable[[str], None] = _ignore,
        *,
        explained: bool = False,
    ) -> Verdict:
        """Judge. `mark` is told each stage as it begins (and again after each wait); `explained` gives the prediction
        its words whatever the score.
        """
        run = _Run(skip, mark)
        message = (
            run.stage("parse", lambda: parse(content))
            or run.stage("header", lambda: _header_only(content))
            or replace(parse(b""), raw=content)
        )
        auth = await self._authenticate(run, envelope, message)
        mail = MailObject(envelope, message, auth)
        findings = await self._check(run, mail)
        mail = replace(mail, findings=tuple(findings))
        reading = self._read(run, mail)
        prediction = None if reading is None else reading.prediction
        run.incomplete += [f"dns: {words}" for words in (self._trouble(),) if words and run.is_unanswered]
        hits = run.stage("rules", lambda: self.rules.match(mail, findings, prediction)) or ()
        has_words = run.begin("conclude")
        verdict = conclude(
            envelope.queue_id,
            hits,
            prediction,
            self.rules,
            auth=auth,
            incomplete=run.incomplete,
            summary=summarise(message) if has_words else Summary(size_bytes=len(content)),
            stages=run.times,
        )
        is_told = explained or verdict.score >= self._explain_at
        return _explain(run, message, reading, verdict) if has_words and is_told else verdict

    def case(self, envelope: Envelope, content: bytes, verdict: Verdict) -> Case:
        """What was judged, with what the network and the memory of senders had said: for `judge_again`."""
        asked = {name for check in self._envelope_checks for name in check.findings}
        if envelope.history is None:
            asked.update(*(check.findings for check in self._message_checks if check.name == "reputation"))
        said = tuple([Finding(hit.name, hit.evidence) for hit in verdict.hits if hit.name in asked])
        return Case(envelope, content, verdict.auth, said)

    def judge_again(self, case: Case, before: Verdict, *, explained: bool = False) -> Verdict:
        """The verdict of a case that may be changed. Asks nothing of anybody; a stage that `before` had to leave out is
        left out again.
        """
        run = _Run([stage for stage in STAGES if _gave_up(stage) in before.incomplete], _ignore)
        mail = case.mail()
        reports = run.stage("checks", lambda: run_message_checks(self._message_checks, mail)) or []
        run.incomplete += [_failure(report) for report in reports if report.failed]
        findings = [*(finding for report in reports for finding in report.findings), *case.findings]
        mail = replace(mail, findings=tuple(findings))
        reading = self._read(run, mail)
        prediction = None if reading is None else reading.prediction
        verdict = conclude(
            case.envelope.queue_id,
            run.stage("rules", lambda: self.rules.match(mail, findings, prediction)) or (),
            prediction,
            self.rules,
            auth=case.auth,
            incomplete=[*dict.fromkeys((*before.incomplete, *run.incomplete))],
            summary=before.summary,
            stages=run.times,
        )
        return _explain(run, mail.message, reading, verdict) if explained else verdict

    async def _authenticate(self, run: _Run, envelope: Envelope, message: Message) -> tuple[AuthResult, ...]:
        if not run.begin("authenticate"):
            return ()
        started = time.perf_counter()
        limit = self._deadline_s * _METHOD_SHARE
        identities = spf.Evaluation(envelope, self._asking(run, "spf"))
        reverse, sender, further, signatures, chain = await side_by_side(
            run.wait("iprev", iprev.evaluate(envelope, self._asking(run, "iprev")), limit, _late("iprev")),
            _sender(run, identities, limit),
            run.wait("spf", identities.helo(), limit, (_late("spf")._replace(identity="helo"),)),
            run.wait("dkim", dkim.evaluate(message, self._asking(run, "dkim")), limit, (_late("dkim"),)),
            run.wait("arc", arc.evaluate(message, envelope.client.ip, self._asking(run, "arc")), limit, arc.late()),
        )
        run.begin("authenticate")
        sender, signatures, policy = await run.wait(
            "dmarc",
            dmarc.evaluate(message, sender, signatures, self._asking(run, "dmarc"), self._trust.dmarc_discovery),
            self._deadline_s - limit,
            (sender, signatures, _late("dmarc")),
        )
        policy, sealed = trust.apply(policy, chain, self._trust.sealers)
        chained = () if sealed.result == "none" else (sealed,)
        results = (reverse, sender, *further, *signatures, *chained, policy)
        run.incomplete += [
            f"dns: {one.method}{' of HELO' if one in further else ''} could not be looked up"
            for one in results
            if one.result == "temperror"
        ]
        run.times.append(("authenticate", time.perf_counter() - started))
        return results

    async def _check(self, run: _Run, mail: MailObject) -> list[Finding]:
        reports = run.stage("checks", lambda: run_message_checks(self._message_checks, mail)) or []
        if self._envelope_checks and "checks" not in run.skip:
            resolver = self._asking(run, "checks")
            reports += await run_envelope_checks(self._envelope_checks, mail, resolver, self._deadline_s)
        run.incomplete += [_failure(report) for report in reports if report.failed]
        run.incomplete += dict.fromkeys(what for report in reports for what in report.missing)
        return [finding for report in reports for finding in report.findings]

    def _asking(self, run: _Run, who: str) -> _AskingResolver:
        stage = "checks" if who == "checks" else "authenticate"
        return _AskingResolver(self._resolver, run, stage, who, int(self._max_queries * _LOOKUPS[who]))

    def _read(self, run: _Run, mail: MailObject) -> Reading | None:
        classifier = self.classifier
        return None if classifier is None else run.stage("classify", lambda: classifier.read(mail))


def _explain(run: _Run, message: Message, reading: Reading | None, verdict: Verdict) -> Verdict:
    contributions, alike, attachments = run.stage("explain", lambda: _told(reading, message)) or ((), "", 0)
    stages = tuple(run.times)
    seconds = sum(taken for _, taken in stages)
    return replace(
        explained(verdict, contributions),
        incomplete=tuple(run.incomplete),
        stages=stages,
        seconds=seconds,
        campaign=alike,
        attachments=attachments,
    )


def _told(reading: Reading | None, message: Message) -> tuple[tuple[Contribution, ...], str, int]:
    """What is only worth its time where a person will look."""
    contributions = () if reading is None else reading.explain()
    return contributions, campaign(message), attachments(message)


class MakePipeline(Protocol):
    """Makes pipelines of what was loaded once."""

    def __call__(self, memory: DomainMemory | None = None) -> Pipeline:
        """One for a process; `memory` is where its domains were seen."""


class _Run:
    """What one message's way through the stages leaves behind."""

    def __init__(self, skip: Sequence[str], mark: Callable[[str], None]) -> None:
        self.skip = frozenset(skip)
        self.incomplete = [_gave_up(stage) for stage in STAGES if stage in self.skip]
        self.times: list[tuple[str, float]] = []
        self.is_unanswered = False  # a look-up of this message got nothing
        self._mark = mark

    def begin(self, stage: str) -> bool:
        """Mark the stage; False when it is to be left out."""
        if stage in self.skip:
            return False
        self._mark(stage)
        return True

    async def wait(self, name: str, work: Coroutine[Any, Any, T], limit_s: float, otherwise: T) -> T:
        """The work's result; `otherwise` when it takes longer, which is no fault of ours, or fails, which is noted."""
        begun = Begun(work)
        if not await ends_within(limit_s, begun):
            return otherwise
        result, failed = attempt(name, begun.result)
        if failed:
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


class _AskingResolver:
    """One asker's view of the resolver: so many look-ups, then "limit", which the verdict names.

    After a wait another message's stage may be marked: ours is marked again before it goes on.
    """

    def __init__(self, resolver: Resolver, run: _Run, stage: str, who: str, limit: int) -> None:
        self._resolver = resolver
        self._run = run
        self._stage = stage
        self._who = who
        self._limit = limit
        self._asked = 0

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        """As the resolver beneath."""
        self._asked += 1
        if self._asked > self._limit:
            if self._asked == self._limit + 1:
                self._run.incomplete.append(f"dns: {self._who} asked for more than {self._limit} look-ups")
            return _OVER
        answer = await self._resolver.query(name, rdtype)
        self._run.begin(self._stage)
        self._run.is_unanswered |= answer.status == "timeout"
        return answer


async def _sender(run: _Run, identities: spf.Evaluation, limit_s: float) -> AuthResult:
    """SPF's main result; why it failed in the domain's words, where those come in time."""
    started = time.monotonic()
    result = await run.wait("spf", identities.main(), limit_s, _late("spf"))
    left_s = min(_EXPLANATION_S, limit_s - (time.monotonic() - started))
    if result.result != "fail" or left_s <= 0:
        return result
    return await run.wait("spf", identities.explain(result), left_s, result)


def _gave_up(stage: str) -> str:
    return f"{stage}: gave up on this message"


def _late(method: AuthMethod) -> AuthResult:
    return AuthResult(method, "temperror", reason="the DNS took too long")


def _header_only(content: bytes) -> Message:
    head = content[:_HEADER_MAX_BYTES]
    end = head.find(b"\r\n\r\n")
    return parse(head[: end + 4] if end >= 0 else head)


def _failure(report: CheckReport) -> str:
    return f"check {report.check}: {report.failed}"
