"""`darban digest`, on a gateway's folder with a Maildir behind it."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.app.command_line import open_digest_store, open_quarantine
from gateway.cli import app
from gateway.config.load import load_settings
from gateway.errors import ConfigError, InputError
from tests.digests import held_message

CONTENT = b"Subject: x\r\n\r\nbody\r\n"
CONFIG = ("-c", "darban.toml")
HEAD = """[digest]
address = "quarantine@darban.test"
[[domain]]
name = "darban.test"
next_hop = "maildir:mail"
"""


def run(*words: str) -> int:
    return int(app(list(words), standalone_mode=False) or 0)


def configure(text: str) -> Path:
    path = Path("darban.toml")
    path.write_text(text)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(configure(HEAD + '[[domain.digest]]\ntime_zone = "Asia/Tehran"\n'))
    named = hashlib.sha256(CONTENT).hexdigest()
    messages = [held_message(number, "a@b.example", f"Prize {number}", content_hash=named) for number in (1, 2)]
    recent = [replace(one, received_at=time.time() - 60) for one in messages]
    open_quarantine(settings).hold([recent[0], replace(recent[1], recipient="reza@darban.test")], CONTENT)
    return tmp_path


def test_preview_send_and_send_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("digest", "preview", "You@darban.test", "--language", "fa", "--html", "x.html", *CONFIG) == 0
    assert "۱ پیام نگه داشته شد" in capsys.readouterr().out
    assert 'dir="rtl"' in (folder / "x.html").read_text("utf-8")
    assert run("digest", "send", "--dry-run", *CONFIG) == 0
    assert capsys.readouterr().out.endswith("digests due: 2\n")
    assert not (folder / "mail").exists()
    assert run("digest", "send", "--address", "you@darban.test", "--json", *CONFIG) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "sent"
    assert run("digest", "send", *CONFIG) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "digests sent: 1"
    assert run("digest", "send", *CONFIG) == 0
    assert capsys.readouterr().out == "digests sent: 0\n"
    assert len(list((folder / "mail/new").iterdir())) == 2


def test_a_next_hop_that_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(HEAD.replace("maildir:mail", "smtp://127.0.0.1:9") + "[[domain.digest]]\n")
    assert run("digest", "send", *CONFIG) == 1
    assert "failed: you@darban.test: 451" in capsys.readouterr().out


def test_resume(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_digest_store(load_settings(Path("darban.toml")))
    store.stop("you@darban.test", "head@darban.test", is_stopped=True)
    assert run("digest", "resume", "You@darban.test", "--reader", "head@darban.test", *CONFIG) == 0
    assert not store.is_stopped("you@darban.test", "head@darban.test")
    assert capsys.readouterr().out == "head@darban.test gets digests of you@darban.test\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("preview", "you@darban.test", "--language", "de"), "write en or fa"),
        (("preview", "you@else.test"), "no .*domain.digest.* is for this address"),
        (("preview", "you@darban.test", "--html", "no/such/folder"), "No such file"),
    ],
)
def test_bad_input(folder: Path, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run("digest", *words, *CONFIG)


def test_nothing_is_configured(folder: Path) -> None:
    configure("")
    with pytest.raises(InputError, match="is configured"):
        run("digest", "send", *CONFIG)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + '[[domain.digest]]\nto = ["a@else.test"]\n', "a@else.test is of no domain named here"),
        (HEAD + '[[domain.digest]]\nto = ["nobody"]\n', "is not an address"),
        (HEAD + '[[domain.digest]]\nat = ["8:00"]\n', "is not a time of day"),
        (HEAD + '[[domain.digest]]\ntime_zone = "Tehran"\n', "is no time zone"),
        (HEAD + '[[domain.digest]]\ntime_zone = "../../etc/passwd"\n', "is no time zone"),
        (HEAD + '[[domain.digest]]\ndays = []\n', "at least 1"),
        (HEAD.partition("[[")[2].join(["[[", "[[domain.digest]]\n"]), r"\[digest\] address: is missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(folder: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_settings(configure(text))


def test_readers_of_a_wildcard_domain(folder: Path) -> None:
    text = HEAD.replace('"darban.test"', '"*.darban.test"') + '[[domain.digest]]\nto = ["a@x.Darban.test"]\n'
    assert load_settings(configure(text)).domain[0].digest[0].to == ("a@x.Darban.test",)
