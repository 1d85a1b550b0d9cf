"""`darban domain check`: what the world is told of a domain's mail, and what to publish instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from gateway.auth.advice import Topic
    from gateway.config.settings import Settings
    from gateway.net.domain_health import Question
    from gateway.types import NextHopUrls

app = typer.Typer(no_args_is_help=True, help="Look at what a domain publishes for its mail.")
_STYLES = {"good": "green", "advice": "yellow", "problem": "red", "unknown": "dim"}


@app.callback()
def _domain() -> None:
    """Look at what a domain publishes for its mail."""


@app.command("check")
def check(
    name: str = typer.Argument(..., help="The domain."),
    selector: list[str] = typer.Option([], "--selector", "-s", help="A DKIM selector it signs with; may stand again."),
    probe: bool = typer.Option(False, "--probe", help="Connect to port 25 of the next hop's public address."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object a line."),
    config: Path | None = typer.Option(None, "--config", "-c", help="The configuration file (TOML)."),
) -> None:
    """MX, SPF, DKIM, DMARC, MTA-STS, TLS-RPT, DNSSEC and BIMI of a domain, and the way around the gateway.

    Needs the extra: pip install 'darban[domain]'. Exit status 1 when there is a problem, or the DNS does not answer for
    what matters most, 0 when there is none.
    """
    from gateway.config.load import load_settings
    from gateway.net.domain_health import examine

    topics = examine(_question(load_settings(config), name, tuple(selector), probe))
    if as_json:
        for topic in topics:
            published = [record._asdict() for record in topic.publish]
            typer.echo(json.dumps(topic._asdict() | {"publish": published}, ensure_ascii=False))
    else:
        _print(name, topics)
    core = ("MX", "SPF", "DMARC")
    is_bad = any(one.status == "problem" or (one.status == "unknown" and one.name in core) for one in topics)
    raise typer.Exit(1 if is_bad else 0)


def _question(settings: Settings, name: str, selectors: tuple[str, ...], has_probe: bool) -> Question:
    """The configuration's side of it: who we are, and who is behind us for this domain."""
    from gateway.mail.domain import to_a_label
    from gateway.net.domain_health import Question

    ours = next((one for one in settings.domain if to_a_label(one.name) == to_a_label(name)), None)
    return Question(
        domain=name,
        hosts=(settings.hostname,) if ours else (),
        next_hop=_first_url(ours.next_hop) if ours else "",
        selectors=selectors,
        nameservers=settings.dns.nameservers,
        timeout_s=settings.dns.timeout_s,
        has_probe=has_probe,
    )


def _first_url(urls: NextHopUrls) -> str:
    """The server that is tried first, without options."""
    return (urls if isinstance(urls, str) else urls[0]).partition("|")[0].strip().partition("?")[0]


def _print(name: str, topics: tuple[Topic, ...]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=name, show_lines=True)
    for column in ("topic", "", "published", "what it means"):
        table.add_column(column, overflow="fold")
    for topic in topics:
        status = Text(topic.status, style=_STYLES[topic.status])
        table.add_row(topic.name, status, Text(topic.found), Text("\n".join(topic.words)))
    console = Console()
    console.print(table)
    for record in (record for topic in topics if topic.status in ("problem", "advice") for record in topic.publish):
        if record.type == "file":
            console.print(Text(f"\n{record.name}:"), Text(record.value), sep="\n", soft_wrap=True)
        else:  # as a zone file has it, to be copied: never wrapped
            value = f'"{record.value}"' if record.type == "TXT" else record.value
            console.print(Text(f"{record.name}. {record.type} {value}"), soft_wrap=True)
