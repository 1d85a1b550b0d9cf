"""The one entry for every listener: screen at RCPT, receive at the end of DATA, release from the quarantine.

Custody (DESIGN §4, docs/custody.md): a 2xx leaves here only when every recipient's message is at the next hop, which
said so, or in the quarantine, fsync'd. Holding comes first, relaying second, so that a store that is down leaves the
message with the client before any next hop has seen it.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from gateway.actions.annotate import annotate_release, client_name
from gateway.errors import InputError, ScorerError, StoreError
from gateway.mail.received import MAX_HOPS, count_hops
from gateway.mail.route import next_hop_of
from gateway.metrics import Counter, Histogram
from gateway.policy.custody import RELEASE_LOST_S, RELEASE_MAX_S, after
from gateway.policy.decide import decide, reconcile, share_copy
from gateway.policy.feedback import dmarc_rows
from gateway.policy.settle import DEFERRED, REFUSED, settle
from gateway.ports import Action, Counters, Journal, NextHop, PolicySource, QuarantineStore, Scorer, Sealer
from gateway.reputation import Reputation
from gateway.scan.explain import auth_from_json
from gateway.senders import Senders
from gateway.types import (
    Client,
    Delivery,
    Disposition,
    DomainPolicy,
    Envelope,
    Filtered,
    HeldMessage,
    LogRow,
    Mta,
    NextHopUrls,
    Outcome,
    Recipient,
    Reply,
    Ruling,
    Summary,
    Verdict,
)

MESSAGES = Counter(
    "darban_messages_total",
    "Messages by what the client was told at the end of DATA; scanned: judged for a server that acts itself.",
    ["outcome"],
)
DELIVERIES = Counter(
    "darban_deliveries_total", "Recipients by action and first digit of the reply.", ["action", "code"]
)
SCORES = Histogram("darban_message_score", "Scores of judged messages.", buckets=(-5, 0, 1, 2, 3, 5, 8, 10, 15, 20, 30))
HITS = Counter("darban_hits_total", "Hits by name.", ["name"])
INCOMPLETE = Counter("darban_incomplete_total", "What could not be looked at, by kind.", ["kind"])
AUTH = Counter("darban_authentication_total", "Authentication results.", ["method", "result"])
STAGES = Histogram(
    "darban_stage_seconds", "Time a message spent in each stage.", ["stage"],
    buckets=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)  # fmt: skip
RECEIVE_SECONDS = Histogram(
    "darban_receive_seconds",
    "From the final dot to our reply.",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60),
)
RELEASES = Counter("darban_releases_total", "Releases by their result.", ["result"])

_COME_AGAIN = Reply(451, "4.7.1", "First contact, please send it again in some minutes")
_LOOP = Reply(554, "5.4.6", "Routing loop: this message has passed too many servers")  # RFC 3463
_NOT_OURS = Reply(550, "5.7.1", "Relaying denied: not a domain we receive mail for")
_PARTIAL_TTL_S = 5 * 86_400.0  # how long clients retry (RFC 5321 §4.5.4.1: at least 4-5 days)

log = structlog.get_logger("darban.message")


class RecipientVerifier(Protocol):
    """Asks the next hop about a recipient, and remembers the answer."""

    async def verify(self, next_hop: NextHopUrls, recipient: Recipient) -> Reply:
        """2xx yes, 5xx no, 4xx cannot tell now. Never raises."""


class Gateway:
    """Everything a listener needs, composed in gateway/app."""

    def __init__(  # noqa: PLR0913  all that a message meets
        self,
        *,
        policies: PolicySource,
        scorer: Scorer,
        relay: Action,
        hold: Action,
        verifier: RecipientVerifier,
        journal: Journal,
        counters: Counters,
        reputation: Reputation,
        senders: Senders | None = None,
        reports_dmarc: bool = False,
    ) -> None:
        self._policies = policies
        self._scorer = scorer
        self._relay = relay
        self._hold = hold
        self._verifier = verifier
        self._journal = journal
        self._counters = counters
        self._reputation = reputation
        self._senders = senders
        self._reports_dmarc = reports_dmarc
        for outcome in ("accepted", "tagged", "quarantined", "mixed", "refused", "deferred", "scanned"):
            MESSAGES.labels(outcome)

    def admit(self, client: Client, reverse_path: str) -> Reply | None:
        """At MAIL: None, or the reply that defers the message."""
        return self._reputation.admit(client.ip, reverse_path)

    def is_ours(self, domain: str) -> bool:
        """Whether [[domain]] says what is done with its mail."""
        return self._policies.policy(domain) is not None

    def count_recipient(self, client: Client) -> Reply | None:
        """At RCPT, where another server knows who is here: None, or the reply that defers the recipient."""
        return self._reputation.count_recipient(client.ip)

    async def screen(self, client: Client, reverse_path: str, recipient: Recipient) -> Reply | None:
        """None to accept the recipient, else the reply that refuses or defers it."""
        policy = self._policies.policy(recipient.domain)
        if policy is None:
            log.info("relaying denied", client_ip=client.ip, reverse_path=reverse_path, recipient=recipient.address)
            return _NOT_OURS
        deferred = self._reputation.count_recipient(client.ip)
        if deferred is not None:
            return deferred
        reply = await self._verifier.verify(next_hop_of(policy, recipient), recipient)
        if reply.code // 100 == 5:
            self._reputation.count_unknown(client.ip)
        return None if reply.code // 100 == 2 else reply

    async def receive(self, envelope: Envelope, content: bytes) -> Outcome:
        """Judge, act, settle. Never raises for a fault of ours: the outcome's reply is then 451."""
        started = time.perf_counter()
        if count_hops(content) > MAX_HOPS:
            reason = f"more than {MAX_HOPS} Received fields: a loop"
            refused = tuple(Delivery(one, "reject", _LOOP, reason) for one in envelope.recipients)
            reply = settle(refused, envelope.queue_id)
            return self._finish(Outcome(envelope.queue_id, reply, refused, None), envelope, started)
        try:
            envelope, verdict = await self.judge(envelope, content)
        except ScorerError as error:
            log.error("no verdict", queue_id=envelope.queue_id, error=str(error))
            return self._finish(Outcome(envelope.queue_id, _deferred(envelope), (), None), envelope, started)
        rulings = self._rulings(envelope, content, verdict)
        deliveries = await self._act(envelope, content, verdict, rulings)
        return self._conclude(envelope, verdict, deliveries, rulings, started)

    async def filter(self, envelope: Envelope, content: bytes, mta: Mta) -> Filtered:
        """Judge for a server that keeps the message, hold what is to be held, and say what it is to do with the rest.

        Never raises for a fault of ours: the outcome's reply is then 451.
        """
        started = time.perf_counter()
        try:
            envelope, verdict = await self.judge(envelope, content)
        except ScorerError as error:
            log.error("no verdict", queue_id=envelope.queue_id, error=str(error))
            outcome = Outcome(envelope.queue_id, _deferred(envelope), (), None)
            return Filtered(self._finish(outcome, envelope, started, mta))
        rulings = self._rulings(envelope, content, verdict)
        wanted = self._wanted_by_mta(verdict, envelope.recipients, rulings, mta)
        greylisted = await self._greylist(envelope, verdict, wanted)
        hold = "" if greylisted or not mta.holds else next((w.reason for w in wanted if w.action == "quarantine"), "")
        if greylisted:
            deliveries = tuple(Delivery(one.recipient, one.action, _COME_AGAIN, greylisted) for one in wanted)
        elif hold:
            deliveries = tuple(_held_by(mta, one) for one in wanted)
        else:
            deliveries = await self._hand_back(envelope, content, verdict, wanted, mta)
        outcome = self._conclude(envelope, verdict, deliveries, rulings, started, mta)
        going_on = [one.required_score for one in wanted if hold or one.action in ("accept", "tag")]
        return Filtered(outcome, min(going_on, default=math.inf), hold)

    def _conclude(
        self,
        envelope: Envelope,
        verdict: Verdict,
        deliveries: tuple[Delivery, ...],
        rulings: Mapping[str, Ruling],
        started: float,
        mta: Mta | None = None,
    ) -> Outcome:
        reply = settle(deliveries, envelope.queue_id)
        if reply.code // 100 != 4:
            if self._senders is not None:
                self._senders.count(rulings.values())
            # after the answer, and no fault of it can change the answer
            asyncio.get_running_loop().call_soon(self._learn, envelope, verdict, deliveries)
        return self._finish(Outcome(envelope.queue_id, reply, deliveries, verdict), envelope, started, mta)

    async def judge(self, envelope: Envelope, content: bytes) -> tuple[Envelope, Verdict]:
        """The verdict, and the envelope with what is remembered of its sender; nothing is done. Raises ScorerError."""
        envelope = replace(envelope, history=await self._reputation.recall(envelope, content))
        return envelope, await self._scorer.score(envelope, content)

    def wanted(self, verdict: Verdict, recipients: Sequence[Recipient]) -> tuple[Disposition, ...]:
        """What policy wants for each recipient of one message, whose sender hears one reply."""
        return reconcile([self._decide(verdict, recipient, {}) for recipient in recipients])

    def _learn(self, envelope: Envelope, verdict: Verdict, deliveries: Sequence[Delivery]) -> None:
        policies = [self._policies.policy(recipient.domain) for recipient in envelope.recipients]
        took = [one for one in deliveries if one.action == "accept" and one.reply.code // 100 == 2]
        self._reputation.learn(
            envelope, verdict, [one for one in policies if one], frozenset(one.recipient.address for one in took)
        )

    # --- acting ---------------------------------------------------------------------------------------------------

    async def _act(
        self, envelope: Envelope, content: bytes, verdict: Verdict, rulings: Mapping[str, Ruling]
    ) -> tuple[Delivery, ...]:
        """Do what is wanted for each recipient. Those served before an earlier try's 451 get no second copy."""
        keys = _served_keys(envelope, content)
        served = await self._served(envelope.queue_id, keys)
        wanted = reconcile(
            [
                Disposition(recipient, "accept", _SERVED_REASON, 0.0)
                if recipient.address in served
                else self._decide(verdict, recipient, rulings)
                for recipient in envelope.recipients
            ]
        )
        already = [one for one in wanted if one.recipient.address in served]
        done = tuple(Delivery(one.recipient, one.action, _SERVED, one.reason) for one in already)
        fresh = [one for one in wanted if one not in already]
        greylisted = "" if already else await self._greylist(envelope, verdict, wanted)
        if greylisted:
            return tuple(Delivery(one.recipient, one.action, _COME_AGAIN, greylisted) for one in wanted)
        deliveries = await self._dispose(envelope, content, verdict, fresh, is_any_served=bool(done))
        took = [keys[one.recipient.address] for one in deliveries if one.reply.code // 100 == 2]
        if took and len(took) < len(deliveries):
            await asyncio.to_thread(self._remember, envelope.queue_id, took)
        return done + deliveries

    def _wanted_by_mta(
        self, verdict: Verdict, recipients: Sequence[Recipient], rulings: Mapping[str, Ruling], mta: Mta
    ) -> tuple[Disposition, ...]:
        """One reply and one copy for all. What has no next hop cannot be released, so it is tagged and not held."""
        decided = [
            decide(verdict, one, self._policies.policy(one.domain) or _policy_of_none(one), rulings.get(one.address))
            for one in recipients
        ]
        others = [Disposition(_OTHERS, "accept", "not judged", 0.0)] if mta.has_others else []
        wanted = reconcile([*decided, *others])[: len(decided)]
        if not mta.holds:
            wanted = tuple(one if self.is_ours(one.recipient.domain) else _tagged_instead(one) for one in wanted)
        return share_copy(wanted)

    async def _hand_back(
        self, envelope: Envelope, content: bytes, verdict: Verdict, wanted: Sequence[Disposition], mta: Mta
    ) -> tuple[Delivery, ...]:
        """Refused all, or held here what is to be held; the rest is the MTA's."""
        if any(one.action == "reject" for one in wanted):  # reconcile left only refusals
            return tuple(Delivery(one.recipient, "reject", REFUSED, one.reason) for one in wanted)
        to_hold = [one for one in wanted if one.action == "quarantine"]
        held = await self._hold.apply(envelope, content, verdict, to_hold) if to_hold else ()
        left = [one for one in wanted if one not in to_hold]
        if any(one.reply.code // 100 != 2 for one in held):
            return held + tuple(
                Delivery(one.recipient, one.action, DEFERRED, "not tried: quarantine failed") for one in left
            )
        taken, back = (
            Reply(250, "2.0.0", f"{how} as {mta.queue_id}") for how in ("taken from the MTA", "with the MTA")
        )
        return tuple(replace(one, reply=taken) for one in held) + tuple(
            Delivery(one.recipient, one.action, back, one.reason) for one in left
        )

    async def _greylist(self, envelope: Envelope, verdict: Verdict, wanted: Sequence[Disposition]) -> str:
        policies = [self._policies.policy(one.recipient.domain) for one in wanted]
        return await self._reputation.greylist(envelope, verdict, wanted, policies)

    async def _dispose(
        self,
        envelope: Envelope,
        content: bytes,
        verdict: Verdict,
        wanted: Sequence[Disposition],
        *,
        is_any_served: bool,
    ) -> tuple[Delivery, ...]:
        refuse = [one for one in wanted if one.action == "reject"]
        if refuse:  # reconcile left only refusals
            return tuple(Delivery(one.recipient, "reject", REFUSED, one.reason) for one in refuse)
        to_hold = [one for one in wanted if one.action == "quarantine"]
        to_relay = [one for one in wanted if one.action in ("accept", "tag")]
        held = await self._hold.apply(envelope, content, verdict, to_hold) if to_hold else ()
        if any(delivery.reply.code // 100 != 2 for delivery in held):
            return held + tuple(
                Delivery(one.recipient, one.action, DEFERRED, "not tried: quarantine failed") for one in to_relay
            )
        relayed = await self._relay.apply(envelope, content, verdict, to_relay) if to_relay else ()
        refused = [delivery for delivery in relayed if delivery.reply.code // 100 == 5]
        deferred = any(delivery.reply.code // 100 not in (2, 5) for delivery in relayed)
        if not refused or deferred or (len(refused) == len(relayed) and not held and not is_any_served):
            return held + relayed
        # after others were served the client cannot hear of a refusal any more
        kept = await self._hold.apply(envelope, content, verdict, [_held_instead(one) for one in refused])
        return held + tuple(one for one in relayed if one not in refused) + kept

    def _rulings(self, envelope: Envelope, content: bytes, verdict: Verdict) -> Mapping[str, Ruling]:
        return self._senders.rulings(envelope, content, verdict) if self._senders is not None else {}

    def _decide(self, verdict: Verdict, recipient: Recipient, rulings: Mapping[str, Ruling]) -> Disposition:
        policy = self._policies.policy(recipient.domain)
        if policy is None:  # the configuration changed between RCPT and DATA
            return Disposition(recipient, "quarantine", "domain no longer configured", 5.0)
        return decide(verdict, recipient, policy, rulings.get(recipient.address))

    async def _served(self, queue_id: str, keys: Mapping[str, str]) -> frozenset[str]:
        """The addresses served at an earlier try. A try may name only these: the others may be deferred at RCPT."""
        known = self._counters.peek_many(list(keys.values()))
        if known is None:
            try:
                known = await asyncio.to_thread(self._counters.get_many, list(keys.values()))
            except StoreError as error:  # at worst a second copy, never a lost one
                log.warning("who was served is not known", queue_id=queue_id, error=str(error))
                return frozenset()
        return frozenset(address for address, key in keys.items() if known.get(key, 0.0) > 0)

    def _remember(self, queue_id: str, keys: Sequence[str]) -> None:
        try:
            self._counters.add_many(dict.fromkeys(keys, 1.0), _PARTIAL_TTL_S)
        except StoreError as error:
            log.warning("delivery not remembered", queue_id=queue_id, error=str(error))

    # --- telling --------------------------------------------------------------------------------------------------

    def _finish(self, outcome: Outcome, envelope: Envelope, started: float, mta: Mta | None = None) -> Outcome:
        seconds = time.perf_counter() - started
        RECEIVE_SECONDS.observe(seconds)
        MESSAGES.labels(_word(outcome)).inc()
        for delivery in outcome.deliveries:
            DELIVERIES.labels(delivery.action, str(delivery.reply.code // 100)).inc()
        if outcome.verdict is not None:
            count_verdict(outcome.verdict)
        log.info("message", **_line(outcome, envelope, seconds), **({"mta_queue_id": mta.queue_id} if mta else {}))
        self._journal.record(_rows(outcome, envelope))
        if self._reports_dmarc:
            self._journal.record(dmarc_rows(outcome, envelope))
        return outcome


class Releaser:
    """Gives a held message to its next hop, and says truthfully what came of it."""

    def __init__(
        self,
        *,
        policies: PolicySource,
        next_hop: Callable[[NextHopUrls], NextHop],
        quarantine: QuarantineStore,
        hostname: str,
        reputation: Reputation,
        sealer: Sealer | None = None,
    ) -> None:
        self._policies = policies
        self._next_hop = next_hop
        self._quarantine = quarantine
        self._hostname = hostname
        self._reputation = reputation
        self._sealer = sealer
        for result in ("released", "failed"):
            RELEASES.labels(result)  # a series that is there from the start can be alarmed on

    async def release(self, held_id: str, who: str = "") -> HeldMessage:
        """The message afterwards: "released" only after the next hop's 2xx, else "held" with its words in `note`.

        Raises InputError when there is no such message or it is not held, StoreError when the store fails.
        """
        held = await asyncio.to_thread(self._claim, held_id, who)
        try:
            reply = await self._hand_over(held)
        except BaseException as error:  # also cancellation: the claim must not outlive the try
            await asyncio.shield(
                asyncio.to_thread(
                    self._settle, held, Reply(451, "4.3.0", f"release failed: {type(error).__name__}"), who
                )
            )
            raise
        settled = await asyncio.to_thread(self._settle, held, reply, who)
        if settled.state == "released":
            await asyncio.to_thread(self._learn, held)
        return settled

    def _claim(self, held_id: str, who: str) -> HeldMessage:
        held = self._quarantine.get(held_id)
        if held is None:
            raise InputError(f"{held_id}: no such held message")
        if held.state == "releasing" and held_id in self._quarantine.give_up_releases(time.time() - RELEASE_LOST_S):
            held = self._quarantine.get(held_id) or held
        if not self._quarantine.transition(held.id, ("held",), "releasing", at=held.state_at, by=who):
            raise InputError(f"{held_id}: is {held.state}, not held")
        return held

    async def _hand_over(self, held: HeldMessage) -> Reply:
        policy = self._policies.policy(held.domain)
        if policy is None:
            return Reply(451, "4.3.5", f"{held.domain} is not configured any more")
        content = await asyncio.to_thread(self._quarantine.content, held.id)
        envelope = held_envelope(held, self._hostname)
        recipients = envelope.recipients
        auth = auth_from_json(held.verdict_json)
        annotated = await asyncio.to_thread(annotate_release, envelope, content, auth, recipients, self._sealer)
        named = replace(envelope, client=replace(envelope.client, name=client_name(auth)))
        next_hop = self._next_hop(next_hop_of(policy, recipients[0]))
        try:
            async with asyncio.timeout(RELEASE_MAX_S):
                replies = await next_hop.deliver(named, annotated, recipients)
        except TimeoutError:
            return Reply(451, "4.4.2", f"No answer within {RELEASE_MAX_S:g} s; the next hop may have it")
        return replies.get(held.recipient, DEFERRED)

    def _learn(self, held: HeldMessage) -> None:
        """Somebody wanted it: its author is known to this recipient now. Whatever fails, it is released."""
        try:
            content = self._quarantine.content(held.id)
        except StoreError as error:
            log.warning("release not remembered", held_id=held.id, error=str(error))
            return
        envelope = held_envelope(held, self._hostname)
        self._reputation.learn_release(envelope, content, auth_from_json(held.verdict_json))

    def _settle(self, held: HeldMessage, reply: Reply, who: str) -> HeldMessage:
        released = after("releasing", reply) == "released"
        note = f"{reply.code} {reply.enhanced} {reply.text}"
        self._quarantine.transition(held.id, ("releasing",), "released" if released else "held", note, by=who)
        RELEASES.labels("released" if released else "failed").inc()
        log.info(
            "release", queue_id=held.queue_id, held_id=held.id, recipient=held.recipient, released=released, reply=note
        )
        return self._quarantine.get(held.id) or replace(held, state="released" if released else "held", note=note)


_NO_SUMMARY = Summary()
_OTHERS = Recipient("", "")  # whoever else gets the message
_SERVED = Reply(250, "2.0.0", "Message accepted")
_SERVED_REASON = "served at an earlier try"


def _deferred(envelope: Envelope) -> Reply:
    return settle((), envelope.queue_id)


def _served_keys(envelope: Envelope, content: bytes) -> dict[str, str]:
    """address -> its key."""
    digest = hashlib.sha256(content).hexdigest()
    return {one.address: _served_key(digest, envelope.reverse_path, one) for one in envelope.recipients}


def _served_key(digest: str, reverse_path: str, recipient: Recipient) -> str:
    return "served:" + hashlib.sha256(f"{digest}|{reverse_path}|{recipient.address}".encode()).hexdigest()[:32]


def _policy_of_none(recipient: Recipient) -> DomainPolicy:
    """For a domain that the configuration does not name, and an MTA takes mail for: the defaults."""
    return DomainPolicy(recipient.domain, "")


def _tagged_instead(wanted: Disposition) -> Disposition:
    if wanted.action != "quarantine":
        return wanted
    reason = f"{wanted.reason}; tagged, as [[domain]] does not name {wanted.recipient.domain}"
    return Disposition(wanted.recipient, "tag", reason, wanted.required_score)


def _held_by(mta: Mta, wanted: Disposition) -> Delivery:
    reason = wanted.reason if wanted.action == "quarantine" else f"{wanted.reason}; held, as the copy of others is"
    return Delivery(wanted.recipient, "quarantine", Reply(250, "2.0.0", f"held by the MTA as {mta.queue_id}"), reason)


def _held_instead(refused: Delivery) -> Disposition:
    reason = f"next hop refused: {refused.reply.code} {refused.reply.text}"[:300]
    return Disposition(refused.recipient, "quarantine", reason, 0.0)


def held_envelope(held: HeldMessage, hostname: str) -> Envelope:
    """The envelope a held message came in, for its recipient; nothing is remembered of its sender."""
    recipient = Recipient(held.recipient, held.domain)
    return Envelope(
        queue_id=held.queue_id,
        client=Client(held.client_ip, helo=held.helo),
        reverse_path=held.reverse_path,
        recipients=(recipient,),
        received_at=held.received_at,
        hostname=hostname,
        is_8bitmime=held.is_8bitmime,
        is_smtputf8=held.is_smtputf8,
    )


def _word(outcome: Outcome) -> str:
    if outcome.reply.code // 100 != 2:
        return "refused" if outcome.reply.code // 100 == 5 else "deferred"
    actions = {delivery.action for delivery in outcome.deliveries}
    return (
        "mixed" if len(actions) > 1 else {"accept": "accepted", "tag": "tagged"}.get(next(iter(actions)), "quarantined")
    )


def count_verdict(verdict: Verdict) -> None:
    """What a verdict adds to the metrics of verdicts."""
    SCORES.observe(verdict.score)
    for hit in verdict.hits:
        HITS.labels(hit.name).inc()
    for result in verdict.auth:
        AUTH.labels(result.method, result.result).inc()
    for kind in {what.partition(":")[0] for what in verdict.incomplete}:  # once a message: alerts compare with messages
        INCOMPLETE.labels(kind).inc()
    for stage, seconds in verdict.stages:
        STAGES.labels(stage).observe(seconds)


def _line(outcome: Outcome, envelope: Envelope, seconds: float) -> dict[str, object]:
    verdict = outcome.verdict
    line: dict[str, object] = {
        "queue_id": envelope.queue_id,
        "client_ip": envelope.client.ip,
        "helo": envelope.client.helo,
        "reverse_path": envelope.reverse_path,
        "recipients": [f"{d.recipient.address}={d.action}:{d.reply.code}" for d in outcome.deliveries]
        or [recipient.address for recipient in envelope.recipients],
        "outcome": _word(outcome),
        "reply": f"{outcome.reply.code} {outcome.reply.enhanced}",
        "ms": round(seconds * 1000, 1),
    }
    if verdict is not None:
        line |= {
            "message_id": verdict.summary.message_id,
            "size": verdict.summary.size_bytes,
            "score": round(verdict.score, 2),
            "hits": [hit.name for hit in verdict.hits],
            "rules": verdict.rules_id,
        }
        if verdict.incomplete:
            line["incomplete"] = list(verdict.incomplete)
    return line


def _rows(outcome: Outcome, envelope: Envelope) -> tuple[LogRow, ...]:
    verdict, reply = outcome.verdict, outcome.reply
    known = {delivery.recipient: delivery for delivery in outcome.deliveries}
    return tuple(_row(known.get(recipient), recipient, envelope, verdict, reply) for recipient in envelope.recipients)


def _became(delivery: Delivery | None, reply: Reply) -> str:
    """What the client heard comes first: the next hop may have refused or deferred what was to be delivered."""
    if delivery is None or reply.code // 100 == 4:
        return "tempfail"
    return "reject" if reply.code // 100 == 5 else delivery.action


def _row(
    delivery: Delivery | None, recipient: Recipient, envelope: Envelope, verdict: Verdict | None, reply: Reply
) -> LogRow:
    summary = verdict.summary if verdict else None
    row = LogRow(
        queue_id=envelope.queue_id,
        at=envelope.received_at,
        client_ip=envelope.client.ip,
        helo=envelope.client.helo,
        reverse_path=envelope.reverse_path,
        recipient=recipient.address,
        summary=summary or _NO_SUMMARY,
        action=_became(delivery, reply),
        reply=f"{reply.code} {reply.enhanced} {reply.text}",
        score=verdict.score if verdict else 0.0,
        hits=tuple(hit.name for hit in verdict.hits) if verdict else (),
    )
    if delivery is None:
        return row
    said = delivery.reply
    return replace(row, reason=delivery.reason, next_hop_reply=f"{said.code} {said.enhanced} {said.text}")
