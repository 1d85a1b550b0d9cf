"""What people moved into and out of the Junk folder, seen by looking at a mailbox now and then. Pure.

A move keeps the time a message was put into the mailbox (RFC 9051 §6.4.7, §6.4.8). So a message that is new in a folder
but was in the mailbox before the last look at that folder lay elsewhere then: somebody moved it. One that is younger
may have been filed there by a rule at its delivery, and says nothing; nor does anything that is there at a first look.

Into Junk counts what we did not tag: a mail program that files tagged mail obeys us, and we must not learn from
ourselves. Out of Junk counts what was seen in there before. What was taken out and is put back counts again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_KEPT = 5000  # queue ids of each kind in one mailbox's memory, the newest
_CLOCKS_S = 2.0  # a server writes whole seconds


class Seen(NamedTuple):
    """A message in a folder, by its header."""

    uid: int
    queue_id: str  # X-Darban-Id; "" when there is none
    is_flagged: bool  # X-Spam-Flag: YES
    at: float  # when it was put into the mailbox
    size_bytes: int


class Move(NamedTuple):
    """A person's act."""

    seen: Seen
    is_spam: bool


class Look(NamedTuple):
    """Where a folder ended when it was looked at last."""

    uid_validity: int
    uid_next: int
    at: float  # just before


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of a mailbox from earlier looks."""

    looks: dict[str, Look] = field(default_factory=dict)  # folder -> its last look
    junk: tuple[str, ...] = ()  # queue ids seen in Junk, newest last
    rescued: tuple[str, ...] = ()  # queue ids moved out of it


def is_new(last: Look | None, uid_validity: int) -> bool:
    """Whether the folder has to be looked at as if for the first time: its UIDs mean other messages now."""
    return last is None or last.uid_validity != uid_validity


def moves(memory: Memory, last: Look | None, seen: Iterable[Seen], *, is_junk: bool) -> list[Move]:
    """Of the messages that are new in a folder, those a person moved there.

    Args:
        last: the look before; None at a first one, which tells nothing.
    """
    if last is None:
        return []
    moved = [one for one in seen if one.queue_id and one.at < last.at - _CLOCKS_S]
    if is_junk:
        back = set(memory.rescued)
        return [Move(one, is_spam=True) for one in moved if not one.is_flagged or one.queue_id in back]
    known = set(memory.junk)
    return [Move(one, is_spam=False) for one in moved if one.queue_id in known]


def remember(
    memory: Memory, folder: str, look: Look, seen: Sequence[Seen], done: Sequence[Move], *, is_junk: bool
) -> Memory:
    """The memory after a look at a folder: `seen` is what was new in it, `done` the moves among them."""
    ids = [one.queue_id for one in seen if one.queue_id] if is_junk else []
    out = [move.seen.queue_id for move in done if not move.is_spam]
    back = {move.seen.queue_id for move in done if move.is_spam}
    rescued = _newest([one for one in memory.rescued if one not in back], out)
    return Memory(memory.looks | {folder: look}, _newest(memory.junk, ids), rescued)


def _newest(known: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    fresh = dict.fromkeys(more)
    return (*(one for one in known if one not in fresh), *fresh)[-MAX_KEPT:]
