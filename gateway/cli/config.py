"""`darban config check|show`."""

from __future__ import annotations

import json
from pathlib import Path

import typer

app = typer.Typer(no_args_is_help=True, help="Check and show the configuration.")
_CONFIG = typer.Option(None, "--config", "-c", help="The configuration file (TOML).")


@app.command("check")
def check(config: Path | None = _CONFIG) -> None:
    """Read the configuration, the rules and the model as `darban run` would.

    Exit status 2 names the first fault, 1 lists the rule lines that are not obeyed.
    """
    from gateway.app.check import check_settings
    from gateway.app.pipeline import load_pipeline, rule_problems
    from gateway.app.places import cache_dir
    from gateway.config.load import load_settings

    settings = load_settings(config)
    check_settings(settings)
    load_pipeline(settings, cache_dir(settings), offline=True)
    problems = rule_problems(settings)
    for problem in problems:
        typer.echo(problem)
    typer.echo(f"{len(problems)} rule lines are not obeyed" if problems else "the configuration is good")
    raise typer.Exit(1 if problems else 0)


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
