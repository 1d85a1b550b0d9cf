"""`darban config check|show`."""

from __future__ import annotations

import json
from pathlib import Path

import typer

app = typer.Typer(no_args_is_help=True, help="Check and show the configuration.")
_CONFIG = typer.Option(None, "--config", "-c", help="The configuration file (TOML).")


@app.command("check")
def check(config: Path | None = _CONFIG) -> None:
    """Read the configuration, the rules and the model as `darban run` would; exit status 2 names the first fault."""
    from gateway.app import load_pipeline, places
    from gateway.config.load import load_settings
    from gateway.net.next_hop import make_next_hop

    settings = load_settings(config)
    for domain in settings.domain:
        make_next_hop(domain.next_hop, settings.hostname)
    load_pipeline(settings, places(settings).cache, offline=True)
    typer.echo("the configuration is good")


@app.command("show")
def show(
    config: Path | None = _CONFIG, as_json: bool = typer.Option(False, "--json", help="Print one JSON object a line.")
) -> None:
    """Every option with its value; `*` marks what differs from the default."""
    from gateway.config.load import describe, load_settings

    before = None
    for table, key, value, is_default, meaning in describe(load_settings(config)):
        shown = list(value) if isinstance(value, tuple) else value
        if as_json:
            typer.echo(
                json.dumps({"table": table, "key": key, "value": shown, "default": is_default}, ensure_ascii=False)
            )
            continue
        if table != before and table:
            typer.echo(f"\n[{table}]")
        before = table
        typer.echo(f"{' ' if is_default else '*'} {key} = {json.dumps(shown, ensure_ascii=False)}    # {meaning}")
