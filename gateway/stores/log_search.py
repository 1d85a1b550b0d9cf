"""How each database finds rows of the message log among millions: by the indexes of migration 0006.

SQLite has two full-text indexes (FTS5: the trigrams of subjects, and the names of findings), kept by triggers; both
give rows in the order of the log, so that the first page costs the same however many there are. PostgreSQL has GIN
indexes: trigrams where the extension pg_trgm is there, else the words of subjects.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    cast,
    column,
    false,
    func,
    literal,
    select,
    table,
    text,
)
from sqlalchemy import literal_column as sql
from sqlalchemy.dialects.postgresql import array

from gateway.stores.schema import message_log

MIN_PART: Final = 3  # characters of a subject that can be looked for
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_ANY_CASE: Final = ("recipient", "reverse_path")
_MAX_PART = 200
_MAX_TRIGRAMS = 12  # more tell no more; what they find is compared


class Term(NamedTuple):
    """A condition, and the index that finds what meets it; "" where none does."""

    by: str  # the index
    condition: ColumnElement[bool]
    match: str = ""  # for a full-text index
    is_range: bool = False  # what the index finds comes in the order of its texts, not of the log
    is_bulk: bool = False  # the index gives all it finds at once: PostgreSQL's GIN


_WINDOW: Final = 50_000  # rows
_FEW: Final = 20_000  # rows that are compared in a moment
# where nothing has few rows, the first of these that a query has leads: it is looked up, the others are compared
_LEADS: Final = (
    "subject",
    "finding",
    "queue_id",
    "next_hop_id",
    "message_id",
    "author_address",
    "reverse_path",
    "recipient",
    "client_ip",
    "author_domain",
    "reverse_path_domain",
    "recipient_domain",
    "action",
)


class LogSearch(Protocol):
    """One database's way."""

    def part_of_subject(self, part: str) -> Term:
        """Of MIN_PART characters or more."""

    def finding(self, name: str) -> Term:
        """Its whole name."""

    def is_(self, by: str, value: str) -> Term:
        """Whether what this index is of is the value; of addresses case makes no difference."""

    def begins(self, by: str, start: str) -> Term:
        """Whether it begins so."""

    def numbers(
        self, connection: Connection, terms: Sequence[Term], since: int, before: int, limit: int
    ) -> Sequence[int]:
        """The newest from `since` on and before `before` of the rows that meet all terms."""


class SqliteSearch:
    """Says which index is used: without statistics SQLite takes any."""

    def part_of_subject(self, part: str) -> Term:
        """Rows with its trigrams, of which those stay that have them in a row."""
        part = part[:_MAX_PART]
        found = func.instr(func.casefold(message_log.c.subject), part.casefold()) > 0
        trigrams = [part[at : at + 3] for at in range(min(len(part) - 2, _MAX_TRIGRAMS))]
        return Term("subject", found, " AND ".join(map(_quoted, trigrams)))

    def finding(self, name: str) -> Term:
        """A token of the full-text index."""
        if not _NAME.fullmatch(name):  # more than one token would be a phrase
            return Term("", false())
        found = func.instr(literal(" ").concat(message_log.c.hits).concat(" "), f" {name} ") > 0
        return Term("finding", found, _quoted(name))

    def is_(self, by: str, value: str) -> Term:
        """NOCASE and not lower(): an index of an expression does not spare the look at the row."""
        return Term(by, self._indexed(by) == value)

    def begins(self, by: str, start: str) -> Term:
        """LIKE uses no index here."""
        indexed = self._indexed(by)
        return Term(by, and_(indexed >= start, indexed < f"{start}\U0010ffff"), is_range=True)

    def _indexed(self, by: str) -> ColumnElement[str]:
        named: Column[str] = message_log.c[by]
        return named.collate("NOCASE") if by in _ANY_CASE else named

    def numbers(
        self, connection: Connection, terms: Sequence[Term], since: int, before: int, limit: int
    ) -> Sequence[int]:
        """The lead's index is the only one that can be used: a condition within a function has none."""
        lead = _lead(connection, terms, since, before)
        compared = [func.iif(one.condition, 1, 0) for one in terms if one is not lead]
        if lead is None:
            number: ColumnElement[int] = message_log.c.number
            found = select(number).where(number >= since, number < before).order_by(number.desc())
        elif lead.match:
            index = table(f"message_log_{lead.by}", column("rowid"))
            number = index.c.rowid
            joined = index.join(message_log, message_log.c.number == number)
            matches = sql(f"message_log_{lead.by}").op("MATCH")(lead.match)
            found = select(number).select_from(joined).where(matches, number >= since, number < before)
            found = found.where(func.iif(lead.condition, 1, 0)).order_by(number.desc())
        else:
            found = _by(lead, since, before)
        return connection.scalars(found.where(*compared).limit(limit)).all()


def _lead(connection: Connection, terms: Sequence[Term], since: int, before: int) -> Term | None:
    """That with the fewest rows, where one has few."""
    known = sorted((one for one in terms if one.by), key=lambda one: _LEADS.index(one.by))
    plain = [one for one in known if not one.match]
    if len(known) > 1 and plain:
        numbers = [_by(one, since, before).order_by(None).limit(_FEW).subquery() for one in plain]
        counts = [connection.scalar(select(func.count()).select_from(one)) or 0 for one in numbers]
        if min(counts) < _FEW:
            return plain[counts.index(min(counts))]
    return known[0] if known else None


def _by(lead: Term, since: int, before: int) -> Select[int]:
    number: ColumnElement[int] = message_log.c.number
    if lead.is_range:
        number = number + 0  # else a scan of all rows in their order looks cheap
    found = select(message_log.c.number).where(lead.condition, number >= since, number < before)
    return found.order_by(number.desc())


class PostgresqlSearch:
    """Leaves the choice to the planner, which has statistics."""

    def __init__(self, *, has_trigrams: bool) -> None:
        self._has_trigrams = has_trigrams

    def part_of_subject(self, part: str) -> Term:
        """By trigrams; without them all its words."""
        part = part[:_MAX_PART]
        if self._has_trigrams:
            escaped = re.sub(r"([\\%_])", r"\\\1", part)
            return Term("subject", message_log.c.subject.ilike(f"%{escaped}%", escape="\\"), is_bulk=True)
        words = func.plainto_tsquery(sql("'simple'"), part)
        return Term("subject", func.to_tsvector(sql("'simple'"), message_log.c.subject).op("@@")(words), is_bulk=True)

    def finding(self, name: str) -> Term:
        """An element of the array that is indexed."""
        names = func.string_to_array(message_log.c.hits, sql("' '"))
        return Term("finding", names.op("@>")(cast(array([literal(name)]), ARRAY(Text))), is_bulk=True)

    def is_(self, by: str, value: str) -> Term:
        """By an index of lower() for addresses."""
        named: Column[str] = message_log.c[by]
        return Term(by, func.lower(named) == func.lower(value) if by in _ANY_CASE else named == value)

    def begins(self, by: str, start: str) -> Term:
        """The index is made for LIKE."""
        named: Column[str] = message_log.c[by]
        indexed = func.lower(named) if by in _ANY_CASE else named
        return Term(by, indexed.startswith(start, autoescape=True))

    def numbers(
        self, connection: Connection, terms: Sequence[Term], since: int, before: int, limit: int
    ) -> Sequence[int]:
        """What is in bulk is compared in the newest rows that meet the others, and looked up where these are too few:
        the planner cannot tell a frequent part of a subject, of which it would fetch all, from a rare one.
        """
        number: Column[int] = message_log.c.number
        plain = select(number).where(*(one.condition for one in terms if not one.is_bulk), number >= since)
        newest = plain.where(number < before).order_by(number.desc())
        bulk = [one.condition for one in terms if one.is_bulk]
        if not bulk:
            return connection.scalars(newest.limit(limit)).all()
        window = newest.limit(_WINDOW).subquery()
        lowest, rows = connection.execute(select(func.min(window.c.number), func.count()).select_from(window)).one()
        if not rows:
            return []
        compared = [func.coalesce(one, false()) for one in bulk]  # no index is used for these
        found = list(connection.scalars(newest.where(number >= lowest, *compared).limit(limit)))
        if len(found) < limit and rows == _WINDOW:
            # + 0: the planner takes an index of what is looked for, not all rows in their order
            older = plain.where(number < lowest, *bulk).order_by((number + 0).desc())
            found += connection.scalars(older.limit(limit - len(found)))
        return found


def log_search(connection: Connection) -> LogSearch:
    """For this database."""
    if connection.dialect.name == "sqlite":
        return SqliteSearch()
    found = connection.scalar(text("SELECT 1 FROM pg_indexes WHERE indexname = 'message_log_subject_trigrams'"))
    return PostgresqlSearch(has_trigrams=bool(found))


def _quoted(token: str) -> str:
    escaped = token.replace('"', '""')
    return f'"{escaped}"'
