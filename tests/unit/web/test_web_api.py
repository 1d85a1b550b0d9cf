"""The REST API: who may call what, tokens that never exceed their accounts, acts that are done once."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
from fastapi.testclient import TestClient

from gateway.config.settings import Settings
from gateway.policy.access import Act, may
from gateway.stores.api_tokens import SqlApiTokens
from gateway.types import Account, LogRow, Role, Summary
from tests.web_app import CONTENT, WebApp, form_token, make_web_app

OURS, FOREIGN = "me@darban.test", "you@foreign.test"
WHO: dict[Role, Account] = {
    "owner": Account("owner", "owner"),
    "domain_admin": Account("domain_admin", "domain_admin", ("darban.test",)),
    "reviewer": Account("reviewer", "reviewer", ("darban.test",)),
    "auditor": Account("auditor", "auditor", ("darban.test",)),
    "recipient": Account("recipient", "recipient", (), (OURS,)),
}
ALL: tuple[Act, ...] = get_args(Act)


class Row(NamedTuple):
    """A route: the act it takes, "" for whoever is somebody, and what is sent."""

    act: str
    body: Any = None
    query: str = ""


ROWS: dict[tuple[str, str], Row] = {
    ("GET", "/openapi.json"): Row(""),
    ("GET", "/me"): Row(""),
    ("GET", "/tokens"): Row(""),
    ("GET", "/status"): Row("list"),
    ("GET", "/domains"): Row("list"),
    ("GET", "/dmarc/{day}"): Row("log"),
    ("GET", "/dmarc/{day}/{domain}"): Row("log"),
    ("GET", "/held"): Row("list"),
    ("GET", "/held/{held_id}"): Row("read"),
    ("GET", "/held/{held_id}/content"): Row("read"),
    ("GET", "/held/{held_id}/source"): Row("read"),
    ("GET", "/held/{held_id}/parts/{path}"): Row("read"),
    ("GET", "/held/{held_id}/why"): Row("read"),
    ("POST", "/held/{held_id}/release"): Row("release", {"learn": True}),
    ("POST", "/held/{held_id}/spam"): Row("spam"),
    ("POST", "/held/{held_id}/delete"): Row("delete"),
    ("POST", "/held/{held_id}/redirect"): Row("redirect", {"address": "other@darban.test"}),
    ("GET", "/held/{held_id}/notes"): Row("read"),
    ("POST", "/held/{held_id}/notes"): Row("note", {"text": "seen"}),
    ("POST", "/jobs"): Row("delete", {"act": "delete", "ids": ["{held_id}"]}),
    ("GET", "/jobs"): Row("list"),
    ("GET", "/jobs/{job_id}"): Row("list"),
    ("GET", "/jobs/{job_id}/messages"): Row("list"),
    ("POST", "/jobs/{job_id}/{order}"): Row("list"),
    ("GET", "/log"): Row("log"),
    ("GET", "/log/{queue_id}"): Row("log"),
    ("GET", "/learning"): Row("learning"),
    ("GET", "/lessons"): Row("learning"),
    ("POST", "/lessons/revoke"): Row("revoke", {"trainer": "nobody"}),
    ("POST", "/lessons/restore"): Row("revoke", {"ids": ["nothing"]}),
    ("GET", "/audit"): Row("audit"),
    ("GET", "/audit/verification"): Row("audit"),
    ("GET", "/accounts"): Row("accounts"),
    ("POST", "/accounts"): Row("accounts", {"name": "new", "role": "recipient", "addresses": ["new@darban.test"]}),
    ("GET", "/accounts/{name}"): Row("accounts"),
    ("PATCH", "/accounts/{name}"): Row("accounts", {"is_disabled": False}),
    ("DELETE", "/accounts/{name}"): Row("accounts"),
    ("GET", "/senders"): Row("senders"),
    ("POST", "/senders/forecast"): Row("senders", {"act": "allow", "pattern": "a@example.org", "recipient": OURS}),
    ("POST", "/senders"): Row("senders", {"act": "block", "pattern": "a@example.org", "recipient": OURS}),
    ("GET", "/senders/{number}"): Row("senders"),
    ("DELETE", "/senders/{number}"): Row("senders"),
    ("GET", "/privacy"): Row("privacy", query=f"?address={OURS}"),
    ("POST", "/privacy/export"): Row("privacy", {"address": "new@darban.test"}),
    ("POST", "/privacy/erase"): Row("privacy", {"address": "new@darban.test"}),
    ("GET", "/filters"): Row("list"),
    ("POST", "/filters"): Row("list", {"name": "x", "filter": {"sender": "a@example.org"}}),
    ("DELETE", "/filters/{filter_id}"): Row("list"),
}
OF_ALL = ("/dmarc", "/audit/verification")  # about nobody's domain
PLACES = {"day": "1", "domain": "example.org", "path": "1", "job_id": "a" * 32, "order": "stop", "queue_id": "Q1", "name": "mina", "number": "1", "filter_id": "b" * 32}  # fmt: skip


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebApp]:
    made = make_web_app(tmp_path, Settings.model_validate({"api": {"requests_per_minute": 100_000}}))
    for who in (*WHO.values(), Account("stranger", "recipient", (), (FOREIGN,)), Account("mina", "recipient", (), ("mina@darban.test",))):  # fmt: skip
        made.accounts.add(who)
    yield made
    made.engine.dispose()


def token(web: WebApp, name: str, acts: tuple[str, ...] = ALL, domains: tuple[str, ...] = ()) -> str:
    return SqlApiTokens(web.engine).new(name, "test", acts, domains, 3600.0)[1]


def caller(web: WebApp, secret: str) -> TestClient:
    return TestClient(
        web.app, base_url="http://testserver", headers={"Authorization": f"Bearer {secret}"} if secret else {}
    )


def ask(client: TestClient, which: tuple[str, str], row: Row, held_id: str) -> Any:
    method, path = which
    body = None if row.body is None else json.loads(json.dumps(row.body).replace("{held_id}", held_id))
    return client.request(method, "/api/v1" + path.format(**PLACES, held_id=held_id) + row.query, json=body)


def test_every_operation_has_a_row(web: WebApp) -> None:
    document = caller(web, token(web, "owner")).get("/api/v1/openapi.json").json()
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert told | {("GET", "/openapi.json")} == set(ROWS)


@pytest.mark.parametrize("role", get_args(Role))
def test_what_a_role_may(web: WebApp, role: Role) -> None:
    client = caller(web, token(web, role))
    for number, (which, row) in enumerate(ROWS.items()):
        held_id = f"{number:032x}"
        web.hold(held_id, OURS)
        if web.accounts.record("mina") is None:
            web.accounts.add(Account("mina", "recipient", (), ("mina@darban.test",)))
        answer = ask(client, which, row, held_id)
        is_of_all = which[1].startswith(OF_ALL) and role != "owner"
        if (not row.act or may(WHO[role], row.act)) and not is_of_all:  # type: ignore[arg-type]
            assert answer.status_code in (200, 201, 202, 204, 404), (which, answer.text)
            assert (
                "{job_id}" in which[1]
                or "{filter_id}" in which[1]
                or "/parts/" in which[1]
                or "/log/" in which[1]
                or answer.status_code != 404
            ), which
        else:
            assert answer.status_code == 403, (which, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"


def test_nothing_is_done_for_nobody(web: WebApp) -> None:
    for number, (which, row) in enumerate(ROWS.items()):
        web.hold(f"{number:032x}", OURS)
        for secret in ("", "darban_wrong"):
            answer = ask(caller(web, secret), which, row, f"{number:032x}")
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer", which
    assert web.quarantine.counts() == {"held": len(ROWS)}
    assert web.audited() == []


@pytest.mark.parametrize("role", ["domain_admin", "reviewer", "auditor", "recipient"])
def test_a_foreign_message_is_not_there(web: WebApp, role: Role) -> None:
    web.hold("f" * 32, FOREIGN)
    client = caller(web, token(web, role))
    for which, row in ROWS.items():
        if "{held_id}" not in which[1]:
            continue
        answer, missing = ask(client, which, row, "f" * 32), ask(client, which, row, "e" * 32)
        assert answer.status_code == (404 if may(WHO[role], row.act) else 403), which  # type: ignore[arg-type]
        assert answer.text == missing.text, which
    assert client.get("/api/v1/held", params={"state": ""}).json()["items"] == []
    answer = client.post("/api/v1/jobs", json={"act": "delete", "ids": ["f" * 32]})
    assert answer.status_code in (409, 403), "none of them is held"
    assert web.quarantine.get("f" * 32).state == "held"  # type: ignore[union-attr]


def test_a_token_may_only_what_it_is_made_for(web: WebApp) -> None:
    web.hold("a" * 32, OURS)
    without = {act: caller(web, token(web, "owner", tuple(one for one in ALL if one != act))) for act in (*ALL, "")}
    for which, row in ROWS.items():
        answer = ask(without[row.act], which, row, "a" * 32)
        assert answer.status_code == (403 if row.act else 200), which
    assert web.quarantine.get("a" * 32).state == "held"  # type: ignore[union-attr]


def test_a_job_takes_the_act_itself(web: WebApp) -> None:
    web.hold("a" * 32, OURS)
    client = caller(web, token(web, "owner", ("list",)))
    assert client.post("/api/v1/jobs", json={"act": "release", "ids": ["a" * 32]}).status_code == 403


def test_a_token_for_a_domain_sees_nothing_else(web: WebApp) -> None:
    web.hold("a" * 32, OURS)
    web.hold("f" * 32, FOREIGN)
    client = caller(web, token(web, "owner", ALL, ("foreign.test",)))
    assert [one["recipient"] for one in client.get("/api/v1/held").json()["items"]] == [FOREIGN]
    assert client.get("/api/v1/me").json() | {"acts": 0} == {
        "account": "owner", "role": "domain_admin", "domains": ["foreign.test"], "addresses": [], "acts": 0,
    }  # fmt: skip
    assert client.get("/api/v1/learning").status_code == 403, "lessons belong to no domain"
    assert client.post("/api/v1/accounts", json={"name": "x", "role": "owner"}).status_code == 403
    nothing_left = caller(web, token(web, "reviewer", ALL, ("foreign.test",)))
    assert nothing_left.get("/api/v1/held").status_code == 401, "none of it is the account's any more"


def test_the_audit_log_names_the_token(web: WebApp) -> None:
    web.hold("a" * 32, OURS)
    secret = token(web, "owner")
    caller(web, secret).post(f"/api/v1/held/{'a' * 32}/delete")
    (item,) = caller(web, secret).get("/api/v1/audit", params={"act": "delete"}).json()["items"]
    (made,) = SqlApiTokens(web.engine).list("owner")
    assert item["account"] == "owner" and item["client"].endswith(f" token {made.id}")


def test_a_session_needs_the_form_token(web: WebApp) -> None:
    client = web.client(WHO["owner"])
    csrf = form_token(client.get("/account").text)
    assert client.get("/api/v1/held").status_code == 403
    assert client.get("/api/v1/held", headers={"X-CSRF-Token": "0" * 64}).status_code == 403
    assert client.get("/api/v1/held", headers={"X-CSRF-Token": csrf}).status_code == 200


def test_an_act_is_done_once(web: WebApp) -> None:
    web.hold("a" * 32, OURS)
    web.hold("b" * 32, OURS)
    client = caller(web, token(web, "owner"))
    key = {"Idempotency-Key": "ticket 1"}
    first = client.post(f"/api/v1/held/{'a' * 32}/release", headers=key)
    again = client.post(f"/api/v1/held/{'a' * 32}/release", headers=key)
    assert (first.status_code, first.json()["held"]["state"]) == (200, "released")
    assert again.json() == first.json() and again.headers["idempotent-replayed"] == "true"
    assert len(web.audited("release")) == 1
    other = client.post(f"/api/v1/held/{'b' * 32}/release", headers=key)
    assert other.status_code == 422 and "another request" in other.json()["detail"]
    mine = caller(web, token(web, "owner")).post(f"/api/v1/held/{'a' * 32}/release", headers=key)
    assert mine.status_code == 409, "keys are a caller's own"
    refused = client.post(f"/api/v1/held/{'c' * 32}/release", headers={"Idempotency-Key": "2"})
    assert refused.status_code == 404
    web.hold("c" * 32, OURS)
    assert client.post(f"/api/v1/held/{'c' * 32}/release", headers={"Idempotency-Key": "2"}).status_code == 200


def test_who_was_slower_is_told(web: WebApp) -> None:
    web.hold("a" * 32, OURS)
    client = caller(web, token(web, "owner"))
    path = f"/api/v1/held/{'a' * 32}"
    etag = client.get(path).headers["etag"]
    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
    assert client.post(f"{path}/delete", headers={"If-Match": '"other"'}).status_code == 412
    done = client.post(f"{path}/delete", headers={"If-Match": etag})
    assert done.status_code == 200 and done.headers["etag"] != etag
    assert client.post(f"{path}/delete", headers={"If-Match": etag}).status_code == 412
    assert client.post(f"{path}/delete").status_code == 409
    assert client.get(f"{path}/source").status_code == 410

    etag = client.get("/api/v1/accounts/mina").headers["etag"]
    changed = client.patch("/api/v1/accounts/mina", json={"addresses": ["m@darban.test"]}, headers={"If-Match": etag})
    assert changed.json()["addresses"] == ["m@darban.test"]
    assert client.delete("/api/v1/accounts/mina", headers={"If-Match": etag}).status_code == 412


def test_what_is_read(web: WebApp) -> None:
    web.hold("a" * 32, OURS)
    client = caller(web, token(web, "owner"))
    assert client.get(f"/api/v1/held/{'a' * 32}/source").content == CONTENT
    content = client.get(f"/api/v1/held/{'a' * 32}/content").json()
    assert (content["subject"], content["text"].strip()) == ("x", "body")
    assert client.get(f"/api/v1/held/{'a' * 32}/parts/{content['parts'][0]['path']}").content == b"body\r\n"
    assert [act for _, act, _ in web.audited()] == ["download", "view", "download"]


def test_pages_follow_each_other(web: WebApp) -> None:
    for number in range(7):
        web.hold(f"{number:032x}", OURS)
        web.accounts.add(Account(f"p{number}", "recipient", (), (f"p{number}@darban.test",)))
        web.message_log.append([LogRow(f"Q{number}", 1e9 + number, "192.0.2.1", "h", "a@x.example", OURS, Summary(), "accept", "250", 1.0)])  # fmt: skip
    client = caller(web, token(web, "owner"))
    for number in range(5):
        client.get(f"/api/v1/held/{number:032x}/source")
    for path, cursor, key in (
        ("held", "after", "id"),
        ("log", "before", "number"),
        ("audit", "before", "number"),
        ("accounts", "after", "name"),
    ):
        whole = [one[key] for one in client.get(f"/api/v1/{path}?limit=200").json()["items"]]
        parts, more = [], ""
        while True:
            page = client.get(f"/api/v1/{path}?limit=2" + (f"&{cursor}={more}" if more else "")).json()
            parts += [one[key] for one in page["items"]]
            more = page["next"]
            if more is None:
                break
        assert parts == whole and len(whole) >= 5, path


def test_refusals_are_problem_details(web: WebApp) -> None:
    client = caller(web, token(web, "owner"))
    for answer, status in (
        (client.get("/api/v1/held?limit=0"), 422),
        (client.get("/api/v1/held?nonsense=1"), 422),
        (client.get("/api/v1/held/x"), 422),
        (client.get("/api/v1/nothing"), 404),
        (client.put("/api/v1/held"), 405),
        (client.post("/api/v1/lessons/revoke", json={}), 400),
        (client.post("/api/v1/accounts", json={"name": "x"}), 422),
    ):
        told = answer.json()
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert told["status"] == status and told["title"] and told["detail"], told
    assert client.get("/api/v1/held?limit=0").json()["faults"][0]["where"] == "query.limit"


def test_a_sender_is_forecast_allowed_seen_and_removed(web: WebApp) -> None:
    web.hold("a" * 32, OURS)
    client = caller(web, token(web, "owner"))
    allow = {"act": "allow", "pattern": "A@example.org", "recipient": OURS, "note": "asked for"}
    forecast = client.post("/api/v1/senders/forecast", json=allow).json()
    assert (forecast["days"], forecast["let_in_total"], forecast["blocked"]) == (30, 0, [])
    assert client.get("/api/v1/senders").json()["items"] == [], "a forecast saves nothing"
    saved = client.post("/api/v1/senders", json=allow | {"held_id": "a" * 32}).json()
    assert (saved["pattern"], saved["by"], saved["held_id"]) == ("a@example.org", "owner", "a" * 32)
    assert saved["expires_at"] == pytest.approx(saved["at"] + 30 * 86_400), "as the configuration has it"
    endless = client.post("/api/v1/senders", json=allow | {"expires_at": None}).json()
    assert (endless["number"], endless["expires_at"]) == (saved["number"], None), "the same one, said again"
    blocked = client.post("/api/v1/senders", json={"act": "block", "pattern": "example.net"}).json()
    assert (blocked["recipient"], blocked["expires_at"]) == ("", None)
    page = client.get("/api/v1/senders?limit=1").json()
    assert (page["items"][0]["number"], page["next"], page["total"]) == (blocked["number"], str(blocked["number"]), 2)
    assert client.get(f"/api/v1/senders?act=allow&before={page['next']}").json()["items"] == [endless]
    assert client.get(f"/api/v1/senders/{endless['number']}").json() == endless
    assert client.delete(f"/api/v1/senders/{endless['number']}").status_code == 204
    assert client.delete(f"/api/v1/senders/{endless['number']}").status_code == 404
    assert [act for _, act, _ in web.audited()] == ["sender-allow", "sender-allow", "sender-block", "sender-remove"]


@pytest.mark.parametrize(
    ("role", "change", "status"),
    [
        ("recipient", {}, 201),
        ("recipient", {"recipient": ""}, 403),
        ("recipient", {"recipient": "darban.test"}, 403),
        ("recipient", {"recipient": FOREIGN}, 403),
        ("recipient", {"expires_at": None}, 400),
        ("recipient", {"network": "192.0.2.0/24"}, 400),
        ("recipient", {"held_id": "f" * 32}, 404),
        ("domain_admin", {"recipient": "darban.test"}, 201),
        ("domain_admin", {"recipient": "foreign.test"}, 403),
        ("owner", {"recipient": "", "expires_at": None, "network": "192.0.2.0/24"}, 201),
        ("owner", {"pattern": "co.uk"}, 400),
        ("owner", {"expires_at": 1.0}, 400),
        ("owner", {"recipient": "no address"}, 400),
    ],
)
def test_what_may_be_said_of_a_sender(web: WebApp, role: Role, change: dict[str, Any], status: int) -> None:
    web.hold("f" * 32, FOREIGN)
    allow = {"act": "allow", "pattern": "a@example.org", "recipient": OURS} | change
    client = caller(web, token(web, role))
    assert client.post("/api/v1/senders/forecast", json=allow).status_code == (200 if status == 201 else status)
    assert client.post("/api/v1/senders", json=allow).status_code == status


def test_others_entries_are_not_there(web: WebApp) -> None:
    for recipient in ("", "foreign.test", FOREIGN):
        entry = {"act": "block", "pattern": "a@example.org", "recipient": recipient}
        assert caller(web, token(web, "owner")).post("/api/v1/senders", json=entry).status_code == 201
    for limited in (token(web, "domain_admin"), token(web, "recipient"), token(web, "owner", ALL, ("darban.test",))):
        client = caller(web, limited)
        assert client.get("/api/v1/senders").json() == {"items": [], "next": None, "total": 0}
        for number in (1, 2, 3):
            assert client.get(f"/api/v1/senders/{number}").status_code == 404
            assert client.delete(f"/api/v1/senders/{number}").status_code == 404


def test_a_person_is_counted_exported_and_erased(web: WebApp) -> None:
    web.hold("a" * 32, OURS)
    web.hold("f" * 32, FOREIGN)
    secret = token(web, "domain_admin")
    client = caller(web, secret)
    assert client.get("/api/v1/privacy", params={"address": OURS}).json()["held"] == 1
    sent = client.post("/api/v1/privacy/export", json={"address": OURS})
    assert sent.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(sent.content)) as folder:
        assert folder.read(f"held/{'a' * 32}.eml") == CONTENT
    erased = client.post("/api/v1/privacy/erase", json={"address": OURS}).json()
    assert (erased["held"], erased["left"]) == (1, [])
    assert client.get("/api/v1/privacy", params={"address": OURS}).json()["held"] == 0
    for answer in (
        client.get("/api/v1/privacy", params={"address": FOREIGN}),
        client.post("/api/v1/privacy/export", json={"address": FOREIGN}),
        client.post("/api/v1/privacy/erase", json={"address": FOREIGN}),
        client.post("/api/v1/privacy/erase", json={"address": "no address"}),
    ):
        assert answer.status_code == 400
    assert web.quarantine.get("f" * 32) is not None
    items = caller(web, token(web, "owner")).get("/api/v1/audit").json()["items"]
    (made,) = SqlApiTokens(web.engine).list("domain_admin")
    assert {(one["act"], one["client"].endswith(f" token {made.id}")) for one in items} == {
        ("export", True), ("erase", True),
    }  # fmt: skip


def test_filters_are_kept_under_a_name(web: WebApp) -> None:
    web.hold("a" * 32, OURS)
    client, other = caller(web, token(web, "reviewer")), caller(web, token(web, "recipient"))
    new = {"name": " from a ", "filter": {"sender": "a@example.org", "score_from": "5"}, "is_shared": True}
    saved = client.post("/api/v1/filters", json=new).json()
    assert (saved["name"], saved["account"], saved["is_shared"]) == ("from a", "reviewer", True)
    assert other.get("/api/v1/filters").json()["items"] == [saved]
    assert len(client.get("/api/v1/held", params=saved["filter"]).json()["items"]) == 1, "it is asked as it is given"
    again = client.post("/api/v1/filters", json=new | {"is_shared": False}).json()
    assert other.get("/api/v1/filters").json()["items"] == [], "in the place of the one of that name"
    assert other.post("/api/v1/filters", json=new).status_code == 403, "a recipient shares none"
    assert caller(web, token(web, "reviewer", ("list",))).post("/api/v1/filters", json=new).status_code == 403
    for wrong in ({"nonsense": "1"}, {"score_from": "x"}, {"day_from": "2026-02-31"}):
        assert client.post("/api/v1/filters", json={"name": "x", "filter": wrong}).status_code == 422
    assert other.delete(f"/api/v1/filters/{again['id']}").status_code == 404
    assert client.delete(f"/api/v1/filters/{again['id']}").status_code == 204
    assert client.get("/api/v1/filters").json()["items"] == []


def test_too_many_requests_are_told_when(tmp_path: Path) -> None:
    web = make_web_app(tmp_path, Settings.model_validate({"api": {"requests_per_minute": 20}}))
    web.accounts.add(WHO["owner"])
    client = caller(web, token(web, "owner"))
    codes = [client.get("/api/v1/me").status_code for _ in range(25)]
    assert codes[:20] == [200] * 20 and 429 in codes[20:]
    refused = client.get("/api/v1/me")
    assert 1 <= int(refused.headers["retry-after"]) <= 4
    assert caller(web, token(web, "owner")).get("/api/v1/me").status_code == 200, "each has his own"
    strangers = [caller(web, "darban_wrong").get("/api/v1/me").status_code for _ in range(5)]
    assert strangers[0] == 401 and strangers[-1] == 429
    web.engine.dispose()


def test_tokens_are_made_and_revoked_on_a_page(web: WebApp) -> None:
    client = web.client(WHO["reviewer"])
    csrf = form_token(client.get("/account/tokens").text)
    form = {"name": "collector", "act": ["list", "log"], "days": "30", "csrf": csrf}
    shown = client.post("/account/tokens", data=form)
    secret = shown.text.partition("<code>")[2].partition("</code>")[0]
    assert caller(web, secret).get("/api/v1/me").json()["acts"] == ["list", "log"]
    listed = client.get("/account/tokens").text
    assert "collector" in listed and secret not in listed
    (made,) = SqlApiTokens(web.engine).list("reviewer")
    other = web.client(WHO["owner"])
    other_csrf = form_token(other.get("/account/tokens").text)
    assert other.post("/account/tokens/revoke", data={"token": made.id, "csrf": other_csrf}).status_code == 404
    assert client.post("/account/tokens/revoke", data={"token": made.id, "csrf": csrf}).status_code == 303
    assert caller(web, secret).get("/api/v1/me").status_code == 401
    assert [act for _, act, _ in web.audited()] == ["token-add", "token-revoke"]


@pytest.mark.parametrize(
    "change",
    [{"name": " "}, {"act": []}, {"act": ["accounts"]}, {"act": ["nothing"]}, {"days": "0"}, {"days": "9999"}, {"domains": "foreign.test"}],
)  # fmt: skip
def test_a_token_that_exceeds_its_account_is_not_made(web: WebApp, change: dict[str, Any]) -> None:
    client = web.client(WHO["reviewer"])
    form = {"name": "x", "act": ["list"], "days": "30", "csrf": form_token(client.get("/account/tokens").text)} | change
    assert client.post("/account/tokens", data=form).status_code == 400
    assert SqlApiTokens(web.engine).list() == []


def test_the_reference_lists_the_operations(web: WebApp) -> None:
    page = web.client(WHO["recipient"]).get("/api").text
    for method, path in ROWS:
        assert path == "/openapi.json" or f"{method} /api/v1{path}" in page.replace("&#123;", "{")
    assert web.client(WHO["recipient"]).get("/api/openapi.json").json()["openapi"].startswith("3.")
