"""`darban demo`: send the sample messages through SMTP and tell what became of each.

Uses the gateway that listens already, else starts one for the time of the demonstration.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import typer

from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.config.settings import Settings
    from gateway.types import LogRow

_START_S = 180.0  # the first start compiles the rules
_REVERSE_PATHS = {"6-spoofed.eml": "bounce@bulk-sender.example"}


def demo(
    config: Path | None = typer.Option(None, "--config", "-c", help="The configuration file (TOML)."),
    keep: bool = typer.Option(True, help="Stay up afterwards, on a terminal, so that the page can be looked at."),
) -> None:
    """Replay sample messages (clean, spam, phishing, Persian, spoofed) and print what became of each."""
    from gateway.config.load import load_settings

    settings = load_settings(config)
    with _gateway(settings, config) as process:
        sent = [_send(settings, name, content) for name, content in samples()]
        _report(settings, sent)
        if process is not None and keep and sys.stdin.isatty():
            typer.echo("The gateway stays up; Ctrl-C stops it.")
            with contextlib.suppress(KeyboardInterrupt):
                process.wait()


def samples() -> Iterator[tuple[str, bytes]]:
    """(name, message) of each sample, dated now."""
    for file in sorted(files("gateway.cli").joinpath("samples").iterdir(), key=lambda file: file.name):
        text = file.read_text("utf-8").replace("@DATE@", formatdate()).replace("@ID@", uuid4().hex[:12])
        yield file.name, text.replace("\n", "\r\n").encode("utf-8")


def _send(settings: Settings, name: str, content: bytes) -> tuple[str, str, str]:
    """(sample, subject, what the gateway answered)."""
    from gateway.mail import parse

    message = parse(content)
    host, _, port = settings.smtp.listen[0].rpartition(":")
    reverse_path = _REVERSE_PATHS.get(name) or message.author[0].address
    with smtplib.SMTP(host, int(port), local_hostname="client.example", timeout=60) as client:
        try:
            client.sendmail(reverse_path, [f"you@{settings.domain[0].name}"], content, ["BODY=8BITMIME"])
            return name, message.subject, "250"
        except smtplib.SMTPDataError as error:
            return name, message.subject, f"{error.smtp_code} {_text(error.smtp_error)}"


def _text(said: bytes | str) -> str:
    return said.decode("ascii", "replace") if isinstance(said, bytes) else said


def _report(settings: Settings, sent: list[tuple[str, str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    rows = _log_rows(settings, [subject for _, subject, _ in sent])
    table = Table("sample", "subject", "became", "score", "mainly because of")
    for name, subject, answer in sent:
        row = rows.get(subject)
        became = row.action if row else answer
        table.add_row(name, subject, became, f"{row.score:.1f}" if row else "", ", ".join(row.hits[:4]) if row else "")
    Console().print(table)
    typer.echo(f"Look at what was held: http://{settings.web.listen}/")


def _log_rows(settings: Settings, subjects: list[str]) -> dict[str, LogRow]:
    """The newest message-log row for each subject; rows arrive a moment after the reply."""
    from gateway.app.command_line import open_message_log
    from gateway.types import LogQuery

    message_log = open_message_log(settings)
    since = time.time() - 60
    found: dict[str, LogRow] = {}
    for _ in range(200):
        for row in message_log.search(LogQuery(since=since, limit=200)).rows:
            found.setdefault(row.summary.subject, row)
        if found.keys() >= set(subjects):
            break
        time.sleep(0.1)
    return found


@contextlib.contextmanager
def _gateway(settings: Settings, config: Path | None) -> Iterator[subprocess.Popen[Any] | None]:
    """A running gateway: None when there is one already, else the process we started."""
    host, _, port = settings.smtp.listen[0].rpartition(":")
    if _listens(host, int(port)):
        yield None
        return
    command = [sys.executable, "-m", "gateway", "run", *(["--config", str(config)] if config else [])]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _await_door(process, host, int(port))
            yield process
        finally:
            process.terminate()


def _await_door(process: subprocess.Popen[Any], host: str, port: int) -> None:
    deadline = time.monotonic() + _START_S
    while not _listens(host, port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise InputError("the gateway did not start; `darban run` says why")
        time.sleep(0.2)


def _listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False
