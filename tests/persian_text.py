"""Clean Persian as data: tests/cases/persian/<topic>.txt, texts divided by lines "---"; and the corpora's, where they are.

Written for these files, but for the verses (Hafez, Sa'di, Rumi, Ferdowsi, Khayyam): letters, notes, notices, with half-spaces
as they are typed well and badly, marks of direction, Arabic spellings, digits of three alphabets, Latin words between.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.header import Header
from pathlib import Path
from typing import NamedTuple

from gateway.classify.corpus import read_source

FOLDER = Path(__file__).parent / "cases" / "persian"
ZWNJ = "\u200c"
MARKS = "\u200d\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069\u061c"  # ZWJ and what directs bidirectional text

_DIGITS = str.maketrans("۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩", "01234567890123456789")
_MARK = re.compile(f"[{MARKS}]")


class PersianText(NamedTuple):
    """One of them."""

    id: str  # "office/3", "corpora/ham/12.txt"
    text: str


def own_texts() -> list[PersianText]:
    """Those in this repository."""
    return [
        PersianText(f"{path.stem}/{number}", text)
        for path in sorted(FOLDER.glob("*.txt"))
        for number, text in enumerate(path.read_text(encoding="utf-8").rstrip("\n").split("\n---\n"), 1)
    ]


def corpora_texts(corpora: Path) -> Iterator[PersianText]:
    """The ham of persian_text."""
    for sample in read_source("persian_text", corpora / "persian_text.tsv.xz"):
        if not sample.is_spam:
            _, _, body = sample.content.partition(b"\r\n\r\n")
            yield PersianText(f"corpora/{sample.path}", body.decode("utf-8").replace("\r\n", "\n"))


def without_marks(text: str, zwnj: str) -> str:
    """ZWNJ replaced (typists leave it out, or type a space), the other marks gone, digits Latin."""
    return _MARK.sub("", text).replace(ZWNJ, zwnj).translate(_DIGITS)


def as_plain(text: str) -> bytes:
    """A message with the text in subject and body."""
    return _message(text, "text/plain", text)


def as_html(text: str) -> bytes:
    """The same as a page."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(ZWNJ, "&zwnj;").replace("\n", "<br>\n")
    return _message(text, "text/html", f'<html><body dir="rtl"><p>{escaped}</p></body></html>')


def _message(text: str, content_type: str, body: str) -> bytes:
    subject = " ".join(text.split())[:60].strip()
    head = {
        "From": f"{Header('سارا رحیمی', 'utf-8').encode()} <sara@example.org>",
        "To": "you@darban.test",
        "Subject": Header(subject, "utf-8").encode(),
        "Date": "Mon, 21 Sep 2026 17:03:20 +0330",
        "Message-ID": "<17.8812@example.org>",
        "MIME-Version": "1.0",
        "Content-Type": f"{content_type}; charset=utf-8",
        "Content-Transfer-Encoding": "8bit",
    }
    fields = "".join(f"{name}: {value}\n" for name, value in head.items())
    return f"{fields}\n{body}\n".replace("\n", "\r\n").encode()
