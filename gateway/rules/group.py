"""The rules over one kind of text: which of a message's texts they match, and the words that did.

Never raises. A pattern that reaches its step limit has not matched there and is named in Hits.gave_up; after
_MAX_GIVE_UPS of them in one message no pattern is confirmed any more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gateway.rules.matcher import Candidates, Matcher, Span
from gateway.rules.metas import Values
from gateway.rules.regex import is_unicode
from gateway.rules.rule import Rule
from gateway.rules.text import (
    SEPARATOR,
    Selectors,
    Texts,
    canonical,
    crowded_texts,
    folded,
    has_line_end,
    text_at,
    texts_in,
)
from gateway.types import Finding

_EVIDENCE = 80
_AROUND = 20
_MAX_COUNT = 100
_MAX_GIVE_UPS = 20
_BODIES = frozenset(("body", "rawbody", "full"))
_SHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")


@dataclass(frozen=True, slots=True)
class Where:
    """The text in which a rule hit; evidence is made from it only when somebody asks."""

    group: Group
    number: int
    text: bytes
    span: Span | None = None  # None: not looked for yet


class _Seen(NamedTuple):
    """The texts in which the pass saw a candidate: all it may match (`is_all`), or those to look at first."""

    texts: tuple[bytes, ...]
    is_all: bool

    def and_(self, other: _Seen) -> _Seen:
        """In two passes over different texts."""
        return _Seen(self.texts + other.texts, self.is_all and other.is_all)


_ANYWHERE = _Seen((), is_all=False)


@dataclass(slots=True)
class Hits:
    """What was found in one message."""

    values: Values = field(default_factory=Values)
    where: dict[str, Where] = field(default_factory=dict)
    evidence: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of findings
    gave_up: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, float]:
        """Name -> how often it hit, as far as that is known."""
        return self.values.known

    def add(self, finding: Finding) -> None:
        """Count a finding."""
        self.counts[finding.name] = self.counts.get(finding.name, 0.0) + 1.0
        self.evidence[finding.name] = self.evidence.get(finding.name, ()) + finding.evidence

    @property
    def is_spent(self) -> bool:
        """Whether this message has cost enough."""
        return len(self.gave_up) >= _MAX_GIVE_UPS


class Group:
    """The pattern rules of one kind; those with letters outside ASCII are matched against folded text, in a group."""

    def __init__(
        self,
        kind: str,
        rules: Sequence[Rule],
        tflags: Mapping[str, frozenset[str]],
        cache_dir: Path | None,
        *,
        is_folded: bool = False,
        lazy: frozenset[str] = frozenset(),
    ) -> None:
        self.rules = tuple(rules)
        self._lazy = frozenset(number for number, rule in enumerate(self.rules) if rule.name in lazy)
        self.matcher = Matcher([rule.regex for rule in self.rules if rule.regex is not None], cache_dir)
        self._kind = kind
        self._is_folded = is_folded
        self._keys = tuple(canonical(rule.selector) for rule in self.rules)
        self._selectors = tuple(dict.fromkeys(self._keys))
        self._asked = Selectors(self._selectors)
        self._selectors_with_end = {selector: has_line_end(kind, selector) for selector in self._selectors}
        flags = [tflags.get(rule.name, frozenset()) for rule in self.rules]
        self._limits = tuple(max_hits(one) for one in flags)
        self._no_subject = frozenset(number for number, one in enumerate(flags) if "nosubject" in one)
        self._counted_in_lines = (
            frozenset[int]() if self._is_single else (self.matcher.wholesale & self.matcher.exact) - self._no_subject
        )
        self._negated = tuple(number for number, rule in enumerate(self.rules) if rule.is_negated)
        self._unset = self._hits_without_field() if kind == "header" else {}

    def match(self, texts: Texts, hits: Hits) -> None:
        """Add what hit."""
        buffers = texts.buffers(self._kind, self._asked)
        if self._is_folded:
            buffers = {selector: folded(buffer) for selector, buffer in buffers.items()}
        matched = self._matched(buffers, hits)
        for number, where in matched.items():
            rule = self.rules[number]
            if not rule.is_negated:
                hits.counts[rule.name] = self._count(number, buffers[self._keys[number]])
                hits.where[rule.name] = where
        for number in self._negated:
            if number not in matched and (number not in self._unset or self._keys[number] in buffers):
                self._add(number, hits)
        for number, is_hit in self._unset.items():
            if is_hit and self._keys[number] not in buffers:
                self._add(number, hits)

    def evidence(self, where: Where) -> str:
        """The matching words, with a little of what stands around them."""
        rule = self.rules[where.number]
        label = rule.selector or self._kind
        span = where.span or self._find(where.number, where.text)
        if span is None:
            return f"{label}: without it"
        text = where.text
        start, end = max(0, span[0] - _AROUND), min(len(text), span[1] + _AROUND)
        words = _SHOWN.sub(" ", text[start:end].decode("utf-8", "ignore")).strip()
        is_cut = end < len(text.rstrip(b"\n"))
        return f"{label}: {'…' if start else ''}{words[:_EVIDENCE]}{'…' if is_cut or len(words) > _EVIDENCE else ''}"

    def _matched(self, buffers: Mapping[str, bytes], hits: Hits) -> dict[int, Where]:
        """Number -> where, for every pattern that matches a text of its selector."""
        matched: dict[int, Where] = {}
        seen: dict[int, _Seen] = {}
        is_one = len(self._selectors) == 1 and not self._is_single
        texts = next(iter(buffers.values()), b"") if is_one else b""
        for part in (
            _parts([texts] if texts.isascii() else texts.split(SEPARATOR)) if is_one else _parts(buffers.values())
        ):
            candidates = self.matcher.candidates(part)
            for number, end in candidates.ends.items():
                one = self._seen(number, part, end, candidates) if is_one else _ANYWHERE
                if number in self._no_subject and one.texts and texts.startswith(one.texts[0]):
                    one = _ANYWHERE
                if one.texts and number in candidates.exact:
                    matched[number] = Where(self, number, one.texts[0])
                else:
                    seen[number] = one if number not in seen else seen[number].and_(one)
        for number, one in seen.items():
            buffer = buffers.get(self._keys[number])
            if buffer is None or number in matched:
                continue
            if number in self._lazy:
                name = self.rules[number].name
                hits.values.pending[name] = partial(self._find_out, number, one, buffer, hits)
            elif where := self._confirm(number, one, buffer, hits):
                matched[number] = where
        return matched

    def _seen(self, number: int, part: bytes, end: int, candidates: Candidates) -> _Seen:
        if number in candidates.counted:
            crowded = crowded_texts(part, candidates.counted[number], candidates.times[number])
            return _Seen(tuple(crowded), is_all=True)
        text = text_at(part, end) if end >= 0 else b""
        return _Seen((text,), is_all=False) if text else _ANYWHERE

    @property
    def _is_single(self) -> bool:
        """A header field's text is one, whatever is in it."""
        return self._kind == "header"

    def _texts(self, number: int, buffer: bytes) -> Sequence[bytes]:
        keeps_line_end = self._selectors_with_end[self._keys[number]]
        if self._is_single:
            return (buffer if keeps_line_end else buffer[:-1],)
        texts = texts_in(buffer, keeps_line_end=keeps_line_end)
        return texts[1:] if number in self._no_subject else texts

    def _confirm(self, number: int, seen: _Seen, buffer: bytes, hits: Hits) -> Where | None:
        """Where it matches one text alone: one it was seen in, else any."""
        if hits.is_spent:
            return None
        matcher = self.matcher
        try:
            if (where := self._first(number, seen.texts)) or seen.is_all:
                return where
            if not self._is_single and number in matcher.wholesale and not matcher.find_line(number, buffer):
                return None
            return self._first(number, self._texts(number, buffer))
        except TimeoutError:
            hits.gave_up.append(self.rules[number].name)
        return None

    def _first(self, number: int, texts: Sequence[bytes]) -> Where | None:
        for text in texts:
            span = self.matcher.find(number, text)
            if span is not None:
                return Where(self, number, text, span)
        return None

    def _find_out(self, number: int, seen: _Seen, buffer: bytes, hits: Hits) -> float:
        """How often a candidate matches."""
        where = self._confirm(number, seen, buffer, hits)
        if where is None:
            return 0.0
        hits.where[self.rules[number].name] = where
        return self._count(number, buffer)

    def _find(self, number: int, text: bytes) -> Span | None:
        try:
            return self.matcher.find(number, text)
        except TimeoutError:
            return None

    def _count(self, number: int, buffer: bytes) -> float:
        limit = self._limits[number]
        if limit == 1:
            return 1.0
        try:
            if number in self._counted_in_lines:
                found = self.matcher.count_lines(number, buffer, limit)
            else:
                found = self.matcher.count(number, self._texts(number, buffer), limit)
        except TimeoutError:
            return 1.0
        return float(max(1, found))

    def _add(self, number: int, hits: Hits) -> None:
        name = self.rules[number].name
        hits.counts[name] = 1.0
        hits.where[name] = Where(self, number, b"")

    def _hits_without_field(self) -> dict[int, bool]:
        """Whether a rule hits when its field is missing and another text stands for it, by default none."""
        found = {}
        for number, rule in enumerate(self.rules):
            if rule.if_unset or not rule.is_negated:
                is_hit = (self._find(number, rule.if_unset.encode()) is not None) != rule.is_negated
                if is_hit or rule.if_unset:
                    found[number] = is_hit
        return found


def _parts(texts: Collection[bytes]) -> list[bytes]:
    """The texts in ASCII in one buffer, the others in one."""
    inside = [text for text in texts if text.isascii()]
    if len(inside) == len(texts):
        return [SEPARATOR.join(inside)] if inside else []
    outside = [text for text in texts if not text.isascii()]
    return [SEPARATOR.join(part) for part in (inside, outside) if part]


def max_hits(flags: frozenset[str]) -> int:
    """How often a rule may count (`tflags NAME multiple maxhits=N`)."""
    if "multiple" not in flags:
        return 1
    limits = [int(flag[8:]) for flag in flags if flag.startswith("maxhits=") and flag[8:].isdigit()]
    return min([limit for limit in limits if limit > 0] or [_MAX_COUNT])


def groups(
    rules: Sequence[Rule], tflags: Mapping[str, frozenset[str]], cache_dir: Path | None, lazy: frozenset[str]
) -> list[Group]:
    """All pattern rules, by what they look at. The whole header, long as it is, is a text apart from its fields.

    `lazy` are names that only metas use: whether those match a body is found out when a meta asks.
    """
    sorted_rules: dict[tuple[str, str, bool], list[Rule]] = {}
    for rule in rules:
        if rule.regex is not None:
            whole = rule.selector.partition("-")[0].partition(":")[0]
            place = whole if rule.kind == "header" and (whole == "ALL" or rule.selector.startswith("X-Spam-Re")) else ""
            sorted_rules.setdefault((rule.kind, place, is_unicode(rule.regex)), []).append(rule)
    return [
        Group(kind, chosen, tflags, cache_dir, is_folded=is_folded, lazy=lazy if kind in _BODIES else frozenset())
        for (kind, _, is_folded), chosen in sorted_rules.items()
    ]
