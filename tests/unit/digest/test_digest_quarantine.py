"""gateway.digest.quarantine: who gets a digest when, once; the next hop is a real SMTP dialogue."""

from __future__ import annotations

import asyncio
import email
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from email import policy as email_policy
from pathlib import Path
from typing import Any

import pytest

from gateway.digest.quarantine import MOST_ITEMS, Digests, Sender, offered
from gateway.net.next_hop import NextHops
from gateway.policy import digest_link
from gateway.policy.domains import ConfiguredDomains
from gateway.stores.blobs import FileBlobs
from gateway.stores.digests import SqlDigests
from gateway.stores.engine import make_engine
from gateway.stores.quarantine import SqlQuarantine
from gateway.types import DigestPlan, DomainPolicy, HeldMessage
from gateway.web.letter import letter_writer
from tests.database import migrated
from tests.digests import NOW, held_message, site
from tests.fakes import FakeClock
from tests.smtp_sink import Script, Sink, sink

CONTENT = b"Subject: x\r\n\r\nbody\r\n"
DAILY = DigestPlan("darban.test", ("*",), ((8, 0),), frozenset(range(7)), "UTC", "en", "gregorian")
SENDER = Sender("quarantine@darban.test", "", "mx.darban.test", "https://mx.darban.test", 7 * 86_400.0)
LINK = re.compile(r"https://mx\.darban\.test/digest/([\w-]{76})")


@dataclass
class Office:
    """Digests over real stores, with a clock that stands."""

    engine: Any
    clock: FakeClock
    relay: Sink
    hops: NextHops
    plans: list[DigestPlan]
    quarantine: SqlQuarantine
    store: SqlDigests
    made: list[Digests] = field(default_factory=list)

    def digests(self) -> Digests:
        """As a process that has just started has them."""
        policy = DomainPolicy("darban.test", f"smtp://127.0.0.1:{self.relay.port}")
        return Digests(
            store=self.store, quarantine=self.quarantine, plans=self.plans, policies=ConfiguredDomains([policy]),
            next_hop=self.hops.get, write=letter_writer(site()), sender=SENDER, now=self.clock.now,
        )  # fmt: skip

    def hold(self, *messages: HeldMessage) -> None:
        named = hashlib.sha256(CONTENT).hexdigest()
        self.quarantine.hold([replace(one, content_hash=named) for one in messages], CONTENT)

    async def look(self) -> list[tuple[str, str]]:
        """Outcome by reader, of a process that has just started."""
        return [(one.digest.reader, one.outcome) for one in await self.digests().look()]


@pytest.fixture
async def office(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Office]:
    script: Script = getattr(request, "param", {})
    migrated(f"sqlite:///{tmp_path}/darban.db")
    engine, clock = make_engine(f"sqlite:///{tmp_path}/darban.db"), FakeClock(NOW + 60)
    hops = NextHops("mx.darban.test")
    async with sink(script=script) as relay:
        quarantine = SqlQuarantine(engine, FileBlobs(f"file://{tmp_path}/blobs"))
        yield Office(engine, clock, relay, hops, [DAILY], quarantine, SqlDigests(engine, clock.now))
    await hops.close()
    engine.dispose()


def message(number: int, recipient: str = "you@darban.test", **changes: object) -> HeldMessage:
    return held_message(number, "Lottery <a@b.example>", f"Prize {number}", recipient=recipient, **changes)


async def test_it_comes_once(office: Office) -> None:
    office.hold(message(1), message(2), message(3, "reza@darban.test"))
    assert sorted(await office.look()) == [("reza@darban.test", "sent"), ("you@darban.test", "sent")]
    assert await office.look() == []
    office.clock.advance(86_400)
    assert await office.look() == []  # it was told
    office.hold(message(4, received_at=NOW + 3600))
    assert await office.look() == [("you@darban.test", "sent")]
    assert len(office.relay.contents) == 3


@pytest.mark.parametrize(
    ("later_s", "comes"),
    [(-120, False), (0, True), (6 * 3600 - 120, True), (6 * 3600, False), (20 * 3600, False), (24 * 3600, True)],
)
async def test_how_late_it_may_come(office: Office, later_s: float, comes: bool) -> None:
    office.hold(message(1))
    office.clock.advance(later_s)
    assert bool(await office.look()) == comes


async def test_what_came_after_the_time_waits_for_the_next(office: Office) -> None:
    office.hold(message(1, received_at=NOW + 30))
    assert await office.look() == []
    office.clock.advance(86_400)
    assert await office.look() == [("you@darban.test", "sent")]


@pytest.mark.parametrize(
    ("office", "first", "later"),
    [
        ({"RCPT": "550 5.1.1 no such user"}, "unwanted", ["unwanted"]),
        ({"RCPT": ["451 4.2.1 later", "250 2.1.5 ok"]}, "failed", ["sent"]),
        ({"dot": "552 5.2.2 mailbox full"}, "refused", ["nothing"]),
        ({"dot": ["451 4.3.0 full", "250 2.0.0 ok"]}, "failed", ["sent"]),
        ({"greeting": "close"}, "failed", ["failed"]),
    ],
    indirect=["office"],
)
async def test_what_the_next_hop_says(office: Office, first: str, later: list[str]) -> None:
    office.hold(message(1))
    assert await office.look() == [("you@darban.test", first)]
    assert [outcome for _, outcome in await office.look()] == later


async def test_a_running_process_looks_again_after_ten_minutes(office: Office) -> None:
    office.hold(message(1))
    office.relay.script["RCPT"] = ["451 4.2.1 later", "250 2.1.5 ok"]
    running = office.digests()
    assert [one.outcome for one in await running.look()] == ["failed"]
    assert await running.look() == []
    office.clock.advance(601)
    assert [one.outcome for one in await running.look()] == ["sent"]
    assert await running.look() == []


async def test_one_whose_sender_died_is_not_sent_again(office: Office) -> None:
    office.hold(message(1))
    due = office.digests().due(DAILY, NOW)
    assert office.store.claim(due[0].digest, 0.0, 9)  # and here it is killed
    assert await office.look() == []
    office.clock.advance(1000)
    assert await office.look() == [("you@darban.test", "nothing")]
    office.clock.advance(86_400)
    assert await office.look() == [("you@darban.test", "sent")]
    assert len(office.relay.contents) == 1


async def test_stopped_while_it_is_handed_over(office: Office) -> None:
    """Nobody knows whether the next hop took it: never again."""
    office.hold(message(1))
    office.relay.script["dot"] = "hang"
    task = asyncio.ensure_future(office.digests().look())
    while not any(command.startswith("DATA") for command in office.relay.commands):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    office.relay.script.pop("dot")
    assert await office.look() == [("you@darban.test", "nothing")]


async def test_delegates_and_the_first_plan_that_fits(office: Office) -> None:
    shared = replace(DAILY, addresses=("sales",), readers=("sara@darban.test", "ali@darban.test"), language="fa")
    office.plans[:] = [shared, replace(DAILY, addresses=("none-*",), at=()), replace(DAILY, minimum=2)]
    office.hold(
        message(1, "Sales@darban.test"), message(2, "none-x@darban.test"), message(3, "you@darban.test"),
        message(4, "reza@darban.test"), message(5, "reza@darban.test"),
    )  # fmt: skip
    assert sorted(await office.look()) == [
        ("ali@darban.test", "sent"), ("reza@darban.test", "sent"), ("sara@darban.test", "sent"),
    ]  # fmt: skip


async def test_the_message(office: Office) -> None:
    office.hold(message(1, score=9.0), message(2, score=3.0), message(3, kind="malware", score=12.0))
    await office.look()
    raw = office.relay.contents[0]
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert raw.isascii()
    mail = email.message_from_bytes(raw, policy=email_policy.default)
    digest = office.digests().make(DAILY, "you@darban.test", "you@darban.test", NOW)
    assert mail["From"] == "Mail quarantine <quarantine@darban.test>"
    assert (mail["To"], mail["Subject"]) == ("you@darban.test", "3 messages held")
    assert mail["Message-ID"] == f"<{digest.id}@darban.test>"
    assert (mail["Auto-Submitted"], mail["List-Id"]) == ("auto-generated", "<quarantine-digest.darban.test>")
    text = mail.get_body(("plain",)).get_content()
    html = mail.get_body(("html",)).get_content()
    links = [digest_link.read(one) for one in LINK.findall(text)]
    assert LINK.findall(html) == LINK.findall(text)
    assert [(one.act, one.held_id[-1]) for one in links if one] == [
        ("release", "2"), ("spam", "2"), ("look", "2"), ("release", "1"), ("spam", "1"), ("look", "1"),
        ("spam", "3"), ("look", "3"), ("stop", "0"),
    ]  # fmt: skip
    key = office.store.signing_key()[1]
    assert all(digest_link.is_genuine(one, digest, key, office.clock.now()) for one in LINK.findall(text))
    assert LINK.search(mail["List-Unsubscribe"])[1] == LINK.findall(text)[-1]
    assert offered(message(3, kind="malware")) == ("spam", "look")


async def test_a_flood_shows_what_is_most_likely_wanted(office: Office) -> None:
    office.hold(*(message(number, score=float(number)) for number in range(1, MOST_ITEMS + 6)))
    await office.look()
    text = (
        email.message_from_bytes(office.relay.contents[0], policy=email_policy.default)
        .get_body(("plain",))
        .get_content()
    )
    assert [int(one) for one in re.findall(r"Prize (\d+)", text)] == list(range(1, MOST_ITEMS + 1))
    assert "5 more are held" in text


async def test_preview_notes_nothing(office: Office) -> None:
    office.hold(message(1))
    digests = office.digests()
    letter = digests.preview(digests.make(DAILY, "you@darban.test", "you@darban.test", NOW))
    assert letter.subject == "1 message held"
    assert office.store.signing_key()[0] == 1
    assert await office.look() == [("you@darban.test", "sent")]
