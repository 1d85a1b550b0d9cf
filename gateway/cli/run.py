"""`darban run`: the gateway, until it is asked to stop."""

from __future__ import annotations

from pathlib import Path

import typer


def run(config: Path | None = typer.Option(None, "--config", "-c", help="The configuration file (TOML).")) -> None:
    """Start the gateway. Without a configuration it stands on loopback and delivers to a Maildir under ./var."""
    from gateway.app.run import run_gateway

    raise typer.Exit(run_gateway(config))
