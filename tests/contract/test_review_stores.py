"""What the review list asks of its stores: pages, filters, campaigns, bulk acts, notes; SQLite and PostgreSQL."""

# ruff: noqa: F401, F811  fixtures of another file

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.errors import InputError, StoreError
from gateway.stores import held_query
from gateway.stores.bulk import SqlBulk
from gateway.stores.desk import SqlDesk
from gateway.stores.quarantine import SqlQuarantine
from gateway.types import BulkJob, HeldQuery, Note, SavedFilter, Scope
from tests.contract.test_stores import CONTENT, held, quarantine
from tests.fakes import FakeClock


def pages(quarantine: SqlQuarantine, query: HeldQuery) -> list[list[str]]:
    """The queue ids of every page."""
    found = []
    while True:
        page = quarantine.list(query)
        found.append([one.queue_id for one in page.messages])
        if not page.next:
            return found
        query = replace(query, after=page.next)


@pytest.mark.parametrize(
    ("order", "wanted"),
    [("newest", "Q7 Q6 Q5 Q4 Q3 Q2 Q1"), ("oldest", "Q1 Q2 Q3 Q4 Q5 Q6 Q7"), ("highest", "Q3 Q6 Q7 Q5 Q4 Q2 Q1"), ("lowest", "Q1 Q2 Q4 Q5 Q7 Q6 Q3")],
)  # fmt: skip
def test_pages_go_on_behind_a_key(quarantine: SqlQuarantine, order: Any, wanted: str) -> None:
    scores = {3: 30.0, 6: 20.0}  # the others are equal
    quarantine.hold([held(n, score=scores.get(n, 9.0)) for n in range(1, 8)], CONTENT)
    for limit in (1, 2, 3, 7, 50):
        found = pages(quarantine, HeldQuery(limit=limit, order=order))
        assert " ".join(chain(*found)) == wanted
        assert all(len(one) == limit for one in found[:-1])
    with pytest.raises(InputError):
        quarantine.list(HeldQuery(after="nonsense"))


def test_all_states_and_several_domains_are_one_order(quarantine: SqlQuarantine) -> None:
    quarantine.hold([held(n, domain=("a.test", "b.test", "c.test")[n % 3]) for n in range(1, 13)], CONTENT)
    for number, state in ((2, "released"), (3, "deleted"), (7, "releasing"), (11, "deleted")):
        quarantine.transition(held(number).id, ["held"], state)
    every = HeldQuery(state="", limit=4, scope=Scope(domains=("a.test", "c.test")))
    assert list(chain(*pages(quarantine, every))) == [f"Q{n}" for n in range(12, 0, -1) if n % 3 != 1]
    assert quarantine.list(every).total == 8
    assert quarantine.count(every, 100) == 8
    assert list(chain(*pages(quarantine, replace(every, state="held")))) == ["Q12", "Q9", "Q8", "Q6", "Q5"]
    below = replace(every, scope=Scope(domains=("*.test",)))
    assert list(chain(*pages(quarantine, below))) == [f"Q{n}" for n in range(12, 0, -1)]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"text": "سلام 7"}, "7"),
        ({"text": "سَلام ۷"}, "7"),
        ({"text": "100%"}, "1 7 8 9"),
        ({"text": "%x%"}, ""),
        ({"text": "r8@DARBAN"}, "8"),
        ({"text": "q9"}, "9"),
        ({"text": "9"}, "9"),
        ({"text": 'a "b'}, ""),
        ({"sender": "a@example.org <"}, ""),
        ({"sender": "other@"}, "9"),
        ({"sender": "darban"}, ""),
        ({"sender": "OTHER@example.net"}, "9"),
        ({"recipient": "r1@"}, "1"),
        ({"domain": "example.ir"}, "9"),
        ({"state": "released"}, ""),
        ({"finding": "URL_IP"}, "8"),
        ({"finding": "URL"}, ""),
        ({"kind": "phishing"}, "8"),
        ({"score_from": 10.0}, "8 9"),
        ({"score_from": 10.0, "score_to": 11.0}, "8"),
        ({"received_from": 7.0, "received_to": 9.0}, "7 8"),
        ({"campaign": "c" * 16}, "7 8"),
        ({"text": "darban", "kind": "spam", "score_to": 9.0, "sender": "example"}, "1 7"),
    ],
)
def test_what_is_asked_for_is_found(quarantine: SqlQuarantine, asked: dict, wanted: str) -> None:
    quarantine.hold(
        [
            held(1),
            held(7, campaign="c" * 16),
            held(8, campaign="c" * 16, score=11.0, kind="phishing", hits=("URL_IP", "SPF_FAIL")),
            held(9, domain="example.ir", reverse_path="other@example.net", score=12.0),
        ],
        CONTENT,
    )
    for order in ("newest", "highest"):
        found = quarantine.list(HeldQuery(**asked, order=order))
        assert sorted(one.queue_id for one in found.messages) == [f"Q{n}" for n in wanted.split()]
        assert found.total == len(found.messages) and not found.is_floor
    assert sorted(quarantine.ids(HeldQuery(**asked), 100)) == [held(int(n)).id for n in wanted.split()]


def test_a_rare_word_is_found_behind_many_messages(quarantine: SqlQuarantine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not among the rows that are read first; short ones have no trigrams."""
    monkeypatch.setattr(held_query, "_READ_FIRST", 5)
    quarantine.hold(
        [held(n, reverse_path="x@example.org" if n < 4 else "a@example.org") for n in range(1, 40)], CONTENT
    )
    for text in ("x@example.org", "x@"):
        found = pages(quarantine, HeldQuery(sender=text, limit=2))
        assert found == [["Q3", "Q2"], ["Q1"]]
    assert quarantine.list(HeldQuery(sender="a@example.org", limit=2))[1:3] == (2, True), "not counted to the end"


def test_counting_ends_at_a_thousand(quarantine: SqlQuarantine) -> None:
    quarantine.hold([held(n) for n in range(1, 1003)], CONTENT)
    page = quarantine.list(HeldQuery(limit=10))
    assert (page.total, page.is_floor, len(page.messages)) == (1000, True, 10)
    assert quarantine.count(HeldQuery(), 50) == 50


def test_of_what_is_alike_the_first_stands_for_all(quarantine: SqlQuarantine) -> None:
    campaigns = {1: "a", 2: "b", 3: "a", 4: "", 5: "a", 6: "", 7: "b"}
    quarantine.hold([held(n, campaign=key * 16, score=float(n % 4)) for n, key in campaigns.items()], CONTENT)
    folded = HeldQuery(is_folded=True, limit=2)
    assert pages(quarantine, folded) == [["Q7", "Q6"], ["Q5", "Q4"]]
    assert pages(quarantine, replace(folded, order="oldest")) == [["Q1", "Q2"], ["Q4", "Q6"]]
    assert pages(quarantine, replace(folded, order="highest")) == [["Q7", "Q3"], ["Q6", "Q4"]]
    assert pages(quarantine, replace(folded, recipient="r1@")) == [["Q1"]], "the newest that the query finds"
    assert quarantine.sizes(folded, ["a" * 16, "b" * 16]) == {"a" * 16: 3, "b" * 16: 2}
    assert quarantine.sizes(folded, []) == {}
    assert quarantine.list(folded).total == 4


@pytest.mark.parametrize("order", ["newest", "lowest"])
@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("r1@darban.test", "1"),  # and not r11@darban.test, nor r1@sub.darban.test
        ("R1@DARBAN.test", "1"),
        ("r1@darban.tes", "1 11 2"),  # no such domain yet: somebody is typing
        ("1@darban.test", ""),
        ("@darban.test", "1 11 2"),
        ("r1@", "1 11 2 3"),
        ("r1@other.test", ""),
    ],
)
def test_a_whole_recipient_is_that_one(quarantine: SqlQuarantine, asked: str, wanted: str, order: Any) -> None:
    rows = {
        1: ("r1@Darban.test", "darban.test"),
        11: ("xr1@darban.test", "darban.test"),
        2: ("r1@darban.test.example", "darban.test.example"),
        3: ("r1@other.example", "other.example"),
    }
    quarantine.hold(
        [replace(held(number), recipient=recipient, domain=domain) for number, (recipient, domain) in rows.items()],
        CONTENT,
    )
    for more in ({}, {"state": ""}, {"is_folded": True}):
        found = quarantine.list(HeldQuery(recipient=asked, order=order, **more))
        names = {one.queue_id.removeprefix("Q") for one in found.messages}
        assert names == set(wanted.split())
        assert quarantine.count(HeldQuery(recipient=asked, **more), 100) == len(names)


@pytest.mark.parametrize("read_first", [3, 12, 5000])
def test_what_a_common_word_finds_is_folded_and_counted_alike(
    quarantine: SqlQuarantine, monkeypatch: pytest.MonkeyPatch, read_first: int
) -> None:
    """However much of it is among the rows that are read first."""
    monkeypatch.setattr(held_query, "_READ_FIRST", read_first)
    sender = {True: "common@example.org", False: "other@example.org"}
    quarantine.hold(
        [
            held(n, campaign="abc"[n % 3] * 16 if n % 4 else "", reverse_path=sender[n % 5 != 0], score=float(n % 7))
            for n in range(1, 31)
        ],
        CONTENT,
    )
    for number in (4, 9, 16):
        quarantine.transition(held(number).id, ["held"], "released")
    for state in ("held", ""):
        for order in ("newest", "oldest", "highest", "lowest"):
            flat = HeldQuery(sender="common@", order=order, state=state, limit=1000)
            heads: dict[tuple[str, str], str] = {}
            for one in quarantine.list(flat).messages:
                heads.setdefault((one.state, one.campaign or one.id), one.queue_id)
            for limit in (1, 2, 50):
                found = list(chain(*pages(quarantine, replace(flat, is_folded=True, limit=limit))))
                assert found == list(heads.values()), (state, order, limit)
    common = HeldQuery(sender="common@")
    every = quarantine.list(replace(common, limit=1000)).messages
    for at_most in (1, 5, 1000):
        assert quarantine.count(common, at_most) == min(len(every), at_most)
    numbers = Counter(one.campaign for one in every)
    assert quarantine.sizes(common, ["a" * 16, "d" * 16]) == {"a" * 16: numbers["a" * 16], "d" * 16: 0}
    late = replace(common, received_from=25.0)
    assert quarantine.count(late, 100) == sum(one.received_at >= 25.0 for one in every)


def test_who_did_what_lately(quarantine: SqlQuarantine) -> None:
    quarantine.hold([held(n) for n in range(1, 4)], CONTENT)
    before = time.time()
    quarantine.transition(held(1).id, ["held"], "deleted", by="sara")
    quarantine.transition(held(2).id, ["held"], "released", "250 ok", by="reza")
    changed = quarantine.changed(Scope(is_all=True), before, 10)
    assert [(one.queue_id, one.state_by) for one in changed] == [("Q2", "reza"), ("Q1", "sara")]
    assert quarantine.changed(Scope(domains=("other.test",)), before, 10) == []
    assert quarantine.changed(Scope(is_all=True), time.time() + 1, 10) == []


def test_neighbours_in_every_order(quarantine: SqlQuarantine) -> None:
    quarantine.hold([held(n, score=float(-n)) for n in range(1, 5)], CONTENT)
    ids = {n: held(n).id for n in range(1, 5)} | {0: "", 5: ""}
    for n in range(1, 5):
        one = held(n, score=float(-n))
        assert quarantine.neighbours(HeldQuery(), one) == (ids[n + 1], ids[n - 1])
        assert quarantine.neighbours(HeldQuery(order="lowest"), one) == (ids[n + 1], ids[n - 1])
        assert quarantine.neighbours(HeldQuery(order="oldest"), one) == (ids[n - 1], ids[n + 1])


def test_what_comes_later_is_not_in_what_was_asked_about(quarantine: SqlQuarantine) -> None:
    quarantine.hold([held(5)], CONTENT)
    query = HeldQuery(until=quarantine.mark())
    quarantine.hold([held(1)], CONTENT)  # began to come earlier, was judged later
    assert quarantine.ids(query, 10) == [held(5).id]
    assert len(quarantine.ids(HeldQuery(), 10)) == 2


# --- acts on many, notes, filters -------------------------------------------------------------------------------------


def job(number: int = 1, **changes: object) -> BulkJob:
    values: dict = {
        "id": f"{number:032x}", "account": "sara", "act": "release", "about": "q=x", "learns": False, "at": float(number),
        "state": "running", "counts": {"waiting": 3},
    }  # fmt: skip
    return BulkJob(**(values | changes))


def test_every_message_of_a_job_is_taken_once(engine: Engine) -> None:
    bulk = SqlBulk(engine)
    bulk.add(job(), ["a", "b", "c"])
    assert bulk.get(job().id) == job()
    taken: list[str] = []

    def work(runner: str) -> None:
        while (item := SqlBulk(engine).take(job().id, runner)) is not None:
            taken.append(item.held_id)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == ["a", "b", "c"]
    assert bulk.get(job().id).counts == {"doing": 3}


def test_jobs_say_how_far_they_are(engine: Engine) -> None:
    now = FakeClock(100.0)
    bulk = SqlBulk(engine, now.now)
    bulk.add(job(1), ["a", "b"])
    bulk.add(job(2, account="reza"), ["c"])
    assert bulk.running() == [job(1).id, job(2).id]
    item = bulk.take(job(1).id, "here")
    bulk.settle(item, "refused", "550 5.7.1 no \0 way")
    bulk.settle(item, "done")
    assert [(one.held_id, one.state, one.said) for one in bulk.items(job(1).id)] == [
        ("a", "refused", "550 5.7.1 no \N{REPLACEMENT CHARACTER} way"), ("b", "waiting", ""),
    ]  # fmt: skip
    assert [one.held_id for one in bulk.items(job(1).id, after=0)] == ["b"]
    other = bulk.take(job(2).id, "there")
    assert bulk.left("here", 60) == []
    assert bulk.left("there", 60) == [other]
    now.advance(61)
    assert bulk.left("here", 60) == [other], "whoever had it is gone"
    assert not bulk.turn(job(1).id, "stopped", "running")
    assert bulk.turn(job(1).id, "running", "stopped", "person")
    assert bulk.running() == [job(2).id]
    assert [one.id for one in bulk.list("", 10)] == [job(2).id, job(1).id]
    assert [(one.state, one.stopped_for, one.total) for one in bulk.list("sara", 10)] == [("stopped", "person", 2)]
    assert bulk.get("none") is None


def test_notes_stay_with_their_message(engine: Engine, quarantine: SqlQuarantine) -> None:
    desk = SqlDesk(engine)
    quarantine.hold([held(1), held(2)], CONTENT)
    first, second = Note(held(1).id, 1.0, "sara", "پرسیدم \0"), Note(held(1).id, 2.0, "reza", "he knows it")
    desk.add_note(first)
    desk.add_note(second)
    found = desk.notes([held(1).id, held(2).id])
    assert [one.account for one in found[held(1).id]] == ["sara", "reza"]
    assert held(2).id not in found
    with pytest.raises(StoreError):
        desk.add_note(Note("f" * 32, 1.0, "sara", "about nothing"))


def test_saved_filters_are_ones_own_or_shared(engine: Engine) -> None:
    desk = SqlDesk(engine)
    mine = SavedFilter("1", "sara", "Bank", "q=bank", is_shared=False)
    shared = SavedFilter("2", "reza", "All", "state=", is_shared=True)
    desk.save_filter(mine)
    desk.save_filter(shared)
    desk.save_filter(SavedFilter("3", "reza", "His", "q=x", is_shared=False))
    assert desk.filters("sara") == [shared, mine]
    desk.save_filter(mine._replace(id="4", query="q=banks"))
    assert [one.query for one in desk.filters("sara")] == ["state=", "q=banks"]
    assert not desk.drop_filter("2", "sara")
    assert desk.drop_filter("4", "sara")
    assert desk.filters("sara") == [shared]
    for number in range(50):
        desk.save_filter(SavedFilter(f"n{number}", "ali", f"n{number}", "", is_shared=False))
    with pytest.raises(InputError):
        desk.save_filter(SavedFilter("n", "ali", "one more", "", is_shared=False))
