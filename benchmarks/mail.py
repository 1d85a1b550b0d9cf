"""The fixed messages of the benchmarks: drawn from the labelled corpora, or a folder's .eml files."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from gateway.classify.corpus import Sample, read_source, sources

FIXED = 2000  # messages that no classifier is trained on here
SOURCES = ("spamassassin", "phishing_pot", "list_usrp_users", "bounces_sisimai")
ROOT = Path(__file__).parent.parent


def messages(number: int, folder: str = "") -> list[Sample]:
    """The same ones each time, evenly over sources and labels. Ends the program when there are none."""
    if folder:
        found = [Sample("folder", file.name, False, file.read_bytes()) for file in sorted(Path(folder).glob("*.eml"))]
        if not found:
            raise SystemExit(f"{folder}: no .eml files there")
        return (found * -(-number // len(found)))[:number]
    chooser = random.Random(2000)
    chosen = _in_turn(chooser)[:number]
    chooser.shuffle(chosen)
    return chosen


def training(number: int, folder: str = "") -> list[Sample]:
    """Half ham and half spam, none of them among the first FIXED messages; beside a folder's they are made up."""
    rest = _in_turn(random.Random(2000))[FIXED:] if not folder else list(made_up(number))
    halves = ([one for one in rest if one.is_spam is is_spam][: number // 2] for is_spam in (False, True))
    return [one for half in halves for one in half]


def _in_turn(chooser: random.Random) -> list[Sample]:
    """Every message of SOURCES: one of each source and label, and again."""
    corpora = Path(os.environ.get("DARBAN_CORPORA", ROOT.parent / "shared" / "corpora"))
    if not corpora.is_dir():
        raise SystemExit(f"{corpora}: no corpora there; set DARBAN_CORPORA or give --messages FOLDER")
    groups: dict[tuple[str, bool], list[Sample]] = defaultdict(list)
    for name, path in sources([corpora]).items():
        if name in SOURCES:
            for sample in read_source(name, path):
                groups[name, sample.is_spam].append(sample)
    for group in groups.values():
        chooser.shuffle(group)
    longest = max(len(group) for group in groups.values())
    return [group[turn] for turn in range(longest) for group in groups.values() if turn < len(group)]


_HAM = "meeting report project tomorrow agenda review draft invoice thanks regards schedule team office notes".split()
_SPAM = "winner prize lottery cheap pills click urgent account verify transfer million offer free bonus limited".split()


def made_up(number: int) -> Iterator[Sample]:
    """Messages of nobody, all different, for the benchmarks' own tests."""
    chooser = random.Random(number)
    for turn in range(number):
        is_spam = bool(turn % 2)
        words = chooser.choices(_SPAM if is_spam else _HAM, k=60) + [f"{chooser.getrandbits(40):x}" for _ in range(20)]
        text = " ".join(words)
        head = (
            f"From: sender{turn}@example.org\r\nTo: you@darban.test\r\nSubject: {text[:40]}\r\n"
            f"Date: Mon, 2 Mar 2026 10:00:{turn % 60:02} +0000\r\nMessage-ID: <{turn}@example.org>\r\n"
        )
        yield Sample("made up", str(turn), is_spam, f"{head}\r\n{text}\r\n".encode())
