"""Every page, read in Persian: no text is left in Latin letters that is not set apart as what it is.

Set apart is what has a direction or a language of its own, or is code: addresses, ids, names, what strangers wrote.
"""

from __future__ import annotations

import hashlib
import html
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from gateway.policy import digest_link
from gateway.policy.digest_link import NO_MESSAGE, Link
from gateway.scan.explain import verdict_json
from gateway.stores.audit import SqlAudit
from gateway.stores.digests import SqlDigests
from gateway.stores.senders import SqlSenders
from gateway.types import (
    Account,
    AuthResult,
    Contribution,
    Digest,
    DigestAct,
    Disposition,
    HeldMessage,
    Hit,
    LogQuery,
    LogRow,
    Prediction,
    SenderEntry,
    Summary,
)
from gateway.web.language import languages
from gateway.web.site import ACTS
from tests.builders import recipient, verdict
from tests.web_app import WebApp, form_token, make_web_app

OURS, OTHER = "you@darban.test", "sara@darban.test"
OWNER = Account("سارا", "owner")
HELD, FAILED, GONE = "a" * 32, "b" * 32, "c" * 32
SUBJECT = "وام فوری"
DIGEST = Digest("d" * 32, OURS, OURS, 1.9e9, "fa", "jalali", "Asia/Tehran")
# names that Persian texts use as they are, and units of the pages' own
TERMS = frozenset(
    "API ARC CSV DKIM DMARC DNS From HELO HTML HTTP IPv6 JSON LDAP Message-ID OpenAPI Received REST SHA-256 SMTP SPF TLS UTC"
    " UTF-8 Darban".split()
)
IN_SENTENCES = {  # examples that forms show in a sentence
    *"example.org name@example.org .example.org example.ir name@example.ir act allow block pattern recipient".split(),
    *"expires never network note darban admin create --link".split(),
}
PAGES = [
    "/",
    "/?state=&fold=yes&kind=spam&day_from=2026-01-01",
    "/news?state=held",
    f"/held/{HELD}",
    *(f"/held/{HELD}?show={show}" for show in ("text", "fields", "parts", "source")),
    *(f"/held/{HELD}/{part}" for part in ("print", "copies", "notes", "view", "why")),
    f"/held/{FAILED}",
    f"/held/{GONE}",
    f"/bulk?act=release&id={HELD}&id={FAILED}",
    "/jobs",
    "/log",
    "/log?since=1405/01/01&action=reject&until=x",
    "/log/Q1",
    "/log/row/{row}",
    "/senders",
    "/senders?ended=yes&act=block",
    f"/senders/new?act=allow&held={HELD}",
    "/senders/new?act=block&pattern=a@example.org&days=30",
    "/senders/1",
    "/learning",
    "/learning/revoke?trainer=sara",
    "/accounts",
    "/accounts/new",
    "/accounts/edit?name=reza",
    "/audit",
    "/audit?since=1405/01/01",
    "/audit?since=x",
    f"/privacy?address={OURS}",
    "/privacy?address=x@foreign.example",
    "/account",
    "/account/code",
    "/account/tokens",
    "/api",
    "/no-such-page",
    "/held/none",
    "{digest:release}",
    "{digest:spam}",
    "{digest:look}",
    "{digest:stop}",
    "/digest/x",
    "/link/x",
]
AT_THE_DOOR = ["/sign-in", "/sign-in/link", "/setup/{setup}", "/reset/{reset}", "/setup/x", "/reset/x", "/link/{link}"]
NO_PAGES = {
    "/api/openapi.json",
    "/favicon.ico",
    "/held/{held_id}/part/{path}",
    "/held/{held_id}/source",
    "/jobs/{job_id}",  # see test_after_acts
    "/language/{code}",
    "/log/export.csv",
    "/senders/export.csv",
    "/sign-in/oidc",
    "/sign-in/oidc/back",
}
REASONS = [
    "score 9.0 >= quarantine_at 8.0; held, as other recipients get it",
    "incomplete: check url: timeout",
    "blocked by sara's entry until 2027-01-03",
    "next hop refused: 550 No such user",
    "greylisted: first contact from 192.0.2.0/24 with score 3.1, asked to come again",
    "dns list: ZEN",
    "3 more like this: connection limit: client_rate",
    "what another version said",
]
DETAILS = {
    "release": "released: 250 2.0.0 Ok; learned; from a digest",
    "spam": "deleted: ; learned",
    "redirect": f"released: 250 Ok; copy of {HELD} for {OURS} to {OTHER}",
    "sign-in-refused": "password, and 7 more before, not written",
    "sender-allow": "allow for mail to darban.test, until 2027-01-03, from 192.0.2.0/24 without proof: asked for",
    "account-change": "sara: reviewer darban.test -> owner",
    "token-add": "t1 backup: read release",
    "erase": "held 1, log 12, lessons 0, accounts 1, counters 4, senders 2 audit:3,7-9",
    "teach": "spam in the name of sara: 3 learned, 1 known",
    "expire": "3 malware",
    "destroy key": "darban.test 2026-09",
    "rotate key": "4 keys wrapped anew",
    "digest": "no more",
    "export": "q=offer&action=reject",
    "bulk release": "12 messages",
    "bulk delete": "3 messages: state=held",
}
EVIDENCE = {
    "CLASSIFIER": (),
    "SPF_FAIL": ("192.0.2.1 is not permitted by example.org, by -all",),
    "SUBJECT_HAS_LOCAL_PART": (f"the subject holds {OURS}",),
    "LOOKALIKE_TWIN": ("From: examp1e.org can hardly be told from your domain example.org: “1” for “l”",),
    "AUTHOR_HIDES": ("From turns the reading direction, so that the name reads backwards",),
    "FROM_ENCODED": ("the From field is encoded as a whole, address and all", "Pharma Deals <a@example.org>"),
    "DNSBL_ZEN": ("the client 192.0.2.1 is on zen (127.0.0.2)",),
}
VERDICT = verdict(
    9.0,
    hits=[Hit(name, 2.0, "x", lines) for name, lines in EVIDENCE.items()],
    prediction=Prediction(0.99, "m", (Contribution("words", "buy now", 2.0), Contribution("links", "0", -1.0))),
    incomplete=("dns: spf could not be looked up", "dns list zen: its test entries did not answer yet", "other words"),
    auth=(
        AuthResult("iprev", "permerror", reason="192.0.2.1 has no usable name in the DNS"),
        AuthResult("spf", "fail", "example.org", reason=f'{EVIDENCE["SPF_FAIL"][0]}; example.org says: "Go away"'),
        AuthResult("dkim", "fail", "example.org", reason="the body was changed after signing"),
        AuthResult("dkim", "permerror", reason="the signature lacks d="),
        AuthResult("arc", "fail", "example.org", reason="the seal of example.org: there is no key k.example.org"),
        AuthResult(
            "dmarc", "fail", "example.org", policy="reject", reason="neither SPF nor DKIM passes for example.org"
        ),
    ),
)
TRANSLATIONS = {"fa": dict.fromkeys(EVIDENCE, "شرح این یافته")}
CONTENT = (
    "From: Pharma Deals <a@example.org>\r\nTo: you@darban.test\r\nSubject: وام\r\nContent-Type: text/html\r\n\r\n"
    "<p>Buy now <a href=http://x.example/>www.bank.example</a></p><p style=display:none>hidden words for nobody</p>"
).encode()


@dataclass
class Texts(HTMLParser):
    """What a page says outside of what is set apart."""

    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[tuple[str, bool]] = []  # tag, whether it sets apart

    _VOID = frozenset("area base br col embed hr img input link meta source track wbr rect".split())
    _APART = frozenset("bdi code kbd pre script style".split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        is_apart = tag in self._APART or (tag != "html" and ("dir" in given or "lang" in given))
        if not (is_apart or any(apart for _, apart in self._open)):
            said = ("placeholder", "title", "aria-label", "alt", "hx-confirm", "data-label", "data-copied")
            # an attribute has nothing to set an address apart with
            self.found += [re.sub(r"\S+@\S+", "", given[name] or "") for name in said if name in given]
        if tag not in self._VOID:
            self._open.append((tag, is_apart))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not any(apart for _, apart in self._open):
            self.found.append(data)


def left_over(page: str) -> list[str]:
    """Words in Latin letters that are said in English."""
    texts = Texts()
    texts.feed(page)
    words = [word.strip("().,;:?!،؛؟«»…·`'\u2066\u2069\u200e\u200f") for text in texts.found for word in text.split()]
    return [word for word in words if re.search("[A-Za-z]{2}", word) and word not in TERMS | IN_SENTENCES]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebApp]:
    made = make_web_app(tmp_path, translations=TRANSLATIONS, mail_link=lambda *asked: None)
    made.accounts.add(OWNER)
    made.accounts.add(Account("reza", "domain_admin", ("darban.test",)))
    _fill(made)
    yield made
    made.engine.dispose()


def _fill(web: WebApp) -> None:
    rows = [
        _held(HELD, OURS, REASONS[0]),
        _held(FAILED, OTHER, REASONS[2]),
        _held(GONE, "reza@darban.test", REASONS[1]),
    ]
    web.quarantine.hold(rows, CONTENT)
    assert web.quarantine.transition(FAILED, ("held",), "releasing", by="reza")
    assert web.quarantine.transition(
        FAILED, ("releasing",), "held", "451 4.4.1 The next hop cannot be reached", by="reza"
    )
    assert web.quarantine.transition(GONE, ("held",), "deleted", "expired: kept for 30 days")
    summary = Summary("1@example.org", SUBJECT, "Pharma Deals <a@example.org>", 2000)
    row = LogRow("Q1", time.time(), "192.0.2.1", "mail.example.org", "a@example.org", OURS, summary, "quarantine",
                 "250 2.0.0 Message accepted (Q1)", 9.0, ("SPF_FAIL",), REASONS[0])  # fmt: skip
    others = [
        replace(
            row, queue_id="" if at % 2 else f"Q{at}", action="reject", reply="550 5.7.1 Message refused", reason=reason
        )
        for at, reason in enumerate(REASONS)
    ]
    web.message_log.append([row, *others])
    senders, audit = SqlSenders(web.engine), SqlAudit(web.engine)
    entry = SenderEntry("allow", "example.org", OURS, None, "sara", time.time(), "asked for", HELD, "192.0.2.0/24")
    for one in (entry, replace(entry, act="block", recipient="", expires_at=time.time() + 9e5, network="", held_id="")):
        senders.add(one)
    for act in ACTS:
        audit.append("sara", act, HELD if act in ("view", "release") else "", DETAILS.get(act, ""), client="192.0.2.9")


def _held(held_id: str, address: str, reason: str) -> HeldMessage:
    wanted = Disposition(recipient(address), "quarantine", reason, 5.0)
    summary = Summary("1@example.org", SUBJECT, "Pharma Deals <a@example.org>", 2000)
    return HeldMessage(held_id, "Q1", hashlib.sha256(CONTENT).hexdigest(), "a@example.org", address, "darban.test", "192.0.2.1", "mail.example.org",
                       time.time() - 90 * 3600, summary, 9.0, reason, verdict_json(VERDICT, wanted), attachments=1,
                       campaign="f" * 16, kind="spam")  # fmt: skip


def _paths(web: WebApp) -> dict[str, str]:
    store = SqlDigests(web.engine)
    assert store.claim(DIGEST, 0.0, 9) == [HELD]
    number, key = store.signing_key()
    acts: tuple[DigestAct, ...] = ("release", "spam", "look", "stop")
    links = {
        act: Link(number, act, int(time.time() + 999), NO_MESSAGE if act == "stop" else HELD, DIGEST.id) for act in acts
    }
    return {f"{{digest:{act}}}": f"/digest/{digest_link.sign(link, DIGEST, key)}" for act, link in links.items()}


def _persian(client: TestClient) -> TestClient:
    client.cookies.set("darban_language", "fa")
    return client


def test_every_page_is_persian(web: WebApp) -> None:
    client, digests = _persian(web.client(OWNER)), _paths(web)
    row = web.message_log.search(LogQuery()).rows[1].number
    left = {}
    for path in PAGES:
        answer = client.get(digests.get(path, path.replace("{row}", str(row))))
        assert answer.status_code in (200, 400, 404), (path, answer.status_code)
        assert answer.headers["content-type"].startswith("text/html"), path
        left[path] = left_over(answer.text)
    assert {path: words for path, words in left.items() if words} == {}


def test_no_line_of_ours_is_set_apart_as_english(web: WebApp) -> None:
    page = _persian(web.client(OWNER)).get(f"/held/{HELD}").text
    shown = html.unescape(re.sub("<[^>]*>", "", page))
    ours = [*(line for lines in EVIDENCE.values() for line in lines[:1]), *(one.reason for one in VERDICT.auth)]
    assert [line for line in ours if line in shown] == []
    assert '<bdi dir="ltr" lang="en">' not in page
    assert "<bdi>Go away</bdi>" in page
    assert shown.count("Pharma Deals <a@example.org>") > 1


def test_the_door_is_persian(web: WebApp) -> None:
    client = _persian(web.client())
    tokens = {
        "{reset}": web.accounts.new_token("reset", 99.0, "reza"),
        "{link}": web.accounts.new_token("link", 99.0, subject=OURS),
        "{setup}": web.accounts.new_setup_token(),
    }
    for path in AT_THE_DOOR:
        filled = re.sub(r"\{\w+\}", lambda name: tokens[name[0]], path)
        assert left_over(client.get(filled).text) == [], path
    refused = client.post("/sign-in", data={"name": "reza", "password": "not the right one"})
    assert (refused.status_code, left_over(refused.text)) == (401, [])
    asked = client.post("/sign-in/link", data={"address": OURS})
    assert (asked.status_code, left_over(asked.text)) == (200, [])


def test_after_acts_the_pages_are_persian(web: WebApp) -> None:
    client = _persian(web.client(OWNER))
    csrf = form_token(client.get("/account").text)
    script = {"hx-request": "true"}
    for path, form in (
        (f"/held/{FAILED}/release", {}),
        (f"/held/{HELD}/notes", {"text": "یادداشت"}),
        (f"/held/{HELD}/redirect", {"address": "x@elsewhere.example"}),
        ("/senders/import", {"text": "act,pattern\nallow,a@example.org"}),
        ("/senders/import", {"text": "act,pattern\nallow,nothing"}),
        ("/senders/import", {"text": "act,pattern,expires\nallow,a@example.org,soon\nx,a@example.org,"}),
        ("/senders/import", {"text": 'act,pattern\n"x"y,z'}),
        (f"/held/{HELD}/delete", {}),  # asks first
        ("/account/tokens", {"name": "پشتیبان", "act": "list", "days": "1"}),
        ("/accounts/new", {"name": "مریم", "role": "reviewer", "domains": "darban.test"}),
        ("/accounts/new", {"name": "مریم", "role": "reviewer", "domains": "darban.test"}),
        ("/privacy/erase", {"address": "reza@darban.test", "confirmed": "yes"}),
        ("/account/password", {"old": "x", "new": "short"}),
    ):
        answer = client.post(path, data={"csrf": csrf} | form, headers=script if path.endswith("release") else {})
        assert left_over(answer.text) == [], path
    started = client.post("/jobs", data={"csrf": csrf, "act": "delete", "id": HELD})
    assert left_over(client.get(started.headers["location"]).text) == []


def test_every_page_has_a_line(web: WebApp) -> None:
    there = {one.path for one in iter_route_contexts(web.app.routes) if "GET" in (getattr(one, "methods", None) or ())}
    asked = [re.sub(r"\?.*", "", path) for path in (*PAGES, *AT_THE_DOOR)]
    asked = [re.sub(r"^\{digest:\w+\}$", "/digest/x", path) for path in asked]
    missed = {
        path
        for path in there - NO_PAGES
        if not any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), one) for one in asked)
    }
    assert missed == set()


def test_what_is_left_over_is_found() -> None:
    page = '<html lang="fa" dir="rtl"><p title="Say it">نامه Hello <bdi>Ali</bdi> SPF</p><input placeholder="Look"><p dir="ltr">x y</p>'
    assert left_over(page) == ["Say", "it", "Hello", "Look"]
    assert "fa" in languages()
