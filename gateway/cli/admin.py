"""`darban admin`: accounts for the review pages, and the way back in when nobody can sign in."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import typer

from gateway.cli.audit import record as tell
from gateway.errors import InputError
from gateway.types import Account, AccountRecord, Role

app = typer.Typer(no_args_is_help=True, help="Accounts of the review pages.")
_CONFIG = typer.Option(None, "--config", "-c", help="The configuration file (TOML).")
_RESET_TTL_S = 24 * 3600.0


@app.callback()
def _root() -> None:
    """Accounts of the review pages."""


@app.command("create")
def create(
    name: str = typer.Argument("", help="The account's name; an existing one gets a new password."),
    role: str = typer.Option("", "--role", help=f"{', '.join(get_args(Role))}; owner when left out."),
    domain: list[str] = typer.Option([], "--domain", help="Whose mail it is about; may be said again."),
    address: list[str] = typer.Option([], "--address", help="A recipient's own; may be said again."),
    password_stdin: bool = typer.Option(False, "--password-stdin", help="Read the password from standard input."),
    link: bool = typer.Option(False, "--link", help="Print a one-time link instead, which makes an owner."),
    config: Path | None = _CONFIG,
) -> None:
    """Make an account, or a link that makes one."""
    settings, accounts = _open(config)
    if link:
        tell(settings, "account-create", "", "a one-time link")
        typer.echo(f"{_base(settings)}/setup/{accounts.new_setup_token()}")
        return
    if not name:
        raise InputError("write the account's name, or --link")
    who = _asked(name, role, domain, address)
    password = sys.stdin.readline().rstrip("\n") if password_stdin else typer.prompt("Password", hide_input=True)
    made = accounts.create(name, password, who and who.role, who.domains if who else (), who.addresses if who else ())
    tell(settings, "account-create", name, _told(made))
    typer.echo(f"{name} ({_told(made)}) can sign in at {_base(settings)}/")


@app.command("list")
def list_accounts(
    text: str = typer.Argument("", help="Part of a name, a domain or an address."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object a line."),
    config: Path | None = _CONFIG,
) -> None:
    """Who may sign in, and as what."""
    _, accounts = _open(config)
    for one in accounts.list(text):
        typer.echo(json.dumps(_as_json(one), ensure_ascii=False) if as_json else _line(one))


@app.command("reset")
def reset(
    name: str = typer.Argument(..., help="The account's name."),
    without_code: bool = typer.Option(False, "--without-code", help="Ask for no one-time codes from now on."),
    config: Path | None = _CONFIG,
) -> None:
    """Print a link that sets the password, once, within a day."""
    settings, accounts = _open(config)
    record = accounts.record(name)
    if record is None:
        raise InputError(f"there is no account {name}; `darban admin list` shows all")
    if without_code:
        accounts.set_code(name, "", ())
    if record.origin != "local" and without_code:
        typer.echo(f"{name} is asked for no one-time codes")
        return
    if record.origin != "local":
        raise InputError(f"{name} has no password here: it signs in by {record.origin}")
    tell(settings, "account-reset", name)
    typer.echo(f"{_base(settings)}/reset/{accounts.new_token('reset', _RESET_TTL_S, name)}")


def _open(config: Path | None) -> tuple[Any, Any]:
    from gateway.app.command_line import open_accounts
    from gateway.config.load import load_settings

    settings = load_settings(config)
    return settings, open_accounts(settings)


def _base(settings: Any) -> str:
    return settings.web.url or f"http://{settings.web.listen}"


def _asked(name: str, role: str, domains: list[str], addresses: list[str]) -> Account | None:
    """None when neither role nor scope is said: an existing account keeps its own. Raises InputError."""
    from gateway.policy.access import account_fault

    if not (role or domains or addresses):
        return None
    known = get_args(Role)
    said: Any = role or "owner"
    if said not in known:
        raise InputError(f"there is no role {role}; there are {', '.join(known)}")
    if said == "owner" and (domains or addresses):
        raise InputError("an owner has everybody's mail; write a --role besides --domain or --address")
    who = Account(name, said, tuple(one.lower() for one in domains), tuple(one.lower() for one in addresses))
    if fault := account_fault(who):
        raise InputError(fault)
    return who


def _told(who: Account) -> str:
    return " ".join((who.role, *who.domains, *who.addresses))


def _line(one: AccountRecord) -> str:
    when = "never" if one.signed_in_at is None else datetime.fromtimestamp(one.signed_in_at, UTC).strftime("%F %R")
    notes: list[str] = [one.origin] if one.origin != "local" else []
    notes += ["disabled"] if one.is_disabled else []
    notes += ["one-time codes"] if one.has_code else []
    return f"{one.account.name}\t{_told(one.account)}\t{when}\t{', '.join(notes)}".rstrip()


def _as_json(one: AccountRecord) -> dict[str, Any]:
    fields = asdict(one)
    account: dict[str, Any] = fields.pop("account")
    return account | fields
