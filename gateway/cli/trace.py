"""`darban trace`: what became of a message, whatever it was."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer

from gateway.cli.quarantine import printable
from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.config.settings import Settings
    from gateway.timeline import Event, Timeline, Timelines

_DAY_S = 86_400.0


def trace(
    query: str = typer.Argument(
        "",
        help="What is known of it: a queue id (ours, or the next server's), message id, address, domain, client "
        "address or network, or a part of the subject.",
    ),
    sender: str = typer.Option("", help="Address or domain of the reverse-path or the author."),
    recipient: str = typer.Option("", help="Address or domain."),
    subject: str = typer.Option("", help="A part of it."),
    message_id: str = typer.Option("", help="Its Message-ID."),
    queue_id: str = typer.Option("", help="Ours or its beginning, or the next server's."),
    client: str = typer.Option("", help="Address or network."),
    action: str = typer.Option("", help="accept, tag, quarantine, reject, tempfail or scanned."),
    finding: str = typer.Option("", help="The name of a finding or rule that hit."),
    since: str = typer.Option("", help="From this day on (UTC), 2026-11-27 or 1405/09/06."),
    until: str = typer.Option("", help="Up to this day."),
    before: int | None = typer.Option(None, help="Only older rows than this number of --json."),
    limit: int = typer.Option(50, min=1, max=1000, help="So many at most."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object a line."),
    config: Path | None = typer.Option(None, "--config", "-c", help="The configuration file (TOML)."),
) -> None:
    """Search the message log, newest first, and tell what happened. Exit status 1 when something was found, else 0."""
    from gateway.app.command_line import open_message_log
    from gateway.config.load import load_settings
    from gateway.types import LogAction, LogQuery

    if action and action not in get_args(LogAction):
        raise InputError(f"--action {action}: write one of {', '.join(get_args(LogAction))}")
    wanted: Any = action
    asked = LogQuery(
        query, sender, recipient, subject, message_id, queue_id, client, wanted, finding,
        since=_day("--since", since), until=_day("--until", until, _DAY_S), limit=limit, before=before,
    )  # fmt: skip
    settings = load_settings(config)
    page = open_message_log(settings).search(asked)
    for told in _timelines(settings).of(page.rows):
        _print(told, as_json=as_json)
    if page.older is not None and not as_json:
        typer.echo(f"There are more: --before {page.older}")
    raise typer.Exit(1 if page.rows else 0)


def _day(option: str, text: str, after_s: float = 0.0) -> float | None:
    from gateway.web.language import parse_day

    found = parse_day(text) if text else None
    if text and found is None:
        raise InputError(f"{option} {text}: is no date; write for example 2026-11-27")
    return None if found is None else found + after_s


def _timelines(settings: Settings) -> Timelines:
    from gateway.app.command_line import open_audit, open_ledger, open_message_log, open_quarantine
    from gateway.timeline import Timelines

    return Timelines(
        open_message_log(settings), open_quarantine(settings), open_ledger(settings), open_audit(settings).acts
    )


def _print(told: Timeline, *, as_json: bool) -> None:
    row, held = told.row, told.held
    if as_json:
        kept = {"id": held.id, "state": held.state, "state_at": held.state_at, "note": held.note} if held else None
        events = [dataclasses.asdict(event) for event in told.events]
        typer.echo(json.dumps(dataclasses.asdict(row) | {"held": kept, "events": events}, ensure_ascii=False))
        return
    typer.echo(
        f"{row.queue_id or printable(row.client_ip)} {row.action} score {row.score:.1f} {' '.join(row.hits[:8])}"
    )
    typer.echo(
        f"  <{printable(row.reverse_path)}> -> {printable(row.recipient)}  {printable(row.summary.subject)[:80]}"
    )
    for event in told.events:
        typer.echo(f"  {_line(event)}")
    if held is not None:
        typer.echo(f"  darban quarantine show {held.id[:12]}")


def _line(event: Event) -> str:
    when = datetime.fromtimestamp(event.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    who = f" by {printable(event.who)}" if event.who else ""
    return f"{when}  {event.kind}{who}{': ' if event.text else ''}{printable(event.text)}"
