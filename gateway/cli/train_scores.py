"""`darban train scores`: the scores of rules and findings, fitted on labelled mail."""

from __future__ import annotations

from pathlib import Path

import typer

from gateway.errors import InputError


def scores(
    corpora: Path = typer.Option(..., "--corpora", help="Folder with packs or with NAME/ham and NAME/spam folders."),
) -> None:
    """Fit the scores of rules and findings on labelled mail."""
    raise InputError(f"{corpora}: scores cannot be fitted yet")
