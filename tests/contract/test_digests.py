"""ports.DigestStore on SQLite and on a real PostgreSQL: claimed once, listed once, given up and never taken up again."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from gateway.stores.blobs import FileBlobs
from gateway.stores.digests import KEPT_S, KEY_S, SqlDigests
from gateway.stores.quarantine import SqlQuarantine
from gateway.types import Digest, DigestSending, HeldMessage
from tests.contract.test_stores import CONTENT, held
from tests.fakes import FakeClock

NOW = 1_000.0
YOU, HEAD = "you@darban.test", "head@darban.test"


def digest(number: int = 1, mailbox: str = YOU, reader: str = "", at: float = NOW) -> Digest:
    return Digest(f"{number:032x}", mailbox, reader or mailbox, at, "en", "gregorian", "UTC")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def store(engine: Engine, clock: FakeClock) -> SqlDigests:
    return SqlDigests(engine, clock.now)


def hold(engine: Engine, folder: Path, *messages: HeldMessage) -> None:
    SqlQuarantine(engine, FileBlobs(f"file://{folder}/blobs")).hold(messages, CONTENT)


def test_what_is_pending(engine: Engine, store: SqlDigests, tmp_path: Path) -> None:
    hold(
        engine, tmp_path,
        held(1, recipient="You@darban.test"), held(2, recipient=YOU), held(3, recipient="reza@darban.test"),
        held(4, recipient=YOU, received_at=2_000.0), held(5, recipient="x@sub.darban.test", domain="sub.darban.test"),
        held(6, recipient=YOU, state="released"),
    )  # fmt: skip
    assert store.pending("darban.test", "", 0.0, NOW) == {YOU: 2, "reza@darban.test": 1}
    assert store.pending("darban.test", "", 1.0, NOW) == {YOU: 1, "reza@darban.test": 1}
    assert store.pending("*.darban.test", "", 0.0, NOW) == {"x@sub.darban.test": 1}
    store.stop(YOU, YOU, is_stopped=True)
    store.stop(YOU, YOU, is_stopped=True)
    assert store.is_stopped(YOU, YOU)
    assert not store.is_stopped(YOU, HEAD)
    assert store.pending("darban.test", "", 0.0, NOW) == {"reza@darban.test": 1}
    assert store.pending("darban.test", HEAD, 0.0, NOW)[YOU] == 2
    store.stop(YOU, YOU, is_stopped=False)
    assert YOU in store.pending("darban.test", "", 0.0, NOW)


@pytest.mark.parametrize(
    ("state", "is_pending", "is_claimed"),
    [("sent", False, False), ("refused", True, False), ("failed", True, True), ("unknown", True, False)],
)
def test_a_message_is_listed_once(
    engine: Engine, store: SqlDigests, tmp_path: Path, state: DigestSending, is_pending: bool, is_claimed: bool
) -> None:
    hold(engine, tmp_path, held(1, recipient=YOU, score=9.0), held(2, recipient=YOU, score=3.0))
    lowest, highest = f"{2:032x}", f"{1:032x}"
    assert store.preview(digest(), 0.0, 9) == [lowest, highest]
    assert store.claim(digest(), 0.0, 1) == [lowest]
    assert store.claim(digest(), 0.0, 1) == ()
    assert store.pending("darban.test", "", 0.0, NOW) == {YOU: 1}  # what is being sent is told already
    assert store.pending("darban.test", HEAD, 0.0, NOW) == {YOU: 2}
    assert store.claim(digest(2, reader=HEAD), 0.0, 9) == [lowest, highest]
    store.settle(digest().id, state, "said\0")
    assert store.pending("darban.test", "", 0.0, NOW) == {YOU: 2 if is_pending else 1}
    again = store.claim(digest(), 0.0, 1)
    assert again == ([lowest] if is_claimed else ())
    assert store.claim(digest(3), 0.0, 9) == ([highest] if not is_pending or is_claimed else [lowest, highest])


def test_a_settled_one_stays_as_it_is(engine: Engine, store: SqlDigests, tmp_path: Path) -> None:
    hold(engine, tmp_path, held(1, recipient=YOU))
    assert store.claim(digest(), 0.0, 9)
    store.settle(digest().id, "sent", "")
    store.settle(digest().id, "failed", "")
    assert store.claim(digest(), 0.0, 9) == ()


def test_a_claim_nobody_settled_is_given_up_once(
    engine: Engine, store: SqlDigests, clock: FakeClock, tmp_path: Path
) -> None:
    hold(engine, tmp_path, held(1, recipient=YOU))
    assert store.claim(digest(), 0.0, 9)
    assert store.give_up(NOW - 900) == []
    clock.advance(1_000)
    assert store.give_up(clock.now() - 900) == [digest()]
    assert store.give_up(clock.now() - 900) == []
    assert store.claim(digest(), 0.0, 9) == ()  # never sent again
    assert store.claim(digest(2), 0.0, 9)  # its messages come in the next


def test_one_of_several_runs_is_first(engine: Engine, store: SqlDigests, tmp_path: Path) -> None:
    hold(engine, tmp_path, *(held(number, recipient=YOU) for number in range(1, 20)))
    found: list[str] = []
    start = threading.Barrier(6)

    def claim(number: int) -> None:
        start.wait()
        found.extend(store.claim(digest(1 + number % 3, at=NOW + number % 3), 0.0, 9))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(set(found)) == 19


def test_keys_are_replaced(store: SqlDigests, clock: FakeClock) -> None:
    number, first = store.signing_key()
    assert (number, len(first)) == (1, 32)
    assert store.signing_key() == (1, first)
    clock.advance(KEY_S + 1)
    assert store.signing_key()[0] == 2
    assert store.key(1) == first
    assert store.key(2) not in (None, first)
    assert store.key(3) is None
    clock.advance(KEPT_S - KEY_S)
    store.purge()
    assert (store.key(1), store.signing_key()[0]) == (None, 3)


def test_what_is_old_goes(engine: Engine, store: SqlDigests, clock: FakeClock, tmp_path: Path) -> None:
    hold(engine, tmp_path, held(1, recipient=YOU))
    store.claim(digest(), 0.0, 9)
    assert store.get(digest().id) == digest()
    clock.advance(KEPT_S + 1)
    store.purge()
    assert store.get(digest().id) is None
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM digest_item")) == 0


def test_one_that_failed_lists_what_there_is_then(engine: Engine, store: SqlDigests, tmp_path: Path) -> None:
    hold(engine, tmp_path, held(1, recipient=YOU))
    assert len(store.claim(digest(), 0.0, 9)) == 1
    store.settle(digest().id, "failed", "451 later")
    hold(engine, tmp_path, held(2, recipient=YOU))
    assert len(store.claim(replace(digest(), language="fa"), 0.0, 9)) == 2
    assert store.get(digest().id) == replace(digest(), language="fa")
