"""What `darban run` says when it stands: where to go, and what to try."""

from __future__ import annotations

import sys
from pathlib import Path

from gateway.config.settings import Settings


def demo_command(program: str, config: Path | None) -> str:
    """What to type for this gateway's demonstration; `make run` leaves no `darban` on the PATH."""
    darban = program if Path(program).name == "darban" else "darban"
    return f"{darban} demo --config {config}" if config else f"{darban} demo"


def greet(settings: Settings, config: Path | None) -> None:
    """Where to go, the first admin's link, and a message to try."""
    from gateway.errors import StoreError
    from gateway.stores.accounts import SqlAccounts
    from gateway.stores.engine import make_engine

    accounts = SqlAccounts(make_engine(settings.storage.database))
    doors = [*settings.smtp.listen, *([f"{settings.milter.listen} (milter)"] if settings.milter.listen else [])]
    lines = [
        "Darban stands at the door.",
        f"  mail     {', '.join(doors)}   for {', '.join(d.name for d in settings.domain)}",
        f"  review   http://{settings.web.listen}/",
        f"  metrics  http://{settings.metrics.listen}/metrics",
        *([f"  http     http://{settings.http.listen}/scan, /checkv2"] if settings.http.listen else []),
        *([f"  spamd    {settings.spamd.listen}"] if settings.spamd.listen else []),
    ]
    try:
        if not accounts.has_admin():
            lines.append(
                f"  first admin (this link works once): {settings.web.url or 'http://' + settings.web.listen}"
                f"/setup/{accounts.new_setup_token()}"
            )
    except StoreError as error:  # a full disk: mail flows, and the next start tells it
        lines.append(f"  no link for a first admin now: {error}")
    for smtp in settings.smtp.listen[:1]:
        lines += [
            "Send it a message:",
            f"  swaks --server {smtp} --from sara@example.org --to you@{settings.domain[0].name} "
            "--header 'Subject: hello'",
            f"or all the samples:\n  {demo_command(sys.argv[0], config)}",
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
