"""Compiled rule files: hits of a message, with the words that made them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gateway.rules import expression
from gateway.rules.evals import Calls, Facts, Knowledge
from gateway.rules.group import Hits, groups
from gateway.rules.relays import ORIGIN_FIELDS, relays_of
from gateway.rules.rule import Rule, RuleFiles
from gateway.rules.text import Texts
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
        self._metas = Metas([rule for rule in files.rules.values() if rule.kind == "meta" and not self._is_off(rule)])
        used = {rule.name for rule in files.rules.values() if everything or self._is_used(rule)}
        active = [rule for rule in files.rules.values() if rule.name in used and not self._is_off(rule)]
        self._groups = groups(active, files.tflags, cache_dir)
        self._exists = [rule for rule in active if rule.is_exists]
        self._calls = Calls(active)
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
            score = self.score(name) if count else 0.0
            if score:
                found.append(Hit(name, score, self.descriptions.get(name, name), self._evidence(name, hits)))
        return tuple(found)

    def counts(
        self, mail: MailObject, findings: Sequence[Finding] = (), prediction: Prediction | None = None
    ) -> dict[str, float]:
        """How often each name hit, sub-rules included."""
        return self._evaluate(mail, findings, prediction).counts

    def score(self, name: str) -> float:
        """Its `score` line; a rule without one counts 1, a sub-rule and a finding nobody scored nothing."""
        return self.files.score(name)

    def _evaluate(self, mail: MailObject, findings: Sequence[Finding], prediction: Prediction | None) -> Hits:
        relays = cache(lambda: relays_of(mail, self.files.networks, self._origin_fields))
        texts, hits = Texts(mail, relays, self._uris), Hits()
        for group in self._groups:
            group.match(texts, hits)
        for rule in self._exists:
            if texts.header(rule.selector) is not None:
                hits.counts[rule.name] = 1.0
        called, faults = self._calls.hits(
            Facts(mail, self._knowledge, prediction, lambda selector: relays().text(selector))
        )
        hits.counts.update(dict.fromkeys(called, 1.0))
        own = [Finding(name, tuple(words)) for name, words in ((GAVE_UP, hits.gave_up), (FAULT, faults)) if words]
        for finding in (*findings, *own):
            if finding.name not in self.files.rules:  # a rule of that name stands for the finding
                hits.add(finding)
        self._metas.evaluate(hits.counts)
        return hits

    def _evidence(self, name: str, hits: Hits) -> tuple[str, ...]:
        where = hits.where.get(name)
        if where is not None:
            return (where.group.evidence(where),)
        if name in hits.evidence:
            return hits.evidence[name]
        return tuple(one for one in self._metas.names(name) if hits.counts.get(one))[:_MAX_EVIDENCE]

    def _is_off(self, rule: Rule) -> bool:
        return self.scores.get(rule.name) == 0.0

    def _is_used(self, rule: Rule) -> bool:
        return bool(self.score(rule.name)) or rule.name in self._metas.named


@dataclass(frozen=True, slots=True)
class _Meta:
    """One expression."""

    name: str
    value: Callable[[Mapping[str, float]], float]
    names: tuple[str, ...]


class Metas:
    """`meta` rules, each after those it names. Only those are looked at whose value can be other than it always is."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        nodes = {rule.name: expression.parse(rule.expression) for rule in rules}
        self._metas = [
            _Meta(name, expression.compiled(nodes[name]), tuple(sorted(expression.names(nodes[name]))))
            for name in _ordered(nodes)
        ]
        self._by_name = {meta.name: meta for meta in self._metas}
        self.named = frozenset(name for meta in self._metas for name in meta.names)
        self._always: list[int] = []
        self._woken_by: dict[str, list[int]] = {}
        for number, meta in enumerate(self._metas):
            names = expression.triggers(nodes[meta.name])
            for name in names or ():
                self._woken_by.setdefault(name, []).append(number)
            if names is None:
                self._always.append(number)

    def names(self, name: str) -> tuple[str, ...]:
        """What an expression names; () when there is none of that name."""
        meta = self._by_name.get(name)
        return meta.names if meta is not None else ()

    def evaluate(self, counts: dict[str, float]) -> None:
        """Add the values other than 0."""
        waiting = set(self._always)
        for name in counts:
            waiting.update(self._woken_by.get(name, ()))
        queue = sorted(waiting)  # a sorted list is a heap
        while queue:
            meta = self._metas[heapq.heappop(queue)]
            value = meta.value(counts)
            if value:
                counts[meta.name] = value
                for number in self._woken_by.get(meta.name, ()):
                    if number not in waiting:
                        waiting.add(number)
                        heapq.heappush(queue, number)


def _ordered(nodes: Mapping[str, expression.Node]) -> list[str]:
    """Each after those it names. One in a circle comes where it is met first."""
    ordered: list[str] = []
    done: set[str] = set()
    for first in nodes:
        waiting = [(first, False)]
        while waiting:
            name, is_after = waiting.pop()
            if is_after:
                ordered.append(name)
            elif name not in done:
                done.add(name)
                waiting.append((name, True))
                waiting += [(one, False) for one in expression.names(nodes[name]) if one in nodes and one not in done]
    return ordered
