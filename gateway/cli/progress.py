"""Progress bars of long work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def track_progress(items: Iterable[Any], description: str = "reading mail") -> Iterator[Any]:
    """A bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(items, description=description, console=console, disable=not console.is_terminal)
