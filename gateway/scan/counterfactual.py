"""The smallest change that would have had a held message delivered, found by judging it again.

One change at a time, then two of those that told most. Every answer of the DNS is what was found before: nothing is
looked up again. At most MAX_JUDGED judgements and MAX_CPU_S: about 1.5 ms each for an ordinary message. Not in the way
of mail: `darban scan --why` and the page of a held message ask for it (docs/explanations.md).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple, Protocol

from gateway.actions.danger import kind_of
from gateway.errors import ScorerError
from gateway.policy.decide import decide
from gateway.policy.senders import NOTHING_SAID, Judged, Said, SenderTable, rulings, sender_of
from gateway.scan.change import SIZES, Case, Change, make, possible
from gateway.scan.wording import Tongue, change_text, flip_text, isolated
from gateway.types import ActionName, DomainPolicy, Recipient, Ruling, Verdict

MAX_JUDGED = 60
MAX_CPU_S = 2.0
_TONGUE = Tongue(shown=isolated)
_PAIRED = 8  # of the changes that told most
_TELLING = 0.05  # of score: what changes less is no part of a pair


class Judge(Protocol):
    """Pipeline.judge_again."""

    def __call__(self, case: Case, before: Verdict, *, explained: bool = False) -> Verdict:
        """The verdict of the case."""


class Flip(NamedTuple):
    """What would have been enough, or how much spoke against it."""

    was: ActionName  # as it is
    # what blocks the sender, and one or two; none where nothing was enough, or nothing is needed
    changes: tuple[Change, ...]
    action: ActionName  # with these changes
    score: float
    judged: int  # how often it was judged again
    signs: int  # hits that speak against the message as it is
    is_needed: bool = True  # False: judged today it is delivered as it is
    entry: str = ""  # what an entry on the sender comes to as it is, where that is not among the changes


def flip_object(flip: Flip) -> dict[str, Any]:
    """As JSON has it."""
    changes = [
        {"kind": kind, "value": value, "text": change_text(kind, value, _TONGUE)} for kind, value in flip.changes
    ]
    found = {**flip._asdict(), "changes": changes}
    entry = f" ({flip.entry})" if flip.entry else ""
    return {"text": flip_text(found, _TONGUE) + entry, **found}


class _Judged(NamedTuple):
    changes: tuple[Change, ...]
    case: Case
    action: ActionName
    score: float


def find_flip(case: Case, before: Verdict, judge: Judge, policy: DomainPolicy, said: Said = NOTHING_SAID) -> Flip:
    """Take back what blocks the sender, then try single changes, then pairs.

    Args:
        before: the verdict of the case as it was, as Pipeline.case had it.
        policy: whose thresholds name the action.
        said: the entries on the sender that are in force.

    Raises:
        ScorerError: a stage fails that had not.
    """
    return _Search(case, before, judge, policy, said).run()


class _Search:
    """One message's."""

    def __init__(self, case: Case, before: Verdict, judge: Judge, policy: DomainPolicy, said: Said) -> None:
        self._before = before
        self._judge = judge
        self._policy = policy
        self._judged = 0
        self._until = time.process_time() + MAX_CPU_S
        self._now = time.time()
        self._said = said
        self._table = SenderTable()
        for entry in said.entries:
            self._table.take(entry, self._now)
        self._verdict = judge(case, before, explained=True)  # rules and model may be others by now
        if self._lacks(self._verdict):
            raise ScorerError("judged again, the message lacks what it had")
        self._entry = self._ruling(case, self._verdict)
        self._base = _Judged((), case, self._action(case, self._verdict), self._verdict.score)
        self._unblocked = tuple(self._unblock(case))
        self._start = self._base._replace(action=self._action(case, self._verdict))

    def run(self) -> Flip:
        """The smallest, and of equal ones the one with the lowest score."""
        if self._base.action == "accept":
            return self._flip(self._base, is_needed=False)
        if self._unblocked and self._is_delivered(self._start):
            return self._flip(self._start)
        singles = [*self._try((self._start, change) for change in possible(self._base.case, self._verdict))]
        enough = [one for one in singles if self._is_delivered(one)]
        if not enough:
            telling = [one for one in singles if one.score < self._base.score - _TELLING]
            telling.sort(key=lambda one: one.score)
            pairs = combinations(telling[:_PAIRED], 2)
            enough = [*filter(self._is_delivered, self._try((first, second.changes[0]) for first, second in pairs))]
        best = min(enough, key=_size, default=self._base)
        return self._flip(best)

    def _try(self, changes: Iterable[tuple[_Judged, Change]]) -> Iterator[_Judged]:
        """Each change made to what was judged, and judged, while time and turns last."""
        for before, change in changes:
            if self._judged >= MAX_JUDGED or time.process_time() > self._until:
                return
            case = make(before.case, change)
            if case is not None:
                self._judged += 1
                verdict = self._judge(case, self._before)
                if not self._lacks(verdict):
                    yield _Judged((*before.changes, change), case, self._action(case, verdict), verdict.score)

    def _lacks(self, verdict: Verdict) -> bool:
        """A stage failed that had not: what it would have found is missing, and no change's merit."""
        return not set(self._before.incomplete).issuperset(verdict.incomplete)

    def _action(self, case: Case, verdict: Verdict) -> ActionName:
        recipient = Recipient("", self._policy.name)
        return decide(verdict, recipient, self._policy, self._ruling(case, verdict)).action

    def _ruling(self, case: Case, verdict: Verdict) -> Ruling | None:
        """Of a message for one recipient, as held ones are."""
        if not len(self._table):
            return None
        sender = sender_of(case.envelope, case.content, case.auth)
        judged = Judged(verdict.score, kind_of(verdict.hits) == "malware")
        found = rulings(self._table, sender, case.envelope.recipients, self._now, judged, self._said.limits)
        return next(iter(found.values()), None)

    def _unblock(self, case: Case) -> Iterator[Change]:
        """Take back one block after the other, until none holds; what was less specific holds then."""
        while (ruling := self._ruling(case, self._verdict)) is not None and ruling.action not in (None, "accept"):
            block = next(one for one in self._said.entries if one.number == ruling.number)
            self._table.take(replace(block, is_removed=True), self._now)
            yield Change("block", f"{block.pattern} {block.by}")

    def _is_delivered(self, one: _Judged) -> bool:
        return one.action == "accept" or (one.action == "tag" and self._base.action != "tag")

    def _flip(self, one: _Judged, *, is_needed: bool = True) -> Flip:
        signs = sum(hit.score > 0 for hit in self._verdict.hits)
        changes = one.changes if one is self._base else (*self._unblocked, *one.changes)
        entry = "" if self._entry is None or (changes and self._unblocked) else self._entry.reason
        score = round(one.score, 3)
        return Flip(self._base.action, changes, one.action, score, self._judged, signs, is_needed, entry)


def _size(one: _Judged) -> tuple[int, int, float]:
    """Smaller changes first; of passages the shorter ones."""
    return sum(SIZES[change.kind] for change in one.changes), _letters(one.changes), one.score


def _letters(changes: tuple[Change, ...]) -> int:
    return sum(len(change.value) for change in changes if change.kind == "passage")
