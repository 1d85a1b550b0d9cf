"""Digests of held mail: who is due one, the message, its links, sent once through the mailbox's own next hop.

A digest is claimed before it is sent and settled after. A run that dies between leaves a claim that nobody takes up
again: whether that digest arrived is not known, so it is not sent again, the log and darban_digests_total say so, and
what it listed comes in the next one (stores/digests.py). Cost: one query for each plan and time, then two commits, one
question to the next hop and one delivery for each digest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog
from prometheus_client import Counter

from gateway.digest.message import Sender, envelope_of, write_message
from gateway.errors import DarbanError, StoreError
from gateway.mail.address import domain_of
from gateway.mail.route import fits, next_hop_of
from gateway.policy import digest_link, schedule
from gateway.policy.digest_link import NO_MESSAGE, Link
from gateway.ports import DigestStore, NextHop, PolicySource, QuarantineStore
from gateway.types import (
    Digest,
    DigestAct,
    DigestContent,
    DigestItem,
    DigestLetter,
    DigestPlan,
    DigestSending,
    HeldMessage,
    NextHopUrls,
    Recipient,
    Reply,
)

DIGESTS = Counter(
    "darban_digests_total", "Digests by what became of them; unknown: whoever sent it died before it was noted.",
    ["result"],
)  # fmt: skip
for _result in ("sent", "refused", "failed", "unknown"):
    DIGESTS.labels(_result)  # a series that is there from the start can be alarmed on

DAY_S = 86_400.0
REACH_S = 14 * DAY_S  # older messages are in no digest
STOP_S = 60 * DAY_S  # the link to have no more works longer than the others
MOST_ITEMS = 30  # of one digest: 85 kB of HTML, and Gmail cuts at 102
_LATE_S = 6 * 3600.0  # a gateway that was down sends so much later, and not at all after that
_LOST_S = 900.0  # a claim so old is nobody's: longer than any hand-over
_EVERY_S = 30.0
_AGAIN_S = 600.0
_AT_ONCE = 4

log = structlog.get_logger("darban.digest")


class Due(NamedTuple):
    """A digest that is to be sent."""

    digest: Digest
    messages: int  # so many are held


class Sent(NamedTuple):
    """What became of one."""

    digest: Digest
    outcome: str  # sent, refused, failed; unwanted: the next hop has no such mailbox; nothing: another run was first
    detail: str


class Digests:
    """Finds who is due, and sends. Composed in gateway/app."""

    def __init__(
        self,
        *,
        store: DigestStore,
        quarantine: QuarantineStore,
        plans: Sequence[DigestPlan],
        policies: PolicySource,
        next_hop: Callable[[NextHopUrls], NextHop],
        write: Callable[[DigestContent], DigestLetter],
        sender: Sender,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`plans` in the order in which they hold; `write` is web/letter.py's."""
        self._store = store
        self._quarantine = quarantine
        self.plans = plans
        self._policies = policies
        self._next_hop = next_hop
        self._write = write
        self._sender = sender
        self._now = now
        self._done: dict[DigestPlan, float] = {}  # the time up to which a plan was carried out
        self._again: dict[DigestPlan, float] = {}  # when one of which something failed is looked at again

    async def run(self) -> None:
        """For ever. What fails is tried again at the next look, until it is too late for it."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                log.warning("no digests now", error=str(error))
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> list[Sent]:
        """Send what is due now by the plans. Raises StoreError."""
        await asyncio.to_thread(self.give_up)
        done: list[Sent] = []
        for plan in self.plans:
            now, at = self._now(), schedule.latest(plan, self._now())
            if at is None or now - at > _LATE_S:
                continue
            if self._done.get(plan, 0.0) >= at or self._again.get(plan, 0.0) > now:
                continue
            sent = await self.send(await asyncio.to_thread(self.due, plan, at))
            if any(one.outcome == "failed" for one in sent):
                self._again[plan] = now + _AGAIN_S
            else:
                self._done[plan] = at
                await asyncio.to_thread(self._store.purge)
            done += sent
        return done

    def give_up(self) -> None:
        """Tell of digests whose sender died. Blocking. Raises StoreError."""
        for lost in self._store.give_up(self._now() - _LOST_S):
            DIGESTS.labels("unknown").inc()
            log.error(
                "a digest may not have been sent; what it listed comes in the next one",
                digest=lost.id, mailbox=lost.mailbox, reader=lost.reader,
            )  # fmt: skip

    def due(self, plan: DigestPlan, at: float) -> list[Due]:
        """Who gets one for this time. Blocking. Raises StoreError."""
        found: list[Due] = []
        for reader in plan.readers or ("",):
            pending = self._store.pending(plan.domain, reader, at - REACH_S, at)
            found += [
                Due(self.make(plan, mailbox, reader or mailbox, at), count)
                for mailbox, count in sorted(pending.items())
                if count >= plan.minimum and self.plan_of(mailbox) == plan
            ]
        return found

    def make(self, plan: DigestPlan, mailbox: str, reader: str, at: float) -> Digest:
        """The digest of this mailbox at this time."""
        named = digest_link.digest_id(mailbox, reader, at)
        return Digest(named, mailbox, reader, at, plan.language, plan.calendar, plan.time_zone)

    def plan_of(self, mailbox: str) -> DigestPlan | None:
        """The first that fits the address; None for one that gets no digests."""
        policy = self._policies.policy(domain_of(mailbox))
        if policy is None:
            return None
        return next(
            (
                plan for plan in self.plans
                if plan.domain == policy.name and any(fits(pattern, mailbox) for pattern in plan.addresses)
            ),
            None,
        )  # fmt: skip

    async def send(self, due: Sequence[Due]) -> list[Sent]:
        """Each of them once, some at a time."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(which: Due) -> Sent:
            async with room:
                return await self._send(which)

        return list(await asyncio.gather(*(one(which) for which in due)))

    def preview(self, digest: Digest) -> DigestLetter:
        """What it would say now, with links that do nothing. Blocking. Raises StoreError."""
        since = digest.at - REACH_S
        ids = self._store.preview(digest, since, MOST_ITEMS)
        count = self._store.pending(domain_of(digest.mailbox), digest.reader, since, digest.at).get(digest.mailbox, 0)
        return self._write(self._content(digest, self._held(ids), max(0, count - len(ids)), 0, b"preview"))

    # --- one digest ---------------------------------------------------------------------------------------------------

    async def _send(self, which: Due) -> Sent:
        digest = which.digest
        recipient = Recipient(digest.reader, domain_of(digest.reader))
        policy = self._policies.policy(recipient.domain)
        if policy is None:
            return Sent(digest, "unwanted", f"{recipient.domain} is no domain of ours")
        try:
            hop = self._next_hop(next_hop_of(policy, recipient))
            known = await hop.verify(recipient)
            if known.code // 100 != 2:
                outcome = "unwanted" if known.code // 100 == 5 else "failed"
                return Sent(digest, outcome, f"{known.code} {known.enhanced} {known.text}")
            ids = await asyncio.to_thread(self._store.claim, digest, digest.at - REACH_S, MOST_ITEMS)
            if not ids:
                return Sent(digest, "nothing", "was sent, is being sent, or lists nothing any more")
            return await self._deliver(which, ids, recipient, hop)
        except DarbanError as error:
            log.warning("digest not sent", digest=digest.id, reader=digest.reader, error=str(error))
            return Sent(digest, "failed", str(error))

    async def _deliver(self, which: Due, ids: Sequence[str], recipient: Recipient, hop: NextHop) -> Sent:
        """The claim is settled whatever happens, but for a kill."""
        digest = which.digest
        state: DigestSending = "failed"
        note = "was not handed over"
        handed_over = False
        try:
            content = await asyncio.to_thread(self._message, which, ids)
            handed_over = True
            replies = await hop.deliver(
                envelope_of(self._sender, recipient, digest.id, self._now()), content, [recipient]
            )
            reply = replies.get(recipient.address, Reply(451, "4.3.0", "the next hop said nothing"))
            state, note = _state(reply), f"{reply.code} {reply.enhanced} {reply.text}"
        except asyncio.CancelledError:
            if handed_over:
                state, note = "unknown", "stopped while it was handed over"
            raise
        finally:
            await asyncio.shield(asyncio.to_thread(self._store.settle, digest.id, state, note))
            DIGESTS.labels(state).inc()
            log.info("digest", digest=digest.id, mailbox=digest.mailbox, reader=digest.reader, items=len(ids),
                     result=state, reply=note)  # fmt: skip
        return Sent(digest, state, note)

    def _message(self, which: Due, ids: Sequence[str]) -> bytes:
        number, key = self._store.signing_key()
        listed = self._held(ids)
        content = self._content(which.digest, listed, max(0, which.messages - len(listed)), number, key)
        return make_message(content, self._write(content), self._sender, self._now())

    def _held(self, ids: Sequence[str]) -> list[HeldMessage]:
        found = (self._quarantine.get(held_id) for held_id in ids)
        return [one for one in found if one is not None]

    def _content(
        self, digest: Digest, listed: Sequence[HeldMessage], more: int, number: int, key: bytes
    ) -> DigestContent:
        ends_at = self._now() + self._sender.link_s

        def url(act: DigestAct, held_id: str, ends_at: float) -> str:
            link = Link(number, act, int(ends_at), held_id, digest.id)
            return f"{self._sender.url}/digest/{digest_link.sign(link, digest, key)}"

        items = tuple(DigestItem(held, {act: url(act, held.id, ends_at) for act in offered(held)}) for held in listed)
        return DigestContent(digest, items, more, url("stop", NO_MESSAGE, self._now() + STOP_S), ends_at)


def offered(held: HeldMessage) -> tuple[DigestAct, ...]:
    """What a recipient may do with it: malware is an admin's to release."""
    return ("spam", "look") if held.kind == "malware" else ("release", "spam", "look")


def _state(reply: Reply) -> DigestSending:
    return "sent" if reply.code // 100 == 2 else "refused" if reply.code // 100 == 5 else "failed"


def make_message(content: DigestContent, letter: DigestLetter, sender: Sender, now: float) -> bytes:
    """The digest as mail. The same Message-ID at every try."""
    digest = content.digest
    fields = (
        f"List-Id: <quarantine-digest.{domain_of(sender.address)}>",
        f"List-Unsubscribe:\r\n <{content.stop_url}>",
    )
    return write_message(letter, sender, digest.reader, digest.id, digest.language, now, fields)
