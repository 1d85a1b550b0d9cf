"""`darban admin`: accounts on the command line, and the way back in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.config.load import load_settings
from gateway.stores.accounts import SqlAccounts
from gateway.stores.engine import make_engine
from gateway.types import Account

RUN = CliRunner()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "darban.toml"
    path.write_text('hostname = "mx.test"\n[web]\nurl = "https://darban.example.ir"\n')
    return path


def darban(config: Path, *words: str, password: str = "") -> str:
    found = RUN.invoke(app, ["admin", *words, "--config", str(config)], input=password + "\n")
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    assert found.exit_code == 0, found.output
    return found.stdout


def accounts_of(config: Path) -> SqlAccounts:
    return SqlAccounts(make_engine(load_settings(config).storage.database))


def test_accounts_are_made_and_listed(config: Path) -> None:
    said = darban(config, "create", "sara", "--password-stdin", password="a long password")
    assert said == "sara (owner) can sign in at https://darban.example.ir/\n"
    scope = ("--role", "domain_admin", "--domain", "example.ir", "--domain", "*.example.ir")
    darban(config, "create", "reza", *scope, "--password-stdin", password="a long password")
    said = ("--role", "recipient", "--address", "Mina@Example.ir")
    darban(config, "create", "mina", *said, "--password-stdin", password="a long password")
    listed = [json.loads(line) for line in darban(config, "list", "--json").splitlines()]
    assert [(one["name"], one["role"], one["domains"], one["addresses"]) for one in listed] == [
        ("mina", "recipient", [], ["mina@example.ir"]),
        ("reza", "domain_admin", ["example.ir", "*.example.ir"], []),
        ("sara", "owner", [], []),
    ]
    assert "password_hash" not in listed[0] and listed[0]["has_password"]
    assert darban(config, "list", "mina").split("\t")[:3] == ["mina", "recipient mina@example.ir", "never\n"]


def test_a_new_password_changes_nothing_else(config: Path) -> None:
    darban(config, "create", "sara", "--password-stdin", password="a long password")
    scope = ("--role", "auditor", "--domain", "example.ir")
    darban(config, "create", "reza", *scope, "--password-stdin", password="a long password")
    accounts = accounts_of(config)
    accounts.disable("reza", True)
    darban(config, "create", "reza", "--password-stdin", password="another password")
    record = accounts.record("reza")
    assert record.account == Account("reza", "auditor", ("example.ir",)) and not record.is_disabled
    assert accounts.is_password("reza", "another password")


def test_the_way_back_in(config: Path) -> None:
    darban(config, "create", "sara", "--password-stdin", password="a long password")
    accounts = accounts_of(config)
    accounts.set_code("sara", "SECRET", ())
    link = darban(config, "reset", "sara").strip()
    assert accounts.record("sara").has_code
    assert accounts.token("reset", link.removeprefix("https://darban.example.ir/reset/")).account == "sara"
    darban(config, "reset", "sara", "--without-code")
    assert not accounts.record("sara").has_code
    setup = darban(config, "create", "--link").strip()
    assert accounts.token("setup", setup.removeprefix("https://darban.example.ir/setup/"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "x", "--role", "emperor"), "there is no role emperor"),
        (("create", "x", "--domain", "example.ir"), "an owner has everybody's mail"),
        (("create", "x", "--role", "recipient"), "needs an address"),
        (("create", "x", "--role", "reviewer", "--domain", "a b"), "each domain"),
        (("create", "x", "--password-stdin"), "at least 10 characters"),
        (("reset", "nobody"), "there is no account nobody"),
        (("reset", "out"), "it signs in by oidc"),
    ],
)
def test_what_is_wrong_is_said(config: Path, words: tuple[str, ...], said: str) -> None:
    darban(config, "list")
    accounts_of(config).add(Account("out", "reviewer"), "oidc")
    found = RUN.invoke(app, ["admin", *words, "--config", str(config)], input="short\n")
    assert said in str(found.exception)
    assert [one.account.name for one in accounts_of(config).list()] == ["out"]
