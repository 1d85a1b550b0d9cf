"""One person's data: everything that is kept about an address, and taking it out (GDPR Art. 15, 17).

What is meant is what the gateway keeps: rows, contents, lessons, counters, accounts, senders, audit entries. (What is
known of a watched mailbox are queue ids.) A message the person wrote to somebody else is that recipient's too: it is
exported for who may see all mail, and stays when the person is erased, until its time is over.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gateway.errors import InputError, StoreError
from gateway.policy import reputation
from gateway.policy.access import covers
from gateway.ports import Counters
from gateway.stores.accounts import SqlAccounts
from gateway.stores.audit import SqlAudit
from gateway.stores.digests import SqlDigests
from gateway.stores.ledger import SqlLedger
from gateway.stores.message_log import SqlMessageLog
from gateway.stores.quarantine import SqlQuarantine
from gateway.stores.senders import SqlSenders
from gateway.types import HeldMessage, Lesson, Lessons, LogRow, Scope

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Stores:
    """Where something is kept about people."""

    quarantine: SqlQuarantine
    message_log: SqlMessageLog
    ledger: SqlLedger
    accounts: SqlAccounts
    audit: SqlAudit
    counters: Counters
    senders: SqlSenders
    digests: SqlDigests


@dataclass(frozen=True, slots=True)
class Erased:
    """How much of each kind went, and in words what is left."""

    held: int = 0
    log: int = 0
    lessons: int = 0
    accounts: int = 0
    counters: int = 0
    audit: int = 0
    senders: int = 0
    left: tuple[str, ...] = ()


class Privacy:
    """Blocking. Every act is in the audit log."""

    def __init__(self, stores: Stores, secret: bytes, network_of: Callable[[str], str]) -> None:
        """`secret` is the installation's, which counters and pseudonyms are made with; `network_of` Networks.of."""
        self._stores = stores
        self._secret = secret
        self._keys = reputation.Keys(secret)
        self._network_of = network_of

    def pseudonym(self, address: str) -> str:
        """What stands for an erased address: the same for the same one, and nobody's without the secret."""
        said = f"darban erased|{address.lower()}".encode("utf-8", "surrogatepass")
        return f"erased:{hmac.new(self._secret, said, hashlib.sha256).hexdigest()[:12]}"

    def count(self, address: str, scope: Scope) -> dict[str, int]:
        """How much there is of each kind."""
        address, all_of = _checked(address, scope), scope.is_all
        held, rows = self._held(address, all_of), self._rows(address, all_of)
        return {
            "held": len(held),
            "log": len(rows),
            "lessons": len(self._lessons(address)),
            "accounts": len(self._stores.accounts.about(address)),
            "counters": len(self._stores.counters.get_many(self._counters(address, held, rows))),
            "audit": len(self._stores.audit.about(address, scope)),
            "senders": len(self._stores.senders.about(address, as_sender=all_of)),
        }

    def export(self, address: str, scope: Scope, by: str, client: str) -> Iterator[tuple[str, bytes]]:
        """Names and contents of files. Raises InputError for what is no address, or out of scope; StoreError."""
        address, all_of = _checked(address, scope), scope.is_all
        held, rows = self._held(address, all_of), self._rows(address, all_of)
        self._stores.audit.append(by, "export", address, f"held {len(held)}, log {len(rows)}", client=client)
        for one in held:
            if one.state != "deleted":
                yield f"held/{one.id}.eml", self._content(one)
        yield "held.jsonl", _lines(held)
        yield "message_log.jsonl", _lines(rows)
        lessons = [dataclasses.asdict(one) | {"indices": one.indices.hex()} for one in self._lessons(address)]
        yield "lessons.jsonl", _json_lines(lessons)
        yield "accounts.jsonl", _lines(self._stores.accounts.about(address))
        yield "senders.jsonl", _lines(self._stores.senders.about(address, as_sender=all_of))
        yield "digests.jsonl", _lines(self._stores.digests.about(address))
        yield "audit.jsonl", _lines(self._stores.audit.about(address, scope))
        counters = self._stores.counters.get_many(self._counters(address, held, rows))
        yield "reputation.jsonl", _json_lines([{"counter": key, "value": value} for key, value in counters.items()])

    def erase(self, address: str, scope: Scope, by: str, client: str) -> Erased:
        """Take it all out. What fails in the middle is finished by doing it again. Raises InputError, StoreError."""
        address, all_of, stores = _checked(address, scope), scope.is_all, self._stores
        pseudonym, left = self.pseudonym(address), list[str]()
        held, rows = self._held(address, all_of), self._rows(address, all_of)
        mine = [one for one in held if one.recipient.lower() == address]
        counters = stores.counters.remove(self._counters(address, held, rows))
        for one in mine:
            stores.quarantine.transition(one.id, ("held", "released"), "deleted", "erased")
        gone = stores.quarantine.erase([one.id for one in mine])
        if len(mine) > gone:
            left.append(f"{len(mine) - gone} messages that are being released")
        if sent := sum(one.state != "deleted" for one in held) - sum(one.state != "deleted" for one in mine):
            left.append(f"{sent} messages from the address that are held for others, until their time is over")
        stores.digests.erase(address)
        lessons = stores.ledger.erase(address, pseudonym)
        log = stores.message_log.erase(address, pseudonym, as_sender=all_of)
        senders = stores.senders.erase(address, pseudonym, as_sender=all_of)
        accounts, kept = stores.accounts.erase(address)
        left += [f"the account {name}, whose role is not recipient" for name in kept]
        detail = (
            f"held {gone}, log {log}, lessons {lessons}, accounts {accounts}, counters {counters}, senders {senders}"
        )
        changed = stores.audit.erase(address, pseudonym, by=by, detail=detail, client=client)
        return Erased(gone, log, lessons, accounts, counters, len(changed), senders, tuple(left))

    def _held(self, address: str, as_sender: bool) -> Sequence[HeldMessage]:
        return self._stores.quarantine.about(address, as_sender=as_sender)

    def _rows(self, address: str, as_sender: bool) -> Sequence[LogRow]:
        return self._stores.message_log.about(address, as_sender=as_sender)

    def _content(self, one: HeldMessage) -> bytes:
        try:
            return self._stores.quarantine.content(one.id)
        except StoreError as error:
            return f"X-Darban-Missing: {error}\r\n\r\n".encode()

    def _lessons(self, address: str) -> list[Lesson]:
        found: list[Lesson] = []
        while True:
            page, total = self._stores.ledger.list(Lessons(trainer=address, limit=_PAGE, offset=len(found)))
            found += page
            if not page or len(found) >= total:
                return found

    def _counters(self, address: str, held: Sequence[HeldMessage], rows: Sequence[LogRow]) -> list[str]:
        """Keys of the person's counters, and of its pairs with those it is known to have written with."""
        names = reputation.names(self._keys, "", address, (), 0.0)
        keys = [*names.address.values()]
        each: list[HeldMessage | LogRow] = [*held, *rows]
        for one in each:
            author = one.summary.author.rpartition("<")[2].rstrip(">").lower()
            network = self._network_of(one.client_ip)
            pair = reputation.names(self._keys, network, author, (one.recipient,), 0.0)
            keys += [*pair.known, *pair.met]
        return list(dict.fromkeys(keys))


def _checked(address: str, scope: Scope) -> str:
    """In lower case. Raises InputError."""
    address = address.strip().lower()
    local, _, domain = address.rpartition("@")
    if not local or not domain or len(address) > 320 or any(char.isspace() for char in address):
        raise InputError(f"{address[:80]}: is no address; write name@domain")
    if not covers(scope, address):
        raise InputError(f"{address}: is no address of your domains")
    return address


def _lines(found: Sequence[object]) -> bytes:
    return _json_lines([dataclasses.asdict(one) for one in found])  # type: ignore[call-overload]


def _json_lines(found: Sequence[object]) -> bytes:
    return "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in found).encode("utf-8", "replace")
