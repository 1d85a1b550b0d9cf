"""Domain names: lower-case A-labels inside, U-labels only on screens (RFC 5890, UTS 46). Total."""

from __future__ import annotations

import re
from functools import lru_cache

import idna

_MAX_LENGTH = 1000  # characters; white space around a name counts, and 253 are the most a name has
_PLAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")
_LITERAL = re.compile(r"\[[0-9a-z:.]{2,64}\]")


def to_a_label(domain: str) -> str:
    """Lower-case A-labels without the final dot, an address literal as written; "" for what cannot be either."""
    return _find_a_label(domain) if len(domain) <= _MAX_LENGTH else ""


@lru_cache(maxsize=4096)
def _find_a_label(domain: str) -> str:
    name = domain.strip().rstrip(".").lower()
    if _PLAIN.fullmatch(name) and ".." not in name:
        return name
    if _LITERAL.fullmatch(name):
        return name
    if not name or len(name) > 253 or name.isascii():
        return ""
    encoded = _encode(name)
    return encoded if _PLAIN.fullmatch(encoded) and ".." not in encoded else ""


def _encode(name: str) -> str:
    try:
        return idna.encode(name, uts46=True, transitional=False).decode("ascii").rstrip(".")
    except (idna.IDNAError, UnicodeError, ValueError, IndexError):
        pass
    try:  # names that browsers still resolve, as those with an emoji (IDNA 2003)
        return name.encode("idna").decode("ascii").rstrip(".")
    except (UnicodeError, ValueError, IndexError):
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
