"""`meta` rules, evaluated on demand: what a scored rule needs to know is found out, and nothing else.

A meta can only differ from 0 when certain names hit: one of its triggers, and all that it requires. Both are known
beforehand, down to the names of patterns, functions and findings, so most metas are never looked at. The others that
count are evaluated from the top: operands that cost little first, and a pattern that has to be confirmed in the text, a
function that has to be called, or another meta, only when its value decides. The values are those of evaluating
everything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from gateway.rules import expression
from gateway.rules.expression import Binary, Name, Node, Number, Unary
from gateway.rules.rule import Rule

_META_COST, _PENDING_COST = 2.0, 100.0  # against 1 for a value that is known
_SETTLED = 20.0
_MAYBE = 2.0  # of a trigger that may be pending, beyond that of one that has hit
_CALL = 1000.0  # of a function, before it is known to be called for every message
_AND, _OR = frozenset(("&&", "&", "*")), frozenset(("||", "|", "+"))
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Meta:
    """One expression."""

    name: str
    value: Callable[[Values], float]
    names: tuple[str, ...]
    triggers: frozenset[str] | None  # names of which one must have hit, if it is to differ from 0; None: any or none
    required: frozenset[str]  # names that must all have hit

    def can_hit(self, possible: set[str]) -> bool:
        """Whether the value may differ from 0, when only these names may have hit."""
        if not self.required <= possible:
            return False
        return self.triggers is None or not self.triggers.isdisjoint(possible)


@dataclass(slots=True)
class Values:
    """Name -> how often it hit; what is not known yet is found out when it is asked for."""

    known: dict[str, float] = field(default_factory=dict)
    pending: dict[str, Callable[[], float]] = field(default_factory=dict)  # patterns that may have matched
    called: Callable[[str], float] = lambda _: 0.0  # gives the value of what is neither
    metas: Mapping[str, _Meta] = field(default_factory=dict)
    possible: set[str] = field(default_factory=set)

    def get(self, name: str, default: float = 0.0, /) -> float:
        """The value; finds out what is not known."""
        value = self.known.get(name)
        return value if value is not None else self._found_out(name)

    def _found_out(self, name: str) -> float:
        meta = self.metas.get(name)
        if meta is None:
            find_out = self.pending.pop(name, None)
            value = find_out() if find_out is not None else self.called(name)
        else:
            self.known[name] = 0.0  # for a meta in a circle
            value = meta.value(self) if meta.can_hit(self.possible) else 0.0
        self.known[name] = value
        return value


class Metas:
    """The metas of a rule set.

    Args:
        wanted: the names whose value is to be known.
        slow: names that may be pending.
        most: how often a name may hit, at most.
        functions: names whose value is called for; those in `always_called` have to be known beforehand.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        wanted: Collection[str],
        slow: Collection[str] = (),
        functions: Collection[str] = (),
        most: Callable[[str], float] = lambda _: inf,
    ) -> None:
        nodes = {rule.name: expression.parse(rule.expression) for rule in rules}
        costs = _Costs(nodes, frozenset(slow), frozenset(functions))
        lazy = nodes.keys() | set(functions)
        compiler = expression.Compiler(costs.of, lambda name: name not in lazy, most)
        as_number = _as_number(nodes)
        counting = [name for name in nodes if name in wanted]
        bounds = _Bounds(nodes, frozenset(slow) - frozenset(functions), frozenset(functions))
        bounds.settle(counting)
        self.always_called = bounds.settled & frozenset(functions)
        self._metas = {
            name: _Meta(
                name,
                compiler.value(node, is_truth=name not in as_number),
                tuple(sorted(expression.names(node))),
                bounds.triggers(name),
                bounds.required(name),
            )
            for name, node in nodes.items()
        }
        self._always: list[_Meta] = []
        self._woken_by: dict[str, list[_Meta]] = {}
        for meta in (self._metas[name] for name in counting):
            if meta.triggers is None:
                self._always.append(meta)
            for name in meta.triggers or ():
                self._woken_by.setdefault(name, []).append(meta)

    def names(self, name: str) -> tuple[str, ...]:
        """What an expression names; () when there is none of that name."""
        meta = self._metas.get(name)
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
        possible = {name for name, value in values.known.items() if value}
        possible.update(values.pending)
        values.metas, values.possible = self._metas, possible
        woken = {
            meta.name: None
            for name in self._woken_by.keys() & possible
            for meta in self._woken_by[name]
            if meta.required <= possible
        }
        for name in [*woken, *(meta.name for meta in self._always if meta.required <= possible)]:
            values.get(name)


class _Bounds:
    """What has to hit for a meta to differ from 0, down to what is no meta.

    For a conjunction the triggers of one part are enough: those taken that cost least, after what has been taken for
    other metas (`settled`). A function that is called on demand is no trigger and not required.
    """

    def __init__(self, nodes: Mapping[str, Node], slow: frozenset[str], functions: frozenset[str]) -> None:
        self._nodes = nodes
        self._slow = slow
        self._functions = functions
        self._required: dict[str, frozenset[str]] = {}
        self._triggers: dict[str, frozenset[str] | None] = {}
        self.settled: frozenset[str] = _NONE

    def settle(self, names: Iterable[str]) -> None:
        """Choose triggers for these metas, cheapest first; functions among them have to be called always."""
        for name in sorted(names, key=lambda name: self._cost(self._of(self._nodes[name]) or _NONE)):
            self._triggers = {}  # what costs nothing now may be chosen by others too
            found = self._of(self._nodes[name])
            self.settled |= found or _NONE
        self._triggers = {}

    def triggers(self, name: str) -> frozenset[str] | None:
        """Names of which one must have hit for a meta to differ from 0; None when it may without any."""
        found = self._named(name)
        return None if found is None or (found & self._functions) - self.settled else found

    def required(self, name: str) -> frozenset[str]:
        """Names that must all have hit for it."""
        return self._required_by(Name(name))

    def _cost(self, names: frozenset[str]) -> float:
        unsettled = (names & self._functions) - self.settled
        return len(names) + _MAYBE * len(names & self._slow) + _CALL * len(unsettled)

    def _named(self, name: str) -> frozenset[str] | None:
        if name not in self._nodes:
            return frozenset((name,))
        if name not in self._triggers:
            self._triggers[name] = None  # for a meta in a circle
            self._triggers[name] = self._of(self._nodes[name])
        return self._triggers[name]

    def _of(self, node: Node) -> frozenset[str] | None:
        if isinstance(node, Name):
            return self._named(node.name)
        if isinstance(node, Number):
            return None if node.value else _NONE
        if isinstance(node, Unary):
            return None if node.sign == "!" else self._of(node.operand)
        left, right = self._of(node.left), self._of(node.right)
        if node.sign in _AND:
            sides = [side for side in (left, right) if side is not None]
            return min(sides, key=self._cost) if sides else None
        if node.sign == "/":
            return left
        if node.sign in _OR:
            return None if left is None or right is None else left | right
        return self._any_of(expression.names(node)) if not expression.evaluate(node, {}) else None

    def _any_of(self, names: Iterable[str]) -> frozenset[str] | None:
        found = [self._named(name) for name in names]
        known = [one for one in found if one is not None]
        return _NONE.union(*known) if len(known) == len(found) else None

    def _required_by(self, node: Node) -> frozenset[str]:
        if isinstance(node, Name):
            return self._required_named(node.name)
        if isinstance(node, Number):
            return _NONE
        if isinstance(node, Unary):
            return _NONE if node.sign == "!" else self._required_by(node.operand)
        left, right = self._required_by(node.left), self._required_by(node.right)
        if node.sign in _AND:
            return left | right
        if node.sign in _OR:
            return left & right
        is_above = node.sign in (">", ">=") and isinstance(node.right, Number) and not expression.evaluate(node, {})
        return left if node.sign == "/" or is_above else _NONE

    def _required_named(self, name: str) -> frozenset[str]:
        if name not in self._nodes:
            return _NONE if name in self._functions and name not in self.settled else frozenset((name,))
        if name not in self._required:
            self._required[name] = _NONE  # for a meta in a circle
            self._required[name] = self._required_by(self._nodes[name])
        return self._required[name]


def _as_number(nodes: Mapping[str, Node]) -> set[str]:
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

    def __init__(self, nodes: Mapping[str, Node], slow: frozenset[str], functions: frozenset[str]) -> None:
        self._nodes = nodes
        self._slow = slow | functions
        self._of_name: dict[str, float] = {}

    def of(self, node: Node) -> float:
        """The sum over the names in it; of a sum that is compared most is settled by what is known."""
        if isinstance(node, Binary):
            both = self.of(node.left) + self.of(node.right)
            return both / _SETTLED if node.sign in (">", ">=") else both
        if isinstance(node, Unary):
            return self.of(node.operand)
        return self._name(node.name) if isinstance(node, Name) else 0.0

    def _name(self, name: str) -> float:
        if name not in self._of_name:
            self._of_name[name] = _PENDING_COST if name in self._slow else 1.0  # a circle ends here
            if name in self._nodes:
                self._of_name[name] = _META_COST + self.of(self._nodes[name])
        return self._of_name[name]
