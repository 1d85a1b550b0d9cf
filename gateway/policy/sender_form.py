"""What somebody may say about a sender: a form's or a file's words -> a SenderEntry, or the fault in one line.

Who may: everybody with the act "senders", about mail of his scope. What has no end, and what needs no proof, only those
with the act "settings".
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from gateway.auth.organisation import is_public_suffix
from gateway.errors import InputError
from gateway.mail.domain import to_a_label
from gateway.policy.access import covers, covers_domain, may, scope_of
from gateway.types import Account, SenderEntry

_LOCAL: Final = re.compile(r"[^\s@<>\"(),;:\\\x00-\x1f\x7f-\x9f]{1,64}")
_DOMAIN: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}")
_MAX_NOTE = 500
DAY_S = 86_400.0
_MAX_ALLOW_DAYS = 366
_MAX_DAYS = 3660


def sender_pattern(text: str) -> str:
    """`sara@example.org`, `example.org`, `.example.org` (with all below it) as they are stored; `@example.org` and
    `*.example.org` are understood too. Raises InputError.
    """
    said = text.strip().rstrip(".").lower()
    if said.startswith("*."):
        said = said[1:]
    local, at, domain = said.rpartition("@")
    below = "." if not at and domain.startswith(".") else ""
    name = to_a_label(domain.removeprefix(below))
    if not _DOMAIN.fullmatch(name) or len(name) > 253 or (local and not _LOCAL.fullmatch(local)):
        raise InputError(
            "Write the sender as name@example.org, example.org, or .example.org for all that is below too."
        )
    if not local and is_public_suffix(name):
        raise InputError("That is a suffix under which anybody can have a domain. Name a domain.")
    return f"{local}@{name}" if local else below + name


def sender_recipient(text: str) -> str:
    """Whose mail: an address, a domain, "" for everybody's, as it is stored. Raises InputError."""
    said = text.strip().lower()
    local, at, domain = said.rpartition("@")
    name = to_a_label(domain)
    if said and (not _DOMAIN.fullmatch(name) or (at and not _LOCAL.fullmatch(local))):
        raise InputError("Write the recipient as name@example.ir, or example.ir for all of a domain.")
    return f"{local}@{name}" if local else name


def client_network(text: str) -> str:
    """A network as it is stored, "" for none. Raises InputError."""
    if not text.strip():
        return ""
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise InputError("Write the client's network as 192.0.2.0/24.") from None
    if network.prefixlen < (16 if network.version == 4 else 32):
        raise InputError("The network is too large: a /16, of IPv6 a /32, is the most.")
    return str(network)


def sender_entry(
    who: Account,
    *,
    act: str,
    pattern: str,
    recipient: str,
    expires_at: float | None,
    now: float,
    note: str = "",
    network: str = "",
    held_id: str = "",
) -> SenderEntry:
    """What he wants to say, held against what he may. `expires_at`: None for no end. Raises InputError."""
    if act not in ("allow", "block"):
        raise InputError("Write allow or block.")
    is_allow = act == "allow"
    whose, net = sender_recipient(recipient), client_network(network)
    if not may_say(who, whose):
        raise InputError("Your account may not say what is done with that recipient's mail.")
    if net and not is_allow:
        raise InputError("A network is named for an allowed sender only.")
    if (net or (is_allow and expires_at is None)) and not may(who, "settings"):
        raise InputError("Only an owner may allow a sender without an end, or without proof.")
    most = now + (_MAX_ALLOW_DAYS if is_allow else _MAX_DAYS) * DAY_S
    if expires_at is not None and not now < expires_at <= most:
        raise InputError("An entry ends in the future, within a year; of a blocked sender within ten.")
    return SenderEntry(
        act="allow" if is_allow else "block",
        pattern=sender_pattern(pattern),
        recipient=whose,
        expires_at=expires_at,
        by=who.name,
        at=now,
        note=" ".join(note.split())[:_MAX_NOTE],
        held_id=held_id,
        network=net,
    )


def may_say(who: Account, recipient: str) -> bool:
    """Whether the recipient of an entry ("" for everybody) lies in his scope."""
    scope = scope_of(who)
    if not may(who, "senders"):
        return False
    if not recipient:
        return scope.is_all
    return covers(scope, recipient) if "@" in recipient else covers_domain(scope, recipient)
