"""What a listener knows of senders: recalled before a message is judged, learned after it was answered; greylisting
and rates. And since when it has seen the domains that links lead to, which the scorer asks while it judges.

Never on the path of custody. One look-up a message, and one more where it has links, in a thread of its own where it
may wait, and under a deadline; a store that fails or is late means no history, no new domains, no greylisting, and
rates of this process alone, for a while in which it is not asked again. What is learned waits in memory for a second
and is written together; what a process that dies had not written is forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, get_args

import structlog
from prometheus_client import Counter

from gateway.errors import ConfigError, StoreError
from gateway.mail.address import domain_of
from gateway.mail.author_field import peek_author
from gateway.policy import first_seen, greylist, rates, reputation
from gateway.policy.greylist import DELAYS, Delays
from gateway.policy.rates import NO_LIMITS, Limits, Rates, What
from gateway.policy.reputation import Keys, Networks
from gateway.ports import Counters
from gateway.types import AuthResult, Disposition, DomainPolicy, Envelope, History, Reply, Verdict

GREYLISTED = Counter("darban_greylist_total", "Doubtful first contacts by what they heard.", ["result"])
LIMITED = Counter("darban_rate_limited_total", "Commands deferred by the limit that was passed.", ["limit"])
BLIND = Counter("darban_reputation_blind_total", "Messages judged without history, as the store failed or was late.")
DOMAINS_BLIND = Counter(
    "darban_domains_blind_total", "Messages judged without the memory of domains, as the store failed or was late."
)
LOST = Counter("darban_reputation_lost_total", "Lessons that could not be written.")

for _result in ("asked to come again", "came again too soon", "passed", "store failed"):
    GREYLISTED.labels(_result)  # a series that is there from the start can be drawn
for _what in get_args(What):
    LIMITED.labels(_what)

_RECALL_S = 0.3  # a look-up takes less than a thousandth of that
_GREYLIST_S = 5.0  # it writes, and may have to wait for the database's other writers
_REST_S = 10.0  # so long a store that failed is not asked
_WRITE_EVERY_S = 1.0
_PRUNE_EVERY_S = 3600.0
_MAX_WAITING = 50_000  # counters with something to add
_MAX_REMEMBERED = 2_000_000  # counters in the store: about 200 MB of SQLite
_MAX_DOMAINS = 1_000_000  # and as many marks of new ones, for a day

T = TypeVar("T")

log = structlog.get_logger("darban.reputation")


class Reputation:
    """One for a process; `start` it inside the loop. The command line only uses `learn_release` and `forget`."""

    def __init__(
        self,
        counters: Counters,
        secret: bytes,
        *,
        trusted: Sequence[str] = (),
        limits: Limits = NO_LIMITS,
        delays: Delays = DELAYS,
        domains_quiet_s: float = 7 * 86_400.0,  # so long a new memory only learns domains
        now: Callable[[], float] = time.time,
    ) -> None:
        self._counters = counters
        self._keys = Keys(secret)
        self._networks = Networks(trusted)
        self._rates = Rates(limits, self._keys, now)
        self._delays = delays
        self._domains_quiet_s = domains_quiet_s
        self._now = now
        self._reader = ThreadPoolExecutor(1, "recall")  # one thread: its database connection stays warm
        self._writers = ThreadPoolExecutor(2, "reputation")
        self._rest_until = 0.0
        self._waiting: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin writing what is learned."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write what waits, if the store takes it now."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._write()
        for threads in (self._reader, self._writers):
            threads.shutdown(wait=False, cancel_futures=True)

    # --- at MAIL and RCPT ---------------------------------------------------------------------------------------------

    def admit(self, client_ip: str, reverse_path: str) -> Reply | None:
        """At MAIL: None, or the reply that defers the message."""
        return _limited(self._rates.admit(self._networks.of(client_ip), domain_of(reverse_path)))

    def count_recipient(self, client_ip: str) -> Reply | None:
        """At RCPT: None, or the reply that defers the recipient."""
        return _limited(self._rates.recipient(self._networks.of(client_ip)))

    def count_unknown(self, client_ip: str) -> None:
        """The next hop does not know a recipient."""
        self._rates.unknown(self._networks.of(client_ip))

    # --- one message --------------------------------------------------------------------------------------------------

    async def recall(self, envelope: Envelope, content: bytes) -> History | None:
        """What is remembered of the message's senders; None when that cannot be known now. Never raises."""
        asked = self._names(envelope, peek_author(content))
        values = await self._look_up(asked.every())
        if values is None:
            BLIND.inc()
            return None
        return reputation.history(asked, values, self._now())

    async def lookup_new(self, domains: Sequence[str]) -> frozenset[str] | None:
        """Implements ports.DomainMemory."""
        asked = first_seen.names(self._keys, domains)
        values = await self._look_up(asked.every())
        if values is None:
            DOMAINS_BLIND.inc()
            return None
        # a flood's messages find the same until it is written: it is added once
        lessons = first_seen.lessons(asked, values, self._now())
        self._add({key: amount for key, amount in lessons.items() if key not in self._waiting})
        return first_seen.new(asked, values)

    async def greylist(
        self,
        envelope: Envelope,
        verdict: Verdict,
        wanted: Sequence[Disposition],
        policies: Sequence[DomainPolicy | None],
    ) -> str:
        """Why the message is deferred, "" when it is not. Never raises; a store that fails defers nothing."""
        network = self._networks.of(envelope.client.ip)
        who = greylist.identities(network, verdict.auth)
        if not who or not greylist.is_doubtful(envelope, verdict, wanted, policies):
            return ""
        to = [one.address for one in envelope.recipients]
        marks = [greylist.marks(self._keys, one, envelope.reverse_path, to) for one in who]
        state = await self._ask(lambda: self._asked_before(marks), self._writers, _GREYLIST_S)
        if state == "passed":
            self._add(reputation.pass_lessons(self._names(envelope, ""), self._now()))
        if state is None or state == "passed":
            GREYLISTED.labels("passed" if state else "store failed").inc()
            return ""
        GREYLISTED.labels(state).inc()
        return f"greylisted: first contact from {network} with score {verdict.score:.1f}, {state}"

    def _asked_before(self, marks: Sequence[Sequence[tuple[str, str]]]) -> str:
        """Blocking. "passed" when as one of its identities the client has waited for every recipient."""
        there = self._counters.get_many([key for pairs in marks for pair in pairs for key in pair])
        if any(all(asked in there and wait not in there for wait, asked in pairs) for pairs in marks):
            return "passed"
        new = [pair for pairs in marks for pair in pairs if pair[1] not in there]
        self._counters.add_many({wait: 1.0 for wait, _ in new}, self._delays.wait_s)
        self._counters.add_many({asked: 1.0 for _, asked in new}, self._delays.window_s)
        return "asked to come again" if new else "came again too soon"

    def learn(
        self, envelope: Envelope, verdict: Verdict, policies: Sequence[DomainPolicy], took: frozenset[str]
    ) -> None:
        """The message was delivered (untagged to `took`), held or refused. Never raises, never waits."""
        author = envelope.history.author if envelope.history is not None else ""
        asked, judged = self._names(envelope, author), reputation.judge(verdict, policies)
        self._add(reputation.lessons(asked, envelope, verdict.auth, judged, took, self._now()))
        domain = domain_of(envelope.reverse_path)
        if any(
            one.method == "spf" and one.identity != "helo" and one.result == "pass" and one.domain == domain
            for one in verdict.auth
        ):
            self._rates.sent(domain)

    def learn_release(self, envelope: Envelope, content: bytes, auth: Sequence[AuthResult]) -> None:
        """A held message was released for the envelope's recipient. Blocking; never raises."""
        lessons = reputation.release_lessons(self._names(envelope, peek_author(content)), auth, self._now())
        try:
            self._counters.add_many(lessons, reputation.KEPT_S)
        except StoreError as error:
            LOST.inc(len(lessons))
            log.warning("release not remembered", error=str(error))

    def forget(self, envelope: Envelope, content: bytes) -> None:
        """The message is unwanted, its recipient says: a stranger to him from now on. Blocking; never raises."""
        names = self._names(envelope, peek_author(content))
        try:
            found = self._counters.get_many([*names.known, *names.met])
            self._counters.add_many({key: -value for key, value in found.items()}, reputation.KEPT_S)
        except StoreError as error:
            LOST.inc()
            log.warning("unwanted sender not remembered", error=str(error))

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _names(self, envelope: Envelope, author: str) -> reputation.Names:
        network, to = self._networks.of(envelope.client.ip), [one.address for one in envelope.recipients]
        return reputation.names(self._keys, network, author, to, self._now())

    def _add(self, lessons: Mapping[str, float]) -> None:
        for key, amount in lessons.items():
            if key in self._waiting or len(self._waiting) < _MAX_WAITING:
                self._waiting[key] = self._waiting.get(key, 0.0) + amount
            else:
                LOST.inc()

    async def _look_up(self, keys: Sequence[str]) -> Mapping[str, float] | None:
        """As `_ask`; without a thread where the store lies beside us: handing over costs more than the look-up."""
        if time.monotonic() >= self._rest_until and (known := self._counters.peek_many(keys)) is not None:
            return known
        return await self._ask(lambda: self._counters.get_many(keys), self._reader, _RECALL_S)

    async def _ask(self, work: Callable[[], T], threads: ThreadPoolExecutor, limit_s: float) -> T | None:
        """The store's answer, None when it fails, is late, or did so a moment ago."""
        if time.monotonic() < self._rest_until:
            return None
        loop = asyncio.get_running_loop()
        try:
            answer, waiting = threads.submit(work), loop.create_future()
        except RuntimeError:  # closed: the process ends
            return None
        answer.add_done_callback(lambda _: _wake(loop, waiting))
        timer = loop.call_later(limit_s, _done, waiting)
        try:
            await waiting  # half the cost of run_in_executor and asyncio.wait
            if answer.done():
                return answer.result()
            log.warning("reputation store is late", seconds=limit_s)
        except StoreError as error:
            log.warning("reputation store failed", error=str(error))
        finally:
            timer.cancel()
        self._rest_until = time.monotonic() + _REST_S
        return None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_WRITE_EVERY_S)
            await self._write()

    async def _write(self) -> None:
        """What waits, and the rates; a store that fails is tried again with all of it."""
        lessons, amounts = self._waiting, self._rates.take()
        if not lessons and not amounts:
            return
        self._waiting = {}
        loop = asyncio.get_running_loop()
        try:
            self._rates.give(await loop.run_in_executor(self._writers, self._exchange, lessons, amounts))
        except StoreError as error:
            log.warning("reputation not written", error=str(error))
            kept, self._waiting = self._waiting, lessons
            self._add(kept)

    def _exchange(self, lessons: Mapping[str, float], amounts: Mapping[str, float]) -> Mapping[str, float]:
        kept: dict[float, dict[str, float]] = {}
        for key, amount in lessons.items():
            kept.setdefault(self._kept_s(key), {})[key] = amount
        for ttl_s in sorted(kept):  # a new domain's mark before what makes it known: it must not be old without its day
            self._counters.add_many(kept[ttl_s], ttl_s)
        self._counters.add_many(amounts, rates.KEPT_S)
        return self._counters.get_many(list(amounts))

    def _kept_s(self, key: str) -> float:
        if key.startswith(first_seen.YOUNG):
            return self._domains_quiet_s
        if key.startswith(first_seen.NEW):
            return first_seen.NEW_S
        return reputation.DAY_KEPT_S if key.startswith(reputation.COUNTED_TODAY) else reputation.KEPT_S


async def prune_now_and_then(counters: Counters) -> None:
    """For ever, in one process: the memory has an end, and what says least goes first."""
    while True:
        try:
            gone = await asyncio.to_thread(_prune, counters)
            if gone:
                log.info("forgot the least of what is remembered", counters=gone)
        except StoreError as error:
            log.warning("reputation not pruned", error=str(error))
        await asyncio.sleep(_PRUNE_EVERY_S)


def _prune(counters: Counters) -> int:
    gone = counters.prune(reputation.REMEMBERED, _MAX_REMEMBERED)
    return gone + sum(counters.prune(prefix, _MAX_DOMAINS) for prefix in (first_seen.SEEN, first_seen.NEW))


def load_secret(path: Path) -> bytes:
    """The installation's secret, made when it is not there. Raises ConfigError."""
    try:
        with contextlib.suppress(FileNotFoundError):
            found = path.read_bytes()
            if len(found) < 16:
                raise ConfigError(f"{path}: too short for a secret; remove it, and a new one is made")
            return found
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        made.touch(mode=0o600)
        made.write_bytes(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(made, path)
        made.unlink()
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def _limited(what: What | None) -> Reply | None:
    if what is None:
        return None
    LIMITED.labels(what).inc()
    return rates.TOO_MANY[what]


def _wake(loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(_done, waiting)


def _done(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
