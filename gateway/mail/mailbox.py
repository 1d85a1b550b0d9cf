"""Where messages lie: single files, folders of them, Maildirs, mboxes (RFC 4155). One message in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from gateway.errors import InputError

Reader = Callable[[], bytes]


def list_mailbox(place: Path) -> Iterator[tuple[str, Reader]]:
    """(name, reader) of every message below a path, in a fixed order; those of an mbox are PATH:NUMBER.

    Raises InputError for what cannot be read, here and in the reader.
    """
    if place.is_dir():
        is_maildir = (place / "cur").is_dir() and (place / "new").is_dir()
        for root in [place / "cur", place / "new"] if is_maildir else [place]:
            yield from _folder(root)
    elif _is_mbox(place):
        for number, (start, stop) in enumerate(_mbox(place)):
            yield f"{place}:{number}", partial(_read, place, start, stop)
    else:
        yield str(place), partial(_read, place)


def _folder(root: Path) -> Iterator[tuple[str, Reader]]:
    try:
        names = sorted(one.name for one in root.iterdir())
    except OSError as error:
        raise InputError(f"{root}: {error.strerror}") from None
    for name in names:
        if (root / name).is_file():
            yield from list_mailbox(root / name)
        elif (root / name).is_dir() and name != "tmp":  # a Maildir's tmp/ holds halves
            yield from _folder(root / name)


def _is_mbox(place: Path) -> bool:
    """ "From " first, and once more behind an empty line: a single message saved with its envelope line is no mbox."""
    if _read(place, 0, 5) != b"From ":
        return False
    return place.suffix == ".mbox" or sum(1 for _ in islice(_mbox(place), 2)) == 2


def _mbox(place: Path) -> Iterator[tuple[int, int]]:
    """Where each message starts, behind its "From " line, and stops, before the empty line of the next."""
    start, offset, empty = -1, 0, 0
    with place.open("rb") as file:
        for line in file:
            is_separator = line.startswith(b"From ") and (empty or not offset)
            if is_separator and start >= 0:
                yield start, offset - empty
            offset += len(line)
            if is_separator:
                start = offset
            empty = len(line) if line in (b"\n", b"\r\n") else 0
    if start >= 0:
        yield start, offset


def _read(place: Path, start: int = 0, stop: int | None = None) -> bytes:
    try:
        with place.open("rb") as file:
            file.seek(start)
            return file.read(-1 if stop is None else stop - start)
    except OSError as error:
        raise InputError(f"{place}: {error.strerror}") from None
