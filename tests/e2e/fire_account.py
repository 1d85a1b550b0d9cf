"""The account of the fault test: where is each message for each recipient, and is every second copy explained?

No I/O. A place is one where a message can be found afterwards: at a next hop, or a row of the quarantine. A client's
attempt to send it is named by the session, which is the HELO name, which each place has.

    lost          the client heard 250, and it is in no place
    damaged       it is in a place, and not whole
    too early     it is in a place, and the client never said the last dot
    bounced       the client heard 5xx, and nobody wanted that
    unjudged      it was delivered, and we had not judged it
    astray        it was delivered where policy holds or refuses
    unexplained   one place too many: for all but one there has to be a cause, or the client heard 250 in between

A cause is an event that was logged: the next hop's reply was lost (its own ledger says so, or it was killed), the client
went away before the answer, the gateway was killed or held up or its power cut while it had the message, or it could not
write down who has been served (its log says so). Where a mail server took the message and asked us, no fault of ours is
a cause: only that this server was killed, or its client went away.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# faults in which the answer to a client may be lost, or be so late that it has gone
ANSWER_LOST = frozenset(
    ("listener killed", "gateway killed", "supervisor killed", "power cut", "listener stopped", "scorer stopped")
)
# cause of a second copy -> the row of gateway/policy/custody.py that allows it
_LOST_REPLY = ("relaying", "the next hop took it, and its reply is lost")
_NO_ANSWER = ("answering", "we die, or the client has gone")
_MTA_SILENT = ("with the MTA", "it takes it, and its reply is lost")
CAUSES = {
    "next hop's reply lost": _LOST_REPLY,
    "next hop killed before its reply": _LOST_REPLY,
    "client went away before the answer": _NO_ANSWER,
    **{f"answer lost: {kind}": _NO_ANSWER for kind in ANSWER_LOST},
    "who was served could not be written down": ("answering", "... and that cannot be written down or looked up"),
    "MTA killed before its reply": _MTA_SILENT,
    "client of the MTA went away before the answer": _MTA_SILENT,
    "release: next hop's reply lost": ("releasing", "the next hop took it, and its reply is lost"),
    "release: killed": ("releasing", "we die"),
}
HOP_DIED = {"hops killed": frozenset("abl"), "postfix killed": frozenset("p")}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One message in one session."""

    number: int
    session: int
    begun: float
    ended: float
    replies: Mapping[str, int]  # recipient -> code of its RCPT
    outcome: str  # a code, "before" or "after" the dot without an answer, "vanished"
    queue_id: str = ""
    door: str = "smtp"  # or "milter": said to the mail server that asks us

    def code(self, recipient: str) -> int:
        """What the client heard for this recipient; 0 for no answer."""
        code = self.replies.get(recipient, 0)
        if code // 100 != 2:
            return code
        return int(self.outcome) if self.outcome.isdigit() else 0


@dataclass(frozen=True, slots=True)
class Place:
    """One copy for one recipient."""

    number: int
    session: int
    recipient: str
    where: str  # a next hop, or "held"
    queue_id: str = ""
    said: str = "250"  # "lost" where the next hop meant not to answer
    is_whole: bool = True
    state: str = ""  # of a held one
    is_released: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """A fault."""

    kind: str
    begun: float
    ended: float
    took: bool  # it really happened
    detail: Mapping[str, Any] = field(default_factory=dict)

    def meets(self, attempt: Attempt) -> bool:
        """At the same time."""
        return self.begun <= attempt.ended and attempt.begun <= self.ended


@dataclass
class Account:
    """What came of it; the lists name what must not be."""

    units: int = 0  # message and recipient
    accepted: int = 0
    refused: int = 0
    with_sender: int = 0
    delivered: int = 0
    held: int = 0
    released: int = 0
    second_copies: dict[str, int] = field(default_factory=dict)  # by cause
    most_copies: int = 0
    lost: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    too_early: list[str] = field(default_factory=list)
    bounced: list[str] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)
    astray: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """What is wrong; nothing when all is well."""
        names = ("lost", "damaged", "too_early", "bounced", "unjudged", "astray", "unexplained")
        return [f"{name}: {one}" for name in names for one in getattr(self, name)]


def is_nobody(recipient: str) -> bool:
    """Whose mail has to bounce."""
    return recipient.startswith(("unknown", "later")) or recipient.endswith("@r.test")


def is_kept(recipient: str) -> bool:
    """Whose mail policy lets through to nobody."""
    return recipient.endswith(("@h.test", "@r.test"))


def draw_up(
    attempts: Iterable[Attempt], places: Iterable[Place], events: Sequence[Event], forgotten: frozenset[str]
) -> Account:
    """`forgotten`: the queue ids of which the gateway logged that it could not write down, or look up, who was served."""
    tried: dict[tuple[int, str], list[Attempt]] = collections.defaultdict(list)
    found: dict[tuple[int, str], list[Place]] = collections.defaultdict(list)
    for attempt in attempts:
        for recipient in attempt.replies:
            tried[attempt.number, recipient].append(attempt)
    for place in places:
        found[place.number, place.recipient].append(place)
    account, causes = Account(units=len(tried)), collections.Counter[str]()
    for unit in found.keys() - tried.keys():
        account.too_early.append(f"{unit}: nobody sent it")
    for (number, recipient), of_unit in tried.items():
        _one(account, causes, number, recipient, of_unit, found[number, recipient], events, forgotten)
    assert causes.keys() <= CAUSES.keys()
    account.second_copies = dict(sorted(causes.items()))
    return account


def _one(
    account: Account,
    causes: collections.Counter[str],
    number: int,
    recipient: str,
    tried: Sequence[Attempt],
    places: Sequence[Place],
    events: Sequence[Event],
    forgotten: frozenset[str],
) -> None:
    name = f"message {number} to {recipient}"
    codes = {attempt.code(recipient) // 100 for attempt in tried}
    by_session = {attempt.session: attempt for attempt in tried}
    account.accepted += 2 in codes
    account.refused += 5 in codes
    account.with_sender += not codes & {2, 5}
    if 5 in codes and not is_nobody(recipient):
        account.bounced.append(f"{name}: {_told(tried, recipient)}")
    released = [one for one in places if one.is_released]
    held = [one for one in places if one.where == "held"]
    came = [one for one in places if one.where != "held" and not one.is_released]
    account.delivered += bool(came)
    account.held += bool(held)
    account.released += bool(released)
    kept = [one for one in held if one.state in ("held", "releasing")]
    if 2 in codes and not (came or kept or released):
        account.lost.append(f"{name}: {held[0].state if held else 'in no place'}; {_told(tried, recipient)}")
    if any(one.state == "released" for one in held) and not released:
        account.lost.append(f"{name}: called released, and not at the next hop")
    account.damaged += [f"{name} in {one.where}" for one in places if not one.is_whole]
    account.unjudged += [f"{name} in {one.where}" for one in places if not one.queue_id]
    account.astray += [f"{name} in {one.where}" for one in came if is_kept(recipient)]
    for one in came:
        attempt = by_session.get(one.session)
        if attempt is None or attempt.outcome == "before":
            account.too_early.append(f"{name} in {one.where}, session {one.session}")
    _count_copies(account, causes, name, [*came, *held], by_session, events, forgotten)
    _count_releases(account, causes, name, released, events)


def _count_copies(
    account: Account,
    causes: collections.Counter[str],
    name: str,
    places: Sequence[Place],
    by_session: Mapping[int, Attempt],
    events: Sequence[Event],
    forgotten: frozenset[str],
) -> None:
    account.most_copies = max(account.most_copies, len(places))
    if len(places) < 2:
        return
    is_forgotten = any(one.queue_id in forgotten for one in places)
    why = [_cause(by_session.get(one.session), one, events, is_forgotten=is_forgotten) for one in places]
    explained = [cause for cause in why if cause]
    causes.update(explained[: len(places) - 1])
    in_one_session = len({one.session for one in places}) < len(places)
    if len(places) - len(explained) > 1 or in_one_session:
        told = "; ".join(
            f"{one.where} session {one.session} {one.queue_id} said {one.said} client heard "
            f"{by_session[one.session].outcome if one.session in by_session else '?'} {_when(by_session.get(one.session))} "
            f"cause {cause or 'none'}"
            for one, cause in zip(places, why, strict=True)
        )
        account.unexplained.append(f"{name}: {told}")


def _count_releases(
    account: Account, causes: collections.Counter[str], name: str, released: Sequence[Place], events: Sequence[Event]
) -> None:
    for one in released[1:]:
        if any(other.said == "lost" for other in released):
            causes["release: next hop's reply lost"] += 1
        elif any(event.took and event.kind in ("release killed", "hops killed", "power cut") for event in events):
            causes["release: killed"] += 1
        else:
            account.unexplained.append(f"{name}: released twice, {one.queue_id}")


def _cause(attempt: Attempt | None, place: Place, events: Sequence[Event], *, is_forgotten: bool) -> str:
    """Why the client may have sent it again though this copy was there; "" for no reason."""
    if attempt is None or attempt.outcome.startswith("2"):
        return ""
    at_once = [event for event in events if event.took and event.meets(attempt)]
    if attempt.door == "milter":
        return _cause_at_mta(attempt, at_once)
    if attempt.outcome == "vanished":
        return "client went away before the answer"
    if place.said == "lost":
        return "next hop's reply lost"
    for event in at_once:
        if place.where in HOP_DIED.get(event.kind, ()):
            return "next hop killed before its reply"
    if is_forgotten:
        return "who was served could not be written down"
    if attempt.outcome == "after":
        return next((f"answer lost: {event.kind}" for event in at_once if event.kind in ANSWER_LOST), "")
    return ""


def _cause_at_mta(attempt: Attempt, at_once: Sequence[Event]) -> str:
    if attempt.outcome == "vanished":
        return "client of the MTA went away before the answer"
    return "MTA killed before its reply" if any(event.kind == "front killed" for event in at_once) else ""


def _when(attempt: Attempt | None) -> str:
    return f"{attempt.begun:.1f}-{attempt.ended:.1f}" if attempt else "?"


def _told(tried: Sequence[Attempt], recipient: str) -> str:
    return ", ".join(f"{one.replies[recipient]}/{one.outcome} {one.queue_id}" for one in tried)
