"""`darban token` and `darban webhook`, as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.errors import ConfigError, InputError
from gateway.stores.accounts import SqlAccounts
from gateway.stores.api_tokens import SqlApiTokens
from gateway.stores.engine import make_engine
from gateway.types import Account
from tests.database import migrated

RUN = CliRunner()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/darban.db"
    migrated(url)
    SqlAccounts(make_engine(url)).add(Account("siem", "auditor", ("darban.test",)))
    path = tmp_path / "darban.toml"
    path.write_text(f'[storage]\ndatabase = "{url}"\nblobs = "file://{tmp_path}/blobs"\n')
    return path


def tokens(config: Path) -> SqlApiTokens:
    return SqlApiTokens(make_engine(f"sqlite:///{config.parent}/darban.db"))


def run(config: Path, *arguments: str) -> str:
    told = RUN.invoke(app, [*arguments, "--config", str(config)], catch_exceptions=False, standalone_mode=False)
    return told.output


def test_a_token_is_made_listed_and_revoked(config: Path) -> None:
    secret = run(config, "token", "create", "siem", "--name", "collector", "--act", "log", "--days", "30").strip()
    found = tokens(config).find(secret, "192.0.2.1")
    assert found is not None and found[1].acts == ("log",)
    (line,) = run(config, "token", "list", "--json").splitlines()
    assert json.loads(line)["name"] == "collector" and secret not in line
    assert "collector" in run(config, "token", "list", "siem")
    assert "is revoked" in run(config, "token", "revoke", found[1].id)
    assert tokens(config).find(secret, "") is None
    assert [json.loads(one)["entry"]["act"] for one in run(config, "audit", "export").splitlines() if "entry" in one] == [
        "token-add", "token-revoke",
    ]  # fmt: skip


def test_without_acts_it_may_what_its_account_may(config: Path) -> None:
    secret = run(config, "token", "create", "siem", "--name", "all").strip()
    found = tokens(config).find(secret, "")
    assert found is not None and found[1].acts == ("list", "read", "log", "audit")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody", "--name", "x"), "there is no account nobody"),
        (("siem", "--name", "x", "--act", "release"), "of what you may do yourself"),
        (("siem", "--name", "x", "--days", "9999"), "lasts too long"),
        (("siem", "--name", "x", "--domain", "foreign.test"), "none of the mail"),
        (("siem", "--name", " "), "a name"),
    ],
)
def test_what_exceeds_its_account_is_refused(config: Path, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        run(config, "token", "create", *arguments)
    assert tokens(config).list() == []


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('url = "http://siem.example/"', "is not https"),
        ('url = "ftp://siem.example/"', "is not a URL"),
        ('url = "https://user@siem.example/"', "is not a URL"),
        ('url = "https://siem.example/"\nevents = ["message.lost"]', "message.lost|events"),
        ('url = "https://siem.example/"', "chmod 600"),
    ],
)
def test_a_webhook_that_cannot_work_is_refused_at_once(config: Path, table: str, words: str) -> None:
    secret = config.parent / "secret"
    secret.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    secret.chmod(0o644)
    config.write_text(f'{config.read_text()}[[webhook]]\nname = "siem"\nsecret_file = "{secret}"\n{table}\n')
    with pytest.raises(ConfigError, match=words):
        run(config, "webhook", "list")


def test_what_waits_is_listed(config: Path) -> None:
    secret = config.parent / "secret"
    secret.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    secret.chmod(0o600)
    table = f'[[webhook]]\nname = "siem"\nurl = "https://siem.example/"\nsecret_file = "{secret}"\n'
    config.write_text(config.read_text() + table)
    assert run(config, "webhook", "list") == "siem\t0 waiting\t0 given up\n"
    assert run(config, "webhook", "retry", "siem") == "0 events are tried again\n"
