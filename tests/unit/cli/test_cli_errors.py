"""Every verb, given what it cannot use: one line on standard error, exit status 2, no traceback."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.app.command_line import open_quarantine
from gateway.cli.demo import samples
from gateway.config.load import load_settings
from gateway.types import HeldMessage, Summary


def darban(*arguments: str, folder: Path, **more: object) -> subprocess.CompletedProcess[str]:
    """The command, run in this folder."""
    command = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=60, **more)  # type: ignore[call-overload, no-any-return]


def free_listens() -> str:
    """Tables with free ports; the [smtp] table stays open."""
    with contextlib.ExitStack() as held:
        doors = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        web, metrics, smtp = (f"127.0.0.1:{door.getsockname()[1]}" for door in doors)
    return f'[web]\nlisten = "{web}"\n[metrics]\nlisten = "{metrics}"\n[smtp]\nlisten = ["{smtp}"]\n'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("scan",), "Missing argument 'paths'; see darban scan --help"),
        (("nosuch",), "No such command 'nosuch'; see darban --help"),
        (("quarantine", "list", "--limit", "0"), "Invalid value for '--limit'"),
        (("quarantine", "show", "abcdefgh"), "abcdefgh: no such held message"),
        (("trace", "x", "--config", "nowhere.toml"), "nowhere.toml: No such file or directory"),
        (("rules", "explain", "NOPE"), "NOPE: no rule and no finding of that name"),
        (("train",), "write --corpora FOLDER and --out FOLDER"),
        (("train", "--out", "new", "scores"), "write the options behind the word scores"),
        (("train", "scores"), "Missing option '--corpora'; see darban train scores --help"),
        (("admin", "create"), "write the account's name, or --link"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = darban(*arguments, folder=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    ("verb", "text", "said"),
    [
        ("run", '[milter]\nlisten = "127.0.0.1:99999"', "'127.0.0.1:99999' is not host:port"),
        ("run", '[dns]\nnameservers = ["bananas"]', "nameservers: 'bananas' is not an address"),
        ("config check", '[dns]\nnameservers = ["bananas"]', "nameservers: 'bananas' is not an address"),
        ("run", 'tls_certificate = "darban.toml"\ntls_key = "darban.toml"', "darban.toml: [SSL]"),
        ("config check", '[classifier]\nmodel = "."', "manifest.json: No such file or directory"),
    ],
)
def test_a_bad_configuration_starts_nothing(tmp_path: Path, verb: str, text: str, said: str) -> None:
    (tmp_path / "darban.toml").write_text(free_listens() + text)
    done = darban(*verb.split(), "--config", "darban.toml", folder=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert said in done.stderr


def test_a_state_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "darban.toml").write_text(free_listens() + '[storage]\ndatabase = "sqlite:///file/darban.db"')
    for verb in (("run",), ("quarantine", "list")):
        done = darban(*verb, "--config", "darban.toml", folder=tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert f"{tmp_path}/file" in done.stderr


def test_a_second_gateway_leaves_the_first_ones_metrics(tmp_path: Path) -> None:
    counters = tmp_path / "var" / "run" / "metrics" / "counter_1.db"
    counters.parent.mkdir(parents=True)
    counters.touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "darban.toml").write_text(f'[smtp]\nlisten = ["{address}"]')
        done = darban("run", "--config", "darban.toml", folder=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        f"darban: {address}: Address already in use; is another gateway running?\n",
    )
    assert counters.exists()


def test_rule_lines_that_are_not_obeyed_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.cf").write_text("body FOO /[/\nfrobnicate 1\n")
    (tmp_path / "darban.toml").write_text('[rules]\npaths = ["bad.cf"]')
    done = darban("config", "check", "--config", "darban.toml", folder=tmp_path)
    assert done.returncode == 1
    assert "bad.cf:1: error" in done.stdout
    assert "bad.cf:2: error" in done.stdout
    assert "2 rule lines are not obeyed" in done.stdout


def test_scanning_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "one.eml").write_bytes(dict(samples())["1-clean.eml"])
    assert darban("scan", "--no-dns", "one.eml", folder=tmp_path).returncode == 0
    assert [file.name for file in tmp_path.iterdir()] == ["one.eml"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "gateway", "config", "show"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "darban: output: No space left on device\n")


def test_standard_output_is_the_answers_alone(tmp_path: Path) -> None:
    """A fault that is logged on the way does not stand between the lines that a script reads."""
    content = b"Subject: x\r\n\r\nx\r\n"
    (tmp_path / "darban.toml").write_text('[[domain]]\nname = "a.test"\nnext_hop = "smtp://127.0.0.1:9"')
    held = HeldMessage(
        "a" * 32, "Q1", hashlib.sha256(content).hexdigest(), "a@a.example", "you@a.test", "a.test", "192.0.2.1", "h", 1.79e9,
        Summary("m", "x", "a@a.example", 9), 9.0, "score", json.dumps({"hits": [], "incomplete": [], "auth": []}),
    )  # fmt: skip
    open_quarantine(load_settings(tmp_path / "darban.toml")).hold([held], content)
    done = darban("quarantine", "release", "aaaaaa", "--config", "darban.toml", folder=tmp_path)
    assert done.stdout == f"{held.id} held: 451 4.4.1 The next hop cannot be reached now\n"
    assert done.returncode == 1
