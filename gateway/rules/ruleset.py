"""Compiled rule files: hits of a message, with the words that made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from gateway.rules.evals import Calls, Facts, Knowledge
from gateway.rules.group import Hits, groups, max_hits
from gateway.rules.metas import Metas
from gateway.rules.relays import ORIGIN_FIELDS, relays_of
from gateway.rules.rule import RuleFiles
from gateway.rules.text import Selectors, Texts
from gateway.rules.uri import UriReader
from gateway.types import Finding, Hit, MailObject, Prediction

GAVE_UP, FAULT = "RULES_PATTERN_GAVE_UP", "RULES_FUNCTION_FAULT"
FINDINGS = frozenset((GAVE_UP, FAULT))
_MAX_EVIDENCE = 8


class Rules:
    """Implements ports.RuleSet. Immutable after loading; may be shared by forks and threads.

    A rule whose score is 0 is off, and a sub-rule that no rule uses is not run (`everything` runs those, for tests of
    rules).
    """

    def __init__(self, files: RuleFiles, cache_dir: Path | None, *, everything: bool = False) -> None:
        self.files = files
        self.id = files.digest[:16]
        self.descriptions: Mapping[str, str] = files.descriptions
        self.scores: Mapping[str, float] = files.scores
        self.firm = frozenset(name for name, words in files.tflags.items() if "firm" in words)
        on = [rule for rule in files.rules.values() if self.scores.get(rule.name) != 0.0]
        scored = {rule.name for rule in on if everything or self.score(rule.name)}
        lazy = frozenset(() if everything else (rule.name for rule in on if rule.name not in scored))
        functions = {rule.name for rule in on if rule.kind == "eval"} & lazy
        self._metas = Metas(
            [rule for rule in on if rule.kind == "meta"],
            scored,
            lazy,
            functions,
            lambda name: float(max_hits(files.tflags.get(name, frozenset()))),
        )
        self._points = {name: self.score(name) for name in (*files.rules, *files.scores)}
        used = self._metas.needed(scored)
        active = [rule for rule in on if rule.name in used]
        self._groups = groups(active, files.tflags, cache_dir, lazy)
        self._exists: dict[str, list[str]] = {}
        for rule in active:
            if rule.is_exists:
                self._exists.setdefault(rule.selector, []).append(rule.name)
        self._existing = Selectors(self._exists)
        self._calls = Calls(active, functions - self._metas.always_called)
        self._knowledge = Knowledge(files)
        self._uris = UriReader(files, cache_dir)
        named = files.lists.words.get("originating_ip_headers", set())
        self._origin_fields = frozenset(name.lower() for name in named) or ORIGIN_FIELDS

    def match(
        self, mail: MailObject, findings: Sequence[Finding], prediction: Prediction | None = None
    ) -> tuple[Hit, ...]:
        """Hits of rules and findings. Never raises on any mail."""
        hits = self._evaluate(mail, findings, prediction)
        found = []
        for name, count in hits.counts.items():
            score = self._points.get(name)
            if score and count:
                found.append(Hit(name, score, self.descriptions.get(name, name), self._evidence(name, hits)))
        return tuple(found)

    def counts(
        self, mail: MailObject, findings: Sequence[Finding] = (), prediction: Prediction | None = None
    ) -> dict[str, float]:
        """How often each name hit, sub-rules included."""
        counts = self._evaluate(mail, findings, prediction).counts
        return {name: count for name, count in counts.items() if count}

    def score(self, name: str) -> float:
        """Its `score` line; a rule without one counts 1, a sub-rule and a finding nobody scored nothing."""
        return self.files.score(name)

    def _evaluate(self, mail: MailObject, findings: Sequence[Finding], prediction: Prediction | None) -> Hits:
        relays = cache(lambda: relays_of(mail, self.files.networks, self._origin_fields))
        texts, hits = Texts(mail, relays, self._uris), Hits()
        for group in self._groups:
            group.match(texts, hits)
        for selector in self._existing.present(texts):
            hits.counts.update(dict.fromkeys(self._exists[selector], 1.0))
        facts = Facts(mail, self._knowledge, prediction, lambda name: relays().text(name), texts)
        called, faults = self._calls.hits(facts)
        hits.counts.update(dict.fromkeys(called, 1.0))
        hits.values.called = lambda name: self._calls.value(name, facts, faults)
        self._add((*findings, *_own(hits, faults)), hits)
        self._metas.evaluate(hits.values)
        self._add([finding for finding in _own(hits, faults) if finding.name not in hits.evidence], hits)
        return hits

    def _add(self, findings: Iterable[Finding], hits: Hits) -> None:
        for finding in findings:
            if finding.name not in self.files.rules:  # a rule of that name stands for the finding
                hits.add(finding)

    def _evidence(self, name: str, hits: Hits) -> tuple[str, ...]:
        where = hits.where.get(name)
        if where is not None:
            return (where.group.evidence(where),)
        if name in hits.evidence:
            return hits.evidence[name]
        return tuple(one for one in self._metas.names(name) if hits.counts.get(one))[:_MAX_EVIDENCE]


def _own(hits: Hits, faults: Sequence[str]) -> list[Finding]:
    """What went wrong in the rules themselves, as findings."""
    return [Finding(name, tuple(words)) for name, words in ((GAVE_UP, hits.gave_up), (FAULT, faults)) if words]
