"""How many bytes of messages a door holds at once: whoever asks for more than there is room for is turned away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class FullError(Exception):
    """There is no room for more now."""


class Share:
    """What one request holds."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size_bytes = 0

    def grow(self, by_bytes: int) -> None:
        """Take more. Raises FullError, having taken it: the share is to be given back."""
        self.size_bytes += by_bytes
        self._room.used_bytes += by_bytes
        if self._room.used_bytes > self._room.limit_bytes:
            raise FullError


class Room:
    """One for a door."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """A share, given back at the end."""
        one = Share(self)
        try:
            yield one
        finally:
            self.used_bytes -= one.size_bytes
