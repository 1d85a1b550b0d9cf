"""The smallest change that would have had a message delivered: the right one, and the truth.

The rules and the model are those that ship. Each named change is made in earnest (a real signature, a DNS that answers
otherwise, the bytes without the link) and the message goes through the whole pipeline again: it must come to the action
that was named.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import SimpleNamespace

import pytest

from gateway.app.compose import domain_policies
from gateway.app.pipeline import load_pipeline
from gateway.checks.new_domain import NewDomain
from gateway.config.settings import DnsList, Settings
from gateway.errors import ScorerError
from gateway.policy.decide import decide
from gateway.policy.senders import Said
from gateway.scan.change import SIZES, Case, Change, make, possible
from gateway.scan.counterfactual import MAX_JUDGED, Flip, find_flip, flip_object
from gateway.scan.pipeline import Pipeline
from gateway.types import ActionName, Client, DomainPolicy, Envelope, SenderEntry, Verdict
from tests.builders import envelope, message_bytes, recipient
from tests.compiled_rules import COMPILED
from tests.dkim_keys import rsa_record, sign
from tests.fakes import FakeResolver

LISTS = (
    DnsList(preset="psbl", zone="list.example"),
    DnsList(preset="spamhaus-dbl", zone="url.example", asked=("link",)),
)
SETTINGS = Settings(dns_list=LISTS)
POLICY = domain_policies(SETTINGS).policy("darban.test") or DomainPolicy("", "")
CLIENT = "93.184.216.34"
HOME = {  # of example.org, which sends as it should
    "example.org": {"MX": ["10 mx.example.org"], "TXT": [f"v=spf1 ip4:{CLIENT} -all"], "A": [CLIENT]},
    "mail.example.org": {"A": [CLIENT]},
    "34.216.184.93.in-addr.arpa": {"PTR": ["mail.example.org"]},
    "bank.example": {"MX": ["10 mx.bank.example"], "TXT": ["v=spf1 -all"]},
    "_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject"]},
    "dbltest.com.url.example": {"A": ["127.0.1.2"]},
    "2.0.0.127.list.example": {"A": ["127.0.0.2"]},
}
BAD_LINK = {"pills.com.url.example": {"A": ["127.0.1.2"]}}
LISTED = {"34.216.184.93.list.example": {"A": ["127.0.0.2"]}}
NAMELESS = {"34.216.184.93.in-addr.arpa": {}}
ALIGNED = {"s1._domainkey.bank.example": {"TXT": [rsa_record(2048)]}}

CHAT = "Dear colleagues, the minutes of the meeting are attached to this letter, as we agreed. Thanks, Sara\r\n"
FULL = "Your mailbox is almost full. Please verify your account: "
LURE = "http://203.0.114.77:8081/verify/login.php?email=you@darban.test"
CASH = "You have won US$1,500,000.00 in the international lottery. Send your bank details now and keep it strictly confidential."
PROGRAM = (
    "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nFrom: Sara <sara@example.org>\r\nTo: you@darban.test\r\n"
    "Subject: Minutes\r\nDate: Mon, 21 Sep 2026 13:33:20 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n--b\r\n"
    f"Content-Type: text/plain\r\n\r\n{CHAT}--b\r\nContent-Type: application/octet-stream; name=invoice.pdf.exe\r\n"
    "Content-Disposition: attachment; filename=invoice.pdf.exe\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    "TVqQAAMAAAAEAAAA//8AALgAAAAA\r\n--b--\r\n"
).encode()


def page(body: str, **fields: str) -> bytes:
    return message_bytes(f"{body}\r\n", MIME_Version="1.0", Content_Type="text/html; charset=utf-8", **fields)


@dataclass(frozen=True)
class Row:
    content: bytes
    changes: set[Change]
    zones: dict = field(default_factory=dict)  # besides HOME
    reverse_path: str = "sara@example.org"
    at: float = 8.0  # quarantine_at


ROWS = {
    "link": Row(page(f"<p>{CHAT}</p><p>{FULL}<a href='{LURE}'>mail.darban.test</a></p>"), {Change("link", "203.0.114.77")}),
    "link in plain text": Row(message_bytes(f"{CHAT}{FULL}{LURE}\r\n"), {Change("link", "203.0.114.77")}),
    "answers": Row(
        message_bytes("Are you at your desk? I need you to process an urgent wire transfer today.\r\n", Reply_To="boss@gmail.com"),
        {Change("reply_to", "")},
    ),
    "forged author": Row(
        message_bytes(CHAT, From="Bank <info@bank.example>"), {Change("dkim", "bank.example")}, reverse_path="info@bank.example"
    ),
    "attachment": Row(PROGRAM, {Change("attachment", "invoice.pdf.exe")}),
    "listed client": Row(message_bytes(f"{CHAT}"), {Change("unlisted", CLIENT)}, LISTED),
    "passage": Row(
        message_bytes(f"{CHAT}\r\n{CASH}\r\n\r\nThe next meeting is on Monday, in the small room. {CHAT}\r\nSee you there, Sara\r\n"),
        {Change("passage", CASH)},
    ),
    "hidden text": Row(
        page(f"<p>{CHAT}</p><div style='display:none'>{'the garden behind the church was quiet ' * 12}</div>"), {Change("hidden", "")}
    ),
    "listed link": Row(
        message_bytes(f"{CHAT}See http://shop.pills.com/ and http://www.ettus.org/\r\n"), {Change("link", "pills.com")}, BAD_LINK
    ),
    "listed link and client": Row(
        message_bytes(f"{CHAT}See http://shop.pills.com/ and http://www.ettus.org/\r\n"),
        {Change("link", "pills.com"), Change("unlisted", CLIENT)},
        BAD_LINK | LISTED,
    ),
    "server that SPF forbids": Row(
        message_bytes(CHAT), {Change("spf", "other.com")}, {"other.com": {"MX": ["10 mx.other.com"], "TXT": ["v=spf1 -all"]}}, "b@other.com"
    ),
    "client without a name": Row(message_bytes(CHAT), {Change("iprev", CLIENT)}, NAMELESS),
    "sender's name": Row(
        message_bytes(CHAT, From='"support@darban.test" <sara@example.org>'),
        {Change("author_name", "support@darban.test")},
    ),
    "subject": Row(message_bytes(CHAT, Subject="YOU HAVE WON $1,500,000 USD!!!"), {Change("subject", "")}),
    "message id": Row(message_bytes(CHAT, Message_ID="<>"), {Change("message_id", "")}),
    "date": Row(message_bytes(CHAT, Date="Mon, 21 Sep 2037 13:33:20 +0000"), {Change("date", "")}),
}  # fmt: skip


@cache
def pipeline() -> Pipeline:
    return load_pipeline(SETTINGS, COMPILED, explain_all=True)()


async def judge(content: bytes, zones: dict, around: Envelope) -> Verdict:
    ours = pipeline()
    ours._resolver = resolver = FakeResolver(HOME | zones)
    for check in ours._envelope_checks:
        for one in getattr(check, "_lists", ()):
            one._resolver, one._test, one._is_tested, one._passed_at = resolver, None, True, 1e12
    return await ours.score(around, content)


def around(row: Row) -> Envelope:
    return envelope(client=Client(CLIENT, helo="mail.example.org"), reverse_path=row.reverse_path)


def policy(row: Row) -> DomainPolicy:
    return replace(POLICY, tag_at=row.at, quarantine_at=row.at, reject_at=50.0)


def action(verdict: Verdict, wanted: DomainPolicy) -> ActionName:
    return decide(verdict, recipient(), wanted).action


async def flip_of(row: Row) -> tuple[Flip, Case]:
    verdict = await judge(row.content, row.zones, around(row))
    case = pipeline().case(around(row), row.content, verdict)
    return find_flip(case, verdict, pipeline().judge_again, policy(row)), case


async def in_earnest(row: Row, case: Case, changes: Iterable[Change]) -> Verdict:
    """The message as it would have come, through the whole pipeline."""
    zones, content = dict(row.zones), case.content
    changed: Case | None = case
    for change in changes:
        changed = make(changed, change) if changed else None
        assert changed is not None
        content = changed.content
        zones |= {"unlisted": {"34.216.184.93.list.example": {}}, "dkim": ALIGNED}.get(change.kind, {})
        if change.kind == "spf":
            zones |= {change.value: {"MX": ["10 mx.example"], "TXT": [f"v=spf1 ip4:{CLIENT} -all"]}}
        if change.kind == "iprev":
            zones |= {"34.216.184.93.in-addr.arpa": HOME["34.216.184.93.in-addr.arpa"]}
    if any(change.kind == "dkim" for change in changes):
        content = sign(content, "bank.example", 2048, include_headers=[b"from", b"to", b"subject", b"date"])
    return await judge(content, zones, around(row))


async def just_held(row: Row) -> Row:
    """The row with a threshold that its changes bring it under, and little else does, whatever the scores are."""
    case = pipeline().case(around(row), row.content, await judge(row.content, row.zones, around(row)))
    return replace(row, at=(await in_earnest(row, case, sorted(row.changes))).score + 0.3)


@pytest.mark.parametrize("name", ROWS)
async def test_the_right_change_is_named_and_is_the_truth(name: str) -> None:
    row = await just_held(ROWS[name])
    flip, case = await flip_of(row)
    assert (flip.was, {*flip.changes}) == ("quarantine", row.changes), flip_object(flip)
    verdict = await in_earnest(row, case, flip.changes)
    assert action(verdict, policy(row)) == flip.action == "accept", [(hit.name, hit.score) for hit in verdict.hits]
    assert verdict.score == pytest.approx(flip.score, abs=0.25)


BAITS = (
    f"{FULL}{LURE}", CASH, "Click here to claim your prize: http://prize.example/pay.apk", "Dear user, act now, it is risk free.",
    "We need an urgent wire transfer today, are you at your desk?", "خرید ویژه: رمز دوم کارت خود را وارد کنید http://203.0.114.9/a.apk",
)  # fmt: skip
FIELDS: tuple[dict[str, str], ...] = (
    {"Reply_To": "claims.agent.77@gmail.com"},
    {"Subject": "YOU HAVE WON $1,500,000 USD!!!"},
    {"Date": "never"},
    {"From": "Bank <info@bank.example>"},
    {"From": '"support@darban.test" <sara@example.org>'},
    {"Message_ID": ""},
)


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_is_named_is_the_truth(seed: int) -> None:
    chooser = random.Random(seed)
    fields: dict[str, str] = {}
    for one in chooser.sample(FIELDS, chooser.randint(0, 2)):
        fields |= one
    texts = [CHAT, *chooser.sample(BAITS, chooser.randint(1, 3)), "The next meeting is on Monday, in the small room."]
    if chooser.random() < 0.5:
        content = page("".join(f"<p>{text.strip()}</p>" for text in texts), **fields)
    else:
        content = message_bytes("\r\n\r\n".join(texts) + "\r\n", **fields)
    path = "info@bank.example" if "bank.example" in fields.get("From", "") else "sara@example.org"
    row = Row(content, set(), chooser.choice([{}, LISTED, NAMELESS]), path)
    row = replace(
        row, at=max(0.5, (await judge(row.content, row.zones, around(row))).score - chooser.uniform(0.1, 7.0))
    )
    flip, case = await flip_of(row)
    assert flip.was == "quarantine"
    if flip.changes:
        verdict = await in_earnest(row, case, flip.changes)
        assert action(verdict, policy(row)) == flip.action == "accept", flip_object(flip)
    else:
        assert flip.signs == sum(hit.score > 0 for hit in (await judge(content, row.zones, around(row))).hits)


async def test_nothing_is_enough_where_much_agrees() -> None:
    content = message_bytes("\r\n\r\n".join(BAITS), Subject="YOU HAVE WON!!!", Reply_To="a@gmail.com", Date="never")
    flip, _ = await flip_of(Row(content, set(), at=5.0))
    assert (flip.changes, flip.is_needed) == ((), True)
    assert flip.signs > 8
    assert flip_object(flip)["text"].startswith("No single change and no two together")


async def test_what_is_clean_by_now_needs_nothing() -> None:
    row = Row(message_bytes(CHAT), set())
    verdict = await judge(row.content, {}, around(row))
    kept = replace(verdict, score=30.0)
    flip = find_flip(pipeline().case(around(row), row.content, kept), kept, pipeline().judge_again, POLICY)
    assert (flip.is_needed, flip.changes, flip.action) == (False, (), "accept")


def entry(act: str, pattern: str, to: str = "", number: int = 1, **said: object) -> SenderEntry:
    values: dict = {"expires_at": None, "by": f"mina{number}", "at": 1.0, "number": number} | said
    return SenderEntry(act, pattern, to, **values)  # type: ignore[arg-type]


async def flip_with(row: Row, *entries: SenderEntry) -> dict:
    verdict = await judge(row.content, row.zones, around(row))
    case = pipeline().case(around(row), row.content, verdict)
    return flip_object(find_flip(case, verdict, pipeline().judge_again, policy(row), Said(entries)))


CLEAN = Row(message_bytes(CHAT), set())
HELD = replace(CLEAN, at=-50.0)  # whatever is changed, by its score
FORGED = ROWS["forged author"]
BLOCK, BLOCK_ALL = entry("block", "sara@example.org", "you@darban.test"), entry("block", ".example.org", number=2)
ALLOW, ALLOW_ALL = entry("allow", "sara@example.org"), entry("allow", "example.org", number=2)
ALLOW_FORGED = entry("allow", "info@bank.example")
ENTRIES = {
    "nothing but a block": (CLEAN, (BLOCK,), "quarantine", [("block", "sara@example.org mina1")], ""),
    "two blocks": (
        CLEAN, (BLOCK_ALL, BLOCK), "quarantine",
        [("block", "sara@example.org mina1"), ("block", ".example.org mina2")], "",
    ),
    "a block before an allow": (HELD, (BLOCK, ALLOW_ALL), "quarantine", [("block", "sara@example.org mina1")], ""),
    "a block of others' mail": (CLEAN, (entry("block", "example.org", "me@darban.test"),), "accept", [], ""),
    "a block that ended": (CLEAN, (entry("block", "example.org", expires_at=2.0),), "accept", [], ""),
    "an allow that counts": (
        HELD, (ALLOW,), "accept", [], "allowed by mina1's entry without an end (spf=example.org)",
    ),
    "an allow without proof": (
        replace(FORGED, at=-50.0), (ALLOW_FORGED,), "quarantine", [("dkim", "bank.example")],
        "mina1's entry does not count: the author is not proven",
    ),
    "an allow of malware": (
        replace(ROWS["attachment"], at=-50.0), (ALLOW,), "quarantine", None, "mina1's entry lets no malware in",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENTRIES)
async def test_what_is_said_of_the_sender_is_told(name: str) -> None:
    row, entries, was, changes, said = ENTRIES[name]
    flip = await flip_with(row, *entries)
    assert (flip["was"], flip["entry"], flip["is_needed"]) == (was, said, was != "accept"), flip
    if changes is not None:
        assert [(one["kind"], one["value"]) for one in flip["changes"]] == changes
        assert flip["action"] == "accept"
    assert not said or flip["text"].endswith(f" ({said})")


async def test_a_block_and_what_else_it_takes() -> None:
    flip = await flip_with(await just_held(ROWS["link"]), BLOCK)
    assert flip["text"] == (
        "It would have been delivered without the block of sara@example.org by mina1 and without the link to 203.0.114.77."
    )


async def test_a_stage_that_fails_is_no_change_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    row = await just_held(ROWS["link"])
    verdict = await judge(row.content, row.zones, around(row))
    case = pipeline().case(around(row), row.content, verdict)

    check = SimpleNamespace(
        name="fails", findings=(), check=lambda mail: [] if mail.message.raw == case.content else 1 / 0
    )
    monkeypatch.setattr(pipeline(), "_message_checks", (*pipeline()._message_checks, check))
    flip = find_flip(case, verdict, pipeline().judge_again, policy(row))
    assert all(change.kind in ("dkim", "spf", "iprev", "unlisted") for change in flip.changes)
    check.check = lambda _: 1 / 0
    with pytest.raises(ScorerError):
        find_flip(case, verdict, pipeline().judge_again, policy(row))


async def test_judging_again_is_judging() -> None:
    """Without a change the same score comes out, and nobody is asked."""
    for row in ROWS.values():
        verdict = await judge(row.content, row.zones, around(row))
        ours = pipeline()
        ours._resolver = FakeResolver({})
        again = ours.judge_again(ours.case(around(row), row.content, verdict), verdict, explained=True)
        assert (again.score, again.hits) == (pytest.approx(verdict.score), verdict.hits)
        assert ours._resolver.queries == []


class Memory:
    """ports.DomainMemory to which one domain is new."""

    async def lookup_new(self, domains: Sequence[str]) -> frozenset[str]:
        return frozenset(domains) & {"fresh.com"}


async def test_the_memory_of_domains_is_asked_once_and_goes_with_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    content = message_bytes(f"{CHAT}See http://shop.fresh.com/ and http://www.ettus.org/\r\n")
    checks = [NewDomain(Memory()) if check.name == "new_domain" else check for check in pipeline()._envelope_checks]
    monkeypatch.setattr(pipeline(), "_envelope_checks", checks)
    row = Row(content, {Change("link", "fresh.com")})
    verdict = await judge(content, {}, around(row))
    assert "URL_DOMAIN_NEW" in {hit.name for hit in verdict.hits}
    case = pipeline().case(around(row), content, verdict)
    again = pipeline().judge_again(case, verdict, explained=True)
    assert (again.score, again.hits) == (pytest.approx(verdict.score), verdict.hits)
    without = make(case, Change("link", "fresh.com"))
    other = make(case, Change("link", "ettus.org"))
    assert without is not None and other is not None
    assert "URL_DOMAIN_NEW" not in {hit.name for hit in pipeline().judge_again(without, verdict).hits}
    assert "URL_DOMAIN_NEW" in {hit.name for hit in pipeline().judge_again(other, verdict).hits}
    earnest = await in_earnest(row, case, row.changes)
    assert earnest.score == pytest.approx(pipeline().judge_again(without, verdict).score)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100_000,
        message_bytes("http://a.example/ " * 20_000),
        message_bytes("".join(f"http://d{n}.example/x {CASH}\r\n\r\n" for n in range(3000))),
        page("<p>" * 50_000 + CASH),
        page("".join(f"<div>{CASH} <a href='http://d{n}.example/'>x" for n in range(3000))),
        page("<" * 200_000),
        page("href=" * 50_000),
        page("<a href='" * 50_000),
        page("<!--" * 50_000),
        message_bytes("\n" * 300_000),
        message_bytes("won. " * 60_000),
        PROGRAM.replace(b"--b--", b"--b\r\nContent-Type: application/zip\r\n\r\nPK\r\n" * 900),
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"RnJvbTogeA0KDQp3b24=",
    ],
    ids=range(14),
)
async def test_hostile_mail_is_bounded(content: bytes) -> None:
    row = Row(content, set(), at=-50.0)
    began = time.process_time()
    flip, _ = await flip_of(row)
    assert flip.judged <= MAX_JUDGED
    assert time.process_time() - began < 6.0


def test_every_kind_has_a_size_and_can_be_made() -> None:
    from gateway.scan.change import _MAKE
    from gateway.scan.wording import _CHANGES

    assert (
        {*SIZES}
        == {*_MAKE}
        == {*_CHANGES} - {"block"}
        == {change.kind for row in ROWS.values() for change in row.changes}
    )


def test_only_what_is_there_is_changed() -> None:
    verdict = Verdict("q", 0.0, (), (), None, (), None)  # type: ignore[arg-type]
    bare = Case(envelope(), b"From: sara@example.org\r\n\r\nHello\r\n", (), ())
    assert possible(bare, verdict) == []
