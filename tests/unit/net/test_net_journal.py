"""Message-log rows from listeners to the admin process: in order, kept while it is away, counted when they are lost."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
import uvloop

from gateway.net import journal
from gateway.net.journal import JournalSender, serve_journal
from gateway.types import DmarcRow, JournalRow, LogRow, Summary


def row(number: int) -> LogRow:
    return LogRow(
        f"Q{number}", 1.5, "192.0.2.1", "helo", "", "شما@darban.test", Summary("id", "موضوع\n", "سارا", 10), "accept",
        "250 2.0.0 ok", 1.0, ("A", "B"), "reason", "250",
    )  # fmt: skip


async def until(count: int, rows: Sequence[JournalRow]) -> None:
    async with asyncio.timeout(10):
        while len(rows) < count:
            await asyncio.sleep(0.01)


async def test_rows_arrive_as_they_are_and_in_order(tmp_path: Path) -> None:
    got: list[LogRow] = []

    async def store(rows: Sequence[LogRow]) -> None:
        got.extend(rows)

    server = await serve_journal(tmp_path / "journal", store)
    sender = JournalSender(tmp_path / "journal")
    sender.start()
    for number in range(0, 2000, 4):
        sender.record([row(number + more) for more in range(4)])
    await until(2000, got)
    assert got == [row(number) for number in range(2000)]
    assert (tmp_path / "journal").stat().st_mode & 0o077 == 0
    await sender.close()
    server.close()


async def test_what_dmarc_reports_count_comes_the_same_way(tmp_path: Path) -> None:
    got: list[JournalRow] = []

    async def store(rows: Sequence[JournalRow]) -> None:
        got.extend(rows)

    counted = DmarcRow(
        1.5, "example.org", "treewalk v=DMARC1; p=none\n", "2001:db8::1", "a.example.org", "", "darban.test", "none", True,
        False, ("other",), (("example.org", "s1", "pass"), ("b", "c", "fail")), ("example.org", "none"), 3,
    )  # fmt: skip
    server = await serve_journal(tmp_path / "journal", store)
    sender = JournalSender(tmp_path / "journal")
    sender.start()
    sender.record([row(1)])
    sender.record([counted])
    await until(2, got)
    assert got == [row(1), counted]
    await sender.close()
    server.close()


async def test_rows_wait_while_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_RETRY_S", 0.05)
    sender = JournalSender(tmp_path / "journal")
    sender.start()
    sender.record([row(0)])
    await asyncio.sleep(0.1)
    sender.record([row(1)])
    got: list[LogRow] = []

    async def store(rows: Sequence[LogRow]) -> None:
        got.extend(rows)

    server = await serve_journal(tmp_path / "journal", store)
    await until(2, got)
    assert got == [row(0), row(1)]
    await sender.close()
    server.close()


def test_rows_come_again_after_the_other_end_died_with_some_unread(tmp_path: Path) -> None:
    """The socket is reset then, and has no end of file; uvloop raises RuntimeError for what is written to it."""
    got: list[JournalRow] = []

    async def store(rows: Sequence[JournalRow]) -> None:
        got.extend(rows)

    async def die_and_come_back() -> None:
        sender = JournalSender(tmp_path / "journal")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(tmp_path / "journal"))
            listening.listen()
            sender.start()
            sender.record([row(1)])
            connection, _ = await asyncio.to_thread(listening.accept)
            await asyncio.sleep(2 * journal._GATHER_S)  # it has come, and is not read
            connection.close()
        await asyncio.sleep(0.05)
        server = await serve_journal(tmp_path / "journal", store)
        sender.record([row(2)])
        await until(1, got)
        await sender.close()
        server.close()

    uvloop.run(die_and_come_back())
    assert got[-1] == row(2)


async def test_memory_is_bounded_and_the_loss_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_MAX_WAITING", 10)
    before = journal.LOST._value.get()
    sender = JournalSender(tmp_path / "nobody")
    for number in range(5):
        sender.record([row(number), row(number), row(number)])
    assert journal.LOST._value.get() - before == 5
    sender.start()
    await asyncio.wait_for(sender.close(grace_s=0.1), 5)


async def test_lines_that_are_no_rows_do_not_stop_the_journal(tmp_path: Path) -> None:
    got: list[LogRow] = []

    async def store(rows: Sequence[LogRow]) -> None:
        got.extend(rows)

    server = await serve_journal(tmp_path / "journal", store)
    for junk in (b"junk\n", b"{}\n", b'{"published": 1}\n', b"[1]\n", b"x" * 3_000_000, b'{"summary": []}\n'):
        _, writer = await asyncio.open_unix_connection(str(tmp_path / "journal"))
        writer.write(junk)
        writer.close()
    sender = JournalSender(tmp_path / "journal")
    sender.start()
    sender.record([row(7)])
    await until(1, got)
    assert got == [row(7)]
    await sender.close()
    server.close()


async def test_what_was_not_said_to_be_stored_comes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the admin process is killed with rows in hand."""
    monkeypatch.setattr(journal, "_RETRY_S", 0.05)
    seen: list[LogRow] = []

    async def die(rows: Sequence[LogRow]) -> None:
        seen.extend(rows)
        raise asyncio.CancelledError

    dying = await serve_journal(tmp_path / "journal", die)
    sender = JournalSender(tmp_path / "journal")
    sender.start()
    sender.record([row(0), row(1)])
    await until(1, seen)
    dying.close()
    got: list[LogRow] = []

    async def store(rows: Sequence[LogRow]) -> None:
        got.extend(rows)

    server = await serve_journal(tmp_path / "journal", store)
    await until(2, got)
    assert got == [row(0), row(1)]
    await sender.close()
    server.close()


async def test_a_row_that_nobody_can_store_does_not_hold_up_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_RETRY_S", 0.05)
    before = journal.LOST._value.get()
    got: list[LogRow] = []

    async def store(rows: Sequence[LogRow]) -> None:
        if row(1) in rows:
            raise asyncio.CancelledError
        got.extend(rows)

    server = await serve_journal(tmp_path / "journal", store)
    sender = JournalSender(tmp_path / "journal")
    sender.start()
    sender.record([row(0), row(1), row(2)])
    await until(2, got)
    assert got == [row(0), row(2)]
    assert journal.LOST._value.get() - before == 1
    await sender.close()
    server.close()
