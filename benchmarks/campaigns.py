"""Which mail of the corpora falls into groups of look-alikes, and how much of that is wrong.

    python -m benchmarks.campaigns [--corpora FOLDER] [--out FILE.json]

A message is joined when another has its key (scan/campaign.py). A join is false when the two share less than 0.4 of
their triples of words (Jaccard), looked at between each message of a group and the group's first.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import describe
from gateway.classify.corpus import read_source, sources
from gateway.mail import parse
from gateway.scan.campaign import _words, campaign

_ALIKE = 0.4
_MAX_BYTES = 1 << 20


class Seen(NamedTuple):
    """One message."""

    source: str  # with its label
    is_spam: bool
    key: str
    triples: frozenset[int]


def main() -> None:
    """Print JSON, write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--corpora", default=os.environ.get("DARBAN_CORPORA", ""))
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    taken: list[float] = []
    found = list(_read(Path(options.corpora), taken))
    result = {"machine": describe(), "cpu_us": round(sum(taken) / len(taken) * 1e6)} | summarise(found)
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n")


def summarise(found: Sequence[Seen]) -> dict[str, object]:
    """Shares of each source, and of all groups those that mix."""
    groups: dict[str, list[Seen]] = defaultdict(list)
    for one in found:
        if one.key:
            groups[one.key].append(one)
    joined = [group for group in groups.values() if len(group) > 1]
    counts: dict[str, dict[str, int]] = defaultdict(lambda: {"messages": 0, "joined": 0, "false": 0})
    for one in found:
        counts[one.source]["messages"] += 1
    for group in joined:
        for one in group:
            counts[one.source]["joined"] += 1
            counts[one.source]["false"] += _jaccard(one.triples, group[0].triples) < _ALIKE
    return {
        "groups": len(joined),
        "largest": max(map(len, joined), default=0),
        "groups_of_ham_and_spam": sum(len({one.is_spam for one in group}) > 1 for group in joined),
        "sources": {
            name: {
                "messages": of["messages"],
                "in_groups": round(of["joined"] / of["messages"], 4),
                "false_joins": round(of["false"] / of["messages"], 4),
            }
            for name, of in sorted(counts.items())
        },
    }


def _read(folder: Path, taken: list[float]) -> Iterator[Seen]:
    for name, path in sources([folder]).items():
        for sample in read_source(name, path):
            message = parse(sample.content[:_MAX_BYTES])
            started = time.process_time()
            key = campaign(message)
            taken.append(time.process_time() - started)
            words = _words(message)
            triples = frozenset(hash(tuple(words[at : at + 3])) for at in range(max(1, len(words) - 2)))
            yield Seen(f"{name} {'spam' if sample.is_spam else 'ham'}", sample.is_spam, key, triples)


def _jaccard(some: frozenset[int], others: frozenset[int]) -> float:
    return len(some & others) / len(some | others)


if __name__ == "__main__":
    main()
