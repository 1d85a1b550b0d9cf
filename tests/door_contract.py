"""The contract of the doors: the same mail gets the same verdict, whichever way it comes in.

`messages` chooses real mail, `scanned` is what `darban scan` says to it, and `differences` compares that with what a door
said. What is remembered of senders is left out: a file on the disk has no history.
"""

from __future__ import annotations

import collections
import json
import random
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gateway.classify.corpus import Sample, read_source, sources
from gateway.config.shipped import rules_path
from gateway.mail.edit import to_crlf
from gateway.policy.reputation import OWN_HITS
from gateway.rules.reader import read

ROOT = Path(__file__).parent.parent
NUMBER = 200
CLIENT_IP, HELO, MAIL_FROM, RCPT_TO = "127.0.0.1", "client.example.org", "sara@example.org", "you@darban.test"
_SOURCES = ("spamassassin", "phishing_pot", "list_usrp_users")
_OF_HISTORY = OWN_HITS | {"IMPOSTURE_FIRST_CONTACT"}
_SEED = 20261127


@dataclass(frozen=True)
class Judged:
    """A verdict as far as every door tells it, without what is remembered of senders."""

    score: float
    hits: frozenset[str]
    action: str = ""  # "" where the door does not say


def judged(score: float, hits: Iterable[str], action: str = "") -> Judged:
    """What a door said: hits of the memory are taken off, with their scores."""
    names = frozenset(hits)
    scores = _scores()
    return Judged(score - sum(scores[one] for one in names & _OF_HISTORY), names - _OF_HISTORY, action)


def messages(folder: Path, number: int = NUMBER) -> list[bytes]:
    """The same real messages every time, evenly from the sources and their labels; CRLF line ends.

    Without those that no SMTP server passes on as they are: NUL bytes, an mbox line on top, no header.
    """
    groups: dict[tuple[str, bool], list[Sample]] = collections.defaultdict(list)
    for name, path in sources([folder]).items():
        if name in _SOURCES:
            for sample in read_source(name, path):
                groups[name, sample.is_spam].append(sample)
    chooser = random.Random(_SEED)
    chosen: list[bytes] = []
    for _, group in sorted(groups.items()):
        passed = (to_crlf(one.content) for one in chooser.sample(group, len(group)))
        share = -(-number // len(groups))
        chosen += [one for one, _ in zip(filter(_is_passed_on, passed), range(share), strict=False)]
    chooser.shuffle(chosen)
    return chosen[:number]


def _is_passed_on(content: bytes) -> bool:
    head, separator, _ = content.partition(b"\r\n\r\n")
    return b"\0" not in content and not head.startswith(b"From ") and bool(separator) and content.endswith(b"\r\n")


def scanned(config: Path, contents: Sequence[bytes], folder: Path) -> list[Judged]:
    """What `darban scan` says, in order. `folder` is for the files."""
    paths = [folder / f"{number:04}.eml" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "scan", "--json", "--config", str(config), "--client-ip", CLIENT_IP,
         "--helo", HELO, "--mail-from", MAIL_FROM, "--rcpt-to", RCPT_TO, *map(str, paths)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return [of_object(json.loads(line)) for line in done.stdout.splitlines()]


def of_object(found: Mapping[str, Any]) -> Judged:
    """Of the object of `darban scan --json`."""
    return judged(found["score"], [one["name"] for one in found["hits"]], found["action"])


def differences(expected: Sequence[Judged], found: Sequence[Judged]) -> list[str]:
    """One line for each message that was judged otherwise."""
    assert len(expected) == len(found)
    return [
        f"message {number}: {wanted.score:.3f} {wanted.action} -> {got.score:.3f} {got.action} "
        f"{sorted(wanted.hits ^ got.hits)}"
        for number, (wanted, got) in enumerate(zip(expected, found, strict=True))
        if abs(wanted.score - got.score) > 0.002
        or wanted.hits != got.hits
        or (wanted.action != got.action and wanted.action and got.action)
    ]


@cache
def _scores() -> Mapping[str, float]:
    return read([rules_path()]).scores
