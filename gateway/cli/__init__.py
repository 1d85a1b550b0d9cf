"""The `darban` command: one file a verb, registered here. Imports of heavy rooms stay inside the verbs."""

from __future__ import annotations

import typer

from gateway import __version__, log
from gateway.cli import (
    admin,
    audit,
    config,
    demo,
    digest,
    dmarc,
    domain,
    evaluate,
    learn,
    privacy,
    quarantine,
    rules,
    run,
    scan,
    senders,
    token,
    trace,
    train,
    webhook,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Darban, the doorkeeper in front of your mail server.",
)
app.command("run")(run.run)
app.command("scan")(scan.scan)
app.command("demo")(demo.demo)
app.command("evaluate")(evaluate.evaluate)
app.command("trace")(trace.trace)
app.add_typer(train.app, name="train")
app.add_typer(rules.app, name="rules")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(senders.app, name="senders")
app.add_typer(learn.app, name="learn")
app.add_typer(domain.app, name="domain")
app.add_typer(config.app, name="config")
app.add_typer(admin.app, name="admin")
app.add_typer(audit.app, name="audit")
app.add_typer(privacy.app, name="privacy")
app.add_typer(dmarc.app, name="dmarc")
app.add_typer(token.app, name="token")
app.add_typer(webhook.app, name="webhook")
app.add_typer(digest.app, name="digest")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"darban {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version and exit."),
) -> None:
    """Darban, the doorkeeper in front of your mail server."""
    log.configure("warning")  # standard output is the answer's alone
