"""`darban privacy export|erase|shred|rotate-key`: one person's data, and the keys of what is stored."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway.cli.audit import record
from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.config.settings import Settings
    from gateway.privacy import Privacy

app = typer.Typer(no_args_is_help=True, help="What is kept of a person, and the keys of what is stored.")
_CONFIG = typer.Option(None, "--config", "-c", help="The configuration file (TOML).")
_JSON = typer.Option(False, "--json", help="Print one JSON object.")
_YES = typer.Option(False, "--yes", help="Do not ask.")


@app.command("export")
def export(
    address: str = typer.Argument(..., help="The person's address."),
    out: Path = typer.Option(..., "--out", help="A folder that is not there yet, or empty."),
    config: Path | None = _CONFIG,
) -> None:
    """Write everything that is kept about an address into a folder."""
    from gateway.policy.access import EVERYBODY

    privacy = _open(config)[1]
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is there already; name a new folder")
    number = 0
    for name, content in privacy.export(address, EVERYBODY, getpass.getuser(), "command"):
        place = out / name
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.touch(mode=0o600)
        place.write_bytes(content)
        number += 1
    typer.echo(f"{number} files in {out}")


@app.command("erase")
def erase(
    address: str = typer.Argument(..., help="The person's address."),
    yes: bool = _YES,
    as_json: bool = _JSON,
    config: Path | None = _CONFIG,
) -> None:
    """Take out everything that is kept about an address. Exit status 1 when something has to stay for now."""
    from gateway.policy.access import EVERYBODY

    privacy = _open(config)[1]
    counts = privacy.count(address, EVERYBODY)
    if not yes:
        said = ", ".join(f"{name} {number}" for name, number in counts.items())
        typer.confirm(f"{address}: {said}. Erase them for good, held messages too?", abort=True)
    done = privacy.erase(address, EVERYBODY, getpass.getuser(), "command")
    found = asdict(done)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        typer.echo(", ".join(f"{name} {number}" for name, number in found.items() if name != "left"))
        for text in done.left:
            typer.echo(f"left: {text}")
    raise typer.Exit(1 if done.left else 0)


@app.command("shred")
def shred(
    domain: str = typer.Argument(..., help="The domain."), yes: bool = _YES, config: Path | None = _CONFIG
) -> None:
    """Delete all contents kept for a domain and destroy its keys: copies of the files are unreadable too."""
    from gateway.app.command_line import open_quarantine
    from gateway.config.load import load_settings

    settings = load_settings(config)
    quarantine = open_quarantine(settings)
    if not yes:
        typer.confirm(f"Delete every message that is kept for {domain}, for good?", abort=True)
    number, keys = quarantine.shred(domain, "deleted with the domain's keys")
    record(settings, "destroy key", "", f"{number} messages; {', '.join(keys) or 'no key'}", domain)
    typer.echo(f"{number} messages deleted, {len(keys)} keys destroyed")


@app.command("rotate-key")
def rotate_key(config: Path | None = _CONFIG) -> None:
    """Put a new master key into [storage] encryption_key: copies of the database made before are unreadable then."""
    from gateway.app.command_line import open_keys
    from gateway.config.load import add_master_key, keep_newest_master_key, load_settings

    settings = load_settings(config)
    path = settings.storage.encryption_key
    if not path:
        raise InputError("[storage] encryption_key: is not set; nothing is encrypted")
    keys = open_keys(settings)
    add_master_key(path)  # both are good until every key is wrapped by the new one: a kill in between loses nothing
    number = keys.rewrap()
    keep_newest_master_key(path)
    record(settings, "rotate key", "", f"{number} keys wrapped anew")
    typer.echo(f"{number} keys wrapped anew; keep a copy of {path}, and throw old copies away")


def _open(config: Path | None) -> tuple[Settings, Privacy]:
    from gateway.app.command_line import open_privacy
    from gateway.config.load import load_settings

    settings = load_settings(config)
    return settings, open_privacy(settings)
