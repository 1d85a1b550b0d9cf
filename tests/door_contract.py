"""What every door has to keep: a message is judged as `darban scan` judges it, whoever asks.

    messages = corpus_messages(corpora)
    wanted = scanned(gateway, folder, messages)
    assert differences(wanted, {name: through_the_door(content) for name, content in messages.items()}) == []

Each door asks for the same client and envelope. A mail server in front of a door writes its own fields above the message:
`as_taken` writes them where the test has no such server.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from gateway.classify.corpus import read_source
from gateway.mail.edit import to_crlf
from tests.e2e.peers import Gateway

CLIENT_IP, HELO, MAIL_FROM, RCPT_TO = "192.0.2.7", "mail.example.org", "sara@example.org", "you@darban.test"
_EACH = {"spamassassin": 120, "nazario": 40, "phishing_pot": 40}  # 200 in all


class Judged(NamedTuple):
    """A verdict, as far as every door tells it; None is what a door has no words for."""

    score: float  # with one decimal
    action: str | None
    hits: frozenset[str] | None


def corpus_messages(corpora: Path) -> dict[str, bytes]:
    """200 messages by name: the first of each source, every so many."""
    found = {}
    for source, number in _EACH.items():
        samples = itertools.islice(read_source(source, corpora / f"{source}.tar.xz"), 0, number * 10, 10)
        found |= {f"{source}-{place:03}": to_crlf(sample.content) for place, sample in enumerate(samples)}
    return found


def scan_objects(gateway: Gateway, folder: Path, messages: Mapping[str, bytes]) -> dict[str, dict]:
    """What `darban scan --json` says of them."""
    folder.mkdir()
    for name, content in messages.items():
        (folder / name).write_bytes(content)
    envelope = ("--client-ip", CLIENT_IP, "--helo", HELO, "--mail-from", MAIL_FROM, "--rcpt-to", RCPT_TO)
    told = gateway.cli("scan", "--json", *envelope, str(folder))
    assert told.returncode in (0, 1), told.stderr
    return {Path(one["path"]).name: one for one in map(json.loads, told.stdout.splitlines())}


def scanned(gateway: Gateway, folder: Path, messages: Mapping[str, bytes]) -> dict[str, Judged]:
    """The same, as far as every door tells it."""
    return {name: judged(found) for name, found in scan_objects(gateway, folder, messages).items()}


def judged(found: Mapping[str, object]) -> Judged:
    """Of the object of `darban scan --json`."""
    return Judged(round(found["score"], 1), found["action"], frozenset(hit["name"] for hit in found["hits"]))


def differences(wanted: Mapping[str, Judged], told: Mapping[str, Judged]) -> list[str]:
    """What a door says otherwise, in words; scores may differ by a rounded tenth."""
    return [f"{name}: {text}" for name in wanted for text in _differences(wanted[name], told.get(name))]


def _differences(wanted: Judged, told: Judged | None) -> Iterable[str]:
    if told is None:
        yield "not judged"
        return
    if abs(wanted.score - told.score) > 0.11:
        yield f"score {wanted.score}, told {told.score}"
    if told.action is not None and told.action != wanted.action:
        yield f"{wanted.action}, told {told.action}"
    if told.hits is not None and told.hits != wanted.hits:
        yield f"hits {sorted(wanted.hits ^ told.hits)}"


def as_taken(content: bytes) -> bytes:
    """The message as a mail server has it that took it from the client: Return-Path and Received on top (RFC 5321 §4.4)."""
    return (
        f"Return-Path: <{MAIL_FROM}>\r\n"
        f"Received: from {HELO} (unknown [{CLIENT_IP}])\r\n\tby behind.darban.test (Postfix) with ESMTP id 4DoorsTest1\r\n"
        f"\tfor <{RCPT_TO}>; Fri, 27 Nov 2026 08:00:00 +0000 (UTC)\r\n"
    ).encode() + content
