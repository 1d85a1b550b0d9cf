"""`darban quarantine list|show|release|spam|delete`."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli.audit import record
from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.config.settings import Settings
    from gateway.review import Reviewed
    from gateway.types import HeldMessage

app = typer.Typer(no_args_is_help=True, help="Look at held messages, release or delete them.")
_CONFIG = typer.Option(None, "--config", "-c", help="The configuration file (TOML).")
_JSON = typer.Option(False, "--json", help="Print one JSON object a line.")
_TRAINER = typer.Option("", "--trainer", help="In whose name is taught; who runs the command when left out.")
_MIN_PREFIX = 6
_ISOLATES = dict.fromkeys(map(ord, "\u2068\u2069"))  # few terminals know them
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
_STATES = ("held", "releasing", "released", "deleted", "any")


@app.command("list")
def list_held(
    search: str = typer.Option("", help="Part of subject, author, reverse-path, recipient or queue id."),
    domain: str = typer.Option("", help="Only this recipient domain."),
    state: str = typer.Option("held", help="held, releasing, released, deleted or any."),
    limit: int = typer.Option(50, min=1, max=1000, help="So many at most."),
    as_json: bool = _JSON,
    config: Path | None = _CONFIG,
) -> None:
    """Held messages, newest first. Exit status 1 when there are some, 0 when there are none."""
    from gateway.types import HeldQuery

    if state not in _STATES:
        raise InputError(f"--state {state}: write one of {', '.join(_STATES)}")
    wanted: Any = "" if state == "any" else state
    page = _store(config)[1].list(HeldQuery(search, domain, wanted, limit))
    for held in page.messages:
        typer.echo(json.dumps(_object(held), ensure_ascii=False) if as_json else _line(held))
    if not as_json:
        typer.echo(f"{len(page.messages)} of {page.total:,}{'+' if page.is_floor else ''}")
    raise typer.Exit(1 if page.total else 0)


@app.command("show")
def show(
    held_id: str = typer.Argument(..., help="Its id, or the first characters of it."),
    raw: bool = typer.Option(False, "--raw", help="Print the message itself, as it was received."),
    as_json: bool = _JSON,
    config: Path | None = _CONFIG,
) -> None:
    """Why it is held."""
    settings, store = _store(config)
    held = _find(store, held_id)
    record(settings, "download" if raw else "view", held.id)
    if raw:
        sys.stdout.buffer.write(store.content(held.id))
        return
    if as_json:
        typer.echo(json.dumps(_object(held) | {"verdict": json.loads(held.verdict_json)}, ensure_ascii=False))
        return
    typer.echo(_line(held))
    typer.echo(f"  from {printable(held.summary.author)} (reverse-path <{printable(held.reverse_path)}>)")
    typer.echo(f"  client {held.client_ip} HELO {printable(held.helo)}, queue id {held.queue_id}")
    typer.echo(f"  {held.state}: {printable(held.reason)} {printable(held.note)}")
    for hit in json.loads(held.verdict_json).get("hits", []):
        typer.echo(f"  {hit['score']:+6.2f}  {hit['name']}  {hit['description']}")
        for evidence in hit["evidence"][:3]:
            typer.echo(f"            {printable(evidence)}")


@app.command("release")
def release(
    held_ids: list[str] = typer.Argument(..., help="Ids, or the first characters of them."),
    learn: bool = typer.Option(True, help="Learn that such mail is not spam."),
    trainer: str = _TRAINER,
    config: Path | None = _CONFIG,
) -> None:
    """Hand messages to their next hop. Exit status 1 when one was not taken."""
    settings, store = _store(config)
    ids = [_find(store, held_id).id for held_id in held_ids]
    results = asyncio.run(_release(settings, ids, trainer or getpass.getuser(), learns=learn))
    for done in results:
        record(settings, "release", done.held.id, done.told)
        typer.echo(f"{done.held.id} {done.held.state}{_learned(done)}: {printable(done.held.note)}")
    raise typer.Exit(0 if all(done.held.state == "released" for done in results) else 1)


@app.command("spam")
def spam(
    held_ids: list[str] = typer.Argument(..., help="Ids, or the first characters of them."),
    trainer: str = _TRAINER,
    config: Path | None = _CONFIG,
) -> None:
    """Delete messages for good, and learn that such mail is spam. Exit status 1 when one was not held."""
    settings, store = _store(config)
    ids = [_find(store, held_id).id for held_id in held_ids]
    results = asyncio.run(_spam(settings, ids, trainer or getpass.getuser()))
    for held_id, done in zip(ids, results, strict=True):
        if done:
            record(settings, "spam", held_id, done.told)
        typer.echo(f"{held_id} {f'deleted{_learned(done)}' if done else 'is not held'}")
    raise typer.Exit(0 if all(results) else 1)


@app.command("delete")
def delete(
    held_ids: list[str] = typer.Argument(..., help="Ids, or the first characters of them."),
    config: Path | None = _CONFIG,
) -> None:
    """Delete messages; their contents go for good. Exit status 1 when one was not held."""
    settings, store = _store(config)
    done = []
    for held in [_find(store, held_id) for held_id in held_ids]:
        done.append(store.transition(held.id, ("held",), "deleted"))
        if done[-1]:
            record(settings, "delete", held.id)
        typer.echo(f"{held.id} {'deleted' if done[-1] else f'is {held.state}, not held'}")
    raise typer.Exit(0 if all(done) else 1)


def _learned(done: Reviewed) -> str:
    words = {"": "", "failed": ", not learned: the log says why", "limited": ", not learned: the day is full"}
    return words.get(done.learned, f", {done.learned}")


def printable(text: str) -> str:
    """Nothing in here can steer a terminal. The joiners stay: Persian is not written without them."""
    text = text.translate(_ISOLATES)
    return "".join(char if char.isprintable() or char in _JOINERS else "\N{REPLACEMENT CHARACTER}" for char in text)


def _store(config: Path | None) -> tuple[Settings, Any]:
    from gateway.app.command_line import open_quarantine
    from gateway.config.load import load_settings

    settings = load_settings(config)
    return settings, open_quarantine(settings)


def _find(store: Any, held_id: str) -> HeldMessage:
    if len(held_id) < _MIN_PREFIX:
        raise InputError(f"{held_id}: write at least {_MIN_PREFIX} characters of the id")
    found = store.find(held_id)
    if len(found) != 1:
        raise InputError(f"{held_id}: {'several messages begin so' if found else 'no such held message'}")
    held: HeldMessage = store.get(found[0])
    return held


async def _release(settings: Settings, ids: Sequence[str], who: str, *, learns: bool) -> list[Reviewed]:
    from gateway.app.command_line import open_review

    async with open_review(settings) as review:
        return [await review.release(held_id, who, learns=learns) for held_id in ids]


async def _spam(settings: Settings, ids: Sequence[str], who: str) -> list[Reviewed | None]:
    from gateway.app.command_line import open_review

    results: list[Reviewed | None] = []
    async with open_review(settings) as review:
        for held_id in ids:
            try:
                results.append(review.spam(held_id, who))
            except InputError:
                results.append(None)
    return results


def _line(held: HeldMessage) -> str:
    when = datetime.fromtimestamp(held.received_at, UTC).strftime("%Y-%m-%d %H:%M")
    subject = printable(held.summary.subject)[:70]
    return f"{held.id[:12]}  {when}  {held.score:5.1f}  {printable(held.recipient)}  {subject}"


def _object(held: HeldMessage) -> dict[str, object]:
    return {
        "id": held.id,
        "queue_id": held.queue_id,
        "received_at": held.received_at,
        "reverse_path": held.reverse_path,
        "recipient": held.recipient,
        "subject": held.summary.subject,
        "author": held.summary.author,
        "message_id": held.summary.message_id,
        "score": held.score,
        "reason": held.reason,
        "state": held.state,
        "note": held.note,
    }
