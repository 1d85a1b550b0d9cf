"""`darban trace`: what became of a message, whatever it was."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import typer

from gateway.cli.quarantine import printable

_HERE = {
    "quarantine": "held in the quarantine",
    "reject": "refused, the sender was told",
    "tempfail": "deferred, still with the sender",
    "scanned": "judged for another server, which acts",
}


def trace(
    query: str = typer.Argument(
        ..., help="Part of a queue id (ours, or the next server's), message id, address, subject or client address."
    ),
    limit: int = typer.Option(50, min=1, max=1000, help="So many at most."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object a line."),
    config: Path | None = typer.Option(None, "--config", "-c", help="The configuration file (TOML)."),
) -> None:
    """Search the message log, newest first. Exit status 1 when something was found, 0 when nothing was."""
    from gateway.app.command_line import open_message_log
    from gateway.config.load import load_settings

    rows = open_message_log(load_settings(config)).search(query, limit)
    for row in rows:
        if as_json:
            typer.echo(json.dumps(dataclasses.asdict(row), ensure_ascii=False))
            continue
        when = datetime.fromtimestamp(row.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        typer.echo(f"{when} {row.queue_id} {row.action} score {row.score:.1f}: {printable(row.reply)}")
        typer.echo(
            f"  <{printable(row.reverse_path)}> -> {printable(row.recipient)}  {printable(row.summary.subject)[:80]}"
        )
        became = f"next hop: {printable(row.next_hop_reply)}" if row.action in ("accept", "tag") else _HERE[row.action]
        typer.echo(f"  {printable(row.reason)}; {became}; {' '.join(row.hits[:8])}")
    raise typer.Exit(1 if rows else 0)
