"""`darban dmarc report`: the aggregate reports that domains ask for (RFC 9990)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli.quarantine import printable
from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.auth.dmarc_report import Report
    from gateway.config.settings import Settings
    from gateway.digest.dmarc import Handover

app = typer.Typer(no_args_is_help=True, help="DMARC reports for the domains whose mail came here.")
_EPOCH = date(1970, 1, 1)


@app.callback()
def _group() -> None:
    """DMARC reports for the domains whose mail came here."""


@app.command("report")
def report(
    day: str = typer.Option("", help="YYYY-MM-DD (UTC), a day that is over; yesterday when left out."),
    domain: str = typer.Option("", help="Only this policy domain."),
    out: Path | None = typer.Option(None, "--out", help="Write the reports into this folder."),
    send: bool = typer.Option(False, "--send", help="Send them to the addresses that asked; nothing is sent twice."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object a line."),
    config: Path | None = typer.Option(None, "--config", "-c", help="The configuration file (TOML)."),
) -> None:
    """Write and send a day's reports; without --out and --send, say what there is to report.

    Exit status 1 when a report could not be handed over, 0 when all were or there was nothing to do.
    """
    from gateway.config.load import load_settings

    number = _day_number(day, datetime.now(UTC).date())
    settings = load_settings(config)
    if not settings.dmarc.report_from:
        raise InputError("[dmarc] report_from is not set; write the address that reports come from")
    if send and not settings.dmarc.report_relay:
        raise InputError("[dmarc] report_relay is not set; write smtp://host:port of the server that carries them out")
    if out is not None and not out.is_dir():
        raise InputError(f"--out {out}: there is no such folder; make it first")
    is_trouble = asyncio.run(_report(settings, number, domain.lower(), out, send=send, as_json=as_json))
    raise typer.Exit(1 if is_trouble else 0)


async def _report(settings: Settings, day: int, only: str, out: Path | None, *, send: bool, as_json: bool) -> bool:
    """Was there trouble?"""
    from gateway.app.command_line import open_dmarc_reports
    from gateway.digest.dmarc import write_report

    is_trouble, number = False, 0
    async with open_dmarc_reports(settings, is_sending=send) as (reports, sender):
        domains = [one for one in reports.domains(day) if not only or one == only]
        for domain in _progress(domains):
            made = reports.report(day, domain)
            if made is None:
                continue
            path = write_report(made, out) if out is not None else None
            handovers = await sender.send(made) if sender is not None else []
            is_trouble |= any(one.is_trouble for one in handovers)
            number += 1
            typer.echo(json.dumps(_object(made, path, handovers)) if as_json else _lines(made, path, handovers))
    if not as_json:
        typer.echo(f"{number} reports for {_name(day)}")
        if not number and not settings.dmarc.reports:
            typer.echo("nothing is counted: set [dmarc] reports = true")
    return is_trouble


def _day_number(text: str, today: date) -> int:
    """Days since the epoch."""
    try:
        number = (date.fromisoformat(text) - _EPOCH).days if text else (today - _EPOCH).days - 1
    except ValueError:
        raise InputError(f"--day {text}: write a day as YYYY-MM-DD") from None
    if number >= (today - _EPOCH).days:
        raise InputError(f"--day {text}: that day is not over (UTC); reports are about whole days")
    return number


def _name(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")


def _progress(items: Iterable[Any]) -> Iterator[Any]:
    """A bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(list(items), description="reports", console=console, disable=not console.is_terminal)


def _lines(made: Report, path: Path | None, handovers: Iterable[Handover]) -> str:
    head = f"{made.domain}: {made.message_count} messages in {made.row_count} rows, {len(made.content)} bytes"
    lines = [head, *([f"  written: {path}"] if path is not None else [])]
    lines += [f"  {one.outcome}: {printable(one.address) or 'rua'}: {printable(one.detail)}" for one in handovers]
    return "\n".join(lines)


def _object(made: Report, path: Path | None, handovers: Iterable[Handover]) -> dict[str, object]:
    return {
        "day": _name(made.day),
        "domain": made.domain,
        "report_id": made.id,
        "filename": made.filename,
        "messages": made.message_count,
        "rows": made.row_count,
        "bytes": len(made.content),
        "written": None if path is None else str(path),
        "destinations": [one._asdict() for one in handovers],
    }
