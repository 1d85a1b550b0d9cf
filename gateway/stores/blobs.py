"""Contents of held messages as files named by their sha256, fsync'd before anybody relies on them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.errors import StoreError
from gateway.stores.engine import faults


class FileBlobs:
    """Implements ports.BlobStore below `url`, a file:// URL of an absolute folder."""

    def __init__(self, url: str) -> None:
        self._folder = Path(url.removeprefix("file://"))

    def write(self, name: str, size: int, content: Callable[[], bytes]) -> None:
        """Temporary file, fsync, rename, fsync of the folders. What is there in this size stays; else `content` is
        asked for."""
        path = self._path(name)
        with faults("blob"):
            if path.exists() and path.stat().st_size == size:
                return
            _make_folder(path.parent)
            fresh = path.with_name(f".{name}.{os.getpid()}.{os.urandom(4).hex()}")
            try:
                with fresh.open("wb") as file:
                    file.write(content())
                    file.flush()
                    os.fsync(file.fileno())
                fresh.rename(path)
            finally:
                fresh.unlink(missing_ok=True)
            _sync_folder(path.parent)

    def get(self, key: str) -> bytes:
        """Checked against its name."""
        content = self.read(key)
        if hashlib.sha256(content).hexdigest() != key:
            raise StoreError(f"blob {key[:12]}: content does not match its hash; the file was changed or damaged")
        return content

    def read(self, name: str) -> bytes:
        """As it is."""
        with faults(f"blob {name[:12]}"):
            return self._path(name).read_bytes()

    def delete(self, key: str) -> None:
        """Gone, also after a loss of power, or was not there."""
        path = self._path(key)
        with faults(f"blob {key[:12]}"):
            if path.exists():
                path.unlink(missing_ok=True)
                _sync_folder(path.parent)

    def discard(self, name: str) -> None:
        """A half-written file, which begins with "."."""
        with faults("blobs"):
            (self._path(name.split(".")[1]).parent / name).unlink(missing_ok=True)

    def names(self, shard: int, older_than_s: float) -> Sequence[str]:
        """Of one of 256 folders, the files that have been there for so long; also what was half written."""
        before = time.time() - older_than_s
        with faults("blobs"):
            found = (self._folder / f"{shard % 256:02x}").glob("*/*")
            return [one.name for one in found if one.is_file() and one.stat().st_mtime < before]

    def check(self) -> None:
        """A block is written and taken away again: a full disk and a folder that may not be written are found."""
        with faults("blobs"):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = self._folder / f".check.{os.getpid()}.{os.urandom(4).hex()}"
            try:
                fresh.write_bytes(bytes(4096))
            finally:
                fresh.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        if len(key) != 64 or not key.isalnum():
            raise StoreError("blob: not a key")
        return self._folder / key[:2] / key[2:4] / key


def _make_folder(folder: Path) -> None:
    """With those above it; each name synced where it stands."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
