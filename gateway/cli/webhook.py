"""`darban webhook test|list|retry`: whether webhooks take what they are told."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.config.settings import Settings
    from gateway.net.webhook import Answer
    from gateway.webhooks import Target

app = typer.Typer(no_args_is_help=True, help="Webhooks: who is told what happens.")
_CONFIG = typer.Option(None, "--config", "-c", help="The configuration file (TOML).")
_NAME = typer.Argument("", help="The webhook's name; all when left out.")


@app.callback()
def _root() -> None:
    """Webhooks: who is told what happens."""


@app.command("test")
def test(name: str = _NAME, config: Path | None = _CONFIG) -> None:
    """Post an event of the type webhook.test now, and say what was answered. Exit status 1 when it was not taken."""
    from gateway.config.load import load_settings

    settings = load_settings(config)
    answers = asyncio.run(_post(settings, _targets(settings, name)))
    for target, answer in answers:
        typer.echo(f"{target.name}\t{'taken' if answer.is_taken else 'not taken'}\t{answer.told}")
    if not all(answer.is_taken for _, answer in answers):
        raise typer.Exit(1)


@app.command("list")
def list_dead(
    name: str = _NAME,
    as_json: bool = typer.Option(False, "--json", help="One JSON object a line."),
    config: Path | None = _CONFIG,
) -> None:
    """How many events wait, and those that were given up. Exit status 1 when there are any of these."""
    from gateway.app.command_line import open_outbox
    from gateway.config.load import load_settings

    settings = load_settings(config)
    outbox = open_outbox(settings)
    counts = outbox.counts()
    dead = outbox.dead(name)
    for target in [] if as_json else _targets(settings, name):
        waiting, given_up = (counts.get((target.name, state), 0) for state in ("waiting", "dead"))
        typer.echo(f"{target.name}\t{waiting} waiting\t{given_up} given up")
    for one in dead:
        when = datetime.fromtimestamp(one.born_at, UTC).strftime("%F %R")
        told = {"webhook": one.webhook, "id": one.id, "type": one.type, "at": one.born_at, "told": one.told}
        line = json.dumps(told, ensure_ascii=False) if as_json else "\t".join((when, one.id, one.type, one.told))
        typer.echo(line)
    if dead:
        raise typer.Exit(1)


@app.command("retry")
def retry(name: str = typer.Argument(..., help="The webhook's name."), config: Path | None = _CONFIG) -> None:
    """Try again what was given up."""
    from gateway.app.command_line import open_outbox
    from gateway.config.load import load_settings

    settings = load_settings(config)
    _targets(settings, name)
    typer.echo(f"{open_outbox(settings).revive(name)} events are tried again")


def _targets(settings: Settings, name: str) -> list[Target]:
    from gateway.app.compose import webhook_targets

    known = webhook_targets(settings)
    found = [one for one in known if name in ("", one.name)]
    if not found:
        names = ", ".join(one.name for one in known)
        raise InputError(f"there is no webhook {name}; there are {names}" if names else "no [[webhook]] is configured")
    return found


async def _post(settings: Settings, targets: list[Target]) -> list[tuple[Target, Answer]]:
    from gateway.app.pipeline import make_resolver
    from gateway.net.webhook import WebhookClient
    from gateway.policy.webhook import body_of, test_event
    from gateway.webhooks import send

    event = test_event(time.time(), settings.hostname)
    client = WebhookClient(make_resolver(settings))
    return [(target, await send(client, target, event.id, body_of(event))) for target in targets]
