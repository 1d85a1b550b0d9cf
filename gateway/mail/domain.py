"""Domain names: lower-case A-labels inside, U-labels only on screens (RFC 5890, UTS 46). Total."""

from __future__ import annotations

import re
from functools import lru_cache

import idna

_PLAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")


@lru_cache(maxsize=4096)
def to_a_label(domain: str) -> str:
    """Lower-case A-labels without the final dot; "" for what cannot be a domain name."""
    name = domain.strip().rstrip(".").lower()
    if _PLAIN.fullmatch(name) and ".." not in name:
        return name
    if name.startswith("[") and name.endswith("]") and name.isascii():
        return name  # an address literal
    if not name or len(name) > 253 or name.isascii():
        return ""
    try:
        return idna.encode(name, uts46=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError, ValueError, IndexError):
        return ""


@lru_cache(maxsize=4096)
def to_u_label(domain: str) -> str:
    """For screens; the A-label itself where it does not decode."""
    if "xn--" not in domain:
        return domain
    try:
        return idna.decode(domain)
    except (idna.IDNAError, UnicodeError, ValueError, IndexError):
        return domain
