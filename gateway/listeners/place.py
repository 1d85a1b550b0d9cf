"""Where a door listens: "host:port", shared by the listener processes, or "unix:/path"."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

BACKLOG = 1024
_MODE = 0o660  # who is of the gateway's group may ask


def bind(place: str) -> socket.socket:
    """A listening socket. Raises OSError.

    Of several processes that bind one path the last has it; it replaces the socket of the one before without a gap, so
    that a reload loses no connection.
    """
    if place.startswith("unix:"):
        return _bind_path(Path(place.removeprefix("unix:")))
    host, _, port = place.rpartition(":")
    host = host.strip("[]")
    door = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    door.bind((host, int(port)))
    door.listen(BACKLOG)
    return door


def is_private(place: str) -> bool:
    """Whether only this machine reaches it."""
    host = place.rpartition(":")[0].strip("[]")
    if place.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bind_path(path: Path) -> socket.socket:
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        door.bind(str(fresh))
        fresh.chmod(_MODE)
        door.listen(BACKLOG)
        fresh.rename(path)
    except OSError:
        door.close()
        fresh.unlink(missing_ok=True)
        raise
    return door
