"""Darban with what ships; no threshold is ever reached, so that everything is relayed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.doors import Standing
from tests.e2e import peers

_NEVER = "tag_at = 900.0\nquarantine_at = 901.0\nreject_at = 902.0"


class Darban:
    """See the module."""

    name = "darban"

    def missing(self) -> str:
        """It is always here."""
        return ""

    def facts(self) -> dict[str, Any]:
        """Nothing that the machine's description lacks."""
        return {}

    @contextlib.contextmanager
    def open(self, folder: Path, sink_port: int, connections: int) -> Iterator[Standing]:
        """As Door."""
        limit = f"max_connections = {connections + 100}"
        next_hop = f"smtp://127.0.0.1:{sink_port}"
        with peers.gateway(folder, next_hop, smtp_extra=limit, domain_extra=_NEVER) as running:
            yield Standing(running.smtp_port, [running.process.pid])
