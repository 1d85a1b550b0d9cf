"""web/review.py's list, web/bulk.py, web/beside.py, web/saved_filters.py and web/rows.py over the real SQLite stores."""

# ruff: noqa: F401, F811  fixtures of another file

from __future__ import annotations

import re
import time
from dataclasses import replace
from itertools import chain
from urllib.parse import parse_qsl

import pytest
from fastapi.testclient import TestClient

from gateway.stores.desk import SqlDesk
from tests.unit.web.test_web_pages import CONTENT, ID, audited, client, sign_in, taught

SCRIPT = {"HX-Request": "true"}


def hold(client: TestClient, number: int, **changes: object) -> str:
    """The id of another held message."""
    held_id = f"{number:032x}"
    recipient = str(changes.get("recipient", f"r{number}@darban.test"))
    values: dict = {
        "id": held_id,
        "recipient": recipient,
        "domain": recipient.partition("@")[2],
        "queue_id": f"QX{number}",
    }
    client.quarantine.hold([replace(client.held, **(values | changes))], CONTENT)
    return held_id


def shown(text: str) -> list[str]:
    return re.findall(r'<tr id="held-([0-9a-f]+)"', text)


# --- the list ---------------------------------------------------------------------------------------------------------


def test_pages_follow_each_other(client: TestClient) -> None:
    sign_in(client)
    ids = [hold(client, n, received_at=1.79e9 + n) for n in range(1, 121)]
    seen, address = [], "/"
    while address:
        text = client.get(address).text
        seen.append(shown(text))
        found = re.search(r'<a href="([^"]+)" rel="next"', text)
        address = found[1].replace("&amp;", "&") if found else ""
    assert [len(one) for one in seen] == [50, 50, 21]
    assert [*chain(*seen)] == [*reversed(ids), ID]
    assert "121 messages" in text


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("sender=a@example", 2),
        ("recipient=r1@", 1),
        ("kind=malware", 1),
        ("finding=url_ip_host", 1),
        ("score_from=9.5", 1),
        ("score_from=۹٫۵", 1),
        ("score_to=9", 1),
        ("day_from=2026-09-21&day_to=2026-09-21", 2),
        ("day_from=1405/06/30&day_to=۱۴۰۵/۰۶/۳۰", 2),
        ("day_from=2026-09-22", 0),
        ("campaign=" + "c" * 16, 1),
        ("q=&sender=&recipient=&domain=&finding=&kind=&score_from=&score_to=&day_from=&day_to=&state=held", 2),
    ],
)
def test_filters_as_a_form_sends_them(client: TestClient, query: str, count: int) -> None:
    sign_in(client)
    hold(client, 1, kind="malware", hits=("URL_IP_HOST",), score=9.9, campaign="c" * 16)
    assert len(shown(client.get(f"/?{query}").text)) == count


@pytest.mark.parametrize(
    "query",
    ["kind=x", "sort=x", "score_from=nan", "score_from=x", "day_from=2026-13-01", "day_to=9999-12-31", "day_to=1405/13/1", "campaign=%27", "finding=a%20b", "after=x%7Cy"],
)  # fmt: skip
def test_a_filter_that_is_none_is_refused(client: TestClient, query: str) -> None:
    sign_in(client)
    assert client.get(f"/?{query}").status_code == 400


def test_a_row_says_why_in_a_sentence(client: TestClient) -> None:
    sign_in(client)
    hold(client, 1, kind="phishing", attachments=2)
    hold(client, 2, kind="malware")
    text = client.get("/").text
    assert "Looks like spam: says won; its words read like those of spam" in re.sub(r"\s+", " ", text)
    assert "Looks like fraud:" in text and "May do harm:" in text
    assert "2 files" in text and "9 B" in text
    assert "MONEY_WON" not in text
    client.cookies.set("darban_language", "fa")
    persian = re.sub(r"\s+", " ", client.get("/").text)
    assert "به هرزنامه می‌ماند: می‌گوید جایزه برده‌اید؛ واژه‌هایش" in persian
    assert "۲ فایل" in persian and "۹ بایت" in persian


def test_the_list_is_folded(client: TestClient) -> None:
    sign_in(client)
    for number in range(1, 5):
        hold(client, number, campaign="c" * 16, received_at=1.79e9 + number)
    assert len(shown(client.get("/").text)) == 5
    text = client.get("/?fold=yes").text
    assert len(shown(text)) == 2
    assert "and 3 alike" in text and "act on all 4" in text
    alike = re.search(r'href="([^"]+)">and 3 alike', text)[1].replace("&amp;", "&")
    assert len(shown(client.get(alike).text)) == 4
    act = re.search(r'href="(/bulk[^"]+)"', text)[1].replace("&amp;", "&")
    said = client.get(act).text
    assert "4 held messages" in said and "Delete all 4 for ever" in said and "Release all 4" in said


def test_search_as_you_type_leaves_a_short_address(client: TestClient) -> None:
    sign_in(client)
    answer = client.get("/?q=%D8%B3&domain=&state=held&sort=newest", headers=SCRIPT | {"HX-Target": "rows"})
    assert answer.headers["hx-push-url"] == "/?q=%D8%B3"
    assert "<!doctype" not in answer.text


def test_the_first_page_is_small(client: TestClient) -> None:
    sign_in(client)
    for number in range(1, 60):
        hold(client, number, kind="phishing", attachments=1)
    for language in ("en", "fa"):
        client.cookies.set("darban_language", language)
        assert len(client.get("/").content) < 100_000


# --- what is new ------------------------------------------------------------------------------------------------------


def news_of(client: TestClient, text: str) -> str:
    return re.search(r'hx-get="(/news[^"]+)"', text)[1].replace("&amp;", "&")


def test_what_came_meanwhile_is_told_and_not_shown(client: TestClient) -> None:
    sign_in(client)
    address = news_of(client, client.get("/").text)
    assert client.get(address, headers=SCRIPT).status_code == 204
    hold(client, 1, received_at=time.time() - 20)  # it began to come before the page was made
    hold(client, 2, received_at=time.time())
    answer = client.get(address, headers=SCRIPT)
    assert "2 new messages" in answer.text and shown(answer.text) == []
    again = news_of(client, answer.text)
    assert client.get(again, headers=SCRIPT).status_code == 204, "nothing but what was told"
    assert client.get(news_of(client, client.get("/?state=deleted").text), headers=SCRIPT).status_code == 204


def test_a_row_that_somebody_else_acted_on_says_so(client: TestClient) -> None:
    sign_in(client)
    address = news_of(client, client.get("/").text)
    client.quarantine.transition(ID, ("held",), "deleted", by="reza")
    text = client.get(address, headers=SCRIPT).text
    assert shown(text) == [ID] and 'hx-swap-oob="true"' in text
    assert "by <bdi>reza</bdi>" in text


def test_ones_own_acts_are_no_news(client: TestClient) -> None:
    token = sign_in(client)
    address = news_of(client, client.get("/").text)
    client.post(f"/held/{ID}/delete", data={"csrf": token, "sure": "yes"})
    assert client.get(address, headers=SCRIPT).status_code == 204


# --- acts on many -----------------------------------------------------------------------------------------------------


async def finish(client: TestClient) -> None:
    while await client.bulk.step():
        pass


def started(client: TestClient, token: str, **data: object) -> str:
    answer = client.post("/jobs", data={"csrf": token} | data, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def test_what_became_of_each_message_is_told(client: TestClient) -> None:
    token, client.next_hop_is_down = sign_in(client), False
    first, second = hold(client, 1), hold(client, 2)
    page = started(client, token, act="release", id=[ID, first, second])
    assert "3 to do" in client.get(page).text
    client.quarantine.transition(second, ("held",), "deleted", by="reza")
    await finish(client)
    text = re.sub(r"\s+", " ", client.get(page).text)
    assert "2 released" in text and "1 was not held any more" in text and "Finished." in text
    assert text.count("250 2.0.0 taken") == 2
    assert "Nothing done: Deleted by <bdi>reza</bdi>" in text
    assert taught(client) == [], "nobody asked for it"
    acts = [act for act, _ in audited(client)]
    assert acts == ["bulk release", "release", "release"]
    assert "2 released" in re.sub(r"\s+", " ", client.get("/jobs").text)


async def test_what_was_gone_before_the_act_began_is_told_too(client: TestClient) -> None:
    token, first = sign_in(client), hold(client, 1)
    client.quarantine.transition(first, ("held",), "deleted", by="reza")
    page = started(client, token, act="delete", id=[ID, first])
    await finish(client)
    text = re.sub(r"\s+", " ", client.get(page).text)
    assert "1 deleted" in text and "Nothing done: Deleted by <bdi>reza</bdi>" in text


async def test_a_next_hop_that_is_away_stops_the_job(client: TestClient) -> None:
    token = sign_in(client)
    ids = [hold(client, n) for n in range(1, 9)]
    page = started(client, token, act="release", id=ids, learn="yes")
    await finish(client)
    text = client.get(page).text
    assert "5 not released" in text and "3 to do" in text and "Stopped: the next hop deferred" in text
    assert "451" in text
    client.next_hop_is_down = False
    assert client.post(f"{page}/go-on", data={"csrf": token}).status_code == 200
    await finish(client)
    assert "3 released" in client.get(page).text
    assert len(taught(client)) >= 1


async def test_all_that_match_is_what_matched_when_it_was_asked(client: TestClient) -> None:
    token = sign_in(client)
    for number in range(1, 4):
        hold(client, number, campaign="c" * 16)
    asked = client.get("/bulk", params={"all": "yes", "filter": "campaign=" + "c" * 16, "act": "delete"}).text
    assert "3 held messages" in asked and "Release all" not in asked
    fields = dict(
        re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', asked.partition('action="/jobs"')[2])
    )
    assert set(fields) == {"csrf", "act", "filter", "until"}
    late = hold(client, 4, campaign="c" * 16, received_at=1.0)
    page = started(client, token, **fields)
    await finish(client)
    assert "3 deleted" in client.get(page).text
    assert client.quarantine.get(late).state == "held"
    assert client.quarantine.get(ID).state == "held"


async def test_spam_is_learned_from_many(client: TestClient) -> None:
    token = sign_in(client)
    page = started(client, token, act="spam", id=[ID])
    await finish(client)
    assert "1 deleted" in client.get(page).text
    assert taught(client) == [("sara", True, "review")]


def test_what_cannot_be_started(client: TestClient) -> None:
    token = sign_in(client)
    for data, status in (
        ({"act": "release", "id": [ID]}, 403),  # no token
        ({"csrf": token, "act": "burn", "id": [ID]}, 400),
        ({"csrf": token, "act": "delete", "id": ["f" * 32]}, 400),
        ({"csrf": token, "act": "delete", "filter": "state=released"}, 400),
        ({"csrf": token, "act": "delete", "filter": "kind=nonsense"}, 400),
    ):
        assert client.post("/jobs", data=data).status_code == status, data
    assert client.get("/jobs/none").status_code == 404
    assert client.post("/jobs/none/stop", data={"csrf": token}).status_code == 404
    assert "No message was chosen" in client.get("/bulk?id=none").text


# --- beside a message -------------------------------------------------------------------------------------------------


async def test_copies_are_released_one_by_one_and_to_another_address(client: TestClient) -> None:
    token, client.next_hop_is_down = sign_in(client), False
    other = hold(client, 1, recipient="other@darban.test")
    text = client.get(f"/held/{ID}/copies").text
    assert "you@darban.test" in text and "other@darban.test" in text
    page = started(client, token, act="release", id=[other])
    await finish(client)
    assert client.quarantine.get(ID).state == "held"
    refused = client.post(f"/held/{ID}/redirect", data={"csrf": token, "address": "x@elsewhere.example"})
    assert refused.status_code == 400 and "does not go through this gateway" in refused.text
    client.post(f"/held/{ID}/redirect", data={"csrf": token, "address": "boss@darban.test"})
    text = client.get(f"/held/{ID}/copies").text
    assert "boss@darban.test" in text and text.count("250 2.0.0 taken") == 2
    (act, detail) = audited(client)[-1]
    assert act == "redirect" and "for you@darban.test to boss@darban.test" in detail
    assert client.quarantine.get(ID).state == "held"
    assert page


def test_notes_say_who_and_when(client: TestClient) -> None:
    token = sign_in(client)
    text = client.post(f"/held/{ID}/notes", data={"csrf": token, "text": "<b>asked</b> him"}).text
    assert "&lt;b&gt;asked&lt;/b&gt; him" in text and "<bdi>sara</bdi>" in text
    assert client.post(f"/held/{ID}/notes", data={"csrf": "x", "text": "y"}).status_code == 403
    client.post(f"/held/{ID}/notes", data={"csrf": token, "text": "  "})
    answer = client.post(f"/held/{ID}/notes", data={"csrf": token, "text": "again"}, headers=SCRIPT)
    assert answer.text.startswith('<section id="notes"') and answer.text.count('class="card note"') == 2
    row = client.get("/").text
    assert "again" in row and "2 notes" in row
    assert client.get("/held/none/notes").status_code == 404


@pytest.mark.parametrize("act", ["release", "spam", "delete"])
@pytest.mark.parametrize(
    ("about", "kept"),
    [
        ("q=bank&kind=phishing&state=&day_from=1405/09/06", "q=bank&kind=phishing&state=&day_from=2026-11-27"),
        ("", ""),
        ("kind=nonsense", ""),
        ("after=9&csrf=x&learned=y&show=source", ""),
        ("https://evil.example/", ""),
        ("q=//evil.example%0d%0aSet-Cookie:a", "q=%2F%2Fevil.example%0D%0ASet-Cookie%3Aa"),
    ],
)
def test_an_act_keeps_the_lists_filter(client: TestClient, act: str, about: str, kept: str) -> None:
    token = sign_in(client)
    held_id = hold(client, 7)
    data = {"csrf": token, "filter": about, "sure": "yes"}
    answer = client.post(f"/held/{held_id}/{act}", data=data, follow_redirects=False)
    path, _, query = answer.headers["location"].partition("?")
    assert (answer.status_code, path) == (303, f"/held/{held_id}")
    given = dict(parse_qsl(query, keep_blank_values=True))
    given.pop("learned", "")
    assert given == dict(parse_qsl(kept, keep_blank_values=True))


def test_the_list_and_the_page_send_their_filter(client: TestClient) -> None:
    token = sign_in(client)
    hidden = '<input type="hidden" name="filter" value="recipient=r&amp;sort=oldest">'
    listed = client.get("/?recipient=r&sort=oldest").text
    assert f'<form id="acts" method="post"><input type="hidden" name="csrf" value="{token}">{hidden}' in listed
    held_id = hold(client, 7)
    page = client.get(f"/held/{held_id}?recipient=r&sort=oldest").text
    assert page.count(hidden) == 3
    data = {"csrf": token, "filter": "recipient=r&sort=oldest"}
    row = client.post(f"/held/{held_id}/delete", data=data, headers={"HX-Request": "true"}).text
    assert f'<a href="/held/{held_id}?recipient=r&amp;sort=oldest">' in row
    about = {"csrf": token, "name": "x", "filter": "q=a"}
    client.post("/filters", data=about)
    (saved,) = SqlDesk(client.engine).filters("sara")
    answer = client.post(f"/filters/{saved.id}/delete", data=data, follow_redirects=False)
    assert answer.headers["location"] == "/?recipient=r&sort=oldest"


def test_filters_are_kept_under_a_name(client: TestClient) -> None:
    token = sign_in(client)
    data = {
        "csrf": token,
        "name": "Bank <1>",
        "filter": "q=bank&kind=phishing&day_from=1405/09/06&after=9",
        "shared": "yes",
    }
    answer = client.post("/filters", data=data, follow_redirects=False)
    assert dict(parse_qsl(answer.headers["location"][2:])) == {
        "q": "bank",
        "kind": "phishing",
        "day_from": "2026-11-27",
    }
    text = client.get("/").text
    assert "Bank &lt;1&gt;" in text
    (saved,) = SqlDesk(client.engine).filters("somebody else")
    assert saved.is_shared
    assert client.post("/filters", data=data | {"name": " "}).status_code == 400
    assert client.post("/filters", data=data | {"filter": "kind=x"}).status_code == 400
    client.post(f"/filters/{saved.id}/delete", data={"csrf": token})
    assert SqlDesk(client.engine).filters("sara") == []
    assert client.post(f"/filters/{saved.id}/delete", data={"csrf": token}).status_code == 404


def test_a_limited_account_sees_and_moves_only_its_own(client: TestClient) -> None:
    token = sign_in(client)
    foreign = hold(client, 1, recipient="x@other.test")
    mine = hold(client, 2, recipient="y@darban.test")
    job = started(client, token, act="delete", id=[foreign])
    from gateway.stores.accounts import SqlAccounts

    accounts = SqlAccounts(client.engine)
    accounts.create("admin", "a long password of his", "domain_admin", ["darban.test"])
    client.cookies.clear()
    text = client.post("/sign-in", data={"name": "admin", "password": "a long password of his"}).text
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', text)[1]
    assert set(shown(text)) == {ID, mine}
    assert set(shown(client.get("/?state=").text)) == {ID, mine}
    assert client.get(job).status_code == 404
    assert client.get("/jobs").text.count("/jobs/") == 0
    assert "1 held message<" in client.get(f"/bulk?id={foreign}&id={mine}").text
    assert client.get(f"/held/{foreign}/copies").status_code == 404
    assert client.post("/jobs", data={"csrf": token, "act": "delete", "id": [foreign]}).status_code == 400
    asked = client.post(f"/held/{mine}/redirect", data={"csrf": token, "address": "x@other.test"})
    assert asked.status_code == 403
    client.post("/jobs", data={"csrf": token, "act": "delete", "filter": "", "until": 10_000})
    (job,) = client.bulk._store.list("admin", 5)
    assert {one.held_id for one in client.bulk._store.items(job.id)} == {ID, mine}


def test_an_auditor_looks_and_does_nothing(client: TestClient) -> None:
    from gateway.stores.accounts import SqlAccounts

    SqlAccounts(client.engine).create("auditor", "a long password of his", "auditor")
    text = client.post("/sign-in", data={"name": "auditor", "password": "a long password of his"}).text
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', text)[1]
    assert shown(text) == [ID]
    assert f"/held/{ID}/delete" not in text and 'action="/bulk"' not in text
    assert client.post("/jobs", data={"csrf": token, "act": "delete", "id": [ID]}).status_code == 403
    for path in (f"/held/{ID}/redirect", f"/held/{ID}/notes"):
        assert client.post(path, data={"csrf": token, "text": "x", "address": "a@darban.test"}).status_code == 403
