"""What the quarantine and a Maildir said is theirs is there after the power was cut, whole; on a disk that can lose it."""

from __future__ import annotations

import collections
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.net.maildir import MaildirNextHop
from gateway.stores.blobs import FileBlobs
from gateway.stores.engine import make_engine, migrate
from gateway.stores.quarantine import SqlQuarantine
from tests.builders import envelope, recipient
from tests.disk import Disk, disk, unavailable
from tests.power_victim import content

ROOT = Path(__file__).parent.parent.parent
CUTS = 8
NAME = "0" * 64


@pytest.fixture
def own_disk(tmp_path: Path) -> Iterator[Disk]:
    why = unavailable()
    if why:
        pytest.skip(why)
    with disk(tmp_path, tmp_path / "disk", 64) as one:
        yield one


def test_the_cut_takes_what_was_not_synced_and_leaves_what_was(own_disk: Disk) -> None:
    (own_disk.at / "synced").write_bytes(b"kept" * 1000)
    subprocess.run(["sync", own_disk.at / "synced", own_disk.at], check=True)
    (own_disk.at / "not synced").write_bytes(b"gone" * 1000)
    own_disk.cut()
    with pytest.raises(OSError, match="Input/output error"):
        (own_disk.at / "later").write_bytes(b"x")
    own_disk.unmount()
    own_disk.mount()
    assert (own_disk.at / "synced").read_bytes() == b"kept" * 1000
    assert not (own_disk.at / "not synced").exists()


def cut_once(own_disk: Disk, chance: random.Random, *words: str) -> list[str]:
    """Start the victim, cut the power in the middle of its work; what it had promised."""
    victim = subprocess.Popen(
        [sys.executable, "-m", "tests.power_victim", own_disk.at, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert victim.stdout
    said = [victim.stdout.readline() for _ in range(chance.randint(1, 60))]
    time.sleep(chance.uniform(0, 0.02))
    own_disk.cut()
    victim.kill()
    said += victim.stdout.readlines()
    victim.wait()
    own_disk.unmount()
    own_disk.mount()
    return [line.strip() for line in said if re.fullmatch(r"(held|delivered) \w+\n", line)]


def missing(at: Path, promised: list[str]) -> list[str]:
    """The promises that were not kept."""
    engine = make_engine(f"sqlite:///{at}/darban.db")
    store = SqlQuarantine(engine, FileBlobs(f"file://{at}/blobs"))
    files = [file.read_bytes() for file in at.glob("maildir*/new/*")]
    whole = collections.Counter(
        int(found[1])
        for one in files
        if (found := re.search(rb"power (\d+)", one)) and one.endswith(content(int(found[1])))
    )
    gone = []
    for line, count in collections.Counter(promised).items():
        verb, name = line.split()
        if verb == "delivered" and whole[int(name)] < count:
            gone.append(line)
        elif verb == "held":
            try:
                store.content(name)  # checks the hash
            except Exception as error:
                gone.append(f"{line}: {error}")
    engine.dispose()
    return gone


@pytest.mark.parametrize("words", [(), ("careless",)], ids=["as it is", "without fsync"])
def test_what_was_promised_is_there_after_the_power_was_cut(own_disk: Disk, words: tuple[str, ...]) -> None:
    migrate(f"sqlite:///{own_disk.at}/darban.db")
    subprocess.run(["sync", own_disk.at], check=True)
    chance, promised = random.Random(11), []
    for _ in range(CUTS if not words else 2):
        promised += cut_once(own_disk, chance, *words)
    assert len(promised) > 20
    gone = missing(own_disk.at, promised)
    assert gone if words else not gone, "the cut took nothing" if words else gone


class Names:
    """Which names in folders are not synced yet, as POSIX has it: fsync of the folder, after the name is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loose: set[Path] = set()
        mkdir, rename, fsync = os.mkdir, os.rename, os.fsync

        def make(path: Path, *arguments: object) -> None:
            mkdir(path, *arguments)  # type: ignore[arg-type]
            self.loose.add(Path(path))

        def move(before: Path, after: Path) -> None:
            rename(before, after)
            self.loose.add(Path(after))

        def sync(fd: int) -> None:
            fsync(fd)
            synced = Path(f"/proc/self/fd/{fd}").readlink()
            self.loose -= {one for one in self.loose if one.parent == synced}

        monkeypatch.setattr("os.mkdir", make)
        monkeypatch.setattr("os.rename", move)
        monkeypatch.setattr("os.fsync", sync)


async def test_every_name_is_synced_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ext4 keeps all the same, as its journal is one: a file system may keep only what was asked for."""
    names, to = Names(monkeypatch), recipient("you@darban.test")
    FileBlobs(f"file://{tmp_path}/var/blobs").write(NAME, 7, lambda: b"content")
    assert not names.loose
    await MaildirNextHop(tmp_path / "mail" / "you").deliver(envelope(to.address), b"content", [to])
    assert not names.loose
