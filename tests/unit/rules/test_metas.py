"""metas: evaluated on demand, in whatever order, they are true when evaluating everything makes them true."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules import expression
from gateway.rules.metas import Metas, Values
from gateway.rules.rule import Place, Rule

NAMES = ["A", "B", "C", "D"]
EXPRESSIONS = st.recursive(
    st.sampled_from([*NAMES, "M0", "M1", "M2", "0", "1", "2"]),
    lambda inner: st.builds(lambda a, sign, b: f"({a} {sign} {b})", inner, st.sampled_from(["&&", "||", "&&", "||", "+", "+", ">", ">=", "<", "==", "*", "-", "/"]), inner)
    | inner.map(lambda one: f"!{one}"),
    max_leaves=8,
)  # fmt: skip


def meta(name: str, text: str) -> Rule:
    return Rule(name, "meta", Place("t.cf", 1), expression=text)


def everything(texts: dict[str, str], hits: dict[str, float]) -> dict[str, float]:
    """The plain way: each after those it names (M2 before M1 before M0 before R)."""
    values = dict(hits)
    for name, text in texts.items():
        values[name] = expression.evaluate(expression.parse(text), values)
    return values


@given(
    st.tuples(EXPRESSIONS, EXPRESSIONS, EXPRESSIONS, EXPRESSIONS),
    st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3).map(float)),
    st.sets(st.sampled_from(NAMES)),
    st.sampled_from([lambda _: 3.0, lambda _: inf]),
)
def test_the_same_as_evaluating_everything(
    texts: tuple[str, str, str, str], hits: dict[str, float], slow: set[str], most: Callable[[str], float]
) -> None:
    two, one, zero, result = texts
    named = {  # only what comes before may be named
        "M2": two.replace("M0", "A").replace("M1", "B").replace("M2", "C"),
        "M1": one.replace("M0", "A").replace("M1", "B"),
        "M0": zero.replace("M0", "A"),
        "R": result,
    }
    expected = everything(named, hits)
    values = Values({name: count for name, count in hits.items() if name not in slow})
    asked: list[str] = []
    for name in slow:
        values.pending[name] = lambda name=name: asked.append(name) or hits.get(name, 0.0)  # type: ignore[misc, func-returns-value]
    Metas([meta(name, text) for name, text in named.items()], {"R", "M0"}, slow, most=most).evaluate(values)
    assert bool(values.get("R")) == bool(expected["R"])
    assert bool(values.get("M0")) == bool(expected["M0"])
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize(
    ("expression_text", "hits", "asked"),
    [
        ("SLOW && A", {}, False),
        ("SLOW && A", {"A": 1.0}, True),
        ("SLOW || A", {"A": 1.0}, False),
        ("SLOW && !A", {"A": 1.0}, False),
        ("(SLOW > 2) && A && B", {"A": 1.0}, False),
        ("INNER && A", {}, False),
        ("INNER && A", {"A": 1.0}, True),
        ("B", {"B": 1.0}, False),
    ],
)
def test_what_is_slow_is_asked_only_when_it_decides(expression_text: str, hits: dict[str, float], asked: bool) -> None:
    done: list[str] = []
    values = Values(dict(hits), {"SLOW": lambda: done.append("SLOW") or 1.0})  # type: ignore[func-returns-value]
    metas = Metas([meta("INNER", "SLOW || B"), meta("R", expression_text)], {"R"}, {"SLOW"})
    metas.evaluate(values)
    assert bool(done) == asked


def test_a_circle_ends() -> None:
    values = Values({"A": 1.0})
    Metas([meta("X", "Y || A"), meta("Y", "X && A")], {"X", "Y"}).evaluate(values)
    assert values.get("X") == 1.0


def test_a_value_that_is_reckoned_with_is_exact() -> None:
    metas = Metas([meta("X", "A || B"), meta("Y", "X"), meta("R", "Y > 2")], {"R"})
    values = Values({"A": 1.0, "B": 3.0})
    metas.evaluate(values)
    assert not values.get("R")
    values = Values({"B": 3.0})
    metas.evaluate(values)
    assert values.get("R")
