"""web/pages.py over the real SQLite stores."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from gateway.errors import InputError, ScorerError, StoreError
from gateway.learning import Teacher
from gateway.policy.access import Act
from gateway.scan.explain import verdict_json
from gateway.stores.message_log import SqlMessageLog
from gateway.stores.schema import account, audit
from gateway.types import (
    AuthResult,
    Contribution,
    Disposition,
    HeldMessage,
    Hit,
    Lesson,
    Lessons,
    LogRow,
    Prediction,
    Summary,
    Taught,
)
from gateway.web.held import Views
from tests.builders import envelope, recipient, verdict
from tests.web_app import make_web_app

CONTENT = b"Subject: x\r\n\r\n<script>alert(1)</script>\r\n"
ID = "a" * 32
PREDICTION = Prediction(
    0.987,
    "m",
    (
        Contribution("words", "<i>جایزه</i>", 1.25),
        Contribution("tag", "form", 0.5),
        Contribution("links", "4-7", -0.75),
        Contribution("unheard", "of", -0.5),
    ),
)
NEW_DOMAIN = "link to paypa1.example, a domain first seen here less than a day ago"
FLIP = {
    "was": "quarantine",
    "action": "accept",
    "is_needed": True,
    "signs": 4,
    "changes": [{"kind": "link", "value": "<b>.example"}, {"kind": "reply_to", "value": ""}],
}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    auth = (
        AuthResult("spf", "fail", "example.org", identity="mailfrom", reason="192.0.2.1 is <i>not</i> permitted"),
        AuthResult("spf", "pass", "mx.example.net", identity="helo", reason="permitted"),
        AuthResult("dmarc", "fail", "example.org", policy="reject", reason="neither SPF nor DKIM passes"),
    )
    hits = (
        Hit("MONEY_WON", 5.0, "Says won", ("<b>won</b>",)),
        Hit("CLASSIFIER", 4.0, "An opinion", ("99%",)),
        Hit("URL_DOMAIN_NEW", 0.3, "A new domain", (NEW_DOMAIN,)),
    )
    judged = verdict(9.0, hits=hits, auth=auth, prediction=PREDICTION)
    held = HeldMessage(
        ID, "Q1", hashlib.sha256(CONTENT).hexdigest(), "a@example.org", "you@darban.test", "darban.test", "192.0.2.1", "h",
        1.79e9, Summary("m", "<script>x</script>", "A", 9), 9.0, "score", verdict_json(judged, Disposition(recipient(), "quarantine", "score", 5.0)),
    )  # fmt: skip

    async def release(held_id: str, who: str) -> HeldMessage:
        found = web.quarantine.get(held_id)
        if found is None or found.state != "held":
            raise InputError("not held")
        if made.next_hop_is_down:
            web.quarantine.transition(held_id, ("held",), "held", "451 4.4.1 next hop down")
            return replace(found, note="451")
        web.quarantine.transition(held_id, ("held",), "released", "250 2.0.0 taken", by=who)
        return web.quarantine.get(held_id)

    async def why(held: HeldMessage, content: bytes) -> dict[str, Any]:
        assert (held.id, content) == (ID, CONTENT)
        if made.flip is None:
            raise ScorerError("gone")
        return made.flip

    web = make_web_app(
        tmp_path, release=release, is_spent=lambda _: made.is_spent, why=why,
        translations={"fa": {"MONEY_WON": "می‌گوید جایزه برده‌اید"}},
    )  # fmt: skip
    web.quarantine.hold([held], CONTENT)
    with TestClient(web.app) as made:
        made.setup, made.ledger, made.engine = web.accounts.new_setup_token(), web.ledger, web.engine
        made.quarantine, made.bulk, made.held = web.quarantine, web.bulk, held
        made.next_hop_is_down, made.is_spent, made.flip = True, False, FLIP
        yield made
    web.engine.dispose()


def sign_in(client: TestClient) -> str:
    """The CSRF token of the session."""
    answer = client.post(f"/setup/{client.setup}", data={"name": "sara", "password": "a long password"})
    assert answer.status_code == 200
    client.token = re.search(r'name="csrf" value="([0-9a-f]+)"', answer.text)[1]
    return client.token


def test_the_first_owner_has_signed_in(client: TestClient) -> None:
    sign_in(client)
    assert "never" not in client.get("/accounts").text


def test_nothing_without_a_session(client: TestClient) -> None:
    for path in ("/", f"/held/{ID}", "/log"):
        answer = client.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_list_and_reasons_are_escaped(client: TestClient) -> None:
    sign_in(client)
    listed, shown = client.get("/").text, client.get(f"/held/{ID}").text
    assert "&lt;script&gt;x&lt;/script&gt;" in listed
    assert "MONEY_WON" in shown
    assert "&lt;b&gt;won" in shown
    assert set(re.findall("<script[^>]*>", listed + shown)) == {
        '<script src="/static/htmx-2.0.11.min.js" defer>',
        '<script src="/static/review.js" defer>',
        '<script src="/static/copy.js" defer>',
    }
    assert client.get("/").headers["content-security-policy"].startswith("default-src 'none'")


def test_the_log_says_who_was_refused_before_there_was_a_message(client: TestClient) -> None:
    sign_in(client)
    row = LogRow(
        "", 1.79e9, "192.0.2.7", "h", "", "", Summary(), "reject", "421 4.7.0 <b>no</b>", 0.0, reason="<i>limit</i>"
    )
    SqlMessageLog(client.engine).append([row])
    text = client.get("/log").text
    for shown in ("192.0.2.7", "421 4.7.0 &lt;b&gt;no", "&lt;i&gt;limit&lt;/i&gt;"):
        assert shown in text


def test_authentication_stands_on_the_page(client: TestClient) -> None:
    sign_in(client)
    text = client.get(f"/held/{ID}").text
    for shown in ("spf=fail", "spf=pass (HELO)", "dmarc=fail", "is &lt;i&gt;not&lt;/i&gt; permitted"):
        assert shown in text


def test_what_a_prediction_is_made_of_is_read_in_both_languages(client: TestClient) -> None:
    sign_in(client)
    english = client.get(f"/held/{ID}").text
    assert "98.7 % likely spam" in english
    assert 'word “<bdi>&lt;i&gt;جایزه&lt;/i&gt;</bdi>” <bdi class="weight" dir="ltr">+1.2' in english
    assert "&lt;<bdi>form</bdi>&gt; in the HTML" in english
    assert "4 to 7 links" in english and "<bdi>unheard of</bdi>" in english
    client.cookies.set("darban_language", "fa")
    persian = client.get(f"/held/{ID}").text
    assert "واژهٔ «<bdi>&lt;i&gt;جایزه&lt;/i&gt;</bdi>»" in persian and "۴ تا ۷ پیوند" in persian
    assert "به احتمال ۹۸٫۷ درصد هرزنامه" in persian


def test_a_new_domain_is_told_in_both_languages(client: TestClient) -> None:
    sign_in(client)
    english = client.get(f"/held/{ID}").text
    assert "link to <bdi>paypa1.example</bdi>, a domain first seen here less than a day ago" in english
    client.cookies.set("darban_language", "fa")
    persian = client.get(f"/held/{ID}").text
    assert "پیوند به <bdi>paypa1.example</bdi>، دامنه‌ای که در یک روز گذشته نخستین بار اینجا دیده شده است" in persian


def test_what_would_have_had_it_delivered(client: TestClient) -> None:
    assert client.get(f"/held/{ID}/why", follow_redirects=False).status_code == 303
    token = sign_in(client)
    assert f'hx-get="/held/{ID}/why"' in client.get(f"/held/{ID}").text
    said = "without the link to <bdi>&lt;b&gt;.example</bdi> and with answers going to its author."
    assert f"It would have been delivered {said}" in client.get(f"/held/{ID}/why").text
    assert client.get(f"/held/{ID}/why", headers={"HX-Request": "true"}).text.startswith('<p id="why-not">It would')
    assert client.get(f"/held/{ID}/why", headers={"Accept": "application/json"}).json() == client.flip
    client.cookies.set("darban_language", "fa")
    persian = client.get(f"/held/{ID}/why").text
    assert (
        "اگر پیوند به <bdi>&lt;b&gt;.example</bdi> را نداشت و پاسخ‌هایش به خود فرستنده می‌رفت، تحویل داده می‌شد."
        in persian
    )
    client.flip = FLIP | {"changes": []}
    assert "۴ نشانه هم‌نظرند" in client.get(f"/held/{ID}/why").text
    blocked = [{"kind": "block", "value": ".example.org mina <b>", "text": ""}]
    client.flip = FLIP | {"changes": blocked, "entry": "sara <b>'s entry does not count: the author is not proven"}
    persian = client.get(f"/held/{ID}/why").text
    assert "<bdi>mina &lt;b&gt;</bdi> فرستندهٔ <bdi>.example.org</bdi> را مسدود نکرده بود" in persian
    assert "(دستور <bdi>sara &lt;b&gt;</bdi> به کار نیامد: نویسنده اصالت‌سنجی نشد)" in persian
    client.flip = None
    assert client.get(f"/held/{ID}/why").status_code == 503
    assert "اکنون بررسی دوبارهٔ آن ممکن نیست" in client.get(f"/held/{ID}/why", headers={"HX-Request": "true"}).text
    client.post(f"/held/{ID}/delete", data={"csrf": token, "sure": "yes"})
    assert client.get(f"/held/{ID}/why").status_code == 410
    assert client.get("/held/none/why").status_code == 404


def test_acts_need_the_token_and_tell_the_truth(client: TestClient) -> None:
    token = sign_in(client)
    assert client.post(f"/held/{ID}/release", data={"csrf": "x"}).status_code == 403
    assert "451 4.4.1 next hop down" in client.post(f"/held/{ID}/release", data={"csrf": token}).text
    assert 'class="deleted"' in client.post(f"/held/{ID}/delete", data={"csrf": token, "sure": "yes"}).text
    assert client.post(f"/held/{ID}/release", data={"csrf": token}).status_code == 409


def test_sign_in_and_out(client: TestClient) -> None:
    token = sign_in(client)
    assert client.get(f"/setup/{client.setup}").status_code == 404
    client.post("/sign-out", data={"csrf": token})
    assert client.get("/", follow_redirects=False).status_code == 303
    assert client.post("/sign-in", data={"name": "sara", "password": "wrong"}).status_code == 401
    assert "Quarantine" in client.post("/sign-in", data={"name": "sara", "password": "a long password"}).text


def test_a_script_gets_the_row_with_what_happened(client: TestClient) -> None:
    token = sign_in(client)
    answer = client.post(f"/held/{ID}/release", data={"csrf": token}, headers={"HX-Request": "true"})
    assert answer.text.startswith(f'<tr id="held-{ID}"')
    assert "Not released: <bdi>451</bdi>" in answer.text
    refused = client.post(f"/held/{ID}/release", data={"csrf": "x"}, headers={"HX-Request": "true"})
    assert (refused.status_code, refused.text.startswith('<p class="error"')) == (403, True)


def test_a_script_without_a_session_is_sent_to_the_door(client: TestClient) -> None:
    """A 303 would be followed by the script, and the door put into a row of the table."""
    answer = client.post(f"/held/{ID}/release", headers={"HX-Request": "true"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/sign-in")


def test_deleting_on_the_page_of_a_message_asks_first(client: TestClient) -> None:
    token = sign_in(client)
    form = re.search(rf'<form [^>]*action="/held/{ID}/delete"[^>]*>', client.get(f"/held/{ID}").text)[0]
    assert "hx-confirm=" in form
    assert "hx-boost=" in form, "htmx asks only for requests that it makes"
    headers = {"HX-Request": "true", "HX-Boosted": "true"}
    answer = client.post(f"/held/{ID}/delete", data={"csrf": token}, headers=headers)
    assert answer.text.startswith("<!doctype html>")


def test_pages_that_answer_forms_are_no_dead_ends(client: TestClient) -> None:
    """Their language links lead to a page, as their own address has none; one who is signed in has the others."""
    token = sign_in(client)
    csrf = {"csrf": token}
    for path, form, back in (
        (f"/held/{ID}/delete", {}, f"/held/{ID}"),
        ("/senders/import", {"text": "act,pattern\nblock,a@example.org"}, "/senders"),
        ("/senders/import", {"text": "act,pattern\nblock,@"}, "/senders"),
        ("/privacy/erase", {"address": "new@darban.test"}, "/privacy"),
        ("/accounts/new", {"name": "reza", "role": "reviewer"}, "/accounts"),
        (f"/held/{ID}/redirect", {"csrf": "x", "address": "new@darban.test"}, "/"),
    ):
        text = client.post(path, data=csrf | form).text
        assert f'href="/language/fa?back={back}"' in text, path
        assert client.get(back).status_code == 200, path
        assert ('href="/audit"' in text) is (back != "/"), path


def test_what_a_token_may_do_is_said_in_words(client: TestClient) -> None:
    sign_in(client)
    named = re.findall(r"<span>\s*(\w[^<]+?)\s*<code dir=\"ltr\">(\w+)</code>", client.get("/account/tokens").text)
    assert {act for _, act in named} == set(get_args(Act))


def test_a_browser_that_asks_for_an_icon_by_itself_gets_it(client: TestClient) -> None:
    answer = client.get("/favicon.ico")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")


@pytest.mark.parametrize("act", ["delete", "spam"])
def test_without_a_script_it_is_asked_on_a_page(client: TestClient, act: str) -> None:
    """Whoever has no script, or clicks before it is loaded."""
    token = sign_in(client)
    asked = client.post(f"/held/{ID}/{act}", data={"csrf": token, "filter": "q=prize"})
    assert asked.status_code == 200
    assert client.quarantine.get(ID).state == "held"
    form = re.search(r'<form class="acts".*?</form>', asked.text, re.DOTALL)[0]
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
    assert fields == {"csrf": token, "filter": "q=prize", "sure": "yes"}
    assert f'href="/held/{ID}?q=prize"' in form
    done = client.post(re.search(r'action="([^"]+)"', form)[1], data=fields)
    assert 'class="deleted"' in done.text
    assert client.quarantine.get(ID).state == "deleted"
    assert client.post(f"/held/{ID}/{act}", data={"csrf": token}).status_code == 409, "nothing left to ask about"


def test_a_refused_form_keeps_the_name(client: TestClient) -> None:
    for path in (f"/setup/{client.setup}", "/sign-in"):
        answer = client.post(path, data={"name": "sara", "password": "short"})
        assert answer.status_code in (400, 401)
        assert 'name="name" value="sara"' in answer.text


def test_refusals_are_in_the_readers_language(client: TestClient) -> None:
    token = sign_in(client)
    client.post(f"/held/{ID}/delete", data={"csrf": token, "sure": "yes"})
    client.get("/language/fa?back=/")
    assert "چنین صفحه‌ای نیست" in client.get("/nope").text
    assert "این پیام دیگر در قرنطینه نیست" in client.post(f"/held/{ID}/release", data={"csrf": token}).text


def test_one_message_is_not_many(client: TestClient) -> None:
    sign_in(client)
    assert "1 message<" in client.get("/").text
    assert "0 messages<" in client.get("/?q=nowhere").text


@pytest.mark.parametrize(
    ("cookie", "accept", "language"),
    [("", "", "en"), ("", "fa-IR,fa;q=0.9", "fa"), ("", "de, fa;q=0.5", "fa"), ("en", "fa", "en"), ("xx", "de", "en")],
)
def test_language(client: TestClient, cookie: str, accept: str, language: str) -> None:
    client.cookies.set("darban_language", cookie)
    text = client.get("/sign-in", headers={"Accept-Language": accept}).text
    direction = {"en": "ltr", "fa": "rtl"}[language]
    assert f'<html lang="{language}" dir="{direction}">' in text


def test_persian_pages_are_persian(client: TestClient) -> None:
    sign_in(client)
    client.get("/language/fa?back=/")
    listed, shown = client.get("/").text, client.get(f"/held/{ID}").text
    for word in ("قرنطینه", "می‌گوید جایزه برده‌اید", "۱۴۰۵/۰۶/۳۰", "۹٫۰", "آزاد کن"):
        assert word in listed
    for word in ("سرآیندها", "می‌گوید جایزه برده‌اید", "اصالت‌سنجی" if "authentication" in shown else "چرا"):
        assert word in shown


@pytest.mark.parametrize("back", ["//evil.example/", "https://evil.example/", "/\\evil.example", "evil"])
def test_the_language_link_leads_nowhere_else(client: TestClient, back: str) -> None:
    answer = client.get("/language/fa", params={"back": back}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_filters(client: TestClient) -> None:
    sign_in(client)
    for query, count in [
        ("?domain=darban.test", 1),
        ("?domain=other.test", 0),
        ("?state=released", 0),
        ("?state=", 1),
        ("?q=%D9%86", 0),
    ]:
        assert client.get(f"/{query}").text.count(f'href="/held/{ID}') == count, query
    assert client.get("/?state=nonsense").status_code == 400
    assert client.get("/?after=nonsense").status_code == 400


def test_view_and_source(client: TestClient) -> None:
    sign_in(client)
    view = client.get(f"/held/{ID}/view")
    assert view.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "<script" not in view.text
    source = client.get(f"/held/{ID}/source")
    assert source.content == CONTENT
    assert source.headers["content-disposition"] == 'attachment; filename="Q1.eml"'
    assert source.headers["content-type"] == "application/octet-stream"


MIXED = (
    b"Subject: =?utf-8?q?pr=E2=80=AEize?=\r\nX-Other: <i>x</i>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b'--b\r\n\r\nYou have <b>won</b> a prize\r\n--b\r\nContent-Type: application/pdf; name="<b>.exe"\r\n\r\nMZ\0\r\n--b--\r\n'
)


def hold(client: TestClient, held_id: str, content: bytes, **changes: Any) -> str:
    first = client.quarantine.get(ID)
    key = hashlib.sha256(content).hexdigest()
    client.quarantine.hold([replace(first, id=held_id, content_hash=key, **changes)], content)
    return held_id


def test_the_tabs_of_a_message(client: TestClient) -> None:
    sign_in(client)
    held = hold(client, "b" * 32, MIXED)
    text, fields, parts, source = (
        client.get(f"/held/{held}?show={show}").text for show in ("text", "fields", "parts", "source")
    )
    assert "You have <mark>&lt;b&gt;won&lt;/b&gt;<sup>[1]</sup></mark> a prize" in text
    assert "X-Other" in fields and "&lt;i&gt;x" in fields and "pr[U+202E]ize" in fields
    assert fields.index(">Subject<") < fields.index("Other header fields") < fields.index(">X-Other<")
    assert "&lt;b&gt;.exe" in parts and "application/x-msdownload" in parts and "a program" in parts
    assert hashlib.sha256(b"MZ\0").hexdigest() in parts
    assert "MZ[U+0000]" in source
    assert client.get(f"/held/{held}?show=nonsense").status_code == 400


def test_a_big_source_is_paged(client: TestClient) -> None:
    sign_in(client)
    held = hold(client, "b" * 32, b"Subject: x\r\n\r\nfirst\r\n" + b"x" * (130 << 10) + b"\r\nlast\r\n")
    first, last = (client.get(f"/held/{held}?show=source&at={at}").text for at in (0, 2))
    assert "first" in first and "last" not in first and "Page 1 of 3" in first
    assert "last" in last and "show=source&amp;at=1#content" in last and "at=3" not in last
    assert client.get(f"/held/{held}?show=source&at=99").status_code == 200
    assert client.get(f"/held/{held}?show=source&at=-1").status_code == 400


def test_a_dangerous_part_asks_first(client: TestClient) -> None:
    sign_in(client)
    held = hold(client, "b" * 32, MIXED)
    asked = client.get(f"/held/{held}/part/1.2")
    assert "This part is dangerous" in asked.text and "content-disposition" not in asked.headers
    assert audited(client) == []
    given = client.get(f"/held/{held}/part/1.2?sure=yes")
    assert (given.content, given.headers["content-type"]) == (b"MZ\0", "application/octet-stream")
    assert given.headers["content-disposition"].startswith('attachment; filename="_b_.exe"')
    assert client.get(f"/held/{held}/part/1.1").content == b"You have <b>won</b> a prize"
    assert audited(client) == [("download", "part 1.2"), ("download", "part 1.1")]
    assert client.get(f"/held/{held}/part/7").status_code == 404
    client.post(f"/held/{held}/delete", data={"csrf": client.token, "sure": "yes"})
    assert client.get(f"/held/{held}/part/1.1").status_code == 410


def views(client: TestClient) -> list[str]:
    with client.engine.connect() as connection:
        rows = connection.execute(select(audit.c.act, audit.c.subject).order_by(audit.c.number))
        return [row.subject for row in rows if row.act == "view"]


def test_a_view_is_recorded_once_whatever_is_loaded(client: TestClient) -> None:
    sign_in(client)
    held = hold(client, "b" * 32, MIXED)
    for path in ("", "/view", "?show=text", "/print", "/view"):
        client.get(f"/held/{ID}{path}")
    client.get(f"/held/{held}/view")
    assert views(client) == [ID, held]


def test_views_are_told_once_an_hour_and_person() -> None:
    now, told = [0.0], []
    seen = Views(lambda: now[0])

    def fails() -> None:
        raise StoreError("down")

    with pytest.raises(StoreError):
        seen.tell("sara", "a", fails)
    for at, who, held in [(0, "sara", "a"), (1, "sara", "a"), (2, "reza", "a"), (3, "sara", "b"), (3599, "sara", "a"),
                          (3600, "sara", "a"), (3601, "reza", "a")]:  # fmt: skip
        now[0] = at
        seen.tell(who, held, lambda at=at: told.append(at))
    assert told == [0, 2, 3, 3600]


def test_the_neighbours_keep_to_the_filter(client: TestClient) -> None:
    sign_in(client)
    newer, older, other = (letter * 32 for letter in "bcd")
    hold(client, newer, MIXED, received_at=1.791e9)
    hold(client, older, MIXED, received_at=1.789e9)
    hold(client, other, MIXED, received_at=1.7901e9, domain="other.test", recipient="x@other.test")
    text = client.get(f"/held/{ID}?domain=darban.test&state=held").text
    assert f'rel="prev" accesskey="k" href="/held/{newer}?domain=darban.test"' in text
    assert f'rel="next" accesskey="j" href="/held/{older}?domain=darban.test"' in text
    assert f'href="/held/{other}"' in client.get(f"/held/{ID}").text
    assert f'href="/held/{ID}?domain=darban.test"' in client.get("/?domain=darban.test").text


TURNS = re.compile("[\u2066-\u2069]")


def test_the_ticket_is_plain_text(client: TestClient) -> None:
    sign_in(client)
    text = client.get(f"/held/{ID}").text
    ticket = re.search(r"<textarea[^>]*>(.*?)</textarea>", text, re.DOTALL)[1]
    assert "+5.00 MONEY_WON: Says won" in ticket and "    &lt;b&gt;won&lt;/b&gt;" in ticket
    assert "spf=fail example.org" in ticket and "<" not in ticket
    assert not TURNS.search(ticket), "what is pasted elsewhere has no marks where none is needed"


def test_a_persian_ticket_keeps_what_others_wrote_together(client: TestClient) -> None:
    """At the end of a line from right to left "<a@b>" would lose its last bracket to the other side."""
    sign_in(client)
    client.cookies.set("darban_language", "fa")
    ticket = re.search(r"<textarea[^>]*>(.*?)</textarea>", client.get(f"/held/{ID}").text, re.DOTALL)[1]
    lines = [line for line in ticket.splitlines() if line.startswith(("از: ", "به: "))]
    assert len(lines) == 2 and all(re.fullmatch("\\w+: \u2068[^\u2068\u2069]+\u2069", line) for line in lines), ticket


def test_only_what_one_may_is_offered(client: TestClient) -> None:
    sign_in(client)
    with client.engine.begin() as connection:
        connection.execute(update(account).values(role="auditor"))
    text = client.get(f"/held/{ID}").text
    assert "MONEY_WON" in text
    assert f"/held/{ID}/release" not in text and f"/held/{ID}/delete" not in text


def test_the_print_view_has_all_but_the_frame(client: TestClient) -> None:
    sign_in(client)
    text = client.get(f"/held/{ID}/print").text
    assert "MONEY_<wbr>WON" in text and "&lt;script&gt;alert(1)" in text and "<iframe" not in text and "SHA-256" in text


# --- learning -----------------------------------------------------------------------------------------------------------


def taught(client: TestClient) -> list[tuple[str, bool, str]]:
    return [(one.trainer, one.is_spam, one.via) for one in client.ledger.list(Lessons())[0]]


def audited(client: TestClient) -> list[tuple[str, str]]:
    with client.engine.connect() as connection:
        rows = connection.execute(select(audit.c.act, audit.c.detail).order_by(audit.c.number))
        return [tuple(row) for row in rows if row.act not in ("view", "setup", "sign-in")]


def test_a_release_is_learned(client: TestClient) -> None:
    token = sign_in(client)
    client.post(f"/held/{ID}/release", data={"csrf": token})
    assert taught(client) == [], "it was not released"
    client.next_hop_is_down = False
    text = client.post(f"/held/{ID}/release", data={"csrf": token}).text
    assert "Learned: such mail is not spam." in text
    assert '<a href="/learning?trainer=sara">' in text
    assert taught(client) == [("sara", False, "release")]
    assert audited(client)[-1] == ("release", "released: 250 2.0.0 taken; learned")


def test_a_release_need_not_be_learned(client: TestClient) -> None:
    token, client.next_hop_is_down = sign_in(client), False
    text = client.post(f"/held/{ID}/release", data={"csrf": token, "learn": "no"}).text
    assert 'class="released"' in text
    assert "Learned" not in text
    assert taught(client) == []
    assert audited(client)[-1] == ("release", "released: 250 2.0.0 taken")


def test_spam_is_deleted_and_learned(client: TestClient) -> None:
    token = sign_in(client)
    assert client.post(f"/held/{ID}/spam", data={"csrf": "x"}).status_code == 403
    answer = client.post(f"/held/{ID}/spam", data={"csrf": token}, headers={"HX-Request": "true"})
    assert answer.text.startswith(f'<tr id="held-{ID}"')
    assert 'class="deleted"' in answer.text
    assert "Learned: such mail is spam." in answer.text
    assert taught(client) == [("sara", True, "review")]
    assert audited(client) == [("spam", "deleted: ; learned")]
    assert client.post(f"/held/{ID}/spam", data={"csrf": token, "sure": "yes"}).status_code == 409


@pytest.mark.parametrize(
    ("what", "said"), [("limited", "as much as one day allows"), ("failed", "store did not answer")]
)
def test_what_was_not_learned_is_said(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, what: str, said: str
) -> None:
    def add(*_: object) -> Taught:
        if what == "failed":
            raise StoreError("down")
        return Taught("limited")

    monkeypatch.setattr(client.ledger, "add", add)
    text = client.post(f"/held/{ID}/spam", data={"csrf": sign_in(client), "sure": "yes"}).text
    assert 'class="deleted"' in text
    assert said in text


def test_the_address_alone_says_nothing_was_learned(client: TestClient) -> None:
    sign_in(client)
    assert "Learned" not in client.get(f"/held/{ID}?learned=learned").text
    assert client.get(f"/held/{ID}?learned=nonsense").status_code == 400


def test_a_lesson_that_moves_nothing_is_not_called_learned(client: TestClient) -> None:
    token, client.is_spent = sign_in(client), True
    text = client.post(f"/held/{ID}/spam", data={"csrf": token, "sure": "yes"}).text
    assert "Noted, but not learned" in text
    assert taught(client) == [("sara", True, "review")]
    assert audited(client) == [("spam", "deleted: ; spent")]


def teach(client: TestClient, *trainers: str) -> list[Lesson]:
    for trainer in trainers:
        Teacher(client.ledger, 3).teach(
            trainer=trainer, is_spam=True, via="imap", envelope=envelope(), content=trainer.encode()
        )
    return list(client.ledger.list(Lessons())[0])


def revoked(client: TestClient) -> set[str]:
    return {one.trainer for one in client.ledger.list(Lessons(is_revoked=True))[0]}


def test_lessons_are_taken_back_after_asking_and_given_again(client: TestClient) -> None:
    token = sign_in(client)
    teach(client, "reza", "mina@darban.test", "sara")
    asked = client.get("/learning/revoke?trainer=mina%40darban.test").text
    assert "Take 1 lesson back" in asked
    assert revoked(client) == set()
    form = {"csrf": token, "trainer": "mina@darban.test", "lesson": "", "day": ""}
    text = client.post("/learning/revoke", data=form).text
    assert revoked(client) == {"mina@darban.test"}
    assert "1 lesson was taken back." in text
    undo = re.search(r'name="undo" value="([^"]+)"', text)[1]
    client.post("/learning/restore", data={"csrf": token, "undo": undo})
    assert revoked(client) == set()
    assert audited(client) == [("revoke", "1 lessons: mina@darban.test"), ("restore", "1 lessons")]


def test_one_lesson_and_a_day(client: TestClient) -> None:
    token, lessons = sign_in(client), teach(client, "reza", "sara")
    client.post("/learning/revoke", data={"csrf": token, "lesson": lessons[0].id})
    assert revoked(client) == {lessons[0].trainer}
    client.post("/learning/restore", data={"csrf": token, "lesson": lessons[0].id})
    day = datetime.fromtimestamp(lessons[0].at, UTC).date().isoformat()
    assert "2 lessons" in client.get(f"/learning?day={day}").text
    assert "0 lessons" in client.get("/learning?day=2020-02-29").text
    client.post("/learning/revoke", data={"csrf": token, "day": day})
    assert revoked(client) == {"reza", "sara"}


@pytest.mark.parametrize(
    "form", [{}, {"day": "2026-13-01"}, {"day": "yesterday"}, {"trainer": "", "lesson": "", "day": ""}]
)
def test_nothing_chosen_is_not_everything(client: TestClient, form: dict[str, str]) -> None:
    token = sign_in(client)
    teach(client, "reza")
    assert client.get("/learning/revoke", params=form).status_code == 400
    assert client.post("/learning/revoke", data={"csrf": token} | form).status_code == 400
    assert revoked(client) == set()


def test_nothing_chosen_is_not_given_again(client: TestClient) -> None:
    token = sign_in(client)
    teach(client, "reza")
    client.ledger.revoke(Lessons(trainer="reza"), "sara")
    assert client.post("/learning/restore", data={"csrf": token}).status_code == 400
    assert revoked(client) == {"reza"}


def test_only_admins_take_back(client: TestClient) -> None:
    token = sign_in(client)
    teach(client, "reza")
    with client.engine.begin() as connection:
        connection.execute(update(account).values(role="reviewer"))
    assert client.get("/learning/revoke?trainer=reza").status_code == 403
    for path in ("revoke", "restore"):
        assert client.post(f"/learning/{path}", data={"csrf": token, "trainer": "reza", "undo": 1}).status_code == 403
    text = client.get("/learning").text
    assert "reza" in text
    assert "Take back…" not in text


def test_the_message_of_a_lesson_is_linked_while_it_is_there(client: TestClient) -> None:
    token, client.next_hop_is_down = sign_in(client), False
    teach(client, "reza")
    client.post(f"/held/{ID}/release", data={"csrf": token})
    text = client.get("/learning").text
    assert text.count(f'href="/held/{ID}"') == 1
    assert text.count("not in the quarantine") == 1
