"""`darban quarantine release|spam` and `darban learn --delivered`: what was learned is said."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

import pytest

from gateway.actions.annotate import annotate
from gateway.app.command_line import open_ledger, open_message_log, open_quarantine
from gateway.cli import app
from gateway.config.load import load_settings
from gateway.types import HeldMessage, Lesson, Lessons, LogRow, Summary
from tests.builders import envelope, message_bytes, recipient, verdict

CONTENT = message_bytes()
HELD = HeldMessage(
    "a" * 32, "Q1", hashlib.sha256(CONTENT).hexdigest(), "sara@example.org", "you@darban.test", "darban.test", "192.0.2.1",
    "h", 1.79e9, Summary("1@example.org", "Hello", "Sara", 9), 9.0, "score", "{}",
)  # fmt: skip
DELIVERED = annotate(envelope(hostname="mx.darban.test"), CONTENT, verdict(1.0), [recipient()], 5.0)
ROW = LogRow(
    "TESTQUEUEID1", 1.79e9, "192.0.2.1", "h", "sara@example.org", "you@darban.test", HELD.summary, "accept", "250 ok", 1.0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("darban.toml").write_text(
        'hostname = "mx.darban.test"\n[[domain]]\nname = "darban.test"\nnext_hop = "maildir:mail"'
    )
    made = load_settings(Path("darban.toml"))
    open_quarantine(made).hold([HELD], CONTENT)
    open_message_log(made).append([ROW])
    return made


def darban(*arguments: str) -> int:
    return app([*arguments, "--config", "darban.toml"], standalone_mode=False) or 0


def lessons(settings) -> list[Lesson]:
    return list(open_ledger(settings).list(Lessons())[0])


@pytest.mark.parametrize(
    ("arguments", "said", "taught"),
    [
        (("release", "aaaaaa"), "released, learned: 250 2.0.0 Stored", [False]),
        (("release", "aaaaaa", "--no-learn"), "released: 250 2.0.0 Stored", []),
        (("spam", "aaaaaa"), "deleted, learned", [True]),
        (("delete", "aaaaaa"), "deleted", []),
    ],
)
def test_held_messages(
    settings, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str, taught: list[bool]
) -> None:
    extra = () if arguments[0] == "delete" else ("--trainer", "sara")
    assert darban("quarantine", *arguments, *extra) == 0
    assert capsys.readouterr().out == f"{HELD.id} {said}\n"
    assert [(one.trainer, one.is_spam) for one in lessons(settings)] == [("sara", is_spam) for is_spam in taught]


def test_spam_that_is_not_held(capsys: pytest.CaptureFixture[str]) -> None:
    assert darban("quarantine", "delete", "aaaaaa") == 0
    capsys.readouterr()
    assert darban("quarantine", "spam", "aaaaaa") == 1
    assert capsys.readouterr().out == f"{HELD.id} is not held\n"


@pytest.mark.parametrize(
    ("content", "options", "said", "learned"),
    [
        (DELIVERED, ("--delivered",), "1 learned", CONTENT),
        (DELIVERED, (), "1 learned", CONTENT),
        (DELIVERED.replace(b"TESTQUEUEID1", b"OTHERQUEUEID"), ("--delivered",), "1 foreign", None),
        (b"Subject: x\r\n\r\nx\r\n", ("--delivered",), "1 foreign", None),
        (b"Subject: x\r\n\r\nx\r\n", (), "1 learned", b"Subject: x\r\n\r\nx\r\n"),
    ],
)
def test_what_is_piped(
    settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, content: bytes,
    options: tuple[str, ...], said: str, learned: bytes | None,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert darban("learn", "spam", "-", "--trainer", "sara", *options) == 0
    assert capsys.readouterr().out == f"{said}\n"
    hashes = [one.content_hash for one in lessons(settings)]
    assert hashes == ([hashlib.sha256(learned).hexdigest()] if learned is not None else [])
