"""gateway.digest.sign_in_link: who gets a letter, how often, and what it says; the next hop is a real SMTP dialogue."""

from __future__ import annotations

import asyncio
import email
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import policy as email_policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from gateway.config.settings import Domain, Settings
from gateway.digest.message import Sender
from gateway.digest.sign_in_link import Asked, LinkMailer
from gateway.net.next_hop import NextHops
from gateway.policy.domains import ConfiguredDomains
from gateway.sign_in import LINK_TTL_S, Entrance, SignIn
from gateway.stores.accounts import SqlAccounts
from gateway.stores.engine import make_engine
from gateway.types import Account, DomainPolicy
from gateway.web.letter import link_letter_writer
from tests.database import migrated
from tests.digests import NOW, site
from tests.fakes import FakeClock
from tests.smtp_sink import Script, Sink, sink

YOU, IP = "you@darban.test", "192.0.2.1"
LINK = re.compile(r"https://mx\.darban\.test/link/([\w-]{43})")
SENDER = Sender("quarantine@darban.test", "", "mx.darban.test", "https://mx.darban.test", LINK_TTL_S)


@dataclass
class Office:
    mailer: LinkMailer
    sign_in: SignIn
    accounts: SqlAccounts
    relay: Sink
    clock: FakeClock
    recorded: list[tuple[str, str]] = field(default_factory=list)

    def letters(self) -> list[EmailMessage]:
        return [email.message_from_bytes(raw, policy=email_policy.default) for raw in self.relay.contents]  # type: ignore[misc]


@pytest.fixture
async def office(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Office]:
    script: Script = getattr(request, "param", {})
    migrated(f"sqlite:///{tmp_path}/darban.db")
    engine, clock, recorded = make_engine(f"sqlite:///{tmp_path}/darban.db"), FakeClock(NOW), list[tuple[str, str]]()
    hops, accounts = NextHops("mx.darban.test"), SqlAccounts(engine)
    sign_in = SignIn(accounts, Settings(domain=(Domain(name="darban.test", next_hop="maildir:x"),)))
    async with sink(script=script) as relay:
        mailer = LinkMailer(
            link_for=sign_in.link_for,
            policies=ConfiguredDomains([DomainPolicy("darban.test", f"smtp://127.0.0.1:{relay.port}")]),
            next_hop=hops.get, write=link_letter_writer(site()), sender=SENDER, now=clock.now,
            record=lambda address, client: recorded.append((address, client)),
        )  # fmt: skip
        yield Office(mailer, sign_in, accounts, relay, clock, recorded)
    await hops.close()
    engine.dispose()


@pytest.mark.parametrize("language", ["en", "fa"])
async def test_the_letter_signs_its_reader_in(office: Office, language: str) -> None:
    assert (await office.mailer.send(Asked(" You@darban.test", language, IP))).startswith("250 ")
    (letter,) = office.letters()
    assert (letter["From"].addresses[0].addr_spec, letter["To"]) == ("quarantine@darban.test", YOU)
    assert (letter["Content-Language"], letter["Auto-Submitted"]) == (language, "auto-generated")
    assert letter["List-Id"] is None
    text = letter.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    html = letter.get_body(("html",)).get_content()  # type: ignore[union-attr]
    assert {*LINK.findall(text)} == {*LINK.findall(html)} and len(LINK.findall(text)) == 1
    for words in (text, html):
        assert YOU in words and IP in words and ("۱۵ دقیقه" if language == "fa" else "within 15 minutes") in words
    assert "<img" not in html and "://" not in html.replace("https://mx.darban.test/link/", "")
    (token,) = LINK.findall(text)
    assert office.sign_in.by_link(token, IP).who == Account(YOU, "recipient", (), (YOU,))
    assert office.sign_in.by_link(token, IP) == Entrance(), "once"
    assert office.recorded == [(YOU, IP)]


@pytest.mark.parametrize(
    "address",
    ["you@elsewhere.example", "darban.test", "", "x", "a b@darban.test", "you@darban.test\r\nBcc: x@y.example", "a@b@darban.test", "<you@darban.test>"],
)  # fmt: skip
async def test_what_is_no_address_of_ours_asks_nobody(office: Office, address: str) -> None:
    assert (await office.mailer.send(Asked(address, "en", IP))).startswith("no address")
    assert office.relay.connections == 0


@pytest.mark.parametrize(
    ("office", "said"),
    [
        ({"RCPT": "550 5.1.1 no such user"}, "the next hop has no such mailbox: 550"),
        ({"dot": "552 5.2.2 mailbox full"}, "552"),
        ({"dot": "451 4.3.0 later"}, "451"),
    ],
    indirect=["office"],
)
async def test_what_the_next_hop_does_not_take(office: Office, said: str) -> None:
    assert (await office.mailer.send(Asked(YOU, "en", IP))).startswith(said)
    assert office.recorded == []


async def test_an_account_that_signs_in_elsewhere_gets_none(office: Office) -> None:
    office.accounts.create(YOU, "a long password")
    assert "signs in elsewhere" in await office.mailer.send(Asked(YOU, "en", IP))
    assert office.letters() == []


async def test_a_mailbox_gets_so_many_in_an_hour(office: Office) -> None:
    said = [await office.mailer.send(Asked(YOU, "en", f"192.0.2.{number}")) for number in range(5)]
    assert [one[:3] for one in said] == ["250", "250", "250", "the", "the"]
    assert (await office.mailer.send(Asked("reza@darban.test", "en", IP))).startswith("250")
    office.clock.advance(1200)
    assert (await office.mailer.send(Asked(YOU, "en", IP))).startswith("250")


async def test_asking_waits_for_nothing_and_has_an_end(office: Office) -> None:
    for number in range(300):
        office.mailer.ask(f"u{number}@darban.test", "en", IP)
    running = asyncio.create_task(office.mailer.run())
    async with asyncio.timeout(60):
        while len(office.recorded) < 200:
            await asyncio.sleep(0.05)
    running.cancel()
    assert len(office.letters()) == 200


@pytest.mark.parametrize("office", [{"greeting": "close"}], indirect=True)
async def test_a_next_hop_that_is_down_ends_nothing(office: Office) -> None:
    running = asyncio.create_task(office.mailer.run())
    for _ in range(6):
        office.mailer.ask(YOU, "en", IP)
    await asyncio.sleep(0.5)
    assert not running.done()
    running.cancel()
