"""bulk.py: what became of a message that was in hand when its process died, and what the runner does about it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.bulk import MOST, _recovered
from gateway.errors import InputError, StoreError
from gateway.types import BulkAct, BulkItem, BulkJob, ItemState, QuarantineState
from tests.bulk_victim import HERE, bulk_of
from tests.contract.test_stores import CONTENT, held
from tests.database import migrated


@pytest.mark.parametrize(
    ("act", "state", "at", "by", "wanted"),
    [
        ("release", "held", 5.0, "", "waiting"),  # nothing was begun
        ("release", "held", 15.0, "sara", "refused"),  # tried, and its words stand in the note
        ("release", "held", 5.0, "sara", "waiting"),  # tried before this job
        ("release", "releasing", 15.0, "sara", "unknown"),  # the next hop may have it
        ("release", "releasing", 15.0, "reza", "gone"),  # another reviewer was quicker
        ("release", "released", 15.0, "sara", "done"),
        ("release", "released", 15.0, "reza", "gone"),
        ("release", "deleted", 15.0, "sara", "refused"),
        ("delete", "deleted", 15.0, "sara", "done"),
        ("spam", "deleted", 5.0, "sara", "gone"),
        ("delete", "held", 5.0, "", "waiting"),
    ],
)
def test_what_became_of_it(act: BulkAct, state: QuarantineState, at: float, by: str, wanted: ItemState) -> None:
    job = BulkJob("j", "sara", act, "", False, 1.0, "running", {})
    item = BulkItem("j", 0, "h", "doing", 10.0, "", HERE)
    assert _recovered(job, item, held(1, state=state, state_at=at, state_by=by)) == wanted
    assert _recovered(job, item, None) == "gone"


async def test_a_store_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrated(f"sqlite:///{tmp_path}/darban.db")
    bulk, quarantine, store = bulk_of(tmp_path)
    quarantine.hold([held(1, recipient="r1@darban.test")], CONTENT)
    await bulk.start("sara", "release", [held(1).id], about="", learns=False)
    monkeypatch.setattr("gateway.bulk._LOOK_S", 0.01)
    real, faults = store.left, [StoreError("down"), StoreError("down")]

    def left(*args: object) -> object:
        if faults:
            raise faults.pop()
        return real(*args)

    monkeypatch.setattr(bulk._store, "left", left)
    running = asyncio.create_task(bulk.run())
    for _ in range(500):
        if store.list("", 1)[0].state == "done":
            break
        await asyncio.sleep(0.02)
    running.cancel()
    assert store.list("", 1)[0].counts == {"done": 1}
    assert faults == []


async def test_a_person_stops_it_and_it_goes_on(tmp_path: Path) -> None:
    migrated(f"sqlite:///{tmp_path}/darban.db")
    bulk, quarantine, store = bulk_of(tmp_path)
    quarantine.hold([held(n, recipient=f"r{n}@darban.test") for n in (1, 2)], CONTENT)
    job = await bulk.start("sara", "release", [held(1).id, held(2).id, held(1).id], about="", learns=False)
    assert store.get(job).counts == {"waiting": 2}, "each once"
    assert await bulk.stop(job) and not await bulk.stop(job)
    assert not await bulk.step()
    assert store.get(job).counts == {"waiting": 2}
    assert await bulk.go_on(job)
    while await bulk.step():
        pass
    assert (store.get(job).state, store.get(job).counts) == ("done", {"done": 2})


@pytest.mark.parametrize("ids", [[], [f"{n:032x}" for n in range(MOST + 1)]])
async def test_no_message_and_too_many(tmp_path: Path, ids: list[str]) -> None:
    migrated(f"sqlite:///{tmp_path}/darban.db")
    bulk, _, store = bulk_of(tmp_path)
    with pytest.raises(InputError):
        await bulk.start("sara", "delete", ids, about="", learns=False)
    assert store.list("", 1) == []
