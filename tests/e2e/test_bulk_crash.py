"""kill -9 while many messages are released: nothing is sent twice, the states are true, and the job goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from gateway.stores.engine import migrate
from gateway.types import BulkJob
from tests.bulk_victim import bulk_of
from tests.contract.test_stores import CONTENT, held

pytestmark = pytest.mark.e2e
MESSAGES, KILLS = 60, 6


def took(folder: Path) -> list[str]:
    path = folder / "took"
    return path.read_text().split() if path.exists() else []


def test_a_bulk_release_survives_kill_9(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path}/darban.db")
    _, quarantine, store = bulk_of(tmp_path)
    messages = [held(n, recipient=f"r{n}@darban.test") for n in range(1, MESSAGES + 1)]
    quarantine.hold(messages, CONTENT)
    job = BulkJob("j" * 32, "sara", "release", "", False, time.time(), "running", {})
    store.add(job, [one.id for one in messages])
    for kill in range(1, KILLS + 1):
        victim = subprocess.Popen([sys.executable, "-m", "tests.bulk_victim", str(tmp_path)])
        deadline = time.monotonic() + 120
        while len(took(tmp_path)) < kill * 6 and victim.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(0.003 * kill)  # in another part of a message's way each time
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        assert len(took(tmp_path)) >= kill * 6, "it was killed at work"
        counts = store.get(job.id).counts
        assert counts.get("doing", 0) <= 1 and counts.get("waiting", 0) > 0, "in the middle of the job"
    _finish(tmp_path)
    items = {one.held_id: one for one in store.items(job.id)}
    delivered = Counter(took(tmp_path))
    assert max(delivered.values()) == 1, "nothing was sent twice"
    assert store.get(job.id).state == "done"
    doubtful = [one for one in items.values() if one.state == "unknown"]
    assert len(doubtful) <= KILLS
    for one in messages:
        now, item = quarantine.get(one.id), items[one.id]
        is_delivered = one.recipient in delivered
        match item.state:
            case "done":
                assert (now.state, now.state_by) == ("released", "sara") and is_delivered
            case "refused":
                assert now.state == "held" and now.note.startswith("550") and not is_delivered
            case "unknown":
                assert now.state == "releasing", "a person decides: it may be there"
            case other:
                pytest.fail(f"{one.recipient} is left {other}")
    refused = {one.recipient for one in messages if items[one.id].state == "refused"}
    will_be = {f"r{n}@darban.test" for n in range(7, MESSAGES + 1, 7)}
    in_doubt = {one.recipient for one in messages if items[one.id].state == "unknown"}
    assert refused <= will_be <= refused | in_doubt
    assert len(delivered) >= MESSAGES - len(refused) - len(doubtful)


def _finish(folder: Path) -> None:
    import asyncio

    bulk, _, _ = bulk_of(folder)

    async def work() -> None:
        while await bulk.step():
            pass

    asyncio.run(work())
