"""Progress bars of long work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def track_progress(items: Iterable[Any], words: str = "reading mail") -> Iterator[Any]:
    """A bar on a terminal; how far it is, where the items have a length."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(items, description=words, console=console, disable=not console.is_terminal)
