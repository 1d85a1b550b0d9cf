"""reputation.py: what a listener knows of senders, over a store that works, fails, or is late; and greylisting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gateway import reputation as module
from gateway.errors import ConfigError, StoreError
from gateway.policy.decide import decide
from gateway.policy.first_seen import NEW_S
from gateway.policy.greylist import Delays
from gateway.policy.rates import Limits
from gateway.reputation import Reputation, load_secret, prune_now_and_then
from gateway.stores.counters import SqlCounters
from gateway.stores.engine import make_engine, migrate
from gateway.types import AuthResult, Client, DomainPolicy, Envelope, History, Past, Verdict
from tests.builders import envelope, message_bytes, verdict
from tests.fakes import FakeClock
from tests.memory import MemoryCounters

CONTENT = message_bytes()
POLICY = DomainPolicy("darban.test", "smtp://a:25", greylist=True)
PROVEN = (AuthResult("spf", "pass", "example.org", is_aligned=True), AuthResult("dmarc", "none", "example.org"))
BOTH = ("you@darban.test", "reza@darban.test")


class World:
    """One or more listeners over one database, with the clock held still."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.clock = FakeClock()
        url = f"sqlite:///{folder}/darban.db"
        migrate(url)
        self.counters = SqlCounters(make_engine(url), self.clock.now)
        self.options = options
        self.one = self.listener()

    def listener(self) -> Reputation:
        return Reputation(self.counters, b"secret", now=self.clock.now, **self.options)  # type: ignore[arg-type]

    async def greylist(self, around: Envelope, said: Verdict, at: Reputation | None = None) -> str:
        at = at or self.one
        around = replace(around, history=await at.recall(around, CONTENT))
        wanted = [decide(said, one, POLICY) for one in around.recipients]
        return await at.greylist(around, said, wanted, [POLICY] * len(wanted))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def learn(one: Reputation, around: Envelope, said: Verdict) -> None:
    one.learn(around, said, [POLICY], frozenset(recipient.address for recipient in around.recipients))


# --- remembering --------------------------------------------------------------------------------------------------------


async def test_what_one_listener_learned_another_recalls(world: World) -> None:
    around = envelope(*BOTH)
    nothing = await world.one.recall(around, CONTENT)
    assert nothing == History("sara@example.org", known=(0.0, 0.0), met=(0.0, 0.0))
    learn(world.one, replace(around, history=nothing), verdict(0.0, auth=PROVEN))
    learn(world.one, replace(around, history=nothing), verdict(0.0, auth=PROVEN))
    await world.one._write()
    other = world.listener()
    past = await other.recall(around, CONTENT)
    assert past is not None
    assert (past.known, past.network, past.address) == ((2.0, 2.0), Past(good=2, today=2), Past(good=2, today=2))
    world.clock.advance(30 * 86_400)
    assert (await other.recall(around, CONTENT)).known == (1.0, 1.0)  # type: ignore[union-attr]
    world.clock.advance(121 * 86_400)
    assert (await other.recall(around, CONTENT)) == nothing


async def test_it_writes_by_itself_and_at_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WRITE_EVERY_S", 0.01)
    around = replace(envelope(), history=History("sara@example.org", known=(0.0,), met=(0.0,)))
    world.one.start()
    learn(world.one, around, verdict(0.0, auth=PROVEN))
    async with asyncio.timeout(10):
        while (await world.listener().recall(around, CONTENT)).known != (1.0,):  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
    monkeypatch.setattr(module, "_WRITE_EVERY_S", 3600)
    learn(world.one, around, verdict(0.0, auth=PROVEN))
    await world.one.close()
    assert (await world.listener().recall(around, CONTENT)).known == (2.0,)  # type: ignore[union-attr]


async def test_a_release_makes_known_whom_it_was_for(world: World) -> None:
    await asyncio.to_thread(world.one.learn_release, envelope(), CONTENT, PROVEN)
    past = await world.one.recall(envelope(*BOTH), CONTENT)
    assert past is not None
    assert past.known == (8.0, 0.0)
    assert (past.domain, past.network) == (Past(), Past())


async def test_a_trusted_network_is_not_remembered(tmp_path: Path) -> None:
    world = World(tmp_path, trusted=("192.0.2.0/24",), limits=Limits(1, 1, 1, 1))
    around = replace(envelope(), history=await world.one.recall(envelope(), CONTENT))
    learn(world.one, around, verdict(9.0))
    await world.one._write()
    assert (await world.one.recall(envelope(), CONTENT)) == History("sara@example.org", known=(0.0,), met=())
    assert [world.one.admit("192.0.2.1", "") for _ in range(3)] == [None] * 3


# --- a store that fails ---------------------------------------------------------------------------------------------------


class Failing(MemoryCounters):
    """Fails, or waits, and counts how often it was asked."""

    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__()
        self.before = before
        self.asked = 0

    def get_many(self, keys: Sequence[str]) -> Mapping[str, float]:
        self.asked += 1
        self.before()
        return super().get_many(keys)


def fail() -> None:
    raise StoreError("down")


async def test_a_store_that_fails_is_no_history_and_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Failing(fail)
    one = Reputation(store, b"secret")
    for _ in range(5):
        assert await one.recall(envelope(), CONTENT) is None
    assert store.asked == 1
    store.before = lambda: None
    monkeypatch.setattr(module.time, "monotonic", lambda: 1e12)
    assert await one.recall(envelope(), CONTENT) is not None


async def test_a_store_that_is_late_is_no_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RECALL_S", 0.05)
    go_on = threading.Event()
    one = Reputation(Failing(lambda: fail() if go_on.wait(10) else None), b"secret")
    assert await one.recall(envelope(), CONTENT) is None
    go_on.set()
    await one.close()
    monkeypatch.setattr(module, "_REST_S", 0.0)
    one._rest_until = 0.0
    assert await one.recall(envelope(), CONTENT) is None  # closed


async def test_what_could_not_be_written_is_written_later(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryCounters()
    one = Reputation(store, b"secret", limits=Limits(messages=10))
    around = replace(envelope(), history=History("sara@example.org", known=(0.0,), met=(0.0,)))
    store.is_down = True
    learn(one, around, verdict(0.0, auth=PROVEN))
    await one._write()
    learn(one, around, verdict(0.0, auth=PROVEN))
    one.admit("192.0.2.1", "")
    await one._write()
    one.learn_release(envelope(), CONTENT, PROVEN)  # does not raise
    store.is_down = False
    await one._write()
    past = await one.recall(envelope(), CONTENT)
    assert past is not None
    assert past.known == (2.0,)


async def test_what_waits_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_WAITING", 20)
    one = Reputation(MemoryCounters(), b"secret")
    for number in range(100):
        learn(one, envelope(client=Client(f"10.0.{number}.1")), verdict(9.0))
    assert len(one._waiting) == 20


async def test_pruning_goes_on_after_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PRUNE_EVERY_S", 0)
    monkeypatch.setattr(module, "_MAX_REMEMBERED", 3)
    monkeypatch.setattr(module, "_MAX_DOMAINS", 4)
    calls = []

    class Pruned(MemoryCounters):
        def prune(self, prefix: str, keep: int) -> int:
            calls.append((prefix, keep))
            if len(calls) == 1:
                raise StoreError("down")
            return super().prune(prefix, keep)

    store = Pruned()
    store.values = {f"{prefix}{number}": float(number) for number in range(9) for prefix in ("r:", "f:s:")}
    task = asyncio.create_task(prune_now_and_then(store))
    async with asyncio.timeout(10):
        while len(store.values) > 7:
            await asyncio.sleep(0.01)
    task.cancel()
    assert set(calls) == {("r:", 3), ("f:s:", 4), ("f:n:", 4)}
    assert set(store.values) == {"r:6", "r:7", "r:8", "f:s:5", "f:s:6", "f:s:7", "f:s:8"}


# --- domains ----------------------------------------------------------------------------------------------------------

DAY_S = 86_400


async def grown_up(folder: Path) -> World:
    """Its memory of domains is no longer young."""
    world = World(folder)
    assert await world.one.lookup_new(["first.example"]) is None
    await world.one._write()
    world.clock.advance(7 * DAY_S)
    return world


async def test_a_new_domain_is_new_for_a_day_to_every_listener(tmp_path: Path) -> None:
    world = await grown_up(tmp_path)
    other = world.listener()
    assert await world.one.lookup_new(["first.example", "new.example"]) == {"new.example"}
    await world.one._write()
    world.clock.advance(NEW_S - 1)
    for _ in range(3):
        assert await other.lookup_new(["new.example"]) == {"new.example"}
        await other._write()
    world.clock.advance(1)
    assert await other.lookup_new(["new.example"]) == frozenset()


async def test_a_flood_writes_its_domain_once(tmp_path: Path) -> None:
    world = await grown_up(tmp_path)
    for _ in range(50):
        assert await world.one.lookup_new(["flood.example"]) == {"flood.example"}
    assert len(world.one._waiting) == 3  # seen, new, and the memory's own
    await world.one._write()
    assert await world.one.lookup_new(["flood.example"]) == {"flood.example"}
    assert world.one._waiting == {}


async def test_an_old_domain_that_is_seen_is_kept(tmp_path: Path) -> None:
    world = await grown_up(tmp_path)
    for _ in range(4):
        assert await world.one.lookup_new(["first.example"]) == frozenset()
        await world.one._write()
        world.clock.advance(100 * DAY_S)
    world.clock.advance(21 * DAY_S)
    assert await world.one.lookup_new(["first.example"]) is None, "nothing was seen at all: it is young again"


async def test_a_store_that_fails_or_is_late_says_nothing_of_domains(monkeypatch: pytest.MonkeyPatch) -> None:
    before = module.DOMAINS_BLIND._value.get()
    store = Failing(fail)
    one = Reputation(store, b"secret")
    for _ in range(3):
        assert await one.lookup_new(["a.example"]) is None
    assert store.asked == 1
    monkeypatch.setattr(module, "_RECALL_S", 0.05)
    go_on = threading.Event()
    late = Reputation(Failing(lambda: fail() if go_on.wait(10) else None), b"secret")
    assert await late.lookup_new(["a.example"]) is None
    go_on.set()
    await late.close()
    assert module.DOMAINS_BLIND._value.get() == before + 4


async def test_a_domain_that_could_not_be_written_is_written_later() -> None:
    store = MemoryCounters()
    one = Reputation(store, b"secret")
    await one.lookup_new(["a.example"])
    store.is_down = True
    await one._write()
    store.is_down = False
    await one._write()
    assert sorted(key[:4] for key in store.values) == ["f:n:", "f:s:", "f:s:", "f:y:"]


async def test_a_mark_is_written_before_what_it_marks() -> None:
    class Dying(MemoryCounters):
        def add_many(self, amounts: Mapping[str, float], ttl_s: float) -> None:
            if any(key.startswith("f:s:") for key in amounts):
                raise StoreError("down")
            super().add_many(amounts, ttl_s)

    store = Dying()
    one = Reputation(store, b"secret")
    await one.lookup_new(["a.example"])
    await one._write()
    assert sorted(key[:4] for key in store.values) == ["f:n:", "f:y:"], "else it would be old at once"


# --- greylisting ----------------------------------------------------------------------------------------------------------


async def test_asked_once_and_then_let_in(world: World) -> None:
    said = verdict(3.0)
    first = await world.greylist(envelope(), said)
    assert first == "greylisted: first contact from 192.0.2.0/24 with score 3.0, asked to come again"
    world.clock.advance(299)
    assert (await world.greylist(envelope(), said)).endswith("came again too soon")
    world.clock.advance(2)
    assert await world.greylist(envelope(), said, world.listener()) == ""


async def test_who_came_again_is_a_known_pool(world: World) -> None:
    said = verdict(3.0)
    await world.greylist(envelope(), said)
    world.clock.advance(301)
    assert await world.greylist(envelope(), said) == ""
    await world.one._write()
    assert await world.greylist(envelope(reverse_path="new@example.net"), said) == ""
    assert await world.greylist(envelope(client=Client("198.51.100.1")), said)


async def test_too_late_is_a_first_contact_again(world: World) -> None:
    await world.greylist(envelope(), verdict(3.0))
    world.clock.advance(86_401)
    assert (await world.greylist(envelope(), verdict(3.0))).endswith("asked to come again")


@pytest.mark.parametrize(
    "other",
    [envelope(reverse_path="a@example.org"), envelope("reza@darban.test"), envelope(client=Client("198.51.100.1"))],
)
async def test_only_the_same_three_have_waited(world: World, other: Envelope) -> None:
    await world.greylist(envelope(), verdict(3.0))
    world.clock.advance(301)
    assert (await world.greylist(other, verdict(3.0))).endswith("asked to come again")


async def test_a_pool_comes_again_from_another_network(world: World) -> None:
    said = verdict(3.0, auth=(AuthResult("spf", "pass", "mailer.example"),))
    assert await world.greylist(envelope(), said)
    world.clock.advance(301)
    assert await world.greylist(envelope(client=Client("198.51.100.1")), said) == ""


async def test_every_recipient_has_to_have_waited(world: World) -> None:
    said = verdict(3.0)
    await world.greylist(envelope("you@darban.test"), said)
    world.clock.advance(301)
    assert (await world.greylist(envelope(*BOTH), said)).endswith("asked to come again")
    world.clock.advance(301)
    assert await world.greylist(envelope(*BOTH), said) == ""


async def test_proven_mail_and_trusted_networks_are_never_asked(tmp_path: Path) -> None:
    world = World(tmp_path, trusted=("198.51.100.0/24",))
    assert await world.greylist(envelope(), verdict(3.0, auth=PROVEN)) == ""
    assert await world.greylist(envelope(client=Client("198.51.100.1")), verdict(3.0)) == ""
    assert await world.greylist(envelope(), verdict(0.0)) == ""


async def test_a_store_that_fails_defers_nothing() -> None:
    store = MemoryCounters()
    one = Reputation(store, b"secret", delays=Delays(1, 2))
    around = replace(envelope(), history=await one.recall(envelope(), CONTENT))
    said = verdict(3.0)
    store.is_down = True
    assert await one.greylist(around, said, [decide(said, around.recipients[0], POLICY)], [POLICY]) == ""


# --- rates ----------------------------------------------------------------------------------------------------------------


async def test_limits_hold_across_listeners(tmp_path: Path) -> None:
    world = World(tmp_path, limits=Limits(messages=10, recipients=4, unknown=2, domain=3))
    other = world.listener()
    for _ in range(6):
        assert world.one.admit("192.0.2.1", "") is None
        assert other.admit("192.0.2.9", "") is None
    for one in (world.one, other):
        await one._write()
    assert (other.admit("192.0.2.1", "").code, other.admit("192.0.3.1", "")) == (450, None)  # type: ignore[union-attr]


async def test_recipients_unknown_ones_and_domains(tmp_path: Path) -> None:
    one = World(tmp_path, limits=Limits(recipients=4, unknown=2, domain=3)).one
    assert [one.count_recipient("192.0.2.1") is None for _ in range(6)] == [True] * 4 + [False] * 2
    for _ in range(2):
        one.count_recipient("198.51.100.1")
        one.count_unknown("198.51.100.1")
    reply = one.count_recipient("198.51.100.1")
    assert reply is not None
    assert "unknown recipients" in reply.text
    spf = AuthResult("spf", "pass", "example.org")
    for _ in range(3):
        learn(one, envelope(reverse_path="a@example.net"), verdict(0.0, auth=(spf,)))
    assert one.admit("203.0.113.1", "a@example.org") is None
    for _ in range(3):
        learn(one, envelope(), verdict(0.0, auth=(spf,)))
    reply = one.admit("203.0.113.1", "a@Example.org")
    assert reply is not None
    assert "your domain" in reply.text


# --- the secret -------------------------------------------------------------------------------------------------------------


def test_the_secret_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "var" / "secret"
    made = load_secret(path)
    assert (len(made), path.stat().st_mode & 0o777, load_secret(path)) == (32, 0o600, made)
    assert [one.name for one in path.parent.iterdir()] == ["secret"]


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(load_secret(tmp_path / "secret"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_a_secret_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(ConfigError, match="too short"):
        load_secret(tmp_path / "secret")
    with pytest.raises(ConfigError, match="secret"):
        load_secret(tmp_path / "secret" / "secret")
