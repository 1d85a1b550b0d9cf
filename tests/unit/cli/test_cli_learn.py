"""`darban learn`: teach from files, look at it, take it back; exit status 0, 1 and 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.app.command_line import open_ledger
from gateway.app.compose import make_publisher
from gateway.cli import app
from gateway.config.load import load_settings
from gateway.errors import InputError
from tests.builders import message_bytes

MBOX = b"".join(b"From x\n" + message_bytes(f"{n}\r\n").replace(b"\r\n", b"\n") + b"\n" for n in range(3))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a configuration, a message with either line end, an mbox, and a user of the system."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGNAME", "root-user")
    (tmp_path / "darban.toml").write_text("[learning]\ndaily_lessons = 5\n")
    (tmp_path / "crlf.eml").write_bytes(message_bytes("one\r\n"))
    (tmp_path / "lf.eml").write_bytes(message_bytes("one\r\n").replace(b"\r\n", b"\n"))
    (tmp_path / "box").write_bytes(MBOX)
    return tmp_path


def run(*arguments: str) -> int:
    return app(["learn", *arguments, "--config", "darban.toml"], standalone_mode=False) or 0


def told(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_same_message_in_a_maildir_or_as_it_came_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("spam", "crlf.eml", "lf.eml", "--json") == 0
    first, second = told(capsys)
    assert (first["path"], first["what"], second["what"]) == ("crlf.eml", "learned", "known")
    assert second["lesson_id"] == first["lesson_id"]
    assert run("ham", "lf.eml") == 0
    assert capsys.readouterr().out == "1 relearned\n"


def test_an_mbox_is_so_many_lessons_until_the_day_is_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("spam", "box", "crlf.eml", "--trainer", "sara") == 0
    assert capsys.readouterr().out == "4 learned\n"
    assert run("ham", "box", "--trainer", "sara") == 1
    assert capsys.readouterr().out.splitlines() == [
        "2 limited, 1 relearned",
        "sara has taught 5 messages today; go on tomorrow",
    ]


def test_lessons_are_listed_revoked_and_restored(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    assert capsys.readouterr().out == "0 of 0\n"
    run("ham", "crlf.eml")
    run("spam", "crlf.eml", "--trainer", "se\x1bra")
    capsys.readouterr()
    assert run("list", "--json") == 1
    newest, oldest = told(capsys)
    assert (newest["trainer"], newest["label"], newest["via"]) == ("se\x1bra", "spam", "command")
    assert (oldest["trainer"], oldest["label"], oldest["revoked_at"]) == ("root-user", "ham", None)
    assert run("revoke", oldest["id"]) == 0
    assert capsys.readouterr().out == "1 lessons revoked\n"
    assert run("revoke", oldest["id"], "--json") == 1
    assert told(capsys) == [{"revoked": 0}]
    assert run("list", "--revoked") == 1
    shown = capsys.readouterr().out
    assert "revoked by root-user" in shown
    assert "1 of 1" in shown
    assert run("list", "--trainer", "se\x1bra") == 1
    assert "se\ufffdra" in capsys.readouterr().out
    assert run("restore", "--trainer", "root-user", "--json") == 0
    assert told(capsys) == [{"restored": 1}]
    assert run("restore", "--day", "1999-01-01") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("revoke",), "no lesson is named: write ids of lessons, a trainer or a day"),
        (("restore",), "no lesson is named: write ids of lessons, a trainer or a day"),
        (("revoke", "--day", "yesterday"), "--day yesterday: write a day as YYYY-MM-DD"),
        (("list", "--day", "2026-13-01"), "--day 2026-13-01: write a day as YYYY-MM-DD"),
        (("spam", "nowhere.eml"), "nowhere.eml: No such file or directory"),
    ],
)
def test_what_cannot_be_used_is_said(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(*arguments)


def test_status_tells_whether_the_gateway_judges_by_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status") == 0, "nothing is taught, nothing is missing"
    assert "judges by the shipped model, 0 lessons\n" in capsys.readouterr().out
    run("spam", "crlf.eml")
    capsys.readouterr()
    assert run("status", "--json") == 1
    (found,) = told(capsys)
    assert (found["is_current"], found["lessons_in_model"]) == (False, 0)
    assert found["lessons"] == [{"label": "spam", "via": "command", "number": 1}]
    settings = load_settings(folder / "darban.toml")
    publisher = make_publisher(settings, open_ledger(settings))
    assert publisher is not None
    publisher.catch_up()
    capsys.readouterr()
    assert run("status", "--json") == 0
    (found,) = told(capsys)
    assert (found["is_current"], found["model_id"]) == (True, publisher.state.model_id)
    (folder / "darban.toml").write_text("[learning]\nenabled = false\n")
    assert run("status") == 1
    assert "[learning] enabled?" in capsys.readouterr().out
    assert make_publisher(load_settings(folder / "darban.toml"), open_ledger(settings)) is None


def test_the_shipped_model_judges_alone_when_learning_is_off(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = load_settings(folder / "darban.toml")
    run("ham", "crlf.eml")
    publisher = make_publisher(settings, open_ledger(settings))
    assert publisher is not None
    publisher.catch_up()
    model_ids = []
    for text in ("", "[learning]\nenabled = false\n"):
        (folder / "darban.toml").write_text(text)
        capsys.readouterr()
        app(["scan", "crlf.eml", "--no-dns", "--json", "--config", "darban.toml"], standalone_mode=False)
        model_ids.append(told(capsys)[0]["prediction"]["model_id"])
    assert model_ids == [publisher.state.model_id, publisher.state.model_id.partition("+")[0]]
