"""What kind of name a client gives itself in HELO (RFC 5321 §4.1.1.1, 4.1.4): a server names itself by its domain."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

HeloKind = Literal["domain", "literal", "bare_ip", "localhost", "ours", "no_domain"]

_LITERAL = re.compile(r"\[(?:ipv6:)?[0-9a-f:.]+\]")
_BARE_IP = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_LOCAL = frozenset(
    ("localhost", "localhost.localdomain", "localdomain", "user", "friend", "host", "mailserver", "server")
)


def kind_of_helo(helo: str, hostname: str, domains: Collection[str]) -> HeloKind:
    """Args: helo as said, not empty; hostname: our own; domains: the recipients', lower-case A-labels."""
    name = helo.rstrip(".").lower()
    if _LITERAL.fullmatch(name):
        return "literal"
    if _BARE_IP.fullmatch(name):
        return "bare_ip"
    if name in _LOCAL or name.endswith(".localhost"):
        return "localhost"
    if name == hostname.lower() or name in domains:
        return "ours"
    return "domain" if "." in name else "no_domain"
