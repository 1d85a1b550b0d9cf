"""Who is answerable for a message, for each recipient: the states, and what leads from one to the next, as data.

`after` and `answer` read it (settle.py, service.py), docs/custody.md is written from it, and the fault test
(tests/e2e/fire.py) allows second copies only where a row here says that there may be one. No row leads to a state in
which nobody has the message, but for the two that end what is held: a person's word, and the time an admin set.

A message is with its sender until it has heard 2xx or 5xx; what happens before leaves it there too (RFC 5321 §6.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from gateway.types import ActionName, Reply

RELEASE_MAX_S = 540.0  # one hand-over: five minutes are the next hop's for the content alone (smtp_client.py)
RELEASE_LOST_S = 600.0  # nobody is at a release any more that was begun so long ago

State = Literal[
    "receiving", "judging", "holding", "relaying", "refusing", "answering", "filtering", "with the MTA",
    "with the sender", "at the next hop", "held", "refused", "releasing", "released", "deleted",
]  # fmt: skip


class Transition(NamedTuple):
    """What happens in a state, for one recipient, and where the message is then."""

    state: State
    event: str  # a reply's class as "2xx", or words for what is no reply
    then: State
    hears: str  # what the client hears of it; "" for nothing now
    note: str = ""
    may_come_twice: bool = False  # the sender's next try may make a second copy


TRANSITIONS: tuple[Transition, ...] = (
    Transition("receiving", "the client or we go away before the final dot", "with the sender", "nothing"),
    Transition("receiving", "too large, a loop", "refused", "552, 554"),
    Transition("receiving", "the final dot", "judging", ""),
    Transition("judging", "a scorer dies or overruns", "judging", "", "another one judges it"),
    Transition("judging", "no scorer answers", "with the sender", "451"),
    Transition("judging", "a doubtful first contact", "with the sender", "451 4.7.1", "nothing is done for anybody"),
    Transition("judging", "we die", "with the sender", "nothing"),
    Transition("judging", "policy: hold", "holding", "", "before anything is relayed"),
    Transition("judging", "policy: accept or tag", "relaying", ""),
    Transition("judging", "policy: reject", "refusing", "", "where that is so for all, else held"),
    Transition("refusing", "5xx", "refused", "550"),
    Transition("holding", "2xx", "held", "", "content and rows are on the disk"),
    Transition("holding", "4xx", "with the sender", "451", "disk full, read-only, store down; nothing is relayed"),
    Transition("holding", "we die before the commit", "with the sender", "nothing"),
    Transition("relaying", "2xx", "at the next hop", "", "the next hop said so, for this recipient"),
    Transition("relaying", "a next hop fails before content was sent", "relaying", "", "the list's next one is tried"),
    Transition("relaying", "4xx", "with the sender", "451", "also: it is away, hangs up, hangs, makes no sense"),
    Transition("relaying", "5xx", "refused", "its 5xx", "where that is so for all; else held, with its words"),
    Transition("relaying", "we die", "with the sender", "nothing", "", True),
    Transition(
        "relaying", "the next hop took it, and its reply is lost", "with the sender", "451",
        "it may have it: nobody can know (RFC 1047)", True,
    ),
    Transition("answering", "all have it or refuse it", "answering", "250 or 5xx", "by the table below"),
    Transition(
        "answering", "451, as others were deferred", "answering", "451",
        "who was served is written down, and gets no second copy at the next try",
    ),
    Transition("answering", "... and that cannot be written down or looked up", "answering", "451", "logged", True),
    Transition(
        "answering", "we die, or the client has gone", "answering", "nothing",
        "what is held gets no second copy: same content, reverse-path and recipient are one", True,
    ),
    Transition("receiving", "an MTA asks (milter)", "filtering", "", "judged and held as above"),
    Transition("filtering", "we or the MTA die, our answer is lost", "with the sender", "the MTA's 451"),
    Transition("filtering", "handed back", "with the MTA", "", "for those for whom it is not held"),
    Transition("with the MTA", "its queue is full", "with the sender", "the MTA's 4xx", "what is held stays held"),
    Transition("with the MTA", "it takes it", "at the next hop", "the MTA's 250"),
    Transition(
        "with the MTA", "it takes it, and its reply is lost", "at the next hop", "nothing",
        "it dies before its 250, or its client has gone", True,
    ),
    Transition("held", "a person releases it", "releasing", "", "one at a time"),
    Transition("held", "a person deletes it, or calls it spam", "deleted", "", "the audit log says who"),
    Transition("held", "it expires: kept for its time, or the quarantine is full", "deleted", "", "its row says so"),
    Transition("releasing", "2xx", "released", "", "the next hop said so"),
    Transition("releasing", "anything else", "held", "", "with its words"),
    Transition("releasing", "the next hop took it, and its reply is lost", "held", "", "with its words", True),
    Transition("releasing", "we die", "held", "", "ten minutes after it was begun, with a note that says so", True),
)  # fmt: skip


class Answer(NamedTuple):
    """The one reply to the final dot, for what became of it for the recipients; the first that applies."""

    of: Literal["any", "all"]
    states: frozenset[State]
    code: int
    why: str


ANSWERS: tuple[Answer, ...] = (
    Answer("any", frozenset({"with the sender"}), 451, "the sender keeps it; the first deferral's words"),
    Answer("all", frozenset({"refused"}), 550, "the first refusal's code and words"),
    Answer("any", frozenset({"refused"}), 451, "it should have been held: a refusal cannot be told beside a 250"),
    Answer("all", frozenset({"at the next hop", "held"}), 250, "each is at the next hop or held"),
)

_BEGINS: dict[ActionName, State] = {
    "accept": "relaying", "tag": "relaying", "quarantine": "holding", "reject": "refusing",
}  # fmt: skip
_AFTER = {(one.state, one.event): one.then for one in TRANSITIONS}
NO_ANSWER = Answer("all", frozenset(), 451, "nothing was done for anybody")


def after(state: State, reply: Reply) -> State:
    """Where the message is after this reply. What no row foresees is a fault of ours: the sender keeps it."""
    then = _AFTER.get((state, f"{reply.code // 100}xx"))
    return then or _AFTER.get((state, "anything else"), "with the sender")


def state_of(action: ActionName, reply: Reply) -> State:
    """Where the message is for a recipient, after the action for him."""
    return after(_BEGINS[action], reply)


def answer(states: Sequence[State]) -> Answer:
    """What the client hears; 451 when there is nobody."""
    if not states:
        return NO_ANSWER
    for one in ANSWERS:
        if (any if one.of == "any" else all)(state in one.states for state in states):
            return one
    return NO_ANSWER
