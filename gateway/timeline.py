"""What became of a message for one recipient, in the order of time: from the connection to the last act on it.

Told from the message log, the quarantine, the audit log and the ledger of lessons; each keeps what it knows for as long
as it does, so an old message may have a shorter story.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.policy.reputation import Networks
from gateway.ports import MessageLog, QuarantineStore, TrainingLedger
from gateway.types import AuditEntry, HeldMessage, Lesson, Lessons, LogRow

EventKind = Literal[
    "deferred before",  # an earlier try: its reply
    "came",  # the client, MAIL and RCPT
    "judged",  # score and reason
    "handed over",  # the next hop's reply
    "held",  # the reason
    "refused",  # why
    "deferred",
    "scanned",  # what the other server was told
    "answered",  # what the client heard
    "came again",  # a later try: its reply
    "release",  # by whom, and what the next hop said
    "release failed",
    "delete",
    "spam",  # deleted as spam
    "taught spam",
    "taught ham",
    "revoked",  # a lesson was taken back
]
_OF_ACTION: dict[str, EventKind] = {
    "accept": "handed over",
    "tag": "handed over",
    "quarantine": "held",
    "reject": "refused",
    "tempfail": "deferred",
    "scanned": "scanned",
}
_ACTS: dict[str, EventKind] = {"release": "release", "delete": "delete", "spam": "spam"}
_ENDS: dict[str, EventKind] = {"released": "release", "deleted": "delete"}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    at: float
    kind: EventKind
    text: str = ""  # the server's, the policy's or the store's own words
    who: str = ""  # an account; "" where it is not known, or was nobody
    number: int = 0  # of the row of another try


@dataclass(frozen=True, slots=True)
class Timeline:
    """One recipient's."""

    row: LogRow
    held: HeldMessage | None
    events: tuple[Event, ...]


class Timelines:
    """Puts them together. Blocking; composed in web/pages.py and cli/trace.py."""

    def __init__(
        self,
        message_log: MessageLog,
        quarantine: QuarantineStore,
        ledger: TrainingLedger,
        acts: Callable[[Sequence[str]], Sequence[AuditEntry]],
    ) -> None:
        """`acts` gives what people did with these held messages, oldest first."""
        self._message_log = message_log
        self._quarantine = quarantine
        self._ledger = ledger
        self._acts = acts
        self._networks = Networks()

    def held(self, rows: Sequence[LogRow]) -> dict[int, HeldMessage]:
        """Row number -> what is, or was, in the quarantine of it."""
        ids = sorted({row.queue_id for row in rows if row.queue_id})
        known = {(one.queue_id, one.recipient): one for one in self._quarantine.of_messages(ids)} if ids else {}
        pairs = ((row.number, known.get((row.queue_id, row.recipient))) for row in rows)
        return {number: one for number, one in pairs if one is not None}

    def of(self, rows: Sequence[LogRow]) -> list[Timeline]:
        """One for each row. Raises StoreError."""
        held = self.held(rows)
        acts = self._acts([one.id for one in held.values()]) if held else ()
        return [self._timeline(row, held.get(row.number), acts) for row in rows]

    def _timeline(self, row: LogRow, held: HeldMessage | None, acts: Sequence[AuditEntry]) -> Timeline:
        events = [*self._tries(row), *_of_row(row)]
        if held is not None:
            events += _of_held(held, [act for act in acts if act.subject == held.id])
            events += _of_lessons(self._ledger.list(Lessons(content_hash=held.content_hash))[0])
        return Timeline(row, held, tuple(sorted(events, key=lambda event: event.at)))

    def _tries(self, row: LogRow) -> Iterator[Event]:
        """Deferrals before this, and what came after a deferral."""
        others = [one for one in self._message_log.tries(row) if self._is_same_mail(row, one)]
        for one in reversed([one for one in others if one.number < row.number]):
            if one.action != "tempfail":
                break
            yield Event(one.at, "deferred before", one.reply, number=one.number)
        if row.action != "tempfail":
            return
        for one in others:
            if one.number > row.number:
                yield Event(one.at, "came again", one.reply, number=one.number)
                if one.action != "tempfail":
                    return

    def _is_same_mail(self, row: LogRow, other: LogRow) -> bool:
        """The same Message-ID; where one of them has none, the same client network."""
        if row.summary.message_id and other.summary.message_id:
            return row.summary.message_id == other.summary.message_id
        return self._network(row.client_ip) == self._network(other.client_ip)

    def _network(self, ip: str) -> str:
        return self._networks.of(ip) or ip


def _of_row(row: LogRow) -> Iterator[Event]:
    """What is known of the delivery has one time, that of the message."""
    yield Event(row.at, "came", f"{row.client_ip} {row.helo}".strip())
    if row.queue_id and (row.hits or row.score):
        yield Event(row.at, "judged", row.reason)
    kind = _OF_ACTION[row.action]
    is_judged = bool(row.hits or row.score)  # then the reason stands there
    said = row.next_hop_reply if kind in ("handed over", "refused", "deferred") else ""
    yield Event(row.at, kind, said or ("" if is_judged else row.reason))
    if row.reply:
        yield Event(row.at, "answered", row.reply)


def _of_held(held: HeldMessage, acts: Sequence[AuditEntry]) -> Iterator[Event]:
    """Acts with who did them; the state itself where the audit log has no act that led to it."""
    done = [act for act in acts if act.act in _ACTS]
    for act in done:
        has_failed = act.act == "release" and not act.detail.startswith("released")
        yield Event(act.at, "release failed" if has_failed else _ACTS[act.act], _words(act.detail), act.account)
    end = _ENDS.get(held.state)
    is_told = any(act.detail.startswith(held.state) for act in done)
    if end is not None and not is_told:
        yield Event(held.state_at, end, held.note)
    if held.state == "held" and held.note and not done:
        yield Event(held.state_at, "release failed", held.note)


def _words(detail: str) -> str:
    """Of "released: 250 2.0.0 Ok; learned" without the state."""
    return detail.partition(": ")[2].strip("; ")


def _of_lessons(lessons: Sequence[Lesson]) -> Iterator[Event]:
    for one in lessons:
        yield Event(one.at, "taught spam" if one.is_spam else "taught ham", who=one.trainer)
        if one.revoked_at is not None:
            yield Event(one.revoked_at, "revoked", who=one.revoked_by)
