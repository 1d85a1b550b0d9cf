"""`darban trace`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.main import get_command

from gateway.app.command_line import open_message_log
from gateway.cli import app as group
from gateway.config.load import load_settings
from gateway.errors import InputError
from gateway.types import LogRow, Summary

ROW = LogRow(
    "QAAA1", 1_767_225_600.0, "192.0.2.1", "mx.example.org", "a@example.org", "you@darban.test",
    Summary("m1@example.org", "Hello\x1b[31m", "A <a@example.org>", 9), "accept", "250 2.0.0 Message accepted", 1.5, ("SPF_PASS",),
    "score 1.5 < tag_at 5.0", "250 2.0.0 Ok: queued as 4XyZ",
)  # fmt: skip
DEFERRED = replace(
    ROW, queue_id="QAAA0", at=ROW.at - 600, action="tempfail", reply="451 4.7.1 later", next_hop_reply=""
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    open_message_log(load_settings(None)).append([ROW, DEFERRED])
    command = get_command(group)

    def trace(*arguments: str) -> tuple[int, str]:
        code = command(["trace", *arguments], standalone_mode=False)
        return code, capsys.readouterr().out

    return trace


def test_the_story_is_told(run) -> None:
    code, said = run("4xyz")
    assert code == 1
    lines = [line.strip() for line in said.splitlines()]
    assert lines[0] == "QAAA1 accept score 1.5 SPF_PASS"
    assert "\x1b" not in said
    assert lines[2:] == [
        "2025-12-31 23:50:00  deferred before: 451 4.7.1 later",
        "2026-01-01 00:00:00  came: 192.0.2.1 mx.example.org",
        "2026-01-01 00:00:00  judged: score 1.5 < tag_at 5.0",
        "2026-01-01 00:00:00  handed over: 250 2.0.0 Ok: queued as 4XyZ",
        "2026-01-01 00:00:00  answered: 250 2.0.0 Message accepted",
    ]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["nothing-like-it"], []),
        ([], ["QAAA1", "QAAA0"]),
        (["--action", "tempfail"], ["QAAA0"]),
        (["--since", "2026-01-01"], ["QAAA1"]),
        (["--until", "1404/10/10"], ["QAAA0"]),
        (["--sender", "example.org", "--finding", "SPF_PASS", "--limit", "1"], ["QAAA1"]),
    ],
)
def test_json_has_a_row_a_line(run, arguments: list[str], found: list[str]) -> None:
    code, said = run("--json", *arguments)
    told = [json.loads(line) for line in said.splitlines()]
    assert ([one["queue_id"] for one in told], code) == (found, 1 if found else 0)
    assert all(one["events"] and one["number"] and one["held"] is None for one in told)


def test_the_next_page(run) -> None:
    said = run("--limit", "1")[1]
    before = said.rpartition("--before ")[2].strip()
    assert [json.loads(line)["queue_id"] for line in run("--json", "--before", before)[1].splitlines()] == ["QAAA0"]


@pytest.mark.parametrize("arguments", [["--since", "soon"], ["--action", "lost"], ["--client", "here"]])
def test_bad_input_is_told(run, arguments: list[str]) -> None:
    with pytest.raises(InputError, match=r"here|soon|lost"):
        run(*arguments)
