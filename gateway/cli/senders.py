"""`darban senders list|add|remove|export|import`."""

from __future__ import annotations

import getpass
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli.quarantine import printable
from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.config.settings import Settings
    from gateway.forecast import Forecast
    from gateway.types import Account, SenderEntry

app = typer.Typer(no_args_is_help=True, help="Senders that are allowed and blocked.")
_CONFIG = typer.Option(None, "--config", "-c", help="The configuration file (TOML).")
_JSON = typer.Option(False, "--json", help="Print one JSON object a line.")
_PAGE = 1000


@app.command("list")
def list_senders(
    search: str = typer.Option("", help="Part of sender, recipient, note or account."),
    act: str = typer.Option("", help="Only allow, or block."),
    ended: bool = typer.Option(False, "--ended", help="Those that ended too."),
    as_json: bool = _JSON,
    config: Path | None = _CONFIG,
) -> None:
    """Entries, newest first."""
    from gateway.types import SenderQuery

    if act not in ("", "allow", "block"):
        raise InputError(f"--act {act}: write allow or block")
    wanted: Any = act
    store, before = _store(config)[1], None
    while page := store.list(SenderQuery(search, wanted, not ended, _PAGE, before))[0]:
        for one in page:
            typer.echo(json.dumps(_object(one), ensure_ascii=False) if as_json else _line(one))
        before = page[-1].number


@app.command("add")
def add(
    act: str = typer.Argument(..., help="allow or block."),
    sender: str = typer.Argument(..., help="name@example.org, example.org, or .example.org with all below."),
    recipient: str = typer.Option("", help="Whose mail: an address or a domain of ours; everybody's when left out."),
    days: str = typer.Option("", help='So many days, or "never"; [senders] allow_days, of a block never.'),
    note: str = typer.Option("", help="Why."),
    network: str = typer.Option("", help="allow without proof, from this network of clients."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what it would have done."),
    as_json: bool = _JSON,
    config: Path | None = _CONFIG,
) -> None:
    """Allow or block a sender. What it would have done in the last days is said first."""
    from gateway.policy.sender_form import DAY_S, sender_entry

    settings, store = _store(config)
    now = time.time()
    if days and days != "never" and not (days.isdecimal() and len(days) < 5):
        raise InputError(f'--days {days}: write a number, or "never"')
    given = days or ("never" if act == "block" else str(settings.senders.allow_days))
    expires_at = None if given == "never" else now + int(given) * DAY_S
    entry = sender_entry(
        _who(), act=act, pattern=sender, recipient=recipient, expires_at=expires_at, now=now, note=note, network=network
    )
    found = _forecast(settings, entry, now)
    made = entry if dry_run else store.add(entry)
    if as_json:
        typer.echo(json.dumps(_object(made) | {"forecast": _counts(found)}, ensure_ascii=False))
        return
    for line in _told(entry, found):
        typer.echo(line)
    typer.echo("nothing was saved" if dry_run else _line(made))


@app.command("remove")
def remove(
    numbers: list[int] = typer.Argument(..., help="Numbers, as `list` prints them."), config: Path | None = _CONFIG
) -> None:
    """Remove entries. Exit status 1 when one was not there."""
    from gateway.types import Scope

    store = _store(config)[1]
    done = [store.remove(number, Scope(is_all=True)) for number in numbers]
    for number, is_done in zip(numbers, done, strict=True):
        typer.echo(f"{number} {'removed' if is_done else 'is not there'}")
    raise typer.Exit(0 if all(done) else 1)


@app.command("export")
def export(config: Path | None = _CONFIG) -> None:
    """All that are in force, as CSV."""
    from gateway.policy.sender_csv import write_csv
    from gateway.types import SenderQuery

    store, before, entries = _store(config)[1], None, []
    while page := store.list(SenderQuery(is_in_force=True, limit=_PAGE, before=before))[0]:
        entries += page
        before = page[-1].number
    sys.stdout.writelines(write_csv(entries))


@app.command("import")
def take(
    path: Path = typer.Argument(..., help="A CSV file; the first line names its columns."),
    config: Path | None = _CONFIG,
) -> None:
    """Take a CSV file: all lines, or none."""
    from gateway.policy.sender_csv import read_csv

    settings, store = _store(config)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    try:
        entries = read_csv(content, _who(), time.time(), settings.senders.allow_days)
    except InputError as fault:
        first, *others = str(fault).split("\n")
        more = f" (and {len(others)} more)" if others else ""
        raise InputError(f"{path}: {first}{more}; nothing was taken") from None
    typer.echo(f"{len(store.add_all(entries))} taken")


def _store(config: Path | None) -> tuple[Settings, Any]:
    from gateway.app.command_line import open_senders
    from gateway.config.load import load_settings

    settings = load_settings(config)
    return settings, open_senders(settings)


def _who() -> Account:
    from gateway.types import Account

    return Account(getpass.getuser(), "owner")


def _forecast(settings: Settings, entry: SenderEntry, now: float) -> Forecast:
    from gateway.app.command_line import open_forecaster
    from gateway.types import Scope

    return open_forecaster(settings).forecast(entry, Scope(is_all=True), now)


def _told(entry: SenderEntry, found: Forecast) -> list[str]:
    from gateway.forecast import DAYS

    when = f"in the last {DAYS} days"
    if entry.act == "block":
        return [f"would have held {len(found.blocked)} that were delivered {when}"]
    lines = [
        f"would have delivered {len(found.let_in)} that were held {when}, {found.phishing} of them judged phishing"
    ]
    if found.kept_out:
        lines.append(f"would still have held {len(found.kept_out)}: {found.kept_out[0][1]}")
    if found.refused:
        lines.append(f"{found.refused} were refused; whether they would have been let in is not known")
    return [*lines, "there is more than was looked at"] if found.is_cut else lines


def _counts(found: Forecast) -> dict[str, object]:
    return {
        "would_deliver": len(found.let_in),
        "phishing": found.phishing,
        "would_still_hold": len(found.kept_out),
        "refused": found.refused,
        "would_hold": len(found.blocked),
        "is_cut": found.is_cut,
    }


def _line(one: SenderEntry) -> str:
    until = "no end" if one.expires_at is None else datetime.fromtimestamp(one.expires_at, UTC).strftime("%Y-%m-%d")
    network = f" from {one.network} without proof" if one.network else ""
    return (
        f"{one.number:>6}  {one.act:<5}  {one.pattern} -> {one.recipient or 'everybody'}{network}  {until}  "
        f"{one.hits} hits  {printable(one.by)}  {printable(one.note)}"
    ).rstrip()


def _object(one: SenderEntry) -> dict[str, object]:
    names = (
        "number", "act", "pattern", "recipient", "network", "expires_at", "by", "at", "note", "held_id", "hits",
        "last_hit_at",
    )  # fmt: skip
    return {name: getattr(one, name) for name in names}
