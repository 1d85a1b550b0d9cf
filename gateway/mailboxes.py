"""Mailboxes that are watched over IMAP: what people move into Junk is spam, what they move out of it is not.

One thread for each [[learning.imap]], in the admin process, one mailbox after the other, each in a session of its own;
a mailbox that fails is left alone for longer and longer. What was seen is kept in a file for each mailbox, so that a
restart misses nothing and teaches nothing twice; a file that cannot be read means a first look. Bounded: headers of
the newest 5000 messages at a first look and 1000 at others, 200 lessons from a folder at one look.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import Counter

from gateway.errors import MailboxError, StoreError
from gateway.learning import Teacher
from gateway.net import imap
from gateway.policy.moves import MAX_KEPT, Look, Memory, Move, Seen, is_new, moves, remember
from gateway.ports import MessageLog
from gateway.provenance import trace_back

LOOKS = Counter("darban_mailbox_looks_total", "Looks at watched mailboxes by their result.", ["result"])
FOREIGN = Counter("darban_mailbox_foreign_total", "Moved messages that we did not deliver; they teach nothing.")

_MAX_NEW = 1000
_MAX_LESSONS = 200
_LONGEST_REST_S = 3600.0

Learn = Callable[[str, bool, bytes], None]  # who moved it, whether it is spam, the message as it lies in the mailbox

log = structlog.get_logger("darban.mailboxes")


@dataclass(frozen=True, slots=True)
class Watched:
    """Mailboxes of one server."""

    server: imap.Server
    users: tuple[str, ...]
    junk: str  # "" for the one that the server marks so
    folders: tuple[str, ...]
    trainer: str  # in whose name is taught; "" for each user's own
    every_s: float
    max_size: int  # bytes; a larger message teaches nothing


class MailboxWatch:
    """The mailboxes of one server, looked at for ever once it is started."""

    def __init__(self, watched: Watched, folder: Path, learn: Learn, now: Callable[[], float] = time.time) -> None:
        self._watched = watched
        self._folder = folder  # of the memories
        self._learn = learn
        self._now = now
        self._rests: dict[str, tuple[float, float]] = {}  # user -> until when it is left alone, and how long that was
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin, in a thread that ends with the process."""
        threading.Thread(target=self._run, name=f"imap {self._watched.server.host}", daemon=True).start()

    def stop(self) -> None:
        """No further look is begun."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.look_at_all()
            self._stopped.wait(self._watched.every_s)

    def look_at_all(self) -> None:
        """One look at each mailbox that is due. Faults are logged and counted."""
        for user in self._watched.users:
            until, rest = self._rests.get(user, (0.0, 0.0))
            if self._stopped.is_set() or self._now() < until:
                continue
            try:
                self.look(user)
            except (MailboxError, StoreError, OSError) as error:
                rest = min(_LONGEST_REST_S, max(self._watched.every_s, 2 * rest))
                self._rests[user] = (self._now() + rest, rest)
                LOOKS.labels("failed").inc()
                log.warning(
                    "mailbox not looked at", server=self._watched.server.host, user=user, error=str(error), again_s=rest
                )
            else:
                self._rests.pop(user, None)
                LOOKS.labels("ok").inc()

    def look(self, user: str) -> None:
        """One look at one mailbox. Raises MailboxError, StoreError; what was done until then is remembered."""
        place = self._folder / f"{hashlib.sha256(f'{self._watched.server.host}|{user}'.encode()).hexdigest()[:32]}.json"
        memory = load(place)
        with imap.session(self._watched.server, user) as session:
            junk = imap.encode_folder(self._watched.junk) or session.junk_folder()
            if not junk:
                raise MailboxError("no folder is marked as Junk; name it: junk = ...")
            # Junk last: what came out of it since the last look was in there then
            for folder in (*map(imap.encode_folder, self._watched.folders), junk):
                memory = self._look_into(session, user, folder, memory, is_junk=folder == junk)
                save(place, memory)

    def _look_into(self, session: imap.Session, user: str, folder: str, memory: Memory, *, is_junk: bool) -> Memory:
        at = self._now()
        extent, last = session.examine(folder), memory.looks.get(folder)
        look = Look(extent.uid_validity, extent.uid_next, at)
        if is_new(last, extent.uid_validity):
            last = None
        # a first look at a folder other than Junk has nothing to find out
        number = MAX_KEPT * is_junk if last is None else min(_MAX_NEW, extent.uid_next - last.uid_next)
        begun = 0 if last is None else last.uid_next
        newest = session.newest(extent.messages, number) if number > 0 else ()
        seen = [_seen(one) for one in newest if one.uid >= begun]
        done = moves(memory, last, seen, is_junk=is_junk)[-_MAX_LESSONS:]
        self._teach(session, user, done)
        return remember(memory, folder, look, seen, done, is_junk=is_junk)

    def _teach(self, session: imap.Session, user: str, done: Sequence[Move]) -> None:
        for move in done:
            content = session.content(move.seen.uid) if move.seen.size_bytes <= self._watched.max_size else None
            if content is not None:
                self._learn(self._watched.trainer or user, move.is_spam, content)


def make_learn(teacher: Teacher, message_log: MessageLog, hostname: str) -> Learn:
    """What a move teaches: nothing, when it is of a message that we did not deliver. May raise StoreError."""
    for result in ("ok", "failed"):
        LOOKS.labels(result)  # a series that is there from the start can be alarmed on

    def learn(who: str, is_spam: bool, content: bytes) -> None:
        found = trace_back(content, message_log, hostname)
        if found is None:
            FOREIGN.inc()
            log.info("moved message is not ours", trainer=who, is_spam=is_spam)
            return
        envelope, judged, auth = found
        taught = teacher.teach(trainer=who, is_spam=is_spam, via="imap", envelope=envelope, content=judged, auth=auth)
        log.info("moved", queue_id=envelope.queue_id, trainer=who, is_spam=is_spam, taught=taught.what)

    return learn


def _seen(header: imap.Header) -> Seen:
    fields = header.fields
    is_flagged = fields.get("x-spam-flag", "").upper() == "YES"
    return Seen(header.uid, fields.get("x-darban-id", "")[:64], is_flagged, header.at, header.size_bytes)


# --- the memory of a mailbox ------------------------------------------------------------------------------------------


def load(place: Path) -> Memory:
    """What was seen; nothing where there is no file, or none of ours."""
    try:
        found = json.loads(place.read_text("utf-8"))
        looks = {str(name): Look(int(one[0]), int(one[1]), float(one[2])) for name, one in found["looks"].items()}
        return Memory(looks, tuple(map(str, found["junk"])), tuple(map(str, found["rescued"])))
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return Memory()


def save(place: Path, memory: Memory) -> None:
    """Whole, or not at all. Raises OSError."""
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = place.with_suffix(".new")
    fresh.write_text(json.dumps({"looks": memory.looks, "junk": memory.junk, "rescued": memory.rescued}), "utf-8")
    fresh.replace(place)
