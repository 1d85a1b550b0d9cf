"""Expressions of `meta` rules: parsed into a tree, never eval'ed.

Grammar, loosest first, as in Perl:  ||  &&  == !=  < <= > >=  + -  * /  ! unary-minus  name number ( ).
Single | and & mean || and &&: rule files use them for names, where both say the same.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

_TOKEN = re.compile(
    r"\s*(?:([A-Za-z_][A-Za-z0-9_]*)|([0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(\|\|?|&&?|==|!=|<=|>=|[<>+\-*/!()]))"
)
_MAX_TOKENS = 1200  # a chain nests as deep as half of it
_MAX_NESTING = 100

_BINARY: dict[str, tuple[int, Callable[[float, float], float]]] = {
    "||": (1, lambda a, b: a or b),
    "|": (1, lambda a, b: a or b),
    "&&": (2, lambda a, b: a and b),
    "&": (2, lambda a, b: a and b),
    "==": (3, lambda a, b: float(a == b)),
    "!=": (3, lambda a, b: float(a != b)),
    "<": (4, lambda a, b: float(a < b)),
    "<=": (4, lambda a, b: float(a <= b)),
    ">": (4, lambda a, b: float(a > b)),
    ">=": (4, lambda a, b: float(a >= b)),
    "+": (5, operator.add),
    "-": (5, operator.sub),
    "*": (6, operator.mul),
    "/": (6, lambda a, b: a / b if b else 0.0),
}


_LOGICAL = {"||": "||", "|": "||", "&&": "&&", "&": "&&"}


@dataclass(frozen=True, slots=True)
class Name:
    """How often a rule hit."""

    name: str


@dataclass(frozen=True, slots=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Unary:
    """! or -."""

    sign: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands."""

    sign: str
    left: Node
    right: Node


Node = Name | Number | Unary | Binary


def parse(text: str) -> Node:
    """The tree. Raises ValueError in words."""
    parser = _Parser(_tokens(text))
    node = parser.expression(0)
    if parser.peek() is not None:
        raise ValueError(f"meta: {parser.peek()!r} is not expected there")
    return node


def evaluate(node: Node, values: Mapping[str, float]) -> float:
    """The value; a name that is not among the values counts 0."""
    if isinstance(node, Name):
        return values.get(node.name, 0.0)
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Unary):
        value = evaluate(node.operand, values)
        return float(not value) if node.sign == "!" else -value
    return _BINARY[node.sign][1](evaluate(node.left, values), evaluate(node.right, values))


class Lookup(Protocol):
    """Where values are, or are found out."""

    @property
    def known(self) -> Mapping[str, float]:
        """The values that are known."""

    @property
    def possible(self) -> Set[str]:
        """Of the plain names those whose value may differ from 0."""

    def get(self, name: str, default: float = 0.0, /) -> float:
        """The value of a name."""


Value = Callable[[Lookup], float]


@dataclass(frozen=True, slots=True)
class Compiler:
    """Makes trees into nested functions, about five times as fast as `evaluate`.

    Operands of && and || are asked in the order of their cost. A name is plain when it counts 0 unless it is among
    Lookup.possible: of a long sum of such names only those are looked at, and what is not known yet only when it can
    decide whether the sum is above a number.
    """

    cost: Callable[[Node], float]
    is_plain: Callable[[str], bool]
    most: Callable[[str], float]  # how often a plain name may hit

    def value(self, node: Node, *, is_truth: bool) -> Value:
        """Where only the truth of a node matters (`is_truth`) its value may be another one than `evaluate` gives, but
        is true or false alike; elsewhere it is the same.
        """
        if isinstance(node, Name):
            return _plain(node.name) if self.is_plain(node.name) else _named(node.name)
        if isinstance(node, Number):
            number = node.value
            return lambda _: number
        if isinstance(node, Unary):
            operand = self.value(node.operand, is_truth=node.sign == "!")
            return (
                (lambda values: float(not operand(values))) if node.sign == "!" else (lambda values: -operand(values))
            )
        if node.sign in _LOGICAL:
            return self._all(node, is_truth) if _LOGICAL[node.sign] == "&&" else self._any(node, is_truth)
        if node.sign == "+":
            return self._sum(node)
        if node.sign in (">", ">=") and isinstance(node.right, Number) and _is_sum(node.left):
            return self._is_above(node.sign, node.left, node.right.value)
        left, right = (self.value(side, is_truth=False) for side in (node.left, node.right))
        function = _BINARY[node.sign][1]
        return lambda values: function(left(values), right(values))

    def _all(self, node: Binary, is_truth: bool) -> Value:
        """A chain of &&: all operands but the last are only asked whether they are true."""
        sides = _chain(node, "&&")
        plain, _ = self._split(sides)
        operands = {side: self.value(side, is_truth=is_truth or side is not sides[-1]) for side in sides}
        last = operands[sides[-1]]
        ordered = [operands[side] for side in sorted(sides, key=self.cost)]

        def value(values: Lookup) -> float:
            if not plain <= values.possible:
                return 0.0
            for operand in ordered:
                if not operand(values):
                    return 0.0
            return last(values)

        return value

    def _any(self, node: Binary, is_truth: bool) -> Value:
        """A chain of ||: the first that is true."""
        sides = _chain(node, "||")
        quick = [side for side in sides if is_truth and self.cost(side) <= 1.0]
        plain, slow = self._split(quick)
        others = [*slow, *sorted((side for side in sides if side not in quick), key=self.cost)] if is_truth else sides
        operands = [self.value(side, is_truth=is_truth) for side in others]

        def value(values: Lookup) -> float:
            for name in plain & values.possible:
                if found := values.get(name):
                    return found
            for operand in operands:
                if found := operand(values):
                    return found
            return 0.0

        return value

    def _sum(self, node: Binary) -> Value:
        plain, others = self._split(_chain(node, "+"))
        operands = [self.value(side, is_truth=False) for side in others]

        def value(values: Lookup) -> float:
            total = sum(map(values.get, plain & values.possible), 0.0)
            for operand in operands:
                total += operand(values)
            return total

        return value

    def _is_above(self, sign: str, total: Node, bound: float) -> Value:
        """Whether a sum is above a number (>), or not below it (>=)."""
        plain, others = self._split(_chain(total, "+"))
        operands = [self.value(side, is_truth=False) for side in others]
        is_above = _BINARY[sign][1]
        most = {name: self.most(name) for name in plain}

        def value(values: Lookup) -> float:
            known, names = values.known, plain & values.possible
            unknown = [name for name in names if name not in known]
            least = sum([known[name] for name in names if name in known], 0.0)
            if not operands and not is_above(least + sum([most[name] for name in unknown]), bound):
                return 0.0
            for operand in operands:
                least += operand(values)
            for name in unknown:
                if is_above(least, bound):
                    return 1.0
                least += values.get(name)
            return is_above(least, bound)

        return value

    def _split(self, sides: Sequence[Node]) -> tuple[frozenset[str], list[Node]]:
        """The plain names among operands, and the others; one that stands there again is among the others."""
        plain: set[str] = set()
        others: list[Node] = []
        for side in sides:
            if isinstance(side, Name) and side.name not in plain and self.is_plain(side.name):
                plain.add(side.name)
            else:
                others.append(side)
        return frozenset(plain), others


def _plain(name: str) -> Value:
    return lambda values: values.get(name) if name in values.possible else 0.0


def _named(name: str) -> Value:
    return lambda values: values.get(name)


def _is_sum(node: Node) -> bool:
    return isinstance(node, Binary) and node.sign == "+"


def _chain(node: Node, sign: str) -> list[Node]:
    """The operands of a chain of one operator, left to right."""
    if isinstance(node, Binary) and _LOGICAL.get(node.sign, node.sign) == sign:
        return [*_chain(node.left, sign), *_chain(node.right, sign)]
    return [node]


def numbers(node: Node) -> frozenset[str]:
    """Names whose value, not only its truth, matters: those that are reckoned or compared with."""
    if isinstance(node, Unary):
        return numbers(node.operand) if node.sign == "!" else names(node.operand)
    if isinstance(node, Binary):
        return numbers(node.left) | numbers(node.right) if node.sign in _LOGICAL else names(node)
    return frozenset()


def passed_on(node: Node) -> frozenset[str]:
    """Names whose value may be the node's value as it is."""
    if isinstance(node, Name):
        return frozenset((node.name,))
    if isinstance(node, Binary) and node.sign in _LOGICAL:
        return passed_on(node.right) | (passed_on(node.left) if _LOGICAL[node.sign] == "||" else frozenset())
    return frozenset()


def names(node: Node) -> frozenset[str]:
    """Every rule named."""
    if isinstance(node, Name):
        return frozenset((node.name,))
    if isinstance(node, Unary):
        return names(node.operand)
    if isinstance(node, Binary):
        return names(node.left) | names(node.right)
    return frozenset()


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"meta: {text[position : position + 20]!r} is not understood")
        tokens.append(match[0].strip())
        position = match.end()
        if len(tokens) > _MAX_TOKENS:
            raise ValueError(f"meta: more than {_MAX_TOKENS} words")
    return tokens


class _Parser:
    """Precedence climbing over the tokens."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._position = 0
        self._nesting = 0

    def peek(self) -> str | None:
        """The next token, None at the end."""
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def expression(self, lowest: int) -> Node:
        """Everything that binds at least as tight as `lowest`."""
        left = self._operand()
        while (token := self.peek()) in _BINARY:
            assert token is not None
            precedence = _BINARY[token][0]
            if precedence < lowest:
                break
            self._position += 1
            left = Binary(token, left, self.expression(precedence + 1))
        return left

    def _operand(self) -> Node:
        token = self.peek()
        if token is None:
            raise ValueError("meta: something is missing at the end")
        self._position += 1
        self._nesting += 1
        if self._nesting > _MAX_NESTING:
            raise ValueError(f"meta: nested deeper than {_MAX_NESTING}")
        try:
            return self._after(token)
        finally:
            self._nesting -= 1

    def _after(self, token: str) -> Node:
        if token in ("!", "-"):
            return Unary(token, self._operand())
        if token == "(":  # noqa: S105 - a token of the expression
            node = self.expression(0)
            if self.peek() != ")":
                raise ValueError("meta: a closing parenthesis is missing")
            self._position += 1
            return node
        if token[0].isdigit() or token[0] == ".":
            return Number(float(token))
        if token[0].isalpha() or token[0] == "_":
            return Name(token)
        raise ValueError(f"meta: {token!r} is not expected there")
