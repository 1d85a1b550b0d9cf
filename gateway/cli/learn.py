"""`darban learn spam|ham|list|revoke|restore|status`: what people teach the classifier (docs/learning.md)."""

from __future__ import annotations

import getpass
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli.audit import record
from gateway.cli.quarantine import printable
from gateway.cli.scan import list_messages, progress
from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.config.settings import Settings
    from gateway.types import Envelope, Lesson, Lessons

app = typer.Typer(no_args_is_help=True, help="Teach the classifier, and take back what it was taught.")
_CONFIG = typer.Option(None, "--config", "-c", help="The configuration file (TOML).")
_JSON = typer.Option(False, "--json", help="Print one JSON object a line.")
_PATHS = typer.Argument(..., help="Files, folders, Maildirs, mboxes, or - for standard input.")
_TEACHER = typer.Option("", "--trainer", help="In whose name; who runs the command when left out.")
_DELIVERED = typer.Option(False, "--delivered", help="Only what this gateway delivered, as its message log says.")
_IDS = typer.Argument(None, help="Ids of lessons, as `darban learn list` prints them.")
_TRAINER = typer.Option("", "--trainer", help="Only lessons of this person.")
_DAY = typer.Option("", "--day", help="Only lessons of this day, YYYY-MM-DD (UTC).")
_EPOCH = date(1970, 1, 1)


@app.command("spam")
def spam(
    paths: list[str] = _PATHS,
    trainer: str = _TEACHER,
    delivered: bool = _DELIVERED,
    as_json: bool = _JSON,
    config: Path | None = _CONFIG,
) -> None:
    """These messages are spam. Exit status 1 when the person has taught as much as a day allows."""
    _teach(paths, True, trainer, config, delivered=delivered, as_json=as_json)


@app.command("ham")
def ham(
    paths: list[str] = _PATHS,
    trainer: str = _TEACHER,
    delivered: bool = _DELIVERED,
    as_json: bool = _JSON,
    config: Path | None = _CONFIG,
) -> None:
    """These messages are wanted. Exit status 1 when the person has taught as much as a day allows."""
    _teach(paths, False, trainer, config, delivered=delivered, as_json=as_json)


@app.command("list")
def list_lessons(
    trainer: str = _TRAINER,
    day: str = _DAY,
    revoked: bool = typer.Option(False, "--revoked", help="Only those that were revoked."),
    limit: int = typer.Option(50, min=1, max=1000, help="So many at most."),
    as_json: bool = _JSON,
    config: Path | None = _CONFIG,
) -> None:
    """What was taught, newest first. Exit status 1 when there is something, 0 when there is nothing."""
    from gateway.types import Lessons

    which = Lessons(trainer=trainer, day=_day_number(day), is_revoked=True if revoked else None, limit=limit)
    lessons, total = _open(config)[1].list(which)
    for one in lessons:
        typer.echo(json.dumps(_object(one), ensure_ascii=False) if as_json else _line(one))
    if not as_json:
        typer.echo(f"{len(lessons)} of {total}")
    raise typer.Exit(1 if total else 0)


@app.command("revoke")
def revoke(
    ids: list[str] = _IDS,
    trainer: str = _TRAINER,
    day: str = _DAY,
    as_json: bool = _JSON,
    config: Path | None = _CONFIG,
) -> None:
    """Leave lessons out: the model becomes what it would be without them. Exit status 1 when none was in use."""
    which, (settings, ledger) = _chosen(ids, trainer, day), _open(config)
    number = ledger.revoke(which, getpass.getuser())
    record(settings, "revoke", "", f"{number} lessons: {' '.join(ids or ())} {trainer} {day}".strip())
    _done(number, "revoked", as_json=as_json)


@app.command("restore")
def restore(
    ids: list[str] = _IDS,
    trainer: str = _TRAINER,
    day: str = _DAY,
    as_json: bool = _JSON,
    config: Path | None = _CONFIG,
) -> None:
    """Take revoked lessons back in. Exit status 1 when none was revoked."""
    which, (settings, ledger) = _chosen(ids, trainer, day), _open(config)
    number = ledger.restore(which)
    record(settings, "restore", "", f"{number} lessons: {' '.join(ids or ())} {trainer} {day}".strip())
    _done(number, "restored", as_json=as_json)


@app.command("status")
def status(as_json: bool = _JSON, config: Path | None = _CONFIG) -> None:
    """How learning stands. Exit status 1 when the gateway does not judge by what the ledger has."""
    settings, ledger = _open(config)
    found = _status(settings, ledger)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        typer.echo(_words(found))
    raise typer.Exit(0 if found["is_current"] else 1)


def _teach(
    paths: list[str], is_spam: bool, trainer: str, config: Path | None, *, delivered: bool, as_json: bool
) -> None:
    from gateway.app.command_line import open_message_log
    from gateway.app.compose import make_teacher
    from gateway.provenance import trace_back

    messages = list_messages(paths)
    settings, ledger = _open(config)
    message_log = open_message_log(settings)
    teacher, who = make_teacher(settings, ledger), trainer or getpass.getuser()
    counted: Counter[str] = Counter()
    for path, read in progress(messages, "learning"):
        content = _with_crlf(read)
        judged = trace_back(content, message_log, settings.hostname)
        if judged is None and delivered:
            what, lesson_id = "foreign", ""
        else:
            taught = teacher.teach(
                trainer=who,
                is_spam=is_spam,
                via="command",
                envelope=judged.envelope if judged else _unknown_envelope(settings.hostname),
                content=judged.content if judged else content,
                auth=judged.auth if judged else (),
            )
            what, lesson_id = taught.what, taught.lesson_id
        counted[what] += 1
        if as_json:
            typer.echo(json.dumps({"path": path, "what": what, "lesson_id": lesson_id}))
    said = ", ".join(f"{number} {what}" for what, number in sorted(counted.items()))
    record(settings, "teach", "", f"{_label(is_spam)} in the name of {who}: {said or 'no message there'}")
    if not as_json:
        typer.echo(said or "no message there")
        if counted["limited"]:
            typer.echo(f"{printable(who)} has taught {settings.learning.daily_lessons} messages today; go on tomorrow")
    raise typer.Exit(1 if counted["limited"] else 0)


def _unknown_envelope(hostname: str) -> Envelope:
    from gateway.types import Client, Envelope

    return Envelope("", Client(""), "", (), time.time(), hostname)


def _with_crlf(read: Callable[[], bytes]) -> bytes:
    """As it came by SMTP; Maildirs and mboxes keep bare line feeds."""
    return read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _open(config: Path | None) -> tuple[Settings, Any]:
    from gateway.app.command_line import open_ledger
    from gateway.config.load import load_settings

    settings = load_settings(config)
    return settings, open_ledger(settings)


def _chosen(ids: list[str] | None, trainer: str, day: str) -> Lessons:
    from gateway.types import Lessons

    return Lessons(ids=tuple(ids or ()), trainer=trainer, day=_day_number(day))


def _day_number(text: str) -> int | None:
    """Days since the epoch."""
    try:
        return (date.fromisoformat(text) - _EPOCH).days if text else None
    except ValueError:
        raise InputError(f"--day {text}: write a day as YYYY-MM-DD") from None


def _done(number: int, what: str, *, as_json: bool) -> None:
    typer.echo(json.dumps({what: number}) if as_json else f"{number} lessons {what}")
    raise typer.Exit(0 if number else 1)


def _label(is_spam: bool) -> str:
    return "spam" if is_spam else "ham"


def _line(one: Lesson) -> str:
    when = datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%d %H:%M")
    end = f"  revoked by {printable(one.revoked_by)}" if one.revoked_at is not None else ""
    return f"{one.id}  {when}  {_label(one.is_spam):4}  {one.via:7}  {printable(one.trainer)}{end}"


def _object(one: Lesson) -> dict[str, object]:
    named = ("id", "at", "trainer", "via", "content_hash", "features_version", "weight", "revoked_at", "revoked_by")
    return {name: getattr(one, name) for name in named} | {"label": _label(one.is_spam)}


def _status(settings: Settings, ledger: Any) -> dict[str, Any]:
    from gateway.app.compose import learning_caps
    from gateway.app.places import places
    from gateway.classify import published
    from gateway.classify.features import VERSION

    counts, manifest = ledger.counts(VERSION), published.read_manifest(places(settings).model)
    lessons = [
        {"label": _label(is_spam), "via": via, "number": number}
        for (is_spam, via), number in sorted(counts.lessons.items())
    ]
    is_current = manifest.get("revision") == ledger.revision() if manifest else not lessons
    return {
        "enabled": settings.learning.enabled,
        "model_id": manifest.get("id", ""),
        "lessons_in_model": manifest.get("lessons", 0),
        "is_current": is_current and settings.learning.enabled,
        "lessons": lessons,
        "revoked": counts.revoked,
        "superseded": counts.superseded,
        "foreign": counts.foreign,
        "newest_at": counts.newest_at,
        "caps": asdict(learning_caps(settings)),
    }


def _words(found: dict[str, Any]) -> str:
    newest = datetime.fromtimestamp(found["newest_at"], UTC).strftime("%Y-%m-%d %H:%M") if found["newest_at"] else "-"
    model = found["model_id"] or "the shipped model"
    doubt = "" if found["is_current"] else " (not what the ledger has: is the gateway running, and [learning] enabled?)"
    lines = [f"judges by {model}, {found['lessons_in_model']} lessons{doubt}"]
    lines += [f"  {one['number']:6} {one['label']:4} by {one['via']}" for one in found["lessons"]]
    lines += [
        f"  {found['revoked']:6} revoked, {found['superseded']} superseded, {found['foreign']} of other features",
        f"newest lesson: {newest}",
    ]
    return "\n".join(lines)
