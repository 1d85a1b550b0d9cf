"""`darban scan`: the gateway's own judgement of messages in files, Maildirs, mboxes, folders or standard input.

Exit status: 0 nothing found, 1 at least one message reached its tag_at, 2 bad input.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli.quarantine import printable
from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.scan.pipeline import Pipeline
    from gateway.types import DomainPolicy, Envelope, Verdict

_AT_ONCE = 16  # messages waiting for DNS side by side


def scan(
    paths: list[str] = typer.Argument(..., help="Files, folders, Maildirs, mboxes, or - for standard input."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object a line."),
    client_ip: str = typer.Option("127.0.0.1", help="The SMTP client's address."),
    helo: str = typer.Option("", help="What it said in HELO."),
    mail_from: str = typer.Option("", help="The reverse-path; empty is the null reverse-path."),
    rcpt_to: list[str] = typer.Option([], help="A recipient (repeatable)."),
    no_dns: bool = typer.Option(False, "--no-dns", help="Ask no DNS: authentication is left out."),
    why: bool = typer.Option(False, "--why", help="Say what would have had it delivered: it is judged again, changed."),
    config: Path | None = typer.Option(None, "--config", "-c", help="The configuration file (TOML)."),
) -> None:
    """Judge messages and say why."""
    from gateway.app.pipeline import load_pipeline
    from gateway.app.places import cache_dir
    from gateway.config.load import load_settings

    settings = load_settings(config)
    messages = list_messages(paths)
    context = _Context(settings, client_ip, helo, mail_from, rcpt_to)
    make_pipeline = load_pipeline(settings, cache_dir(settings), offline=no_dns, explain_all=True)
    found = asyncio.run(_scan(messages, make_pipeline, context, as_json=as_json, why=why))
    raise typer.Exit(1 if found else 0)


class _Context:
    """The envelope all messages are judged with, and the policy that names the action."""

    def __init__(self, settings: Any, client_ip: str, helo: str, mail_from: str, rcpt_to: list[str]) -> None:
        from gateway.app.compose import domain_policies

        self.hostname = settings.hostname
        self.client_ip, self.helo, self.mail_from = _checked_ip(client_ip), helo, mail_from.strip("<>")
        self.recipients = [_recipient(address) for address in rcpt_to]
        domain = self.recipients[0].domain if self.recipients else settings.domain[0].name
        policies = domain_policies(settings)
        policy = policies.policy(domain) or policies.policy(settings.domain[0].name)
        assert policy is not None
        self.policy: DomainPolicy = policy

    def envelope(self) -> Any:
        """A fresh envelope, received now."""
        from gateway.listeners.reply import new_queue_id
        from gateway.types import Client, Envelope

        return Envelope(
            queue_id=new_queue_id(),
            client=Client(self.client_ip, helo=self.helo),
            reverse_path=self.mail_from,
            recipients=tuple(self.recipients),
            received_at=time.time(),
            hostname=self.hostname,
        )


def _recipient(address: str) -> Any:
    from gateway.mail.domain import to_a_label
    from gateway.types import Recipient

    local, at, domain = address.strip("<>").rpartition("@")
    if not (local and at and domain):
        raise InputError(f"--rcpt-to {address}: not an address; write local@domain")
    return Recipient(f"{local}@{to_a_label(domain)}", to_a_label(domain))


def _checked_ip(text: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise InputError(f"--client-ip {text}: not an IP address") from None


async def _scan(
    messages: list[tuple[str, Callable[[], bytes]]],
    make_pipeline: Callable[[], Pipeline],
    context: _Context,
    *,
    as_json: bool,
    why: bool,
) -> bool:
    found, pipeline = False, make_pipeline()
    async for path, case, verdict in _judge(progress(messages, "scanning"), pipeline, context):
        action = _action(verdict, context.policy)
        found = found or action != "accept"
        flip = _flip(pipeline, case, verdict, context.policy) if why and action != "accept" else None
        _print(path, verdict, action, context.policy.tag_at, flip, as_json=as_json)
    return found


def _flip(
    pipeline: Pipeline, case: tuple[Envelope, bytes], verdict: Verdict, policy: DomainPolicy
) -> dict[str, Any] | None:
    from gateway.errors import ScorerError
    from gateway.scan.counterfactual import find_flip, flip_object

    try:
        return flip_object(find_flip(pipeline.case(*case, verdict), verdict, pipeline.judge_again, policy))
    except ScorerError as error:
        typer.echo(f"{verdict.queue_id}: {error}", err=True)
        return None


async def _judge(
    messages: Iterable[tuple[str, Callable[[], bytes]]], pipeline: Pipeline, context: _Context
) -> AsyncIterator[tuple[str, tuple[Envelope, bytes], Verdict]]:
    """Messages and verdicts in the order of the messages, several in flight."""
    waiting: list[tuple[str, tuple[Envelope, bytes], asyncio.Task[Verdict]]] = []
    for path, read in messages:
        case = (context.envelope(), read())
        waiting.append((path, case, asyncio.create_task(pipeline.score(*case))))
        await asyncio.sleep(0)
        while len(waiting) >= _AT_ONCE or (waiting and waiting[0][2].done()):
            first, judged, task = waiting.pop(0)
            yield first, judged, await task
    for path, case, task in waiting:
        yield path, case, await task


def _action(verdict: Verdict, policy: DomainPolicy) -> str:
    from gateway.policy.decide import decide
    from gateway.types import Recipient

    return decide(verdict, Recipient("", policy.name), policy).action


def _print(
    path: str, verdict: Verdict, action: str, required_score: float, flip: dict[str, Any] | None, *, as_json: bool
) -> None:
    from gateway.scan.explain import verdict_object

    if as_json:
        found = verdict_object(verdict, action, required_score, path) | ({"flip": flip} if flip else {})
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    typer.echo(f"{path}: {action} (score {verdict.score:.1f}, required {required_score:.1f})")
    for hit in verdict.hits:
        typer.echo(f"  {hit.score:+6.2f}  {hit.name}  {hit.description}")
        for evidence in hit.evidence[:3]:
            typer.echo(f"            {printable(evidence)}")
    for what in verdict.incomplete:
        typer.echo(f"     ??  {what}")
    if flip:
        typer.echo(f"     ->  {printable(flip['text'])}")


def progress(
    messages: list[tuple[str, Callable[[], bytes]]], description: str
) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """A bar on a terminal when there is something to wait for and the output goes elsewhere."""
    if len(messages) < 20 or not sys.stderr.isatty() or sys.stdout.isatty():
        yield from messages
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(messages, description=description, console=Console(stderr=True))


# --- where messages come from ----------------------------------------------------------------------------------------


def list_messages(paths: Iterable[str]) -> list[tuple[str, Callable[[], bytes]]]:
    """(name, reader) of every message below the paths. Raises InputError for a path that cannot be read."""
    return [message for path in paths for message in _messages(path)]


def _messages(path: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    from gateway.mail.mailbox import list_mailbox

    if path == "-":
        yield "-", sys.stdin.buffer.read
    else:
        yield from list_mailbox(Path(path))
