"""Delivery into a Maildir: tmp, fsync, rename into new, fsync of the folder; then it is custody."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from gateway.mail.edit import format_field, to_crlf
from gateway.types import Envelope, Recipient, Reply

STORED = Reply(250, "2.0.0", "Stored")
_FAILED = Reply(451, "4.3.0", "The mailbox cannot be written now")
_counter = itertools.count()

log = structlog.get_logger("darban.next_hop")


class MaildirNextHop:
    """One Maildir for every recipient; each copy names its own in Delivered-To. Implements ports.NextHop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def verify(self, recipient: Recipient) -> Reply:
        """It takes everybody."""
        return Reply(250, "2.1.5", f"{recipient.address} is taken")

    async def deliver(self, envelope: Envelope, content: bytes, recipients: Sequence[Recipient]) -> Mapping[str, Reply]:
        """A file for each recipient."""
        body = to_crlf(content)
        return {one.address: await asyncio.to_thread(self._store, envelope, body, one) for one in recipients}

    async def close(self) -> None:
        """Nothing is kept."""

    def _store(self, envelope: Envelope, content: bytes, recipient: Recipient) -> Reply:
        head = format_field("Return-Path", f"<{envelope.reverse_path}>")
        head += format_field("Delivered-To", recipient.address)
        name = f"{int(time.time())}.M{time.time_ns() % 10**9:09}P{os.getpid()}Q{next(_counter)}.{_host()}"
        fresh, final = self._folder / "tmp" / name, self._folder / "new" / name
        try:
            for place in ("tmp", "cur", "new"):
                _make_folder(self._folder / place)
            try:
                with fresh.open("xb") as file:
                    file.write(head + content)
                    file.flush()
                    os.fsync(file.fileno())
                fresh.rename(final)
            finally:
                fresh.unlink(missing_ok=True)
            _sync(self._folder / "new")
        except OSError as error:
            log.error("maildir fault", folder=str(self._folder), error=error.strerror)
            return _FAILED
        return STORED


def _make_folder(folder: Path) -> None:
    """With those above it; each name synced where it stands."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _host() -> str:
    return socket.gethostname().replace("/", "\\057").replace(":", "\\072")
