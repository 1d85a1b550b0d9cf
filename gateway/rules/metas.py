"""`meta` rules, evaluated on demand: what a scored rule needs to know is found out, and nothing else.

A meta can only differ from 0 when something it names hit (expression.triggers), so most are never looked at. Of the
others those that count are evaluated from the top: operands that cost little first, and a pattern that has to be
confirmed in the text, or another meta, only when its value decides. The values are those of evaluating everything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from gateway.rules import expression
from gateway.rules.rule import Rule

_META_COST, _PENDING_COST = 2.0, 100.0  # against 1 for a value that is known


@dataclass(slots=True)
class Values:
    """Name -> how often it hit; what is not known yet is found out when it is asked for."""

    known: dict[str, float] = field(default_factory=dict)
    pending: dict[str, Callable[[], float]] = field(default_factory=dict)

    def get(self, name: str, default: float = 0.0) -> float:
        """The value; finds out what is pending."""
        value = self.known.get(name)
        if value is not None:
            return value
        find_out = self.pending.pop(name, None)
        if find_out is None:
            return default
        self.known[name] = 0.0  # for a meta in a circle
        value = self.known[name] = find_out()
        return value


@dataclass(frozen=True, slots=True)
class _Meta:
    """One expression."""

    name: str
    value: Callable[[Values], float]
    names: tuple[str, ...]
    counts: bool  # whether its own value is wanted, not only as a part of others


class Metas:
    """The metas of a rule set. `wanted` are the names whose value is to be known; `slow` those that may be pending."""

    def __init__(self, rules: Iterable[Rule], wanted: Collection[str], slow: Collection[str] = ()) -> None:
        nodes = {rule.name: expression.parse(rule.expression) for rule in rules}
        costs = _Costs(nodes, frozenset(slow))
        as_number = _as_number(nodes)
        self._metas = [
            _Meta(
                name,
                expression.compiled(node, costs.of, is_truth=name not in as_number),
                tuple(sorted(expression.names(node))),
                name in wanted,
            )
            for name, node in nodes.items()
        ]
        self._by_name = {meta.name: meta for meta in self._metas}
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

    def needed(self, wanted: Iterable[str]) -> set[str]:
        """These names and all that their values depend on."""
        waiting = list(wanted)
        found = set(waiting)
        while waiting:
            fresh = set(self.names(waiting.pop())) - found
            found |= fresh
            waiting += fresh
        return found

    def evaluate(self, values: Values) -> None:
        """Make the wanted values known."""
        possible = self._possible([*values.known, *values.pending])
        for number in possible:
            meta = self._metas[number]
            values.pending[meta.name] = lambda meta=meta: meta.value(values)  # type: ignore[misc]
        for number in possible:
            if self._metas[number].counts:
                values.get(self._metas[number].name)

    def _possible(self, names: Iterable[str]) -> list[int]:
        """Those whose value may differ from 0, when these names may have hit."""
        waiting = list(self._always)
        seen = set(waiting)
        for name in names:
            for number in self._woken_by.get(name, ()):
                if number not in seen:
                    seen.add(number)
                    waiting.append(number)
        for number in waiting:  # grows while it is read
            for woken in self._woken_by.get(self._metas[number].name, ()):
                if woken not in seen:
                    seen.add(woken)
                    waiting.append(woken)
        return waiting


def _as_number(nodes: Mapping[str, expression.Node]) -> set[str]:
    """Names whose value matters somewhere, not only its truth."""
    waiting = [name for node in nodes.values() for name in expression.numbers(node)]
    found = set(waiting)
    while waiting:
        name = waiting.pop()
        fresh = expression.passed_on(nodes[name]) - found if name in nodes else frozenset()
        found |= fresh
        waiting += fresh
    return found


class _Costs:
    """About what it costs to find out a value."""

    def __init__(self, nodes: Mapping[str, expression.Node], slow: frozenset[str]) -> None:
        self._nodes = nodes
        self._slow = slow
        self._of_name: dict[str, float] = {}

    def of(self, node: expression.Node) -> float:
        """The sum over the names in it."""
        return sum(self._name(name) for name in expression.names(node))

    def _name(self, name: str) -> float:
        if name not in self._of_name:
            self._of_name[name] = _PENDING_COST if name in self._slow else 1.0  # a circle ends here
            if name in self._nodes:
                self._of_name[name] = _META_COST + self.of(self._nodes[name])
        return self._of_name[name]
