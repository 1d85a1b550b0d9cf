"""policy/custody.py: the tables, as the code reads them."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.custody import ANSWERS, TRANSITIONS, State, after, answer, state_of
from gateway.types import Reply

ENDS = ("with the sender", "at the next hop", "held", "refused")


def test_every_state_is_reached_and_no_row_stands_twice() -> None:
    assert {one.then for one in TRANSITIONS} | {"receiving"} == set(get_args(State))
    assert len({(one.state, one.event) for one in TRANSITIONS}) == len(TRANSITIONS)


def test_what_goes_no_further_is_with_somebody() -> None:
    going_on = {one.state for one in TRANSITIONS}
    assert {one.then for one in TRANSITIONS} - going_on == {
        "with the sender",
        "at the next hop",
        "refused",
        "released",
        "deleted",
    }


def test_only_what_is_held_is_deleted() -> None:
    assert {one.state for one in TRANSITIONS if one.then == "deleted"} == {"held"}


@pytest.mark.parametrize(
    ("action", "code", "state"),
    [
        ("accept", 250, "at the next hop"),
        ("tag", 250, "at the next hop"),
        ("tag", 451, "with the sender"),
        ("tag", 421, "with the sender"),
        ("accept", 550, "refused"),
        ("accept", 354, "with the sender"),  # out of step
        ("quarantine", 250, "held"),
        ("quarantine", 451, "with the sender"),
        ("quarantine", 550, "with the sender"),  # our store cannot refuse anybody's mail
        ("reject", 550, "refused"),
        ("reject", 451, "with the sender"),
        ("reject", 250, "with the sender"),  # nobody has it
    ],
)
def test_where_it_is_for_a_recipient(action: str, code: int, state: str) -> None:
    assert state_of(action, Reply(code, "", "")) == state  # type: ignore[arg-type]


@pytest.mark.parametrize(("code", "state"), [(250, "released"), (451, "held"), (550, "held"), (354, "held")])
def test_a_release(code: int, state: str) -> None:
    assert after("releasing", Reply(code, "", "")) == state


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ("", 451),
        ("held", 250),
        ("at the next hop", 250),
        ("held, at the next hop", 250),
        ("refused", 550),
        ("refused, refused", 550),
        ("refused, held", 451),
        ("refused, with the sender", 451),
        ("at the next hop, with the sender", 451),
        ("judging", 451),
    ],
)
def test_the_answer(states: str, code: int) -> None:
    assert answer(states.split(", ") if states else []).code == code  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(ENDS), max_size=6))
def test_no_250_while_somebody_has_nothing(states: list[State]) -> None:
    code = answer(states).code
    assert (code == 250) == (bool(states) and set(states) <= {"at the next hop", "held"})
    assert (code == 550) == (set(states) == {"refused"})
    assert code in {one.code for one in ANSWERS}
