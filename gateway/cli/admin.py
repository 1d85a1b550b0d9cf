"""`darban admin create`: accounts for the review pages."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from gateway.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Accounts of the review pages.")


@app.callback()
def _root() -> None:
    """Accounts of the review pages."""


@app.command("create")
def create(
    name: str = typer.Argument("", help="The account's name; an existing one gets a new password."),
    password_stdin: bool = typer.Option(False, "--password-stdin", help="Read the password from standard input."),
    link: bool = typer.Option(False, "--link", help="Print a one-time link instead, which makes one account."),
    config: Path | None = typer.Option(None, "--config", "-c", help="The configuration file (TOML)."),
) -> None:
    """Make an account, or a link that makes one."""
    from gateway.app.command_line import open_accounts
    from gateway.cli.audit import record
    from gateway.config.load import load_settings

    settings = load_settings(config)
    accounts = open_accounts(settings)
    if link:
        record(settings, "account", "", "a one-time link")
        typer.echo(f"http://{settings.web.listen}/setup/{accounts.new_setup_token()}")
        return
    if not name:
        raise InputError("write the account's name, or --link")
    password = sys.stdin.readline().rstrip("\n") if password_stdin else typer.prompt("Password", hide_input=True)
    accounts.create(name, password)
    record(settings, "account", name, "by the command line, as owner")
    typer.echo(f"{name} can sign in at http://{settings.web.listen}/")
