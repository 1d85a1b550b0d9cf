"""Labelled mail for training and evaluation: packs (NAME.tar.xz with an index.tsv) and plain folders (ham/, spam/)."""

from __future__ import annotations

import csv
import lzma
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import InputError
from gateway.types import Client, Envelope

SPAM_LABELS = frozenset(("spam", "phish"))


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


def sources(folder: Path) -> dict[str, Path]:
    """Name -> pack, text table or folder. Raises InputError when there is none."""
    found = {path.name.partition(".")[0]: path for path in sorted(folder.glob("*.tar.xz"))}
    found |= {path.name.partition(".")[0]: path for path in sorted(folder.glob("*.tsv.xz"))}
    found |= {
        path.name: path for path in sorted(folder.iterdir()) if (path / "ham").is_dir() or (path / "spam").is_dir()
    }
    if not found:
        raise InputError(f"{folder}: no corpora there (NAME.tar.xz, or folders with ham/ and spam/)")
    return found


def read_source(name: str, path: Path) -> Iterator[Sample]:
    """Every sample of one source, in a fixed order."""
    if path.is_dir():
        yield from _folder(name, path)
    elif path.name.endswith(".tsv.xz"):
        yield from _table(name, path)
    else:
        yield from _pack(name, path)


def _pack(name: str, path: Path) -> Iterator[Sample]:
    with tarfile.open(path, "r:xz") as archive:
        contents: dict[str, bytes] = {}
        rows: list[dict[str, str]] = []
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            inner = member.name.partition("/")[2]
            if inner == "index.tsv":
                rows = list(
                    csv.DictReader(file.read().decode("utf-8", "replace").splitlines(), delimiter="\t", quoting=3)
                )
            else:
                contents[inner] = file.read()
    for row in sorted(rows, key=lambda row: row["path"]):
        content = contents.get(row["path"])
        if content is not None:
            yield Sample(
                name,
                row["path"],
                row["label"] in SPAM_LABELS,
                content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
                row.get("date", ""),
                row.get("mail_from", ""),
                row.get("client_ip", ""),
                row.get("helo", ""),
            )


def _table(name: str, path: Path) -> Iterator[Sample]:
    """Body texts only; each becomes the smallest message that holds it."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=3))
    head = [column.lower() for column in rows[0]]
    label, text = head.index("label"), next(i for i, column in enumerate(head) if column in ("text", "body"))
    for number, row in enumerate(rows[1:]):
        if len(row) > max(label, text):
            body = row[text].replace("\\n", "\n").replace("\n", "\r\n")
            content = f"Content-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n".encode()
            yield Sample(name, str(number), row[label] in SPAM_LABELS, content)


def _folder(name: str, path: Path) -> Iterator[Sample]:
    for label in ("ham", "spam", "phish"):
        for file in sorted((path / label).rglob("*")):
            if file.is_file():
                content = file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
                yield Sample(name, f"{label}/{file.name}", label in SPAM_LABELS, content)
