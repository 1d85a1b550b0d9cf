"""A disk of its own for a test, which may lose its power, be full or take no writes.

An ext4 file system in a file, mounted through a loop device. `cut` is ext4's own shutdown without a flush
(EXT4_IOC_SHUTDOWN, as xfstests has it): what no fsync or commit had brought to the device is gone, the journal is replayed
at the next mount, and nothing that still runs can write any more. Mounted with data=writeback, where the journal promises
least: a file's name and size may survive without its bytes. What it does not show is a device that lies about its flushes.

Needs root; `available` says why not.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_SHUTDOWN = (1 << 31) | (4 << 16) | (ord("X") << 8) | 125  # _IOR('X', 125, __u32)
_NO_FLUSH = 2
_OPTIONS = "loop,data=writeback,commit=300"


def unavailable() -> str:
    """Why there can be no such disk here; "" when there can."""
    if os.geteuid():
        return "a disk of its own needs root"
    missing = [name for name in ("mkfs.ext4", "mount", "umount") if not shutil.which(name, path=_PATH)]
    if missing:
        return f"{missing[0]} is not installed"
    return "" if Path("/dev/loop-control").exists() else "this machine has no loop devices"


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Disk:
    """`at` is where it is mounted."""

    def __init__(self, image: Path, at: Path, size_mib: int = 256) -> None:
        self.at = at
        self._image = image
        self._filler = at / ".filler"
        with image.open("wb") as file:
            file.truncate(size_mib << 20)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        at.mkdir(parents=True, exist_ok=True)
        self.mount()

    def mount(self) -> None:
        """As after the power is back."""
        _run("mount", "-o", _OPTIONS, str(self._image), str(self.at))

    def unmount(self) -> None:
        """Waits for who is about to leave it."""
        for pause_s in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0):
            try:
                _run("umount", str(self.at))
            except RuntimeError:
                time.sleep(pause_s)
            else:
                return
        _run("umount", "--lazy", str(self.at))
        raise RuntimeError(f"{self.at}: somebody still uses it")

    def cut(self) -> None:
        """The power is gone."""
        folder = os.open(self.at, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _NO_FLUSH))
        finally:
            os.close(folder)

    def fill(self) -> bool:
        """No block is left; whether that is so now. What others free meanwhile is taken at the next call."""
        with self._filler.open("ab") as file:
            size = 64 << 20
            while size >= 1024:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2
        return not _takes(self.at, bytes(1 << 16), errno.ENOSPC)

    def free(self) -> None:
        """There is room again."""
        self._filler.unlink(missing_ok=True)

    @contextlib.contextmanager
    def read_only(self, folder: Path) -> Iterator[bool]:
        """A folder on it takes no writes; whether that is so."""
        _run("mount", "--bind", str(folder), str(folder))
        try:
            _run("mount", "-o", "remount,bind,ro", str(folder))
            yield not _takes(folder, b"x", errno.EROFS)
        finally:
            for _ in range(50):
                with contextlib.suppress(RuntimeError):
                    _run("umount", str(folder))
                    break
                time.sleep(0.1)


@contextlib.contextmanager
def disk(folder: Path, at: Path, size_mib: int = 256) -> Iterator[Disk]:
    """One that is gone afterwards."""
    image = folder / "disk.img"
    one = Disk(image, at, size_mib)
    try:
        yield one
    finally:
        one.unmount()
        image.unlink()


def _takes(folder: Path, content: bytes, refusal: int) -> bool:
    probe = folder / f".probe.{os.getpid()}"
    try:
        probe.write_bytes(content)
    except OSError as error:
        if error.errno != refusal:
            raise
        return False
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return True


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | {"PATH": _PATH})
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
