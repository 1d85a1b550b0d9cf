"""Asking doors that stand behind a mail server: as which client, with which envelope, and what `darban scan` then says.

Beside tests/door_contract.py, whose client is at loopback: there a mail server's fields tell nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.peers import Gateway

CLIENT_IP, HELO, MAIL_FROM, RCPT_TO = "192.0.2.7", "mail.example.org", "sara@example.org", "you@darban.test"


def scan_objects(gateway: Gateway, folder: Path, contents: Sequence[bytes]) -> list[dict]:
    """The objects of `darban scan --json`, in order. `folder` is for the files."""
    paths = [folder / f"{number:04}.eml" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    envelope = ("--client-ip", CLIENT_IP, "--helo", HELO, "--mail-from", MAIL_FROM, "--rcpt-to", RCPT_TO)
    told = gateway.cli("scan", "--json", *envelope, *map(str, paths))
    assert told.returncode in (0, 1), told.stderr
    return [json.loads(line) for line in told.stdout.splitlines()]


def as_taken(content: bytes) -> bytes:
    """The message as a mail server has it that took it from the client: Return-Path and Received on top (RFC 5321 §4.4)."""
    return (
        f"Return-Path: <{MAIL_FROM}>\r\n"
        f"Received: from {HELO} (unknown [{CLIENT_IP}])\r\n\tby behind.darban.test (Postfix) with ESMTP id 4DoorsTest1\r\n"
        f"\tfor <{RCPT_TO}>; Fri, 27 Nov 2026 08:00:00 +0000 (UTC)\r\n"
    ).encode() + content
