"""The fixed messages of the benchmarks: drawn from the labelled corpora, or a folder's .eml files."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from pathlib import Path

from gateway.classify.corpus import Sample, read_source, sources

SOURCES = ("spamassassin", "phishing_pot", "list_usrp_users", "bounces_sisimai")
ROOT = Path(__file__).parent.parent


def messages(number: int, folder: str = "") -> list[Sample]:
    """The same ones each time, evenly over sources and labels. Ends the program when there are none."""
    if folder:
        found = [Sample("folder", file.name, False, file.read_bytes()) for file in sorted(Path(folder).glob("*.eml"))]
        if not found:
            raise SystemExit(f"{folder}: no .eml files there")
        return (found * -(-number // len(found)))[:number]
    corpora = Path(os.environ.get("DARBAN_CORPORA", ROOT.parent / "shared" / "corpora"))
    if not corpora.is_dir():
        raise SystemExit(f"{corpora}: no corpora there; set DARBAN_CORPORA or give --messages FOLDER")
    groups: dict[tuple[str, bool], list[Sample]] = defaultdict(list)
    for name, path in sources(corpora).items():
        if name in SOURCES:
            for sample in read_source(name, path):
                groups[name, sample.is_spam].append(sample)
    chooser = random.Random(2000)
    for group in groups.values():
        chooser.shuffle(group)
    longest = max(len(group) for group in groups.values())
    in_turn = [group[turn] for turn in range(longest) for group in groups.values() if turn < len(group)]
    chosen = in_turn[:number]
    chooser.shuffle(chosen)
    return chosen
