"""The doors that `smtp_load` measures side by side, one file each: SMTP in, judged, SMTP out to a sink.

Each relays every message, whatever it thinks of it: a door that refuses or holds does less than one that hands over.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Standing:
    """A started door."""

    port: int
    roots: Sequence[int]  # the processes that are, with all below them, the door's


class Door(Protocol):
    """One that can be measured."""

    name: str

    def missing(self) -> str:
        """Why it cannot be measured here, "" when it can."""

    def facts(self) -> dict[str, Any]:
        """Versions and the like."""

    def open(self, folder: Path, sink_port: int, connections: int) -> AbstractContextManager[Standing]:
        """Until the block ends; takes so many connections at a time."""
