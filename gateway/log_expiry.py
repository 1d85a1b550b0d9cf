"""Rows of the message log go when they are old enough: a few at a time, with rests in which others write."""

from __future__ import annotations

import asyncio
import time

import structlog
from prometheus_client import Counter

from gateway.errors import StoreError
from gateway.ports import MessageLog

PURGED = Counter("darban_message_log_purged_rows_total", "Rows of the message log that were kept long enough.")

_EVERY_S = 600.0
_BATCH = 500  # rows of one transaction, which others wait for
_REST = 3.0  # so many times as long as a batch took

log = structlog.get_logger("darban.message_log")


async def purge_now_and_then(message_log: MessageLog, keep_days: float) -> None:
    """For ever, in one process; 0 days: everything is kept."""
    while keep_days:
        try:
            gone = await _purge(message_log, keep_days * 86_400.0)
            if gone:
                log.info("forgot old rows of the message log", rows=gone)
        except StoreError as error:
            log.warning("message log not purged", error=str(error))
        await asyncio.sleep(_EVERY_S)


async def _purge(message_log: MessageLog, older_than_s: float) -> int:
    gone = 0
    while True:
        began = time.monotonic()
        batch = await asyncio.to_thread(message_log.purge, older_than_s, _BATCH)
        PURGED.inc(batch)
        gone += batch
        if batch < _BATCH:
            return gone
        await asyncio.sleep(_REST * (time.monotonic() - began))
