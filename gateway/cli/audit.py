"""`darban audit export|verify`: the log of who did what, and whether it is whole."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.config.settings import Settings
    from gateway.stores.audit_chain import Verified
    from gateway.types import AuditEntry, AuditHead

app = typer.Typer(no_args_is_help=True, help="The audit log: who did what.")
_CONFIG = typer.Option(None, "--config", "-c", help="The configuration file (TOML).")


@app.command("export")
def export(config: Path | None = _CONFIG) -> None:
    """Print every entry and signed head, one JSON object a line. The last entry is signed first."""
    from gateway.app.command_line import open_audit
    from gateway.app.compose import load_audit_key
    from gateway.config.load import load_settings
    from gateway.stores.audit_chain import to_line

    settings = load_settings(config)
    log = open_audit(settings)
    log.sign(load_audit_key(settings))
    for one in log.entries():
        typer.echo(to_line(one))
    for head in log.heads():
        typer.echo(to_line(head))


@app.command("verify")
def verify(
    file: Path | None = typer.Argument(None, help="An export; the database when left out."),
    log: list[Path] = typer.Option(
        [], "--log", help="The gateway's log (JSON lines): the heads it names must be there."
    ),
    key: str = typer.Option(
        "", "--key", help="The public key (hex) that heads must be signed by; else this machine's."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    config: Path | None = _CONFIG,
) -> None:
    """Whether nothing was changed, taken out or cut off. Exit status 1 when something was."""
    from gateway.stores import audit_chain
    from gateway.types import AuditEntry, AuditHead

    heads: list[AuditHead] = []
    for path in log:
        heads += [one for one in _lines(path, is_log=True) if isinstance(one, AuditHead)]
    if file is None:
        found = _verify_store(config, heads, key)
    else:
        # heads stand behind the entries, so the file is read twice: it may be larger than memory
        heads += [one for one in _lines(file) if isinstance(one, AuditHead)]
        entries = (one for one in _lines(file) if isinstance(one, AuditEntry))
        found = audit_chain.verify(entries, heads, key)
    typer.echo(json.dumps(_object(found)) if as_json else _words(found))
    raise typer.Exit(1 if found.faults else 0)


def record(settings: Settings, act: str, subject: str = "", detail: str = "", domain: str = "") -> None:
    """What somebody does on this machine's command line, for the audit log."""
    from gateway.app.command_line import open_audit

    open_audit(settings).append(getpass.getuser(), act, subject, detail, domain=domain, client="command")


def _verify_store(config: Path | None, heads: list[AuditHead], key: str) -> Verified:
    from gateway.app.command_line import open_audit
    from gateway.app.compose import load_audit_key
    from gateway.config.load import load_settings
    from gateway.stores import audit_chain

    settings = load_settings(config)
    log = open_audit(settings)
    # heads first: what is signed meanwhile is no fault
    heads = [*heads, *log.heads()]
    return audit_chain.verify(log.entries(), heads, key or audit_chain.public_key(load_audit_key(settings)))


def _lines(path: Path, *, is_log: bool = False) -> Iterator[AuditEntry | AuditHead]:
    from gateway.stores.audit_chain import from_line

    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    one = from_line(line)
                except ValueError:
                    if is_log:  # what a crash left, and whatever else is written there
                        continue
                    raise InputError(
                        f"{path} line {number}: is no line of an export; write one by audit export"
                    ) from None
                if one is not None:
                    yield one
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text") from None


def _object(found: Verified) -> dict[str, Any]:
    head = found.head
    return {
        "is_whole": not found.faults,
        "entries": found.entries,
        "head": {"number": head.number, "hash": head.hash} if head else None,
        "erased": found.erased,
        "signatures": found.signatures,
        "signed_up_to": found.signed_up_to,
        "keys": sorted(found.keys),
        "faults": found.faults,
    }


def _words(found: Verified) -> str:
    lines = [f"{found.entries} entries, {found.erased} with erased names"]
    if found.head is not None:
        lines.append(f"head {found.head.hash}")
    lines.append(f"{found.signatures} good signatures, up to entry {found.signed_up_to}")
    lines += [f"  by key {key}" for key in sorted(found.keys)]
    lines += found.faults or ["whole"]
    return "\n".join(lines)
