"""Labelled mail for training and evaluation, one message in memory at a time.

A source is a pack (NAME.tar.xz with an index.tsv), a table of texts (NAME.tsv.xz) or a folder NAME with ham, spam or
phish in it: a folder of files, a Maildir, or an mbox (ham.mbox).
"""

from __future__ import annotations

import csv
import html
import lzma
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gateway.errors import InputError
from gateway.mail.mailbox import list_mailbox
from gateway.types import Client, Envelope

LABELS = ("ham", "spam", "phish")
SPAM_LABELS = frozenset(("spam", "phish"))
_UNREADABLE = (OSError, EOFError, lzma.LZMAError, tarfile.TarError, csv.Error, UnicodeError)


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled message, with the envelope it came in as far as that is known."""

    source: str
    path: str  # inside its source
    is_spam: bool
    content: bytes
    date: str = ""  # ISO, "" unknown
    mail_from: str = ""
    client_ip: str = ""
    helo: str = ""

    def envelope(self) -> Envelope:
        """What the border server saw."""
        client = Client(self.client_ip or "127.0.0.1", helo=self.helo)
        return Envelope("CORPUS000000", client, self.mail_from, (), 0.0, "corpus.invalid")


def sources(folders: Sequence[Path], exclude: Iterable[str] = ()) -> dict[str, Path]:
    """Name -> pack, text table or folder, of all these folders. Raises InputError when there is none."""
    found: dict[str, Path] = {}
    for folder in folders:
        for name, path in _sources(folder).items():
            if name in found:
                raise InputError(f"{path}: {found[name]} has the same name; rename one of them")
            found[name] = path
    for name in exclude:
        if found.pop(name, None) is None:
            raise InputError(f"--exclude {name}: there is no such source in {', '.join(map(str, folders))}")
    if not found:
        raise InputError("--exclude leaves no source")
    return found


def _sources(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder")
    found = {path.name.partition(".")[0]: path for path in sorted(folder.glob("*.tar.xz"))}
    found |= {path.name.partition(".")[0]: path for path in sorted(folder.glob("*.tsv.xz"))}
    found |= {path.name: path for path in sorted(folder.iterdir()) if any(_places(path))}
    if not found:
        raise InputError(f"{folder}: no corpora there (NAME.tar.xz, NAME.tsv.xz, or folders with ham and spam)")
    return found


def read_sources(sources: dict[str, Path]) -> Iterator[Sample]:
    """Every sample, in a fixed order. Raises InputError for a source that cannot be read or holds no message."""
    for name, path in sorted(sources.items()):
        empty = True
        for sample in read_source(name, path):
            empty = False
            yield sample
        if empty:
            raise InputError(f"{path}: holds no message; fill it, or leave it out by --exclude {name}")


def read_source(name: str, path: Path) -> Iterator[Sample]:
    """Every sample of one source, in a fixed order. Raises InputError."""
    if path.is_dir():
        yield from _folder(name, path)
        return
    try:
        yield from (_table if path.name.endswith(".tsv.xz") else _pack)(name, path)
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.strerror:
            where = error.filename or f"{tempfile.gettempdir()} (TMPDIR names another folder)"
            raise InputError(f"{where}: {error.strerror}") from None
        raise InputError(f"{path}: cannot be read ({error}); copy it again") from None


def _pack(name: str, path: Path) -> Iterator[Sample]:
    """In the order of the paths, which is not that of the archive: the contents wait in a file that has no name."""
    index: list[str] | None = None
    where: dict[str, tuple[int, int]] = {}
    with (
        lzma.open(path) as stream,  # reads no further than it is asked, which "r|xz" does
        tarfile.open(fileobj=stream, mode="r|") as archive,
        tempfile.TemporaryFile() as spool,
    ):
        while member := archive.next():
            archive.members.clear()  # type: ignore[attr-defined]  # it remembers every one
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            inner = member.name.partition("/")[2]
            if inner == "index.tsv":
                index = file.read().decode("utf-8", "replace").splitlines()
            else:
                where[inner] = spool.tell(), member.size
                _copy(file, spool)
        if index is None:
            raise InputError(f"{path}: has no index.tsv")
        yield from _indexed(name, path, index, where, spool)


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    while block := source.read(1 << 20):
        target.write(block)


def _indexed(
    name: str, path: Path, index: list[str], where: dict[str, tuple[int, int]], spool: IO[bytes]
) -> Iterator[Sample]:
    columns = index[0].split("\t") if index else []
    if not {"path", "label"} <= set(columns):
        raise InputError(f"{path}: its index.tsv has no columns path and label")
    at = columns.index("path")
    for line in sorted(index[1:], key=lambda line: line.split("\t")[at : at + 1]):
        row = dict(zip(columns, line.split("\t"), strict=False))
        if row.get("path", "") in where:
            start, size = where[row["path"]]
            spool.seek(start)
            yield Sample(
                name,
                row["path"],
                _is_spam(row.get("label", ""), f"{path}: {row['path']}"),
                _crlf(spool.read(size)),
                *(row.get(column, "") for column in ("date", "mail_from", "client_ip", "helo")),
            )


def _is_spam(label: str, where: str) -> bool:
    if label not in LABELS:
        raise InputError(f"{where}: label {label!r}; labels are {', '.join(LABELS)}")
    return label in SPAM_LABELS


def _table(name: str, path: Path) -> Iterator[Sample]:
    """Body texts only; each becomes the smallest message that holds it, every other one a page.

    Were all of them plain, HTML would speak against their language.
    """
    with lzma.open(path, "rt", encoding="utf-8") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        head = [column.lower() for column in next(rows, [])]
        text = next((i for i, column in enumerate(head) if column in ("text", "body")), None)
        if text is None or "label" not in head:
            raise InputError(f"{path}: has no columns label and text")
        label = head.index("label")
        for number, row in enumerate(rows):
            if len(row) > max(label, text):
                body = row[text].replace("\\n", "\n").replace("\n", "\r\n")
                content = (_page if number % 2 else _plain)(body)
                yield Sample(name, str(number), _is_spam(row[label], f"{path}: line {number + 2}"), content)


def _plain(text: str) -> bytes:
    return f"Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n".encode()


def _page(text: str) -> bytes:
    body = html.escape(text, quote=False).replace("\r\n", "<br>\r\n")
    return f"Content-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>{body}</p></body></html>\r\n".encode()


def _places(folder: Path) -> Iterator[tuple[str, Path]]:
    """(label, place) of the labelled folders and mboxes in a source's folder."""
    for label in LABELS:
        if (folder / label).is_dir():
            yield label, folder / label
        if (folder / f"{label}.mbox").is_file():
            yield label, folder / f"{label}.mbox"


def _folder(name: str, folder: Path) -> Iterator[Sample]:
    for label, place in _places(folder):
        for found, read in list_mailbox(place):
            inner = Path(found).relative_to(folder).as_posix().partition(":2,")[0]  # a Maildir's flags come and go
            yield Sample(name, inner, label in SPAM_LABELS, _crlf(read()))


def _crlf(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def in_chunks(samples: Iterable[Sample], size: int, size_bytes: int) -> Iterator[list[Sample]]:
    """So many samples together at most, or so many that their contents just exceed so many bytes."""
    chunk: list[Sample] = []
    held = 0
    for sample in samples:
        chunk.append(sample)
        held += len(sample.content)
        if len(chunk) >= size or held >= size_bytes:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk
