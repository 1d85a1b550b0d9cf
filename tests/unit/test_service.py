"""Custody: whatever fails, a 2xx means that each recipient's message is at the next hop or held, and only once."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.actions.hold import Hold
from gateway.actions.relay import Relay
from gateway.errors import InputError, StoreError
from gateway.mail import parse
from gateway.policy.domains import ConfiguredDomains
from gateway.policy.senders import Limits
from gateway.reputation import Reputation
from gateway.scan.explain import verdict_json
from gateway.senders import Senders
from gateway.service import Gateway, Releaser
from gateway.types import (
    AuthResult,
    Client,
    DmarcRow,
    DomainPolicy,
    Envelope,
    Filtered,
    HeldMessage,
    History,
    LogRow,
    Mta,
    Outcome,
    Recipient,
    Reply,
    SenderEntry,
    Verdict,
)
from tests.builders import envelope, message_bytes, recipient, verdict
from tests.memory import FixedScorer, MemoryCounters, MemoryJournal, MemoryNextHop, MemoryQuarantine

CONTENT = message_bytes()
GONE = Reply(550, "5.1.1", "no such user")
LATER = Reply(451, "4.3.0", "later")
TAKEN = Reply(250, "2.0.0", "taken")


MTA = Mta("mail.darban.test", "4XyZ")


@dataclass
class World:
    """A gateway over memory. strict.test refuses where darban.test holds, grey.test defers what is doubtful."""

    verdict: Verdict | None = None
    hop: MemoryNextHop = field(default_factory=MemoryNextHop)
    quarantine: MemoryQuarantine = field(default_factory=MemoryQuarantine)
    counters: MemoryCounters = field(default_factory=MemoryCounters)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    scorer: FixedScorer | None = None  # instead of one that says `verdict`
    senders: Senders | None = None

    def __post_init__(self) -> None:
        self.reputation = Reputation(self.counters, b"secret")
        self.policies = ConfiguredDomains(
            [
                DomainPolicy("darban.test", "smtp://a:25"),
                DomainPolicy("strict.test", "smtp://a:25", 3.0, 4.0, 7.0, "quarantine"),
                DomainPolicy("lax.test", "lmtp://b:24", 9.0, 20.0, 30.0, "accept"),
                DomainPolicy("grey.test", "smtp://a:25", greylist=True, greylist_at=2.0),
            ]
        )

    async def receive(self, *recipients: str, content: bytes = CONTENT) -> Outcome:
        gateway = Gateway(
            policies=self.policies,
            scorer=self.scorer or FixedScorer(self.verdict),
            relay=Relay(self.policies, lambda _: self.hop),
            hold=Hold(self.quarantine, verdict_json),
            verifier=self,
            journal=self.journal,
            counters=self.counters,
            reputation=self.reputation,
            senders=self.senders,
        )
        return await gateway.receive(envelope(*recipients), content)

    async def filter(self, *recipients: str, content: bytes = CONTENT, mta: Mta = MTA) -> Filtered:
        gateway = Gateway(
            policies=self.policies, scorer=self.scorer or FixedScorer(self.verdict), relay=Relay(self.policies, lambda _: self.hop),
            hold=Hold(self.quarantine, verdict_json), verifier=self, journal=self.journal, counters=self.counters,
            reputation=self.reputation, senders=self.senders,
        )  # fmt: skip
        return await gateway.filter(envelope(*recipients), content, mta)

    async def screen(self, address: str) -> Reply | None:
        gateway = Gateway(
            policies=self.policies, scorer=FixedScorer(None), relay=Relay(self.policies, lambda _: self.hop),
            hold=Hold(self.quarantine, verdict_json), verifier=self, journal=self.journal, counters=self.counters,
            reputation=self.reputation,
        )  # fmt: skip
        return await gateway.screen(Client("192.0.2.1"), "", recipient(address))

    async def verify(self, next_hop_url: str, one: Recipient) -> Reply:
        return self.hop.says(one.address)

    def minutes_pass(self) -> None:
        """What was greylisted may come again."""
        for key in [key for key in self.counters.values if key.startswith("g:w:")]:
            del self.counters.values[key]

    def where(self) -> dict[str, list[str]]:
        """address -> the places that have the message for it."""
        found: dict[str, list[str]] = {}
        for address, _ in self.hop.taken:
            found.setdefault(address, []).append("next hop")
        for row in self.quarantine.rows.values():
            found.setdefault(row.recipient, []).append("held")
        return found


def saying(**replies: Reply) -> MemoryNextHop:
    """By local part; the rest is taken."""
    return MemoryNextHop(lambda address: replies.get(address.partition("@")[0], TAKEN))


# --- a message that an MTA keeps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "recipients", "code", "actions", "required"),
    [
        (0.0, "a@darban.test", 250, "accept", 5.0),
        (6.0, "a@darban.test", 250, "tag", 5.0),
        (9.0, "a@darban.test", 250, "quarantine", math.inf),
        (20.0, "a@darban.test", 550, "reject", math.inf),
        (3.5, "a@darban.test b@darban.test", 250, "accept accept", 5.0),
        # one copy for all: marked at the lowest threshold, so that nobody gets untagged what his policy tags
        (3.5, "a@strict.test b@lax.test", 250, "tag tag", 3.0),
        (6.0, "a@darban.test b@lax.test", 250, "tag tag", 5.0),
        (8.0, "a@strict.test b@lax.test", 250, "quarantine accept", 9.0),
        (9.0, "a@strict.test b@strict.test", 550, "reject reject", math.inf),
        # a domain that is not configured has the defaults, and no quarantine to be released from
        (6.0, "a@elsewhere.test", 250, "tag", 5.0),
        (9.0, "a@elsewhere.test", 250, "tag", 5.0),
        (9.0, "a@elsewhere.test b@darban.test", 250, "tag quarantine", 5.0),
        (16.0, "a@elsewhere.test", 550, "reject", math.inf),
        (16.0, "a@elsewhere.test b@lax.test", 250, "tag tag", 5.0),
    ],
)  # fmt: skip
async def test_what_an_mta_is_told(score: float, recipients: str, code: int, actions: str, required: float) -> None:
    world = World(verdict(score))
    found = await world.filter(*recipients.split())
    assert (found.outcome.reply.code, found.hold) == (code, "")
    told = {one.recipient.address: one.action for one in found.outcome.deliveries}
    assert [told[one] for one in recipients.split()] == actions.split()
    assert found.required_score == required
    assert world.hop.taken == []
    held = [one for one, action in told.items() if action == "quarantine"]
    assert sorted(row.recipient for row in world.quarantine.rows.values()) == sorted(held)
    assert [row.recipient for row in world.journal.rows] == recipients.split()
    rows = [row for row in world.journal.rows if isinstance(row, LogRow)]
    assert [row.action for row in rows] == actions.split()
    assert all(code != 250 or "4XyZ" in row.next_hop_reply for row in rows)


@pytest.mark.parametrize(
    ("score", "recipients", "code", "actions", "hold"),
    [
        (0.0, "a@darban.test", 250, "accept", ""),
        (9.0, "a@darban.test", 250, "quarantine", "score 9.0 >= quarantine_at 8.0"),
        (9.0, "a@elsewhere.test", 250, "quarantine", "score 9.0 >= quarantine_at 8.0"),
        (8.0, "a@lax.test b@darban.test", 250, "quarantine quarantine", "score 8.0 >= quarantine_at 8.0"),
        (20.0, "a@darban.test", 550, "reject", ""),
    ],
)
async def test_an_mta_that_holds_itself(score: float, recipients: str, code: int, actions: str, hold: str) -> None:
    world = World(verdict(score))
    found = await world.filter(*recipients.split(), mta=Mta("mail.darban.test", "4XyZ", holds=True))
    assert (found.outcome.reply.code, found.hold) == (code, hold)
    assert [one.action for one in found.outcome.deliveries] == actions.split()
    assert world.quarantine.rows == {}


async def test_what_others_get_too_is_not_refused() -> None:
    world = World(verdict(20.0))
    found = await world.filter("a@darban.test", mta=Mta("mail.darban.test", "4XyZ", has_others=True))
    assert (found.outcome.reply.code, found.required_score) == (250, math.inf)
    assert world.where() == {"a@darban.test": ["held"]}


async def test_a_quarantine_that_is_down_leaves_the_message_with_the_mtas_client() -> None:
    world = World(verdict(8.0))
    world.quarantine.is_down = True
    found = await world.filter("a@strict.test", "b@lax.test")
    assert (found.outcome.reply.code, found.hold) == (451, "")
    assert {row.action for row in world.journal.rows if isinstance(row, LogRow)} == {"tempfail"}


async def test_no_verdict_for_an_mta_is_a_451() -> None:
    world = World(None)
    assert (await world.filter("a@darban.test")).outcome.reply.code == 451
    assert world.journal.rows[0].action == "tempfail"


async def test_greylisting_for_an_mta() -> None:
    world = World(verdict(3.0))
    assert (await world.filter("a@grey.test")).outcome.reply.enhanced == "4.7.1"
    assert (await world.filter("a@grey.test", "b@darban.test")).outcome.reply.code == 250  # one does not want it
    world.minutes_pass()
    assert (await world.filter("a@grey.test")).outcome.reply.code == 250


async def test_the_sender_of_what_an_mta_takes_is_learned() -> None:
    world = World(verdict(0.0, auth=PROVEN))
    await world.filter("a@darban.test")
    assert await known_to(world, "a@darban.test") == (1.0,)
    world.verdict = verdict(6.0, auth=PROVEN)
    await world.filter("b@darban.test")
    assert await known_to(world, "b@darban.test") == (0.0,)


@given(
    st.floats(-5, 25),
    st.lists(st.sampled_from([f"{user}@{domain}" for user in "ab" for domain in ("darban.test", "strict.test", "lax.test", "elsewhere.test")]), min_size=1, max_size=4, unique=True),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)  # fmt: skip
async def test_an_mtas_message_is_held_left_or_refused(
    score: float, recipients: list[str], others: bool, holds: bool, is_down: bool
) -> None:
    """Whatever policies say: what the MTA is to take out is held here; a refusal is everybody's."""
    world = World(verdict(score))
    world.quarantine.is_down = is_down
    found = await world.filter(*recipients, mta=Mta("m", "4XyZ", others, holds))
    deliveries = found.outcome.deliveries
    assert {one.recipient.address for one in deliveries} == set(recipients)
    held = {row.recipient for row in world.quarantine.rows.values()}
    if found.outcome.reply.code == 250:
        assert held == (set() if holds else {one.recipient.address for one in deliveries if one.action == "quarantine"})
        marked = [one for one in deliveries if one.action in ("accept", "tag")]
        assert len({one.action for one in marked}) <= 1
        assert all((one.action == "tag") is (score >= found.required_score) for one in marked)
    elif found.outcome.reply.code == 550:
        assert not others and not held
        assert {one.action for one in deliveries} == {"reject"}
    else:
        assert is_down and not held and not holds


# --- the table of docs/custody.md ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "replies", "recipients", "code", "places"),
    [
        (0.0, {}, "a@darban.test", 250, {"a@darban.test": ["next hop"]}),
        (6.0, {}, "a@darban.test", 250, {"a@darban.test": ["next hop"]}),
        (9.0, {}, "a@darban.test", 250, {"a@darban.test": ["held"]}),
        (20.0, {}, "a@darban.test", 550, {}),
        (0.0, {"a": GONE}, "a@darban.test", 550, {}),
        (0.0, {"a": LATER}, "a@darban.test", 451, {}),
        (0.0, {"a": Reply(421, "4.3.2", "closing")}, "a@darban.test", 451, {}),
        (0.0, {"a": Reply(354, "", "what")}, "a@darban.test", 451, {}),
        # several recipients: one reply
        (0.0, {}, "a@darban.test b@darban.test", 250, {"a@darban.test": ["next hop"], "b@darban.test": ["next hop"]}),
        (0.0, {"b": LATER}, "a@darban.test b@darban.test", 451, {"a@darban.test": ["next hop"]}),
        (0.0, {"b": GONE}, "a@darban.test b@darban.test", 250, {"a@darban.test": ["next hop"], "b@darban.test": ["held"]}),
        (0.0, {"a": GONE, "b": GONE}, "a@darban.test b@darban.test", 550, {}),
        (9.0, {}, "a@strict.test b@strict.test", 550, {}),
        # one would be refused, the other not: held, as DATA has one reply
        (9.0, {}, "a@strict.test b@darban.test", 250, {"a@strict.test": ["held"], "b@darban.test": ["held"]}),
        (8.0, {}, "a@strict.test b@lax.test", 250, {"a@strict.test": ["held"], "b@lax.test": ["next hop"]}),
        (8.0, {"b": LATER}, "a@strict.test b@lax.test", 451, {"a@strict.test": ["held"]}),
        (8.0, {"b": GONE}, "a@strict.test b@lax.test", 250, {"a@strict.test": ["held"], "b@lax.test": ["held"]}),
    ],
)  # fmt: skip
async def test_what_became_of_it(
    score: float, replies: dict[str, Reply], recipients: str, code: int, places: dict[str, list[str]]
) -> None:
    world = World(verdict(score), saying(**replies))
    outcome = await world.receive(*recipients.split())
    assert outcome.reply.code == code
    assert world.where() == places
    assert [row.recipient for row in world.journal.rows] == recipients.split()
    assert outcome.queue_id in outcome.reply.text


async def test_no_verdict_is_a_451_and_nothing_is_done() -> None:
    world = World(None)
    outcome = await world.receive("a@darban.test")
    assert (outcome.reply.code, world.where()) == (451, {})
    assert world.journal.rows[0].action == "tempfail"


@pytest.mark.parametrize(("hops", "code"), [(100, 250), (101, 554)])
async def test_a_loop_is_refused_and_goes_no_further(hops: int, code: int) -> None:
    world = World(verdict(0.0))
    outcome = await world.receive("a@darban.test", content=b"Received: from a by b; now\r\n" * hops + CONTENT)
    assert outcome.reply.code == code and outcome.queue_id in outcome.reply.text
    assert world.where() == ({"a@darban.test": ["next hop"]} if code == 250 else {})
    (row,) = world.journal.rows
    assert isinstance(row, LogRow)
    assert (row.action, row.reply[:3]) == ("accept" if code == 250 else "reject", str(code))
    assert "a loop" in row.reason or code == 250


async def test_a_quarantine_that_is_down_is_a_451_before_anything_was_relayed() -> None:
    world = World(verdict(8.0))
    world.quarantine.is_down = True
    outcome = await world.receive("a@strict.test", "b@lax.test")
    assert (outcome.reply.code, world.where()) == (451, {})


async def test_memory_of_deliveries_that_is_down_does_not_stop_mail() -> None:
    world = World(verdict(0.0), saying(b=LATER))
    world.counters.is_down = True
    assert (await world.receive("a@darban.test", "b@darban.test")).reply.code == 451
    world.hop.says = lambda _: TAKEN
    assert (await world.receive("a@darban.test", "b@darban.test")).reply.code == 250


async def test_who_was_served_gets_no_second_copy_from_a_try_that_names_nobody_else() -> None:
    world = World(verdict(0.0), saying(b=LATER))
    assert (await world.receive("a@darban.test", "b@darban.test")).reply.code == 451
    assert (await world.receive("a@darban.test")).reply.code == 250  # b was deferred at RCPT this time
    assert world.where() == {"a@darban.test": ["next hop"]}


async def test_what_was_incomplete_is_not_a_silent_pass() -> None:
    world = World(verdict(0.0, incomplete=("rules: MemoryError",)))
    await world.receive("a@strict.test")
    assert world.where() == {"a@strict.test": ["held"]}
    assert next(iter(world.quarantine.rows.values())).reason == "incomplete: rules: MemoryError"


async def test_the_next_hop_reads_the_score_and_the_tag() -> None:
    world = World(verdict(6.0))
    await world.receive("a@darban.test")
    content = parse(world.hop.taken[0][1])
    fields = {one.name: one.text for one in content.fields}
    assert fields["X-Spam-Flag"] == "YES"
    assert fields["X-Spam-Score"] == "6.0"
    assert fields["X-Darban-Id"] == "TESTQUEUEID1"


# --- greylisting ----------------------------------------------------------------------------------------------------------


async def test_a_doubtful_first_contact_is_deferred_once_and_nothing_of_it_is_kept() -> None:
    world = World(verdict(3.0))
    for tries in (1, 2):
        outcome = await world.receive("a@grey.test", "b@grey.test")
        assert (outcome.reply.code, outcome.reply.enhanced, world.where()) == (451, "4.7.1", {})
        assert len(world.journal.rows) == 2 * tries
    row = world.journal.rows[0]
    assert row.action == "tempfail"
    assert row.reason.startswith("greylisted: first contact from 192.0.2.0/24 with score 3.0")
    world.minutes_pass()
    outcome = await world.receive("a@grey.test", "b@grey.test")
    assert outcome.reply.code == 250
    assert world.where() == {"a@grey.test": ["next hop"], "b@grey.test": ["next hop"]}


@pytest.mark.parametrize(
    ("score", "recipients", "code"),
    [
        (1.0, "a@grey.test", 250),
        (9.0, "a@grey.test", 250),  # held
        (20.0, "a@grey.test", 550),
        (3.0, "a@grey.test b@darban.test", 250),  # one does not want it
    ],
)
async def test_what_is_not_deferred(score: float, recipients: str, code: int) -> None:
    assert (await World(verdict(score)).receive(*recipients.split())).reply.code == code


async def test_whom_an_earlier_try_served_is_not_greylisted() -> None:
    world = World(verdict(0.0), saying(b=LATER))
    assert (await world.receive("a@grey.test", "b@grey.test")).reply.code == 451
    world.verdict, world.hop.says = verdict(3.0), lambda _: TAKEN
    assert (await world.receive("a@grey.test", "b@grey.test")).reply.code == 250
    assert world.where() == {"a@grey.test": ["next hop"], "b@grey.test": ["next hop"]}


# --- learning -------------------------------------------------------------------------------------------------------------


PROVEN = (AuthResult("spf", "pass", "example.org", is_aligned=True), AuthResult("dmarc", "pass", "example.org"))


async def known_to(world: World, *recipients: str) -> tuple[float, ...]:
    await asyncio.sleep(0)  # it learns after the answer
    await world.reputation._write()
    past = await world.reputation.recall(envelope(*recipients), CONTENT)
    assert past is not None
    return past.known


async def test_only_who_got_it_knows_the_sender() -> None:
    world = World(verdict(0.0, auth=PROVEN), saying(b=GONE))
    everybody = ("a@darban.test", "b@darban.test", "c@darban.test")
    await world.receive(*everybody)
    assert await known_to(world, *everybody) == (1.0, 0.0, 1.0)
    world.hop.says = lambda _: LATER
    await world.receive(*everybody)  # comes again, and then counts
    assert await known_to(world, *everybody) == (1.0, 0.0, 1.0)


async def test_the_scorer_is_told_what_is_known() -> None:
    world = World(verdict(0.0, auth=PROVEN))
    told: list[History | None] = []

    class Told(FixedScorer):
        async def score(self, envelope: Envelope, content: bytes) -> Verdict:
            told.append(envelope.history)
            return await super().score(envelope, content)

    world.scorer = Told(world.verdict)
    await world.receive("a@darban.test")
    assert await known_to(world, "a@darban.test") == (1.0,)
    await world.receive("a@darban.test")
    world.counters.is_down = True
    await world.receive("a@darban.test")
    assert [one and one.known for one in told] == [(0.0,), (1.0,), None]


async def test_a_fault_in_learning_does_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    world = World(verdict(0.0, auth=PROVEN))
    monkeypatch.setattr(world.reputation, "learn", lambda *_: 1 / 0)
    assert (await world.receive("a@darban.test")).reply.code == 250
    await asyncio.sleep(0)
    assert [type(one["exception"]) for one in faults] == [ZeroDivisionError]


async def test_a_release_makes_the_sender_known_to_one() -> None:
    world, releaser, held = await held_world(MemoryNextHop(), auth=PROVEN)
    await releaser.release(held.id)
    assert await known_to(world, "a@darban.test", "b@darban.test") == (8.0, 0.0)


async def test_a_release_that_failed_teaches_nothing() -> None:
    world, releaser, held = await held_world(saying(a=LATER), auth=PROVEN)
    await releaser.release(held.id)
    assert await known_to(world, "a@darban.test") == (0.0,)


# --- whatever fails ------------------------------------------------------------------------------------------------------

DOMAINS = ("darban.test", "strict.test", "lax.test", "grey.test")
ADDRESSES = [f"{user}@{domain}" for user in "abc" for domain in DOMAINS]
PHASES = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(ADDRESSES), st.sampled_from([GONE, LATER]), max_size=3),
        st.booleans(),  # the quarantine is down
        st.floats(-5, 25),  # what the message scores at this try
        st.sets(st.sampled_from(ADDRESSES)),  # deferred at RCPT
    ),
    max_size=4,
)


Phase = tuple[dict[str, Reply], bool, float, set[str]]


@given(st.floats(-5, 25), st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=4, unique=True), PHASES)
async def test_custody(score: float, recipients: list[str], phases: list[Phase]) -> None:
    """A client that tries again at 4xx, while things fail and recover: nobody's message is lost or comes twice."""
    world = World()
    waiting, answered = set(recipients), set[str]()
    last: Phase = ({}, False, score, set())
    for replies, is_down, scored, deferred in [*phases, last, last]:  # the last but one may be the first greylisted
        named = [one for one in recipients if one in waiting - deferred]
        if not named:
            continue
        world.minutes_pass()
        world.verdict = verdict(scored)
        world.hop.says = lambda address, replies=replies: replies.get(address, TAKEN)  # type: ignore[misc]
        world.quarantine.is_down = is_down
        reply = (await world.receive(*named)).reply
        if reply.code // 100 == 4:
            continue
        waiting -= set(named)
        if reply.code // 100 == 2:
            answered |= set(named)
            assert set(world.where()) >= set(named)
    assert not waiting
    assert set(world.where()) >= answered
    assert all(len(places) == 1 for places in world.where().values())


# --- RCPT ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "code"),
    [("a@darban.test", None), ("gone@darban.test", 550), ("late@darban.test", 451), ("a@elsewhere.test", 550)],
)
async def test_screen(address: str, code: int | None) -> None:
    reply = await World(hop=saying(gone=GONE, late=LATER)).screen(address)
    assert (reply.code if reply else None) == code


# --- release ------------------------------------------------------------------------------------------------------------


async def held_world(hop: MemoryNextHop, auth: tuple[AuthResult, ...] = ()) -> tuple[World, Releaser, HeldMessage]:
    world = World(verdict(9.0, auth=auth))
    await world.receive("a@darban.test")
    (held,) = world.quarantine.rows.values()
    world.hop = hop
    releaser = Releaser(
        policies=world.policies,
        next_hop=lambda _: world.hop,
        quarantine=world.quarantine,
        hostname="mx.darban.test",
        reputation=world.reputation,
    )
    return world, releaser, held


@pytest.mark.parametrize(
    ("reply", "state"), [(TAKEN, "released"), (LATER, "held"), (GONE, "held"), (Reply(354, "", "?"), "held")]
)
async def test_released_means_taken(reply: Reply, state: str) -> None:
    world, releaser, held = await held_world(saying(a=reply))
    after = await releaser.release(held.id)
    assert after.state == state
    assert after.note.startswith(str(reply.code))
    assert len(world.hop.taken) == (1 if state == "released" else 0)
    if state == "released":
        fields = {one.name: one.text for one in parse(world.hop.taken[0][1]).fields}
        assert fields["X-Spam-Flag"] == "NO"
        assert "X-Darban-Released" in fields
        with pytest.raises(InputError, match="is released, not held"):
            await releaser.release(held.id)


async def test_a_release_that_breaks_leaves_it_held() -> None:
    def broken(_: str) -> Reply:
        raise ZeroDivisionError

    world, releaser, held = await held_world(MemoryNextHop(broken))
    with pytest.raises(ZeroDivisionError):
        await releaser.release(held.id)
    assert world.quarantine.rows[held.id].state == "held"
    assert "release failed: ZeroDivisionError" in world.quarantine.rows[held.id].note


async def test_content_that_cannot_be_read_leaves_it_held() -> None:
    world, releaser, held = await held_world(MemoryNextHop())
    world.quarantine.is_down = True
    with pytest.raises(StoreError):
        await releaser.release(held.id)
    assert world.quarantine.rows[held.id].state == "held"


async def test_two_releases_at_once_hand_over_once() -> None:
    world, releaser, held = await held_world(MemoryNextHop())
    results = await asyncio.gather(*(releaser.release(held.id) for _ in range(5)), return_exceptions=True)
    assert len(world.hop.taken) == 1
    assert Counter(type(result).__name__ for result in results) == {"HeldMessage": 1, "InputError": 4}


async def test_a_claim_left_by_a_process_that_died_can_be_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    world, releaser, held = await held_world(MemoryNextHop())
    world.quarantine.transition(held.id, ("held",), "releasing")
    claimed = world.quarantine.rows[held.id].state_at
    monkeypatch.setattr("gateway.service.time.time", lambda: claimed + 10)
    with pytest.raises(InputError, match="is releasing, not held"):
        await releaser.release(held.id)
    monkeypatch.setattr("gateway.service.time.time", lambda: claimed + 601)
    results = await asyncio.gather(*(releaser.release(held.id) for _ in range(5)), return_exceptions=True)
    assert [result.state for result in results if isinstance(result, HeldMessage)] == ["released"]
    assert len(world.hop.taken) == 1


async def test_a_next_hop_that_takes_too_long_leaves_it_held(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(MemoryNextHop):
        async def deliver(self, *_: object) -> Mapping[str, Reply]:
            await asyncio.sleep(3600)
            raise AssertionError

    monkeypatch.setattr("gateway.service.RELEASE_MAX_S", 0.05)
    _, releaser, held = await held_world(Hanging())
    after = await releaser.release(held.id)
    assert (after.state, after.note) == ("held", "451 4.4.2 No answer within 0.05 s; the next hop may have it")


async def test_an_unknown_id() -> None:
    _, releaser, _ = await held_world(MemoryNextHop())
    with pytest.raises(InputError, match="no such held message"):
        await releaser.release("0" * 32)


async def test_a_domain_that_is_gone_leaves_it_held() -> None:
    world, _, held = await held_world(MemoryNextHop())
    releaser = Releaser(
        policies=ConfiguredDomains([]),
        next_hop=lambda _: world.hop,
        quarantine=world.quarantine,
        hostname="mx",
        reputation=world.reputation,
    )
    after = await releaser.release(held.id)
    assert (after.state, world.hop.taken) == ("held", [])
    assert "not configured" in after.note


# --- what DMARC reports count -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reports_dmarc", [False, True])
async def test_dmarc_is_reported_only_when_it_is_asked_for(reports_dmarc: bool) -> None:
    policy = AuthResult(
        "dmarc", "fail", "example.org", policy="none", policy_domain="example.org",
        policy_record="treewalk v=DMARC1; p=none; rua=mailto:d@example.org",
    )  # fmt: skip
    world = World(verdict(auth=(policy,)))
    gateway = Gateway(
        policies=world.policies, scorer=FixedScorer(world.verdict), relay=Relay(world.policies, lambda _: world.hop),
        hold=Hold(world.quarantine, lambda *_: "{}"), verifier=world, journal=world.journal, counters=world.counters,
        reports_dmarc=reports_dmarc, reputation=world.reputation,
    )  # fmt: skip
    await gateway.receive(envelope("a@darban.test"), CONTENT)
    assert [row.domain for row in world.journal.rows if isinstance(row, DmarcRow)] == ["example.org"] * reports_dmarc
    assert len([row for row in world.journal.rows if isinstance(row, LogRow)]) == 1


@pytest.mark.parametrize(
    ("reply", "action"), [(TAKEN, "accept"), (GONE, "reject"), (Reply(451, "4.3.0", "later"), "tempfail")]
)
async def test_the_log_says_what_became_of_it_not_what_was_wanted(reply: Reply, action: str) -> None:
    world = World(verdict(0.0), hop=saying(a=reply))
    await world.receive("a@darban.test")
    assert [row.action for row in world.journal.rows if isinstance(row, LogRow)] == [action]


# --- senders that people allow and block ----------------------------------------------------------------------------------

PROVEN = (AuthResult("spf", "pass", "example.org", is_aligned=True), AuthResult("dmarc", "pass", "example.org"))


async def said(act: Literal["allow", "block"], recipient: str = "") -> tuple[Senders, list[int]]:
    """An entry on sara@example.org, and the numbers of those that were of use."""
    entry = SenderEntry(act, "sara@example.org", recipient, None, "reza", 0.0, number=1, revision=1)
    used: list[int] = []

    class Store:
        def since(self, revision: int, limit: int) -> list[SenderEntry]:
            return [entry] if revision < 1 else []

        def count_hits(self, hits: dict[int, tuple[int, float]]) -> None:
            used.extend(hits)

    senders = Senders(Store(), Limits())  # type: ignore[arg-type]
    await senders.start()
    return senders, used


@pytest.mark.parametrize(
    ("act", "score", "auth", "where"),
    [
        ("block", 0.0, (), "held"),
        ("block", 0.0, PROVEN, "held"),
        ("allow", 9.0, PROVEN, "next hop"),
        ("allow", 20.0, PROVEN, "next hop"),
        ("allow", 26.0, PROVEN, ""),  # above allow_below it is refused, as ever
        ("allow", 9.0, (), "held"),
    ],
)
async def test_an_entry_decides_at_every_door(
    act: Literal["allow", "block"], score: float, auth: tuple[AuthResult, ...], where: str
) -> None:
    senders, used = await said(act)
    world = World(verdict(score, auth=auth), senders=senders)
    outcome = await world.receive("a@darban.test")
    assert world.where().get("a@darban.test", [""]) == [where]
    asked = World(verdict(score, auth=auth), senders=senders)
    filtered = await asked.filter("a@darban.test")
    assert filtered.outcome.deliveries[0].action == outcome.deliveries[0].action
    await senders.close()
    is_of_use = act == "block" or (score < 25 and bool(auth))
    assert used == ([1] if is_of_use else [])
    if outcome.deliveries[0].action == "accept":
        assert filtered.required_score == 25.0  # marked as no spam


async def test_an_entry_is_about_its_recipient_alone_and_is_not_counted_for_a_deferred_message() -> None:
    senders, used = await said("allow", "a@darban.test")
    world = World(verdict(9.0, auth=PROVEN), hop=saying(a=LATER), senders=senders)
    outcome = await world.receive("a@darban.test", "b@darban.test")
    assert outcome.reply.code == 451
    assert world.where() == {"b@darban.test": ["held"]}
    await senders.close()
    assert used == []
