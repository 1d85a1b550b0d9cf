"""The audit log: hash-chained, appended by one writer at a time over all processes, its heads signed now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import ColumnElement, Connection, Engine, func, insert, or_, select, update

from gateway.mail.address import domain_of, mention_of
from gateway.stores import audit_chain
from gateway.stores.audit_chain import TEXTS
from gateway.stores.engine import faults, storable
from gateway.stores.schema import audit, audit_head, audit_signature, held
from gateway.types import AuditEntry, AuditHead, AuditQuery, Scope

_MAX_PAGE = 1000
_READ = 500
_LONGEST = {"account": 128, "domain": 255, "client": 64, "detail": 100_000, "subject": 1000}
_MAX_ACTS = 1000


class SqlAudit:
    """Implements ports.AuditLog."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(
        self, account: str, act: str, subject: str = "", detail: str = "", *, domain: str = "", client: str = ""
    ) -> int:
        """The entry's number. Without a domain it is that of the held message or address the subject is."""
        texts = {"account": account, "subject": subject, "domain": domain, "detail": detail, "client": client}
        texts = {name: storable(text)[: _LONGEST[name]] for name, text in texts.items()}
        with faults("audit log"), self._engine.begin() as connection:
            head = connection.execute(select(audit_head).with_for_update()).one()
            texts["domain"] = texts["domain"] or _domain_of(connection, texts["subject"])
            entry = audit_chain.link(head.number + 1, time.time(), head.hash, act[:32], **texts)
            connection.execute(insert(audit).values(_row(entry)))
            connection.execute(update(audit_head).values(number=entry.number, hash=entry.hash))
        return entry.number

    def list(self, query: AuditQuery) -> tuple[Sequence[AuditEntry], int]:
        """Newest first."""
        wanted = _conditions(query)
        page = select(audit).where(*wanted).order_by(audit.c.number.desc())
        page = page.limit(max(1, min(query.limit, _MAX_PAGE))).offset(max(0, query.offset))
        with faults("audit log"), self._read() as connection:
            total = connection.scalar(select(func.count()).select_from(audit).where(*wanted)) or 0
            return [_entry(row) for row in connection.execute(page).mappings()], total

    def entries(self) -> Iterator[AuditEntry]:
        """All, oldest first, read as they are used."""
        with faults("audit log"), self._read() as connection:
            reading = connection.execution_options(yield_per=_READ)
            for row in reading.execute(select(audit).order_by(audit.c.number)).mappings():
                yield _entry(row)

    def since(self, number: int, limit: int) -> Sequence[AuditEntry]:
        """So many at most of those behind this number, oldest first."""
        query = select(audit).where(audit.c.number > number).order_by(audit.c.number).limit(limit)
        with faults("audit log"), self._read() as connection:
            return [_entry(row) for row in connection.execute(query).mappings()]

    def heads(self) -> Sequence[AuditHead]:
        """The signed ones."""
        with faults("audit log"), self._read() as connection:
            rows = connection.execute(select(audit_signature).order_by(audit_signature.c.number)).mappings()
            return [AuditHead(**row) for row in rows]

    def sign(self, key: Ed25519PrivateKey) -> AuditHead | None:
        """Sign the last entry, and keep that; None when it was signed before, or there is none."""
        with faults("audit log"), self._engine.begin() as connection:
            head = connection.execute(select(audit_head).with_for_update()).one()
            signed = connection.scalar(select(func.max(audit_signature.c.number))) or 0
            if head.number <= signed:
                return None
            made = audit_chain.sign(AuditHead(head.number, head.hash), time.time(), key)
            values = {name: getattr(made, name) for name in AuditHead.__slots__}
            connection.execute(insert(audit_signature).values(values))
        return made

    def acts(self, subjects: Sequence[str]) -> Sequence[AuditEntry]:
        """What was done with these held messages, oldest first, 1,000 at most."""
        query = select(audit).where(audit.c.subject.in_(subjects)).order_by(audit.c.number).limit(_MAX_ACTS)
        with faults("audit log"), self._read() as connection:
            return [_entry(row) for row in connection.execute(query).mappings()]

    def about(self, address: str, scope: Scope) -> Sequence[AuditEntry]:
        """Every entry of the scope that names the address, oldest first."""
        query = select(audit).where(_mentions(address), *_in_scope(scope)).order_by(audit.c.number)
        with faults("audit log"), self._read() as connection:
            found = [_entry(row) for row in connection.execute(query).mappings()]
        named = mention_of(address)
        return [one for one in found if any(named.search(getattr(one, name)) for name in TEXTS)]

    def erase(self, address: str, pseudonym: str, *, by: str, detail: str, client: str) -> Sequence[int]:
        """Put the pseudonym for the address in every entry, and say so in a new one; in one transaction.

        Returns the numbers of the changed entries. The chain still verifies (audit_chain.py)."""
        named = mention_of(address)
        with faults("audit log"), self._engine.begin() as connection:
            head = connection.execute(select(audit_head).with_for_update()).one()
            found = connection.execute(select(audit).where(_mentions(address)).order_by(audit.c.number)).mappings()
            numbers = []
            for row in found.all():
                former, entry = row["proofs"], audit_chain.without(_entry(row), named, pseudonym)
                if former != " ".join(entry.proofs):
                    values = {
                        name: text[: _LONGEST.get(name)] if name in TEXTS else text
                        for name, text in _row(entry).items()
                    }
                    connection.execute(update(audit).where(audit.c.number == entry.number).values(values))
                    numbers.append(entry.number)
            texts = {
                "account": pseudonym if by.lower() == address.lower() else by,
                "subject": pseudonym,
                "domain": domain_of(address) if "@" in address else "",
                "detail": f"{detail} {audit_chain.numbers_text(numbers)}".strip(),
                "client": client,
            }
            texts = {name: storable(text)[: _LONGEST.get(name)] for name, text in texts.items()}
            entry = audit_chain.link(head.number + 1, time.time(), head.hash, "erase", **texts)
            connection.execute(insert(audit).values(_row(entry)))
            connection.execute(update(audit_head).values(number=entry.number, hash=entry.hash))
        return numbers

    def _read(self) -> Connection:
        return self._engine.connect().execution_options(read_only=True)


def _domain_of(connection: Connection, subject: str) -> str:
    found = connection.scalar(select(held.c.domain).where(held.c.id == subject)) if subject else None
    if found is not None:
        return str(found)
    return domain_of(subject)[:255] if "@" in subject else ""


def _conditions(query: AuditQuery) -> list[ColumnElement[bool]]:
    conditions = _in_scope(query.scope)
    if query.act:
        conditions.append(audit.c.act == query.act)
    if query.account:
        conditions.append(audit.c.account == query.account)
    if query.since:
        conditions.append(audit.c.at >= query.since)
    if query.until is not None:
        conditions.append(audit.c.at < query.until)
    if query.before:
        conditions.append(audit.c.number < query.before)
    if query.text:
        columns = (audit.c.account, audit.c.subject, audit.c.detail, audit.c.client, audit.c.domain)
        conditions.append(or_(*(column.icontains(query.text, autoescape=True) for column in columns)))
    return conditions


def _in_scope(scope: Scope) -> list[ColumnElement[bool]]:
    if scope.is_all:
        return []
    named = [one for one in scope.domains if not one.startswith("*.")]
    below = [audit.c.domain.endswith(one[1:], autoescape=True) for one in scope.domains if one.startswith("*.")]
    return [or_(audit.c.domain.in_(named), *below)]


def _mentions(address: str) -> ColumnElement[bool]:
    return or_(*(audit.c[name].icontains(address, autoescape=True) for name in TEXTS))


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in AuditEntry.__slots__} | {"proofs": " ".join(entry.proofs)}


def _entry(row: Mapping[Any, Any]) -> AuditEntry:
    values = {name: row[name] for name in AuditEntry.__slots__}
    return AuditEntry(**(values | {"proofs": tuple(row["proofs"].split())}))
