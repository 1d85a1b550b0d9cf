"""Who can reach a place where a door listens."""

from __future__ import annotations

import ipaddress


def is_private(place: str) -> bool:
    """Whether only this machine reaches it."""
    host = place.rpartition(":")[0].strip("[]")
    if place.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
