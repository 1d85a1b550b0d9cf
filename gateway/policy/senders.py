"""Senders that people allow and block: which entry holds for a message and a recipient, and what it comes to.

The rule. Of the entries that have not expired, fit the sender and are about the recipient, the most specific holds:

1. about the recipient's address, before about his domain, before about everybody;
2. among these the sender's address, before his domain, before a domain and all below it, the nearest first;
3. among these a block before an allow.

A block fits what the message claims: the author (every address in From) or the reverse-path. An allow fits the author
alone, one address, and only where the author's domain is proven to have sent it: SPF or DKIM passed, aligned, as DMARC
asks (mail/author_field.py), or the client is in the network that an owner named. An allow that fits but for that is
passed over, and said to be. So nobody is let in by writing somebody's address.

Cost: one look-up in a dictionary for each pattern that would fit, some 10 and 4 µs a message; 15 µs where an entry is
about the sender. 100,000 entries of as many senders take 47 MB.
"""

from __future__ import annotations

import ipaddress
import math
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from gateway.mail.author_field import is_author_proven, peek_author, peek_authors
from gateway.types import ActionName, AuthResult, Envelope, Recipient, Ruling, SenderEntry

_ADDRESS, _DOMAIN = -1000, -999  # before every domain and what is below, which has less its labels
_MAX_BELOW = 8  # labels: a domain's parents that are looked up


class Sender(NamedTuple):
    """Whom a message is from, as far as entries ask."""

    authors: tuple[str, ...]  # every address in From, as mail.author_field has them
    reverse_path: str  # lower case; "" for the null reverse-path
    auth: tuple[AuthResult, ...]
    client_ip: str

    @property
    def author(self) -> str:
        """The one there is; "" for none or several."""
        return self.authors[0] if len(self.authors) == 1 else ""


def sender_of(envelope: Envelope, content: bytes, auth: Sequence[AuthResult]) -> Sender:
    """Whom a message is from, by its bytes."""
    history = envelope.history
    author = history.author if history is not None else peek_author(content)
    authors = (author,) if author else tuple(peek_authors(content))
    return Sender(authors, envelope.reverse_path.lower(), tuple(auth), envelope.client.ip)


class Limits(NamedTuple):
    """What the configuration says of all entries."""

    blocked: ActionName = "quarantine"
    allow_below: float = 25.0  # score


class Said(NamedTuple):
    """What people said of one sender."""

    entries: tuple[SenderEntry, ...] = ()
    limits: Limits = Limits()


NOTHING_SAID = Said()


class Judged(NamedTuple):
    """What of a verdict an allow is held against."""

    score: float
    is_malware: bool


class Held(NamedTuple):
    """What is kept in memory of an entry."""

    number: int
    is_allow: bool
    expires_at: float  # inf: never
    by: str
    network: str


class SenderTable:
    """The entries that count."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[Held, ...]] = {}  # by recipient and pattern
        self._patterns: dict[str, int] = {}  # how many recipients each has

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, entry: SenderEntry, now: float) -> None:
        """The entry as it is now; one that was removed or has expired goes."""
        others = self._entries.get(_key(entry.recipient, entry.pattern), ())
        kept = tuple(one for one in others if one.number != entry.number)
        expires_at = math.inf if entry.expires_at is None else entry.expires_at
        if not entry.is_removed and expires_at > now:
            by, network = sys.intern(entry.by), sys.intern(entry.network)
            kept = (*kept, Held(entry.number, entry.act == "allow", expires_at, by, network))
        self._set(entry.recipient, entry.pattern, kept)

    def forget_expired(self, now: float) -> None:
        """What has expired needs no memory."""
        for key, entries in list(self._entries.items()):
            kept = tuple(one for one in entries if one.expires_at > now)
            if len(kept) < len(entries):
                recipient, _, pattern = key.partition("\n")
                self._set(recipient, pattern, kept)

    def _set(self, recipient: str, pattern: str, entries: tuple[Held, ...]) -> None:
        key = _key(recipient, pattern)
        if entries:
            if key not in self._entries:
                self._patterns[pattern] = self._patterns.get(pattern, 0) + 1
            self._entries[key] = entries
        elif self._entries.pop(key, None) is not None:
            self._patterns[pattern] -= 1
            if not self._patterns[pattern]:
                del self._patterns[pattern]

    def known(self, sender: Sender) -> list[list[str]]:
        """The patterns with entries that fit what the message claims, those alike specific together; these first."""
        found: dict[int, list[str]] = {}
        for address in {*sender.authors, sender.reverse_path}:
            for level, pattern in _patterns(address):
                if pattern in self._patterns and pattern not in found.get(level, ()):
                    found.setdefault(level, []).append(pattern)
        return [found[level] for level in sorted(found)]

    def find(
        self, sender: Sender, known: list[list[str]], recipient: Recipient, now: float
    ) -> tuple[Held | None, Held | None]:
        """(the entry that holds, None without one; an allow that would have, had the sender been proven)."""
        passed_over: Held | None = None
        for whose in (recipient.address.lower(), recipient.domain, ""):
            for patterns in known:
                found = [(pattern, one) for pattern in patterns for one in self._in_force(whose, pattern, now)]
                block = next((one for _, one in found if not one.is_allow), None)
                if block is not None:
                    return block, passed_over
                allows = [one for pattern, one in found if fits(pattern, sender.author)]
                proven = next((one for one in allows if _is_proven(one, sender)), None)
                if proven is not None:
                    return proven, passed_over
                passed_over = passed_over or next(iter(allows), None)
        return None, passed_over

    def _in_force(self, recipient: str, pattern: str, now: float) -> list[Held]:
        return [one for one in self._entries.get(_key(recipient, pattern), ()) if one.expires_at > now]


def proof_of(author: str, auth: Sequence[AuthResult]) -> str:
    """What proves that this author's domain sent the message, in a word; "" when nothing does."""
    if not is_author_proven(author, auth):
        return ""
    aligned = (one for method in ("dkim", "spf") for one in auth if one.method == method and one.is_aligned)
    return next((f"{one.method}={one.domain}" for one in aligned if one.result == "pass"), "")


def rulings(
    table: SenderTable, sender: Sender, recipients: Sequence[Recipient], now: float, verdict: Judged, limits: Limits
) -> dict[str, Ruling]:
    """Recipient's address -> what an entry says about the message; nothing for most."""
    known = table.known(sender)
    if not known:
        return {}
    found = {one.address: table.find(sender, known, one, now) for one in recipients}
    said = {address: _ruling(*held, sender, verdict, limits) for address, held in found.items()}
    return {address: ruling for address, ruling in said.items() if ruling is not None}


def _ruling(
    held: Held | None, passed_over: Held | None, sender: Sender, verdict: Judged, limits: Limits
) -> Ruling | None:
    if held is None:
        if passed_over is None:
            return None
        return Ruling(None, f"{passed_over.by}'s entry does not count: the author is not proven", passed_over.number)
    if not held.is_allow:
        return Ruling(limits.blocked, f"blocked by {_named(held)}", held.number)
    if verdict.is_malware:
        return Ruling(None, f"{held.by}'s entry lets no malware in", held.number)
    if verdict.score >= limits.allow_below:
        return Ruling(None, f"{held.by}'s entry counts below {limits.allow_below:.1f}", held.number)
    how = f"client {sender.client_ip} in {held.network}" if held.network else proof_of(sender.author, sender.auth)
    return Ruling("accept", f"allowed by {_named(held)} ({how})", held.number, limits.allow_below)


def patterns_of(sender: Sender) -> set[str]:
    """Those that entries about him may have."""
    return {pattern for address in (*sender.authors, sender.reverse_path) for _, pattern in _patterns(address)}


def fits(pattern: str, address: str) -> bool:
    """Whether a pattern is about an address (lower case, its domain as A-label)."""
    return any(one == pattern for _, one in _patterns(address))


def _named(held: Held) -> str:
    if held.expires_at == math.inf:
        return f"{held.by}'s entry without an end"
    return f"{held.by}'s entry until {datetime.fromtimestamp(held.expires_at, UTC):%Y-%m-%d}"


def _is_proven(allow: Held, sender: Sender) -> bool:
    if not allow.network:
        return bool(proof_of(sender.author, sender.auth))
    try:
        return ipaddress.ip_address(sender.client_ip) in ipaddress.ip_network(allow.network)
    except ValueError:
        return False


def _patterns(address: str) -> Iterator[tuple[int, str]]:
    """(how specific it is, the lowest first; a pattern) of all that fit; none for ""."""
    domain = address.rpartition("@")[2]
    if not address or not domain:
        return
    yield _ADDRESS, address
    yield _DOMAIN, domain
    labels = domain.split(".")[-_MAX_BELOW:]
    for start in range(len(labels)):
        yield start - len(labels), "." + ".".join(labels[start:])


def _key(recipient: str, pattern: str) -> str:
    return f"{recipient}\n{pattern}"
