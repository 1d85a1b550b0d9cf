"""web/digest.py: a GET shows, a POST with the page's token acts, once, and only for what the link was signed for."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from gateway.policy import digest_link
from gateway.policy.digest_link import NO_MESSAGE, Link
from gateway.stores.digests import SqlDigests
from gateway.stores.schema import held, lesson
from gateway.types import Digest, DigestAct
from tests.web_app import WebApp, make_web_app

ID, OTHER = "a" * 32, "b" * 32
READER = "head@darban.test"
DIGEST = Digest("d" * 32, "you@darban.test", READER, 1.9e9, "en", "gregorian", "UTC")


@dataclass
class Desk:
    web: WebApp
    store: SqlDigests
    client: TestClient

    def link(self, act: DigestAct, held_id: str = ID, ends_in_s: float = 3600) -> str:
        number, key = self.store.signing_key()
        return "/digest/" + digest_link.sign(
            Link(number, act, int(time.time() + ends_in_s), held_id, DIGEST.id), DIGEST, key
        )

    def form(self, path: str) -> str:
        return re.findall(r'name="form" value="([^"]+)"', self.client.get(path).text)[0]

    def state(self, held_id: str = ID) -> str:
        found = self.web.quarantine.get(held_id)
        assert found is not None
        return found.state

    def lessons(self) -> list[tuple[str, bool, str]]:
        with self.web.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(lesson.c.trainer, lesson.c.is_spam, lesson.c.via))]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    web = make_web_app(tmp_path)
    web.hold(ID, "You@darban.test")
    web.hold(OTHER, "reza@darban.test")
    store = SqlDigests(web.engine)
    assert store.claim(DIGEST, 0.0, 9) == [ID]
    yield Desk(web, store, web.client())
    web.engine.dispose()


@pytest.mark.parametrize(("act", "state", "label"), [("release", "released", False), ("spam", "deleted", True)])
def test_asked_and_done(desk: Desk, act: DigestAct, state: str, label: bool) -> None:
    path = desk.link(act)
    page = desk.client.get(path)
    assert page.status_code == 200
    assert (desk.state(), "body" in page.text.partition("<body>")[2].replace("</body>", "")) == ("held", False)
    assert page.headers["referrer-policy"] == "no-referrer"
    done = desk.client.post(path, data={"form": desk.form(path)})
    assert (done.status_code, done.headers["location"], desk.state()) == (303, path, state)
    said = {"released": "It was released", "deleted": "It was deleted"}[state]
    after = desk.client.get(path).text
    assert (said in after, "<form" in after) == (True, False)
    assert desk.lessons() == [(READER, label, "digest")]
    assert [(who, one) for who, one, _ in desk.web.audited(act)] == [(READER, act)]
    told = desk.web.audited(act)[0][2]  # the state first: the timeline and webhooks go by it
    assert (told.partition(":")[0], told.rpartition("; ")[2]) == (state, "from a digest")


def test_what_follows_links_does_nothing(desk: Desk) -> None:
    for act in ("release", "spam", "stop"):
        path = desk.link(act, NO_MESSAGE if act == "stop" else ID)
        assert desk.client.head(path).status_code == 405
        assert desk.client.get(path).status_code == 200
        for data in ({}, {"form": ""}, {"form": "x" * 24}, {"want": "stop"}, {"List-Unsubscribe": "One-Click"}):
            assert desk.client.post(path, data=data).status_code in (403, 405)
        assert desk.client.put(path).status_code == 405
    assert desk.state() == "held"
    assert not desk.store.is_stopped(DIGEST.mailbox, READER)
    assert desk.lessons() == []
    assert desk.web.audited() == []


def test_a_form_is_for_its_own_link(desk: Desk) -> None:
    form = desk.form(desk.link("spam"))
    assert desk.client.post(desk.link("release"), data={"form": form}).status_code == 403
    look = desk.link("look")
    assert "<form" not in desk.client.get(look).text
    number, key = desk.store.signing_key()
    for path in (look, desk.link("stop", NO_MESSAGE)):
        token = digest_link.form_token(path.removeprefix("/digest/"), key, time.time())
        assert desk.client.post(path, data={"form": token}).status_code == 405
    assert number == 1
    assert desk.state() == "held"


def test_links_that_are_none(desk: Desk) -> None:
    good = desk.link("release")
    number, key = desk.store.signing_key()
    in_an_hour = int(time.time() + 3600)
    foreign = digest_link.sign(Link(number, "release", in_an_hour, OTHER, DIGEST.id), DIGEST, key)
    unknown = replace(DIGEST, id="e" * 32)
    paths = [
        good[:-1], good + "A", good[:-1] + ("A" if good[-1] != "A" else "B"), "/digest/x", "/digest/preview",
        desk.link("release", ends_in_s=-1), f"/digest/{foreign}",
        "/digest/" + digest_link.sign(Link(number, "release", in_an_hour, ID, unknown.id), unknown, key),
        "/digest/" + digest_link.sign(Link(number + 1, "release", in_an_hour, ID, DIGEST.id), DIGEST, key),
        "/digest/" + digest_link.sign(Link(number, "release", in_an_hour, ID, DIGEST.id), DIGEST, b"j" * 32),
    ]  # fmt: skip
    for path in paths:
        assert desk.client.get(path).status_code == 404, path
        token = digest_link.form_token(path.removeprefix("/digest/"), key, time.time())
        assert desk.client.post(path, data={"form": token}).status_code == 404, path
    assert (desk.state(), desk.state(OTHER)) == ("held", "held")


def test_malware_is_an_admins_to_release(desk: Desk) -> None:
    with desk.web.engine.begin() as connection:
        connection.execute(update(held).values(kind="malware"))
    path = desk.link("release")  # as if it was called malware after the digest went out
    page = desk.client.get(path).text
    assert ("Only an admin can release it." in page, "<form" in page) == (True, False)
    _, key = desk.store.signing_key()
    token = digest_link.form_token(path.removeprefix("/digest/"), key, time.time())
    assert desk.client.post(path, data={"form": token}).status_code == 403
    assert desk.state() == "held"
    spam = desk.link("spam")
    assert desk.client.post(spam, data={"form": desk.form(spam)}).status_code == 303
    assert desk.state() == "deleted"


def test_too_late_says_what_became_of_it(desk: Desk) -> None:
    path = desk.link("release")
    form = desk.form(path)
    assert desk.web.quarantine.transition(ID, ("held",), "deleted")
    assert desk.client.post(path, data={"form": form}).status_code == 303
    assert "It was deleted." in desk.client.get(path).text
    assert desk.lessons() == []


def test_what_could_not_be_delivered_can_be_tried_again(desk: Desk) -> None:
    with desk.web.engine.begin() as connection:
        connection.execute(update(held).values(note="451 4.4.1 <b>down</b>"))
    page = desk.client.get(desk.link("release")).text
    assert "still held" in page
    assert "451 4.4.1 &lt;b&gt;down" in page
    assert "<form" in page


def test_no_more_and_again(desk: Desk) -> None:
    path = desk.link("stop", NO_MESSAGE)
    for want, is_stopped in (("stop", True), ("again", False)):
        assert desk.client.post(path, data={"form": desk.form(path), "want": want}).status_code == 303
        assert desk.store.is_stopped(DIGEST.mailbox, READER) == is_stopped
    assert [detail for _, _, detail in desk.web.audited("digest")] == ["no more", "again"]


def test_the_page_speaks_the_digests_language(desk: Desk) -> None:
    persian = replace(
        DIGEST, id="f" * 32, language="fa", calendar="jalali", time_zone="Asia/Tehran", reader="ali@darban.test"
    )
    assert desk.store.claim(persian, 0.0, 9)
    number, key = desk.store.signing_key()
    text = digest_link.sign(Link(number, "look", int(time.time() + 60), ID, persian.id), persian, key)
    page = desk.client.get(f"/digest/{text}", headers={"accept-language": "en"}).text
    assert '<html lang="fa" dir="rtl">' in page
    assert "چرا این پیام نگه داشته شده است" in page
    assert "۱۴۰۵/" in page
