"""`darban audit` and `darban privacy` on a gateway's folder."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest

from gateway.app.command_line import open_audit, open_quarantine
from gateway.app.compose import load_audit_key
from gateway.cli import app
from gateway.config.load import add_master_key, keep_newest_master_key, load_settings, read_master_keys
from gateway.config.settings import Settings
from gateway.errors import ConfigError, InputError
from gateway.housekeeping import sign_head
from gateway.types import HeldMessage, Summary

CONTENT = b"Subject: x\r\n\r\nx\r\n"
ID = "a" * 32


def run(*words: str) -> int:
    status = app(list(words), standalone_mode=False)
    return int(status or 0)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    key = tmp_path / "master.key"
    key.write_text("0" * 64 + "\n")
    key.chmod(0o600)
    (tmp_path / "darban.toml").write_text('[storage]\nencryption_key = "master.key"\n')
    found = load_settings(tmp_path / "darban.toml")
    held = HeldMessage(
        ID, "Q1", hashlib.sha256(CONTENT).hexdigest(), "a@a.example", "you@darban.test", "darban.test", "192.0.2.1",
        "h", 1.79e9, Summary("m", "s", "a@a.example", 9), 9.0, "score", "{}",
    )  # fmt: skip
    open_quarantine(found).hold([held], CONTENT)
    return found


CONFIG = ("-c", "darban.toml")


def test_what_the_command_line_does_is_in_the_audit_log(settings: Settings) -> None:
    run("quarantine", "show", ID, *CONFIG)
    run("quarantine", "show", "--raw", ID, *CONFIG)
    run("quarantine", "delete", ID, *CONFIG)
    assert run("quarantine", "delete", ID, *CONFIG) == 1
    run("admin", "create", "--link", *CONFIG)
    run("learn", "revoke", "--trainer", "sara", *CONFIG)
    entries = list(open_audit(settings).entries())
    assert [one.act for one in entries] == ["view", "download", "delete", "account-create", "revoke"]
    assert {(one.client, bool(one.account)) for one in entries} == {("command", True)}
    assert entries[2].domain == "darban.test"


def test_export_and_verify(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = open_audit(settings)
    for number in range(4):
        log.append("سارا", "view", ID, f"n {number}")
    assert run("audit", "verify", *CONFIG) == 0
    capsys.readouterr()
    run("audit", "export", *CONFIG)
    lines = capsys.readouterr().out.splitlines()
    export = tmp_path / "export.jsonl"
    export.write_text("\n".join(lines), "utf-8")
    assert run("audit", "verify", "--json", "export.jsonl") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["entries"], found["signed_up_to"], found["is_whole"], len(found["keys"])) == (4, 4, True, 1)
    assert run("audit", "verify", "--key", "0" * 64, "export.jsonl") == 1
    assert "by another key" in capsys.readouterr().out
    export.write_text("\n".join(lines).replace("n 2", "n 3"), "utf-8")
    assert run("audit", "verify", "export.jsonl") == 1
    assert "entry 3: was changed" in capsys.readouterr().out
    export.write_text("\n".join(lines[:2]), "utf-8")
    assert run("audit", "verify", "export.jsonl") == 0, "a file alone does not tell that its end was cut off"
    (tmp_path / "log").write_text(
        'no JSON\n{"event": "x"}\n' + json.dumps({"event": "audit head"} | json.loads(lines[-1])["head"])
    )
    assert run("audit", "verify", "--log", "log", "export.jsonl") == 1
    assert "entries after 2 are missing: entry 4 was signed" in capsys.readouterr().out


def test_the_head_is_told_in_the_log_once(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    log, key = open_audit(settings), load_audit_key(settings)
    log.append("sara", "view")
    assert sign_head(log, key) is not None
    assert sign_head(log, key) is None
    assert load_audit_key(settings).private_bytes_raw() == key.private_bytes_raw()
    assert stat.S_IMODE(Path("var/audit.key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("content", "said"),
    [("nonsense", "line 1: is no line"), ('{"entry": {}}', "line 1"), (b"\xff\xff", "UTF-8"), (None, "No such")],
)
def test_what_is_no_export(settings: Settings, content: str | bytes | None, said: str) -> None:
    if content is not None:
        Path("x").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=said):
        run("audit", "verify", "x")


def test_a_person_is_exported_and_erased(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    run("privacy", "export", "you@darban.test", "--out", "out", *CONFIG)
    assert Path("out/held", f"{ID}.eml").read_bytes() == CONTENT
    assert stat.S_IMODE(Path("out/held.jsonl").stat().st_mode) == 0o600
    with pytest.raises(InputError, match="is there already"):
        run("privacy", "export", "you@darban.test", "--out", "out", *CONFIG)
    capsys.readouterr()
    assert run("privacy", "erase", "you@darban.test", "--yes", "--json", *CONFIG) == 0
    assert json.loads(capsys.readouterr().out)["held"] == 1
    assert run("audit", "verify", *CONFIG) == 0


def test_a_domain_is_shredded(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    run("privacy", "shred", "darban.test", "--yes", *CONFIG)
    assert "1 messages deleted, 1 keys destroyed" in capsys.readouterr().out
    assert [one.act for one in open_audit(settings).entries()] == ["destroy key"]
    assert not [one for one in Path("var/blobs").rglob("*") if one.is_file()]


def test_the_master_key_is_changed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    run("privacy", "rotate-key", *CONFIG)
    assert "1 keys wrapped anew" in capsys.readouterr().out
    assert Path("master.key").read_text() != "0" * 64 + "\n"
    assert len(Path("master.key").read_text().split()) == 1
    assert stat.S_IMODE(Path("master.key").stat().st_mode) == 0o600
    assert open_quarantine(settings).content(ID) == CONTENT
    Path("master.key").write_text("1" * 64)
    with pytest.raises(Exception, match="not the one"):
        open_quarantine(settings).content(ID)
    Path("plain.toml").write_text("")
    with pytest.raises(InputError, match="is not set"):
        run("privacy", "rotate-key", "-c", "plain.toml")


def test_a_kill_between_the_steps_of_a_change_loses_nothing(settings: Settings) -> None:
    path = settings.storage.encryption_key
    add_master_key(path)
    assert len(read_master_keys(path)) == 2
    assert open_quarantine(settings).content(ID) == CONTENT
    open_audit(settings)
    from gateway.app.command_line import open_keys

    open_keys(settings).rewrap()
    assert open_quarantine(settings).content(ID) == CONTENT
    keep_newest_master_key(path)
    assert open_quarantine(settings).content(ID) == CONTENT


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [("", 0o600, "openssl"), ("0" * 63, 0o600, "openssl"), ("z" * 64, 0o600, "openssl"), ("0" * 64, 0o644, "chmod")],
)
def test_what_is_no_master_key(tmp_path: Path, content: str, mode: int, said: str) -> None:
    (tmp_path / "key").write_text(content)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match=said):
        read_master_keys(str(tmp_path / "key"))
