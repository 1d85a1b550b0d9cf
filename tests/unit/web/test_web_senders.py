"""web/senders.py over the real SQLite stores: the form, its forecast, the list, CSV, and whose entries are seen."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from gateway.scan.explain import verdict_json
from gateway.stores.message_log import SqlMessageLog
from gateway.stores.senders import SqlSenders
from gateway.types import (
    Account,
    AuthResult,
    Disposition,
    HeldMessage,
    Hit,
    LogRow,
    Scope,
    SenderEntry,
    SenderQuery,
    Summary,
)
from tests.builders import recipient, verdict
from tests.web_app import WebApp, form_token, make_web_app

YOU, COLLEAGUE, FOREIGN = "you@darban.test", "me@darban.test", "sara@other.example"
OWNER = Account("owner", "owner")
ADMIN = Account("admin", "domain_admin", ("darban.test",))
RECIPIENT = Account("you", "recipient", (), (YOU,))
PROVEN = (
    AuthResult("spf", "pass", "example.org", is_aligned=True),
    AuthResult("dmarc", "pass", "example.org"),
)
FORGED = (AuthResult("spf", "pass", "evil.test"), AuthResult("dmarc", "fail", "example.org"))
PHISH = (Hit("PHISH_PASSWORD", 9.0, "Asks for a password"),)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebApp]:
    made = make_web_app(tmp_path)
    for who in (OWNER, ADMIN, RECIPIENT):
        made.accounts.add(who)
    hold(made, 1, YOU, PROVEN)
    hold(made, 2, YOU, PROVEN, hits=PHISH)
    hold(made, 3, YOU, FORGED)
    hold(made, 4, FOREIGN, PROVEN)
    hold(made, 5, YOU, PROVEN, age_days=40)
    SqlMessageLog(made.engine).append([row(1, YOU, "accept"), row(2, FOREIGN, "tag"), row(3, YOU, "reject")])
    yield made
    made.engine.dispose()


def hold(
    web: WebApp, number: int, to: str, auth: tuple[AuthResult, ...], hits: tuple[Hit, ...] = (), age_days: int = 1,
    reason: str = "score",
) -> None:  # fmt: skip
    content = f"Subject: <b>{number}</b>\r\n\r\nx\r\n".encode()
    judged = verdict(9.0, auth=auth, **({"hits": hits} if hits else {}))
    one = HeldMessage(
        f"{number:032x}", f"Q{number}", hashlib.sha256(content).hexdigest(), "bounce@lists.example", to,
        to.partition("@")[2], "192.0.2.1", "h", time.time() - age_days * 86_400,
        Summary("m", f"<b>{number}</b>", "Reza <Reza@example.org>", 9), 9.0, reason,
        verdict_json(judged, Disposition(recipient(to), "quarantine", "score", 5.0)),
        kind="phishing" if hits else "spam",
    )  # fmt: skip
    web.quarantine.hold([one], content)


def row(number: int, to: str, action: str) -> LogRow:
    summary = Summary(f"m{number}", f"subject {number}", "Reza <reza@example.org>", 9)
    return LogRow(
        f"L{number}", time.time() - 3600, "192.0.2.1", "h", "bounce@lists.example", to, summary, action, "250 ok", 1.0
    )


def form_of(client: TestClient, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_an_allow_from_a_message_says_first_what_it_would_have_done(web: WebApp) -> None:
    client = web.client(OWNER)
    text = form_of(client, f"/senders/new?act=allow&held={1:032x}")
    assert '<option value="reza@example.org" selected' in text
    assert '<option value="you@darban.test" selected' in text
    assert "lists.example" not in text  # who is allowed has to be the author
    assert "2 held messages would have been delivered." in text
    assert "1 of them was judged phishing." in text
    assert "1 would still be held: not proven" in text
    assert "entry does not count: the author is not proven" in text
    assert "1 was refused; whether it would have been let in is not known." in text
    assert "&lt;b&gt;1&lt;/b&gt;" in text and "<b>1</b>" not in text
    assert '<option value="30" selected' in text and '<option value="">' in text  # an owner may say: no end
    forged = form_of(client, f"/senders/new?act=allow&held={3:032x}")
    assert "The message you come from would be held all the same:" in forged


def test_an_allow_is_saved_changed_and_removed(web: WebApp) -> None:
    client = web.client(OWNER)
    said = {"act": "allow", "pattern": "Reza@example.org", "recipient": YOU, "days": "7", "note": "<i>why</i>"}
    said |= {"held": f"{1:032x}", "csrf": form_token(form_of(client, "/senders/new"))}
    answer = client.post("/senders", data=said)
    assert answer.status_code == 303
    listed = form_of(client, answer.headers["location"])
    assert (
        'Mail from <bdi dir="ltr">reza@example.org</bdi> to <bdi dir="ltr">you@darban.test</bdi> is allowed.' in listed
    )
    assert "&lt;i&gt;why&lt;/i&gt;" in listed
    (entry,), _ = SqlSenders(web.engine).list(SenderQuery())
    assert (entry.pattern, entry.by, entry.held_id, entry.network) == ("reza@example.org", "owner", f"{1:032x}", "")
    assert entry.expires_at == pytest.approx(time.time() + 7 * 86_400, abs=60)
    edit = form_of(client, f"/senders/{entry.number}")
    assert '<input type="hidden" name="pattern" value="reza@example.org">' in edit
    client.post("/senders", data=said | {"days": "90", "note": "again"})
    (changed,), _ = SqlSenders(web.engine).list(SenderQuery())
    assert (changed.number, changed.note) == (entry.number, "again")
    assert client.post(f"/senders/{entry.number}/remove", data={"csrf": said["csrf"]}).status_code == 303
    assert "Nothing here." in form_of(client, "/senders")
    assert [one[1] for one in web.audited()] == ["sender-allow", "sender-allow", "sender-remove"]
    assert web.audited("sender-allow")[0][2].startswith("allow for mail to you@darban.test, until ")


def test_a_block_says_what_it_would_have_held(web: WebApp) -> None:
    client = web.client(OWNER)
    text = form_of(client, f"/senders/new?act=block&held={1:032x}&recipient=")
    assert "2 messages that were delivered would have been held." in text
    assert '<option value="bounce@lists.example"' in text
    assert 'href="/log/L1"' in text
    mine = form_of(client, f"/senders/new?act=block&held={1:032x}")
    assert "1 message that was delivered would have been held." in mine
    reverse_path = form_of(client, "/senders/new?act=block&pattern=.lists.example&recipient=")
    assert "2 messages that were delivered would have been held." in reverse_path
    assert "not for those below it" in reverse_path


@pytest.mark.parametrize(
    ("who", "changes", "fault"),
    [
        (OWNER, {"pattern": "co.uk"}, "Name a domain."),
        (OWNER, {"pattern": "<script>"}, "Write the sender as"),
        (OWNER, {"days": "soon"}, "An entry ends in the future"),
        (OWNER, {"days": "99999999999"}, "An entry ends in the future"),
        (OWNER, {"network": "0.0.0.0/0"}, "too large"),
        (ADMIN, {"days": ""}, "Only an owner may"),
        (ADMIN, {"network": "192.0.2.0/24"}, "Only an owner may"),
        (ADMIN, {"recipient": ""}, "may not say what is done"),
        (ADMIN, {"recipient": FOREIGN}, "may not say what is done"),
        (RECIPIENT, {"recipient": COLLEAGUE}, "may not say what is done"),
        (RECIPIENT, {"recipient": "darban.test"}, "may not say what is done"),
        (RECIPIENT, {"recipient": ""}, "may not say what is done"),
    ],
)
def test_what_may_not_be_said_is_refused_with_a_reason(web: WebApp, who: Account, changes: dict, fault: str) -> None:
    client = web.client(who)
    said = {"act": "allow", "pattern": "a@example.org", "recipient": YOU, "days": "7"} | changes
    answer = client.post("/senders", data=said | {"csrf": form_token(form_of(client, "/senders/new"))})
    assert answer.status_code == 400
    assert fault in answer.text
    assert "<script>" not in answer.text
    assert SqlSenders(web.engine).list(SenderQuery()) == ([], 0)
    client.cookies.set("darban_language", "fa")
    assert fault not in client.post("/senders", data=said | {"csrf": form_token(form_of(client, "/senders/new"))}).text


def test_everybody_sees_the_entries_of_his_scope_alone(web: WebApp) -> None:
    store = SqlSenders(web.engine)
    numbers = {
        to: store.add(SenderEntry("block", f"x@{to or 'all.example'}", to, None, "owner", 1.0)).number
        for to in (YOU, COLLEAGUE, "darban.test", FOREIGN, "")
    }
    for who, seen in ((OWNER, set(numbers)), (ADMIN, {YOU, COLLEAGUE, "darban.test"}), (RECIPIENT, {YOU})):
        client = web.client(who)
        listed, file = form_of(client, "/senders"), client.get("/senders/export.csv").text
        csrf = form_token(listed)
        for to, number in numbers.items():
            name = f"x@{to or 'all.example'}"
            assert (name in listed, name in file) == (to in seen,) * 2
            assert client.get(f"/senders/{number}").status_code == (200 if to in seen else 404)
            if to not in seen:
                assert client.post(f"/senders/{number}/remove", data={"csrf": csrf}).status_code == 404
    assert store.list(SenderQuery())[1] == 5
    assert store.get(numbers[YOU], Scope(is_all=True)) is not None


def test_a_recipient_forecasts_by_his_own_mail(web: WebApp) -> None:
    client = web.client(RECIPIENT)
    text = form_of(client, "/senders/new?act=allow&pattern=reza@example.org")
    assert "2 held messages would have been delivered." in text
    assert FOREIGN not in text
    assert client.get(f"/senders/new?act=allow&held={4:032x}").status_code == 404
    assert 'value=""' not in text.partition('name="days"')[2].partition("</select>")[0]


def test_pages_follow_and_filters_hold(web: WebApp) -> None:
    store = SqlSenders(web.engine)
    for number in range(52):
        store.add(SenderEntry("block", f"a{number}@example.org", YOU, None, "owner", 1.0))
    store.add(SenderEntry("allow", "ended@example.org", YOU, 5.0, "owner", 1.0))
    client = web.client(OWNER)
    first = form_of(client, "/senders")
    assert "52 entries" in first and "ended@example.org" not in first and "a1@example.org" not in first
    older = first.partition("before=")[2].partition('"')[0]
    assert "a1@example.org" in form_of(client, f"/senders?before={older}")
    assert "ended@example.org" in form_of(client, "/senders?ended=yes&act=allow")
    assert "1 entry" in form_of(client, "/senders?q=a51@")


def test_a_file_comes_and_goes(web: WebApp) -> None:
    client = web.client(ADMIN)
    csrf = form_token(form_of(client, "/senders"))
    lines = f"act,pattern,recipient\nallow,a@example.org,{YOU}\nblock,.evil.example,darban.test\n"
    answer = client.post("/senders/import", data={"csrf": csrf}, files={"file": ("s.csv", lines.encode())})
    assert (answer.status_code, "2 entries were taken." in answer.text) == (200, True)
    assert client.post("/senders/import", data={"csrf": "x"}, files={"file": ("s.csv", b"")}).status_code == 403
    bad = client.post("/senders/import", data={"csrf": csrf, "text": f"act,pattern,recipient\nallow,<b>,{FOREIGN}\n"})
    assert bad.status_code == 400
    assert "line 2:" in bad.text and "<b>" not in bad.text
    file = client.get("/senders/export.csv")
    assert file.headers["content-type"].startswith("text/csv")
    assert len(file.text.splitlines()) == 3


def test_nothing_is_saved_that_no_forecast_was_shown_for(web: WebApp) -> None:
    client = web.client(OWNER)
    text = form_of(client, f"/senders/new?act=allow&held={1:032x}")
    seen = text.partition('name="seen" value="')[2].partition('"')[0]
    said = {"act": "allow", "pattern": ".example.org", "recipient": YOU, "days": "7", "held": f"{1:032x}"}
    said |= {"csrf": form_token(text), "seen": seen}
    answer = client.post("/senders", data=said)
    assert (answer.status_code, "You changed whom" in answer.text) == (200, True)
    assert SqlSenders(web.engine).list(SenderQuery())[1] == 0
    again = answer.text.partition('name="seen" value="')[2].partition('"')[0]
    assert client.post("/senders", data=said | {"seen": again}).status_code == 303
    everybody = client.post("/senders", data=said | {"recipient": "", "days": ""}).text
    assert '<option value="" selected>everybody' in everybody and '<option value="" selected>no end' in everybody
    again = everybody.partition('name="seen" value="')[2].partition('"')[0]
    assert client.post("/senders", data=said | {"recipient": "", "days": "", "seen": again}).status_code == 303
    newest = SqlSenders(web.engine).list(SenderQuery())[0][0]
    assert (newest.recipient, newest.expires_at) == ("", None)


def test_a_blocked_message_says_that_it_is_and_not_what_speaks_against_it(web: WebApp) -> None:
    hold(web, 6, YOU, PROVEN, reason="blocked by sara's entry until 2027-01-03")
    client = web.client(OWNER)
    for path in ("/", f"/held/{6:032x}"):
        assert "blocked by <bdi>sara</bdi>&#39;s entry until 2027-01-03" in form_of(client, path)
    assert "A hit of the tests." not in form_of(client, f"/held/{6:032x}").partition('class="acts"')[0]
    client.cookies.set("darban_language", "fa")
    assert "مسدود به دستور <bdi>sara</bdi> تا ۱۴۰۵/۱۰/۱۳" in form_of(client, "/")


def test_a_full_table_is_said(web: WebApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.stores.senders.MAX_ENTRIES", 0)
    client = web.client(OWNER)
    csrf = form_token(form_of(client, "/senders/new"))
    said = {"act": "block", "pattern": "a@example.org", "recipient": YOU, "days": "7", "csrf": csrf}
    answer = client.post("/senders", data=said)
    assert (answer.status_code, "as many as there may be" in answer.text) == (400, True)
