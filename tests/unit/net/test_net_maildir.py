"""Delivery into a Maildir: whole files only, one for each recipient, and a 451 when it cannot be written."""

from __future__ import annotations

import mailbox
import os
from pathlib import Path

import pytest

from gateway.net.maildir import MaildirNextHop
from tests.builders import envelope, recipient

YOU, REZA = recipient("you@darban.test"), recipient("reza@darban.test")


async def test_a_copy_for_each_recipient(tmp_path: Path) -> None:
    hop = MaildirNextHop(tmp_path / "mail")
    assert (await hop.verify(YOU)).code == 250
    replies = await hop.deliver(envelope(), b"Subject: a\n\nb\r.\r\n", [YOU, REZA])
    assert {address: reply.code for address, reply in replies.items()} == {YOU.address: 250, REZA.address: 250}
    contents = sorted(path.read_bytes() for path in (tmp_path / "mail" / "new").iterdir())
    assert contents == [
        b"Return-Path: <sara@example.org>\r\nDelivered-To: %b@darban.test\r\nSubject: a\r\n\r\nb\r\n.\r\n" % user
        for user in (b"reza", b"you")
    ]
    assert not list((tmp_path / "mail" / "tmp").iterdir())
    assert len(mailbox.Maildir(tmp_path / "mail")) == 2
    await hop.close()


async def test_the_content_is_on_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await MaildirNextHop(tmp_path).deliver(envelope(), b"a\r\n", [YOU])  # makes the folders
    acts: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def noting_fsync(fd: int) -> None:
        acts.append("fsync folder" if Path(f"/proc/self/fd/{fd}").is_dir() else "fsync file")
        fsync(fd)

    def noting_rename(path: Path, target: Path) -> Path:
        acts.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(Path, "rename", noting_rename)
    await MaildirNextHop(tmp_path).deliver(envelope(), b"a\r\n", [YOU])
    assert acts == ["fsync file", "rename", "fsync folder"]


@pytest.mark.parametrize("step", ["fsync", "open", "rename"])
async def test_what_cannot_be_written_is_a_451_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "open": (Path, "open"), "rename": (Path, "rename")}[step], fails)
    reply = (await MaildirNextHop(tmp_path).deliver(envelope(), b"a\r\n", [YOU]))[YOU.address]
    monkeypatch.undo()
    assert (reply.code, reply.enhanced) == (451, "4.3.0")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    replies = await MaildirNextHop(tmp_path / "file").deliver(envelope(), b"a\r\n", [YOU, REZA])
    assert {reply.code for reply in replies.values()} == {451}
