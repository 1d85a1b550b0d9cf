"""log_expiry.py."""

from __future__ import annotations

import asyncio

import pytest

from gateway import log_expiry
from gateway.errors import StoreError


class Old:
    """So many rows are old enough."""

    def __init__(self, rows: int) -> None:
        self.rows, self.asked, self.is_down = rows, [], False

    def purge(self, older_than_s: float, limit: int) -> int:
        self.asked.append((older_than_s, limit))
        if self.is_down:
            raise StoreError("message log: database: OperationalError")
        gone = min(limit, self.rows)
        self.rows -= gone
        return gone


async def run(old: Old, keep_days: float, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For three long rests; all rests in their order."""
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)
        if len([rest for rest in rests if rest >= 1]) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(log_expiry.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await log_expiry.purge_now_and_then(old, keep_days)
    return rests


async def test_batches_with_rests_until_nothing_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    old = Old(1200)
    rests = await run(old, 90, monkeypatch)
    assert old.rows == 0
    assert old.asked == [(90 * 86_400.0, 500)] * 5  # 500, 500, 200, then nothing twice
    assert [rest >= 1 for rest in rests] == [False, False, True, True, True]


async def test_a_store_that_is_down_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    old = Old(0)
    old.is_down = True
    await run(old, 1, monkeypatch)
    assert len(old.asked) == 3


async def test_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    old = Old(5)
    await log_expiry.purge_now_and_then(old, 0)
    assert old.asked == []
