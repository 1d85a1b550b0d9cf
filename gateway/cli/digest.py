"""`darban digest preview|send|resume`: digests of held mail."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway.cli.quarantine import printable
from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.config.settings import Settings
    from gateway.digest.quarantine import Due, Sent
    from gateway.types import DigestLetter

app = typer.Typer(no_args_is_help=True, help="Digests of held mail for those it was for.")
_CONFIG = typer.Option(None, "--config", "-c", help="The configuration file (TOML).")
_NO_TROUBLE = ("sent", "nothing", "unwanted")


@app.command("preview")
def preview(
    address: str = typer.Argument(..., help="Whose digest."),
    language: str = typer.Option("", help="en or fa; as configured when left out."),
    html: Path | None = typer.Option(None, "--html", help="Write its HTML into this file."),
    config: Path | None = _CONFIG,
) -> None:
    """What the mailbox's digest would say now, with links that do nothing. Nothing is sent or noted."""
    if language not in ("", "en", "fa"):
        raise InputError(f"--language {language}: write en or fa")
    letter = asyncio.run(_preview(_settings(config), address.lower(), language))
    if html is not None:
        try:
            html.write_text(letter.html, "utf-8")
        except OSError as error:
            raise InputError(f"--html {html}: {error.strerror}") from None
    typer.echo(f"{printable(letter.subject)}\n")
    typer.echo("\n".join(printable(line) for line in letter.text.splitlines()))


@app.command("send")
def send(
    dry_run: bool = typer.Option(False, "--dry-run", help="Say who would get one; nothing is sent or noted."),
    address: str = typer.Option("", help="Only the digests of this mailbox."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object a line."),
    config: Path | None = _CONFIG,
) -> None:
    """Send now what the next digests would list. Exit status 1 when one could not be handed over."""
    settings = _settings(config)
    due, sent = asyncio.run(_send(settings, address.lower(), is_dry=dry_run))
    for one in due if dry_run else ():
        typer.echo(_line(one.digest.mailbox, one.digest.reader, "due", str(one.messages), as_json=as_json))
    for done in sent:
        typer.echo(_line(done.digest.mailbox, done.digest.reader, done.outcome, done.detail, as_json=as_json))
    if not as_json:
        number = sum(done.outcome == "sent" for done in sent)
        typer.echo(f"digests due: {len(due)}" if dry_run else f"digests sent: {number}")
    raise typer.Exit(0 if all(done.outcome in _NO_TROUBLE for done in sent) else 1)


@app.command("resume")
def resume(
    address: str = typer.Argument(..., help="Whose mail the digests are about."),
    reader: str = typer.Option("", help="Who reads them, where that is somebody else."),
    config: Path | None = _CONFIG,
) -> None:
    """Send digests again to somebody who wanted no more."""
    from gateway.app.command_line import open_digest_store

    store = open_digest_store(_settings(config, needs_plans=False))
    store.stop(address.lower(), (reader or address).lower(), is_stopped=False)
    typer.echo(f"{printable((reader or address).lower())} gets digests of {printable(address.lower())}")


def _settings(config: Path | None, *, needs_plans: bool = True) -> Settings:
    from gateway.config.load import load_settings

    settings = load_settings(config)
    if needs_plans and not any(domain.digest for domain in settings.domain):
        raise InputError("no [[domain.digest]] is configured; docs/digests.md has an example")
    return settings


async def _preview(settings: Settings, mailbox: str, language: str) -> DigestLetter:
    from gateway.app.command_line import open_digests

    async with open_digests(settings) as digests:
        plan = digests.plan_of(mailbox)
        if plan is None:
            raise InputError(f"{mailbox}: no [[domain.digest]] is for this address")
        if language:
            plan = replace(plan, language=language, calendar="jalali" if language == "fa" else "gregorian")
        reader = plan.readers[0] if plan.readers else mailbox
        return digests.preview(digests.make(plan, mailbox, reader, time.time()))


async def _send(settings: Settings, only: str, *, is_dry: bool) -> tuple[Sequence[Due], Sequence[Sent]]:
    from gateway.app.command_line import open_digests

    async with open_digests(settings) as digests:
        digests.give_up()
        now = float(int(time.time()))
        due = [one for plan in digests.plans for one in digests.due(plan, now) if only in ("", one.digest.mailbox)]
        return due, [] if is_dry else await digests.send(due)


def _line(mailbox: str, reader: str, outcome: str, detail: str, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"mailbox": mailbox, "reader": reader, "outcome": outcome, "detail": detail})
    to = f" (to {printable(reader)})" if reader != mailbox else ""
    return f"{outcome}: {printable(mailbox)}{to}: {printable(detail)}"
