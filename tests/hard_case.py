"""Hard cases as data: tests/cases/hard/<kind>/<topic>.case, whole messages that filters get wrong.

A file is directives, a line "---", and the message as written (UTF-8; line ends become CRLF):

    # why it is hard
    kind: good_words                its folder
    expect: spam                    or ham
    language: fa                    en when left out
    reverse-path: <>                without it the first author's address, as ordinary mail has it

All authors, shops and banks in them are invented; the messages were written for these files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gateway.mail import parse
from gateway.types import Envelope
from tests.builders import AT, envelope

FOLDER = Path(__file__).parent / "cases" / "hard"

_DIRECTIVE = re.compile(r"(kind|expect|language|reverse-path): (\S+)")


@dataclass(frozen=True, slots=True)
class HardCase:
    """What a file says."""

    id: str  # "good_words/newspaper"
    kind: str
    is_spam: bool
    language: str
    envelope: Envelope
    content: bytes


def load_cases() -> list[HardCase]:
    """Every file, in order of their names."""
    return [load_case(path) for path in sorted(FOLDER.rglob("*.case"))]


def load_case(path: Path) -> HardCase:
    """One file. Raises ValueError for what it does not understand."""
    name = path.relative_to(FOLDER).with_suffix("").as_posix()
    head, separator, written = path.read_text(encoding="utf-8").partition("\n---\n")
    if not separator:
        raise ValueError(f"{name}: there is no line ---")
    said: dict[str, str] = {}
    for line in head.splitlines():
        match = _DIRECTIVE.fullmatch(line)
        if match and match[1] not in said:
            said[match[1]] = match[2]
        elif line and not line.startswith("# "):
            raise ValueError(f"{name}: cannot read {line!r}")
    if said.get("kind") != path.parent.name or said.get("expect") not in ("spam", "ham"):
        raise ValueError(f"{name}: needs kind: {path.parent.name} and expect: spam or ham")
    content = written.replace("\n", "\r\n").encode()
    message = parse(content)
    author = next((box.address for box in message.author if box.address), "")
    around = envelope(
        reverse_path=said.get("reverse-path", author).strip("<>"),
        received_at=AT if message.date is None else message.date + 5,
    )
    return HardCase(name, said["kind"], said["expect"] == "spam", said.get("language", "en"), around, content)
