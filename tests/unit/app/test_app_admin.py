"""What the admin process does with rows of listeners."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway.app.admin import keep_rows
from gateway.errors import StoreError
from gateway.types import DmarcRow, LogRow, Summary


async def test_rows_wait_for_a_message_log_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.app.admin._LOG_AGAIN_S", 0.0)
    kept: list[object] = []
    told: list[object] = []
    faults = [StoreError("disk full"), StoreError("locked")]

    def append(rows: Sequence[LogRow]) -> None:
        if faults:
            raise faults.pop()
        kept.extend(rows)

    def refuse(rows: Sequence[DmarcRow]) -> None:
        raise StoreError("down")

    row = LogRow(
        "Q1", 0.0, "192.0.2.1", "h", "a@example.org", "you@darban.test", Summary(), "accept", "250 2.0.0 ok", 0.0
    )
    await keep_rows([row], told.extend, append, refuse)
    assert kept == told == [row]
