"""policy/moves.py: a person's move teaches, a rule's does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.moves import MAX_KEPT, Look, Memory, Seen, is_new, moves, remember

LAST = Look(1, 10, 1000.0)


def seen(queue_id: str = "A", *, flagged: bool = False, at: float = 900.0) -> Seen:
    return Seen(11, queue_id, flagged, at, 100)


@pytest.mark.parametrize(
    ("one", "is_spam"),
    [
        (seen(), True),
        (seen(at=999.0), False),  # within a second of the look: it may have come after it
        (seen(at=1000.5), False),  # filed by a rule when it came
        (seen(flagged=True), False),  # our own tag, obeyed by a mail program
        (seen("BACK", flagged=True), True),  # a person changed his mind
        (seen("BACK", flagged=True, at=1001.0), False),
        (seen(""), False),  # did not come through us
    ],
)
def test_into_junk(one: Seen, is_spam: bool) -> None:
    found = moves(Memory(rescued=("BACK",)), LAST, [one], is_junk=True)
    assert [move.is_spam for move in found] == [True] * is_spam


@pytest.mark.parametrize(
    ("one", "is_ham"),
    [
        (seen("JUNK", flagged=True), True),
        (seen("JUNK"), True),  # put there by a person or another filter
        (seen("JUNK", flagged=True, at=1001.0), False),  # a second copy that came just now
        (seen("A", flagged=True), False),  # from one folder to another
        (seen(""), False),
    ],
)
def test_out_of_junk(one: Seen, is_ham: bool) -> None:
    found = moves(Memory(junk=("JUNK", "")), LAST, [one], is_junk=False)
    assert [move.is_spam for move in found] == [False] * is_ham


@pytest.mark.parametrize("is_junk", [True, False])
def test_a_first_look_tells_nothing_but_is_remembered(is_junk: bool) -> None:
    assert moves(Memory(junk=("A",)), None, [seen()], is_junk=is_junk) == []
    memory = remember(Memory(), "F", LAST, [seen()], [], is_junk=is_junk)
    assert memory == Memory({"F": LAST}, ("A",) if is_junk else ())


@pytest.mark.parametrize(("last", "validity", "new"), [(None, 1, True), (LAST, 1, False), (LAST, 2, True)])
def test_other_uids_begin_anew(last: Look | None, validity: int, new: bool) -> None:
    assert is_new(last, validity) is new


def test_in_out_and_back() -> None:
    memory = Memory({"Junk": LAST, "INBOX": LAST})
    for is_junk in (True, False, True, False):
        folder = "Junk" if is_junk else "INBOX"
        found = moves(memory, LAST, [seen(flagged=is_junk and bool(memory.rescued))], is_junk=is_junk)
        assert [move.is_spam for move in found] == [is_junk]
        memory = remember(memory, folder, LAST, [seen()], found, is_junk=is_junk)
        assert memory.rescued == (() if is_junk else ("A",))
        assert memory.junk == ("A",)


def test_the_memory_has_an_end() -> None:
    many = [seen(str(number)) for number in range(MAX_KEPT + 10)]
    memory = remember(Memory(junk=("old",)), "Junk", LAST, many, [], is_junk=True)
    assert (len(memory.junk), memory.junk[0], memory.junk[-1]) == (MAX_KEPT, "10", str(MAX_KEPT + 9))


@given(
    st.lists(st.builds(Seen, st.just(1), st.sampled_from(["", "A", "B", "C"]), st.booleans(), st.floats(0, 2000), st.just(1))),
    st.lists(st.sampled_from("ABC")), st.lists(st.sampled_from("ABC")), st.booleans(),
)  # fmt: skip
def test_no_rule_teaches(found: list[Seen], junk: list[str], rescued: list[str], is_junk: bool) -> None:
    """Whatever is seen and remembered: nothing young, nothing foreign, nothing that only our own tag speaks of."""
    for move in moves(Memory(junk=tuple(junk), rescued=tuple(rescued)), LAST, found, is_junk=is_junk):
        assert move.is_spam is is_junk
        assert move.seen.at < LAST.at
        assert move.seen.queue_id
        assert not move.is_spam or not move.seen.is_flagged or move.seen.queue_id in rescued
        assert move.is_spam or move.seen.queue_id in junk
