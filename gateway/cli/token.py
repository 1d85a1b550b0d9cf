"""`darban token create|list|revoke`: what programs show to the REST API."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from gateway.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Tokens of the REST API.")
_CONFIG = typer.Option(None, "--config", "-c", help="The configuration file (TOML).")
_DAY_S = 86_400.0


@app.callback()
def _root() -> None:
    """Tokens of the REST API."""


@app.command("create")
def create(
    account: str = typer.Argument(..., help="Whose it is: it may never more than this account."),
    name: str = typer.Option(..., "--name", help="Who uses it."),
    act: list[str] = typer.Option([], "--act", help="What it may do; may be said again. All that the account may."),
    domain: list[str] = typer.Option([], "--domain", help="Only mail of this domain; may be said again."),
    days: int = typer.Option(90, "--days", help="How long it lasts."),
    config: Path | None = _CONFIG,
) -> None:
    """Make a token and print its secret, which nobody can tell again."""
    from gateway.app.command_line import open_accounts, open_tokens
    from gateway.cli.audit import record
    from gateway.config.load import load_settings
    from gateway.policy.access import acts_of, token_fault

    settings = load_settings(config)
    known = open_accounts(settings).record(account)
    if known is None:
        raise InputError(f"there is no account {account}; `darban admin list` shows all")
    acts = act or acts_of(known.account)
    if fault := token_fault(known.account, name, acts, tuple(domain), days, settings.api.token_max_days):
        raise InputError(f"{fault} It may do at most: {' '.join(acts_of(known.account))}")
    made, secret = open_tokens(settings).new(account, name.strip(), acts, domain, days * _DAY_S)
    record(settings, "token-add", "", f"{made.id} {made.name} of {account}: {' '.join((*acts, *domain))}")
    typer.echo(secret)


@app.command("list")
def list_tokens(
    account: str = typer.Argument("", help="Whose; everybody's when left out."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object a line."),
    config: Path | None = _CONFIG,
) -> None:
    """Which there are, without their secrets."""
    tokens = _open(config)[1]
    for one in tokens.list(account):
        if as_json:
            typer.echo(json.dumps(asdict(one), ensure_ascii=False))
            continue
        used = _day(one.used_at) if one.used_at else "never"
        may = " ".join((*one.acts, *one.domains))
        typer.echo("\t".join((one.id, one.account, one.name, f"ends {_day(one.expires_at)}", f"used {used}", may)))


@app.command("revoke")
def revoke(token: str = typer.Argument(..., help="Its id."), config: Path | None = _CONFIG) -> None:
    """It is good for nothing from now on."""
    from gateway.cli.audit import record

    settings, tokens = _open(config)
    if not tokens.revoke(token):
        raise InputError(f"there is no token {token}; `darban token list` shows all")
    record(settings, "token-revoke", "", token)
    typer.echo(f"{token} is revoked")


def _open(config: Path | None) -> tuple[Any, Any]:
    from gateway.app.command_line import open_tokens
    from gateway.config.load import load_settings

    settings = load_settings(config)
    return settings, open_tokens(settings)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%F %R")
