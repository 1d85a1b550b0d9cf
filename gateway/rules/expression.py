"""Expressions of `meta` rules: parsed into a tree, never eval'ed.

Grammar, loosest first, as in Perl:  ||  &&  == !=  < <= > >=  + -  * /  ! unary-minus  name number ( ).
Single | and & mean || and &&: rule files use them for names, where both say the same.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
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
    """Where values are: a mapping, or something that finds them out."""

    def get(self, name: str, default: float, /) -> float:
        """The value of a name."""


Value = Callable[[Lookup], float]


def compiled(node: Node, cost: Callable[[Node], float], *, is_truth: bool) -> Value:
    """The tree as nested functions, about five times as fast as `evaluate`.

    Operands of && and || are asked in the order of their cost. Where only the truth of a node matters (`is_truth`) its
    value may be another one than `evaluate` gives, but is true or false alike; elsewhere it is the same.
    """
    if isinstance(node, Name):
        name = node.name
        return lambda values: values.get(name, 0.0)
    if isinstance(node, Number):
        number = node.value
        return lambda _: number
    if isinstance(node, Unary):
        operand = compiled(node.operand, cost, is_truth=node.sign == "!")
        return (lambda values: float(not operand(values))) if node.sign == "!" else (lambda values: -operand(values))
    if node.sign in _LOGICAL:
        return _logical(node, cost, is_truth=is_truth)
    left, right = (compiled(side, cost, is_truth=False) for side in (node.left, node.right))
    function = _BINARY[node.sign][1]
    return lambda values: function(left(values), right(values))


def _logical(node: Binary, cost: Callable[[Node], float], *, is_truth: bool) -> Value:
    """A chain of && or of ||. Of && all operands but the last are only asked whether they are true."""
    sides = _chain(node, _LOGICAL[node.sign])
    is_and = _LOGICAL[node.sign] == "&&"
    operands = [compiled(side, cost, is_truth=is_truth or (is_and and side is not sides[-1])) for side in sides]
    last = operands[-1]
    if is_and or is_truth:
        operands = [
            operand for _, operand in sorted(zip(map(cost, sides), operands, strict=True), key=lambda one: one[0])
        ]
    first, *others = operands
    if len(others) == 1:
        second = others[0]
        if not is_and:
            return lambda values: first(values) or second(values)
        if second is last:
            return lambda values: first(values) and second(values)
    return _all_of(operands, last) if is_and else _any_of(operands)


def _all_of(operands: Sequence[Value], last: Value) -> Value:
    def value(values: Lookup) -> float:
        for operand in operands:
            if not operand(values):
                return 0.0
        return last(values)

    return value


def _any_of(operands: Sequence[Value]) -> Value:
    def value(values: Lookup) -> float:
        for operand in operands:
            if found := operand(values):
                return found
        return 0.0

    return value


def _chain(node: Node, sign: str) -> list[Node]:
    """The operands of a chain of one operator, left to right."""
    if isinstance(node, Binary) and _LOGICAL.get(node.sign) == sign:
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
