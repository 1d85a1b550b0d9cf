"""Hard cases: whole messages written for what filters get wrong, told by kind (tests/cases/hard/).

A file is directives, a line "---", and the message as written (UTF-8; line ends become CRLF):

    # why it is hard
    kind: good_words
    expect: spam                    or ham
    language: fa                    en when left out
    reverse-path: <>                without it the first author's address, as ordinary mail has it
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import InputError
from gateway.mail import parse
from gateway.types import Client, Envelope, Recipient

_DIRECTIVE = re.compile(r"(kind|expect|language|reverse-path): (\S+)")
_UNDATED_AT = 1_790_000_000.0  # when a message without a date came: the same day each time
_RECIPIENT = Recipient("you@darban.test", "darban.test")


@dataclass(frozen=True, slots=True)
class Case:
    """One file."""

    id: str  # "good_words/newspaper"
    kind: str
    is_spam: bool
    language: str
    envelope: Envelope
    content: bytes


@dataclass(frozen=True, slots=True)
class Kind:
    """How the cases of one kind were judged: caught is spam flagged, or ham left alone."""

    kind: str
    is_spam: bool
    cases: int
    right: Mapping[str, int]  # judge -> how many it got right
    wrong: Mapping[str, tuple[str, ...]]  # judge -> the names of the others


def load_cases(folder: Path) -> list[Case]:
    """Every file below the folder, in order of their names. Raises InputError for one it does not understand."""
    paths = sorted(folder.rglob("*.case"))
    if not paths:
        raise InputError(f"{folder}: no .case files there; tests/cases/hard of the repository has some")
    return [_load(path, path.relative_to(folder).with_suffix("").as_posix()) for path in paths]


def _load(path: Path, name: str) -> Case:
    try:
        head, _, written = path.read_text("utf-8").partition("\n---\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    said: dict[str, str] = {}
    for line in head.splitlines():
        match = _DIRECTIVE.fullmatch(line)
        if match and match[1] not in said:
            said[match[1]] = match[2]
        elif line and not line.startswith("# "):
            raise InputError(f"{path}: cannot read {line!r}; directives are kind, expect, language and reverse-path")
    if said.get("expect") not in ("spam", "ham") or "kind" not in said or not written:
        raise InputError(f"{path}: needs lines 'kind:' and 'expect: spam' or 'expect: ham', then '---' and a message")
    content = written.replace("\n", "\r\n").encode()
    return Case(
        name, said["kind"], said["expect"] == "spam", said.get("language", "en"), _envelope(said, content), content
    )


def _envelope(said: Mapping[str, str], content: bytes) -> Envelope:
    message = parse(content)
    author = next((box.address for box in message.author if box.address), "")
    client = Client("192.0.2.1", helo="mail.example.org")
    sender = said.get("reverse-path", author).strip("<>")
    received_at = _UNDATED_AT if message.date is None else message.date + 5
    return Envelope("CASE00000000", client, sender, (_RECIPIENT,), received_at, "mx.darban.test")


def tell(cases: Sequence[Case], flagged: Mapping[str, Sequence[bool]]) -> tuple[Kind, ...]:
    """Kinds of spam, then of ham. `flagged` has for each judge an entry for each case."""
    kinds = sorted({(not case.is_spam, case.kind) for case in cases})
    return tuple(_kind(cases, flagged, kind, is_spam=not is_ham) for is_ham, kind in kinds)


def _kind(cases: Sequence[Case], flagged: Mapping[str, Sequence[bool]], kind: str, *, is_spam: bool) -> Kind:
    own = [number for number, case in enumerate(cases) if case.kind == kind and case.is_spam == is_spam]
    wrong = {
        judge: tuple(cases[number].id for number in own if flags[number] != is_spam) for judge, flags in flagged.items()
    }
    right = {judge: len(own) - len(names) for judge, names in wrong.items()}
    return Kind(kind, is_spam, len(own), right, wrong)
