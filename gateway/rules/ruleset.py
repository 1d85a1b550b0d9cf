"""Compiled rule files: hits of a message, with the words that made them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.rules import expression
from gateway.rules.matcher import Matcher
from gateway.rules.rule import Rule, RuleFiles
from gateway.rules.subject import header_text, subjects
from gateway.types import Finding, Hit, MailObject

_EVIDENCE = 80
_AROUND = 20
_MAX_COUNT = 100
_DEFAULT_SCORE, _DEFAULT_TEST_SCORE = 1.0, 0.01
_SHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")


class Rules:
    """Implements ports.RuleSet. Immutable after loading; may be shared by forks and threads."""

    def __init__(self, files: RuleFiles, cache_dir: Path | None) -> None:
        self.files = files
        self.id = files.digest[:16]
        self.descriptions: Mapping[str, str] = files.descriptions
        self.scores: Mapping[str, float] = files.scores
        self._groups = _group(files, cache_dir)
        self._exists = [rule for rule in files.rules.values() if rule.is_exists]
        self._metas = _ordered(files)

    def match(self, mail: MailObject, findings: Sequence[Finding]) -> tuple[Hit, ...]:
        """Hits of rules and findings. Never raises on any mail."""
        counts, evidence = self.evaluate(mail, findings)
        return tuple(
            Hit(name, score, self.descriptions.get(name, name), evidence.get(name, ()))
            for name, count in counts.items()
            if count and (score := self.score(name))
        )

    def evaluate(
        self, mail: MailObject, findings: Sequence[Finding]
    ) -> tuple[dict[str, float], dict[str, tuple[str, ...]]]:
        """How often each name hit, sub-rules included, and its evidence."""
        counts: dict[str, float] = {}
        evidence: dict[str, tuple[str, ...]] = {}
        for finding in findings:
            counts[finding.name] = counts.get(finding.name, 0.0) + 1.0
            evidence[finding.name] = evidence.get(finding.name, ()) + finding.evidence
        for group in self._groups:
            group.match(mail, counts, evidence)
        for rule in self._exists:
            if header_text(mail, rule.selector) is not None:
                counts[rule.name] = 1.0
        for name, node, named in self._metas:
            value = expression.evaluate(node, counts)
            if value:
                counts[name] = value
                evidence[name] = tuple(one for one in named if counts.get(one))[:8]
        return counts, evidence

    def score(self, name: str) -> float:
        """Its `score` line; a rule without one counts 1, a sub-rule and a finding nobody scored nothing."""
        if name in self.scores:
            return self.scores[name]
        if name.startswith("__") or name not in self.files.rules:
            return 0.0
        return _DEFAULT_TEST_SCORE if name.startswith("T_") else _DEFAULT_SCORE

    def gave_up(self) -> list[str]:
        """Rules whose pattern reached its step limit since the start."""
        return sorted(name for group in self._groups for name in group.gave_up())


class _Group:
    """All patterns over one kind of text."""

    def __init__(
        self, place: tuple[str, str], rules: Sequence[Rule], multiple: frozenset[str], cache_dir: Path | None
    ) -> None:
        self._kind, self._selector = place
        self._rules = list(rules)
        self._multiple = multiple
        self._matcher = Matcher([rule.regex for rule in rules if rule.regex is not None], cache_dir)

    def match(self, mail: MailObject, counts: dict[str, float], evidence: dict[str, tuple[str, ...]]) -> None:
        texts = subjects(mail, self._kind, self._selector)
        found: dict[int, bytes] = {}
        for text in texts:
            for number in self._matcher.matching(text):
                found.setdefault(number, text)
        for number, rule in enumerate(self._rules):
            if not texts and rule.if_unset:
                hit = self._matcher.span(number, rule.if_unset.encode()) is not None
            else:
                hit = number in found
            if hit != rule.is_negated:
                counts[rule.name] = float(self._count(number, texts))
                evidence[rule.name] = (self._evidence(number, found.get(number)),)

    def gave_up(self) -> list[str]:
        return [self._rules[number].name for number in self._matcher.gave_up]

    def _count(self, number: int, texts: Sequence[bytes]) -> int:
        if self._rules[number].name not in self._multiple:
            return 1
        return max(1, min(_MAX_COUNT, sum(self._matcher.count(number, text, _MAX_COUNT) for text in texts)))

    def _evidence(self, number: int, text: bytes | None) -> str:
        """The matching words, with a little of what stands around them."""
        label = self._selector or self._kind
        span = self._matcher.span(number, text) if text is not None else None
        if text is None or span is None:
            return f"{label}: without it"
        start, end = max(0, span[0] - _AROUND), min(len(text), span[1] + _AROUND)
        words = text[start:end].decode("utf-8", "ignore")
        cut = _SHOWN.sub(" ", words).strip()[:_EVIDENCE]
        return f"{label}: {'…' if start else ''}{cut}{'…' if end < len(text) else ''}"


def _group(files: RuleFiles, cache_dir: Path | None) -> list[_Group]:
    multiple = frozenset(name for name, flags in files.tflags.items() if "multiple" in flags)
    by_text: dict[tuple[str, str], list[Rule]] = {}
    for rule in files.rules.values():
        if rule.regex is not None:
            by_text.setdefault((rule.kind, rule.selector), []).append(rule)
    return [_Group(place, rules, multiple, cache_dir) for place, rules in by_text.items()]


def _ordered(files: RuleFiles) -> list[tuple[str, expression.Node, tuple[str, ...]]]:
    """Metas, each after those it names. One in a circle is evaluated where it is met first."""
    nodes = {rule.name: expression.parse(rule.expression) for rule in files.rules.values() if rule.kind == "meta"}
    ordered: list[tuple[str, expression.Node, tuple[str, ...]]] = []
    done: set[str] = set()
    for first in nodes:
        waiting = [(first, False)]
        while waiting:
            name, is_after = waiting.pop()
            if is_after:
                ordered.append((name, nodes[name], tuple(sorted(expression.names(nodes[name])))))
            elif name not in done:
                done.add(name)
                waiting.append((name, True))
                waiting += [(one, False) for one in expression.names(nodes[name]) if one in nodes and one not in done]
    return ordered
