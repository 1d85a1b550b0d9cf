"""What an entry on a sender would have done with the mail of the last days, before it is said.

An allow is held against the messages in the quarantine and what authentication said of each: those it would have let
in, and those it would not have. What was refused is only counted: what proved it was not kept. A block is held against
what the message log says was delivered. Other entries are left out of account.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.mail.address import domain_of
from gateway.policy.senders import Judged, Limits, Sender, SenderTable, rulings
from gateway.ports import MessageLog, QuarantineStore
from gateway.scan.explain import auth_from_json
from gateway.types import HeldMessage, HeldQuery, LogAction, LogQuery, LogRow, Recipient, Ruling, Scope, SenderEntry

DAYS = 30
_DAY_S = 86_400.0
_PAGE = 200
_MOST = 1000  # messages that are looked at


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would have become of the mail of the last DAYS days."""

    let_in: tuple[HeldMessage, ...] = ()  # held, and would have been delivered
    kept_out: tuple[tuple[HeldMessage, str], ...] = ()  # held as before, and why the entry does not count
    blocked: tuple[LogRow, ...] = ()  # delivered, and would have been held
    refused: int = 0  # of the sender; whether they would have been let in is not known
    is_cut: bool = False  # there was more to look at than was

    @property
    def phishing(self) -> int:
        """How many of those let in were judged phishing."""
        return sum(one.kind == "phishing" for one in self.let_in)


class Forecaster:
    """Blocking. Raises StoreError."""

    def __init__(self, quarantine: QuarantineStore, message_log: MessageLog, limits: Limits) -> None:
        self._quarantine = quarantine
        self._message_log = message_log
        self._limits = limits

    def forecast(self, entry: SenderEntry, scope: Scope, now: float) -> Forecast:
        """Of mail in the scope of who asks."""
        table = SenderTable()
        table.take(entry, now)
        since = now - DAYS * _DAY_S
        return (
            self._of_allow(entry, table, scope, since)
            if entry.act == "allow"
            else self._of_block(entry, table, scope, since)
        )

    def rule(self, entry: SenderEntry, held: HeldMessage, now: float) -> Ruling | None:
        """What the entry comes to for this message."""
        table = SenderTable()
        table.take(entry, now)
        return self._rule(table, held, now)

    def _of_allow(self, entry: SenderEntry, table: SenderTable, scope: Scope, since: float) -> Forecast:
        let_in, kept_out = list[HeldMessage](), list[tuple[HeldMessage, str]]()
        messages, is_cut = self._held(entry, scope, since)
        for held in messages:
            ruling = self._rule(table, held, entry.at)
            if ruling is not None and ruling.action == "accept":
                let_in.append(held)
            elif ruling is not None:
                kept_out.append((held, ruling.reason))
        refused, more = self._rows(entry, scope, since, ("reject",))
        claimed = sum(bool(table.known(_claimed(row))) for row in refused)
        return Forecast(tuple(let_in), tuple(kept_out), refused=claimed, is_cut=is_cut or more)

    def _of_block(self, entry: SenderEntry, table: SenderTable, scope: Scope, since: float) -> Forecast:
        rows, is_cut = self._rows(entry, scope, since, ("accept", "tag"))
        judged = Judged(0.0, False)
        blocked = [
            row
            for row in rows
            if rulings(table, _claimed(row), [_recipient(row.recipient)], entry.at, judged, self._limits)
        ]
        return Forecast(blocked=tuple(blocked), is_cut=is_cut)

    def _rule(self, table: SenderTable, held: HeldMessage, now: float) -> Ruling | None:
        sender = Sender(
            _authors(held.summary.author), held.reverse_path.lower(), auth_from_json(held.verdict_json), held.client_ip
        )
        recipient, judged = _recipient(held.recipient), Judged(held.score, held.kind == "malware")
        return rulings(table, sender, [recipient], now, judged, self._limits).get(held.recipient)

    def _held(self, entry: SenderEntry, scope: Scope, since: float) -> tuple[Sequence[HeldMessage], bool]:
        found, after = list[HeldMessage](), ""
        while len(found) < _MOST:
            page = self._quarantine.list(
                HeldQuery(
                    state="", sender=entry.pattern.removeprefix("."), recipient=entry.recipient, received_from=since,
                    limit=_PAGE, after=after, scope=scope,
                )
            )  # fmt: skip
            found += page.messages
            after = page.next
            if not after:
                return found, False
        return found, True

    def _rows(
        self, entry: SenderEntry, scope: Scope, since: float, actions: Sequence[LogAction]
    ) -> tuple[Sequence[LogRow], bool]:
        """A domain's rows are its own, not those of domains below: the log is asked for one domain at a time."""
        found, is_cut = list[LogRow](), False
        for action in actions:
            before, count = None, 0
            while True:
                page = self._message_log.search(
                    LogQuery(
                        sender=entry.pattern.removeprefix("."), recipient=entry.recipient, action=action, since=since,
                        limit=_PAGE, before=before, scope=scope,
                    )
                )  # fmt: skip
                found += page.rows
                count, before = count + len(page.rows), page.older
                if before is None or count >= _MOST:
                    is_cut = is_cut or before is not None
                    break
        return found, is_cut


def _claimed(row: LogRow) -> Sender:
    return Sender(_authors(row.summary.author), row.reverse_path.lower(), (), row.client_ip)


def _authors(shown: str) -> tuple[str, ...]:
    """Of "Name <address>", as lists keep it."""
    address = shown.rpartition("<")[2].rstrip(">").strip()
    local, domain = address.rpartition("@")[0].lower(), domain_of(address)
    return (f"{local}@{domain}",) if domain else ()


def _recipient(address: str) -> Recipient:
    return Recipient(address, domain_of(address))


def patterns_of(held: HeldMessage, *, with_reverse_path: bool) -> Iterator[str]:
    """Patterns somebody may mean who looks at this message: the address, the domain, all below it."""
    reverse_path = (held.reverse_path.lower(),) if with_reverse_path else ()
    for address in dict.fromkeys((*_authors(held.summary.author), *filter(None, reverse_path))):
        yield from (address, domain_of(address), f".{domain_of(address)}")
