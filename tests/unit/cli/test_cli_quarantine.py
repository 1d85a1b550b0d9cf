"""What `darban quarantine` and `darban trace` print of a held message in Persian, and what they say became of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gateway.app.command_line import open_message_log, open_quarantine
from gateway.cli import app
from gateway.cli.quarantine import printable
from gateway.config.load import load_settings
from gateway.types import HeldMessage, LogRow, Summary

SUBJECT = "می‌خواهید برنده شوید؟"
CONTENT = b"Subject: x\r\n\r\nx\r\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (SUBJECT, SUBJECT),
        ("a\x1b[31mb", "a\ufffd[31mb"),
        ("invoice_\u202efdp.exe", "invoice_\ufffdfdp.exe"),
        ("x\r\ny", "x\ufffd\ufffdy"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_held_message_is_not_said_to_be_at_the_next_hop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None)
    summary = Summary("m@a.example", SUBJECT, "a@a.example", 9)
    held = HeldMessage(
        "a" * 32, "Q1", hashlib.sha256(CONTENT).hexdigest(), "a@a.example", "you@darban.test", "darban.test", "192.0.2.1",
        "h", 1.79e9, summary, 9.0, "score", "{}",
    )  # fmt: skip
    open_quarantine(settings).hold([held], CONTENT)
    row = LogRow(
        "Q1", 1.79e9, "192.0.2.1", "h", "a@a.example", "you@darban.test", summary, "quarantine",
        "250 2.0.0 Message accepted", 9.0, (), "score 9.0 >= quarantine_at 8.0", "250 2.0.0 Message accepted",
    )  # fmt: skip
    open_message_log(settings).append([row])
    for verb in (["quarantine", "list"], ["trace", "Q1"]):
        assert app(verb, standalone_mode=False) == 1
        assert SUBJECT in capsys.readouterr().out
    app(["trace", "Q1"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "held\n" in said
    assert "handed over" not in said
