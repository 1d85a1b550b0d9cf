"""A page of the quarantine as SQL: which held messages a HeldQuery finds, in which order, and about how many.

No OFFSET and no full count: a page begins behind a key, and counting ends at a thousand. One select is made for each
state and each domain of the query, each in the order of an index and no longer than the page: so "all states" of "my
three domains" costs twelve short walks and not a sort of the table.

What is searched for is looked up in two steps. Many messages have a common word, so the newest few thousand rows are
read first; a rare word is not among them, and its trigrams' index knows all that have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, get_args

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    and_,
    case,
    column,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    table,
    tuple_,
    union_all,
)
from sqlalchemy.sql.selectable import FromClause

from gateway.errors import InputError
from gateway.mail.search import folded
from gateway.stores.schema import held, held_text
from gateway.types import HeldMessage, HeldOrder, HeldQuery, QuarantineState, Scope

COUNTED: Final = 1000  # beyond, only "more" is said
_READ_FIRST = 5000  # rows that are searched without the index of trigrams
_MAX_PAGE = 1000
_MAX_WALKS = 40  # states times domains
_TRIGRAM = 3
_BACKWARDS: dict[HeldOrder, HeldOrder] = {
    "newest": "oldest", "oldest": "newest", "highest": "lowest", "lowest": "highest",
}  # fmt: skip
_STATES: tuple[QuarantineState, ...] = get_args(QuarantineState)
_LONGEST = 200  # characters that are searched for
_SEARCH = table("held_search", column("rowid"))
_NAME: ColumnElement[str] = column("held_search")  # FTS5: the table's name is a column, all of them


class Found(NamedTuple):
    """Ids in their order, and the key of the last one."""

    ids: Sequence[str]
    total: int
    is_floor: bool
    next: str


def find(connection: Connection, query: HeldQuery) -> Found:
    """One page. Raises InputError for an `after` that is none."""
    limit = max(1, min(query.limit, _MAX_PAGE))
    rows = _rows(connection, query, limit + 1, _key(query.after))
    total, is_floor = _total(connection, query, len(rows), limit)
    more = len(rows) > limit
    rows = rows[:limit]
    last = f"{rows[-1].place!r}|{rows[-1].id}" if more else ""
    return Found([row.id for row in rows], total, is_floor, last)


def neighbours(connection: Connection, query: HeldQuery, message: HeldMessage) -> tuple[str, str]:
    """Ids of the one before and the one behind a message in the query's order; "" where there is none."""
    place = message.received_at if query.order in ("newest", "oldest") else message.score
    back = replace(query, order=_BACKWARDS[query.order])
    before, behind = (_rows(connection, one, 1, (place, message.id)) for one in (back, query))
    return before[0].id if before else "", behind[0].id if behind else ""


def count(connection: Connection, query: HeldQuery, at_most: int) -> int:
    """How many there are, if fewer than `at_most`."""
    matching = _matching(connection, query)
    if matching and not query.is_folded:
        first = _walks(query, _READ_FIRST, None, []).subquery()
        has = [_match(first.c.id, one) for one in matching]
        found = select(func.count(), func.count().filter(and_(*has))).select_from(first)
        rows, number = connection.execute(found).one()
        if rows < _READ_FIRST or number >= at_most:
            return min(int(number), at_most)
    walks = _walks(query, at_most, None, matching)
    return int(connection.scalar(select(func.count()).select_from(walks.subquery())) or 0)


def all_ids(connection: Connection, query: HeldQuery, at_most: int) -> Sequence[str]:
    """The ids of all that match, in order."""
    walks = _walks(query, at_most, None, _matching(connection, query))
    return [row.id for row in connection.execute(walks)]


def sizes(connection: Connection, query: HeldQuery, campaigns: Sequence[str]) -> dict[str, int]:
    """Campaign -> how many of it match, up to COUNTED + 1."""
    if _matching(connection, query):
        return {key: count(connection, _only(query, key), COUNTED + 1) for key in campaigns}
    counted = [
        select(literal(key, String).label("campaign"), func.count().label("number")).select_from(
            _walks(_only(query, key), COUNTED + 1, None, []).subquery()
        )
        for key in campaigns
    ]
    return {row.campaign: row.number for row in connection.execute(union_all(*counted))} if counted else {}


def in_scope(scope: Scope, table: FromClause = held) -> list[ColumnElement[bool]]:
    """Conditions for what somebody may see."""
    if scope.is_all:
        return []
    named = [one for one in scope.domains if not one.startswith("*.")]
    parts = [table.c.domain.endswith(one[1:], autoescape=True) for one in scope.domains if one.startswith("*.")]
    parts += [table.c.domain.in_(named)] if named else []
    parts += [func.lower(table.c.recipient).in_(scope.addresses)] if scope.addresses else []
    return [or_(*parts) if parts else false()]


def _rows(connection: Connection, query: HeldQuery, limit: int, after: tuple[float, str] | None) -> list[Any]:
    matching = _matching(connection, query)
    if not matching:
        return list(connection.execute(_walks(query, limit, after, [])))
    rows = list(connection.execute(_newest_of(query, limit, after, matching)))
    if len(rows) == limit:
        return rows
    return list(connection.execute(_walks(query, limit, after, matching)))


def _newest_of(
    query: HeldQuery, limit: int, after: tuple[float, str] | None, matching: Sequence[_Match]
) -> Select[Any]:
    """id and place of those that match among the first _READ_FIRST rows, whether they match or not."""
    first = _walks(replace(query, is_folded=False), _READ_FIRST, after, []).subquery()
    has = [_match(first.c.id, one) for one in matching]
    if not query.is_folded:
        found = select(first.c.id, first.c.place).where(*has)
        return found.order_by(*_order(query, first.c.place, first.c.id)).limit(limit)
    alike = case((first.c.campaign != "", first.c.campaign), else_=first.c.id)
    turn = func.row_number().over(
        partition_by=(first.c.state, alike), order_by=_order(query, first.c.place, first.c.id)
    )  # fmt: skip
    ranked = select(*first.c, turn.label("turn")).where(*has).subquery()
    found = select(ranked.c.id, ranked.c.place).where(ranked.c.turn == 1)
    if after is not None:  # an earlier page may have its campaign
        other = held.alias()
        is_on_it = ~_is_behind_key(query, after, other)
        same = [other.c.campaign == ranked.c.campaign, other.c.campaign != "", other.c.state == ranked.c.state]
        same += [*_conditions(query, (), other), *[_match(other.c.id, one) for one in matching]]
        found = found.where(~exists(select(1).where(*same, is_on_it)))
    return found.order_by(*_order(query, ranked.c.place, ranked.c.id)).limit(limit)


def _total(connection: Connection, query: HeldQuery, found: int, limit: int) -> tuple[int, bool]:
    """A search that filled its page is not counted further: that could mean to read every row."""
    if not query.after and found <= limit:
        return found, False
    if _matching(connection, query):
        return (limit, True) if found > limit else (found, bool(query.after))
    number = count(connection, query, COUNTED + 1)
    return min(number, COUNTED), number > COUNTED


def _key(after: str) -> tuple[float, str] | None:
    if not after:
        return None
    value, _, held_id = after.partition("|")
    try:
        return float(value), held_id
    except ValueError:
        raise InputError(f"{after[:50]!r}: begins no page") from None


def _walks(query: HeldQuery, limit: int, after: tuple[float, str] | None, matching: Sequence[_Match]) -> Select[Any]:
    """id, place, state and campaign of at most so many that match, in order."""
    walks = [_walk(query, lead, limit, after, matching) for lead in _leads(query)]
    if len(walks) == 1:
        return walks[0]
    every = union_all(*(select(walk.subquery()) for walk in walks)).subquery()
    return select(*every.c).order_by(*_order(query, every.c.place, every.c.id)).limit(limit)


def _walk(
    query: HeldQuery,
    lead: Sequence[tuple[str, str]],
    limit: int,
    after: tuple[float, str] | None,
    matching: Sequence[_Match],
) -> Select[Any]:
    place = _place(query, held)
    walk = select(held.c.id, place.label("place"), held.c.state, held.c.campaign).where(
        *_conditions(query, lead, held, is_narrow=_is_narrow(query, matching))
    )
    if after is not None:
        walk = walk.where(_is_behind_key(query, after, held))
    walk = walk.where(*[_match(held.c.id, one) if one.is_short else held.c.id.in_(one.candidates) for one in matching])
    if query.is_folded:
        walk = walk.where(~_is_behind(query, lead, matching))
    return walk.order_by(*_order(query, place, held.c.id)).limit(limit)


def _leads(query: HeldQuery) -> list[list[tuple[str, str]]]:
    """What each walk is about: (column, value), so that an index begins with it."""
    states: Sequence[str] = (query.state,) if query.state else _STATES
    scope = query.scope
    is_named = not scope.is_all and not scope.addresses and not any(one.startswith("*.") for one in scope.domains)
    domains = (query.domain,) if query.domain else scope.domains if is_named else ()
    if not domains or len(domains) * len(states) > _MAX_WALKS or query.is_folded:
        return [[("state", state)] for state in states]
    return [[("state", state), ("domain", domain)] for state in states for domain in domains]


def _is_narrow(query: HeldQuery, matching: Sequence[_Match]) -> bool:
    """Whether something names few rows. SQLite, which is never told how many rows have a state, cannot know that."""
    is_own = not query.scope.is_all and bool(query.scope.addresses)
    return is_own or bool(query.content_hash) or any(not one.is_short for one in matching)


def _conditions(
    query: HeldQuery, lead: Sequence[tuple[str, str]], table: FromClause, *, is_narrow: bool = False
) -> list[ColumnElement[bool]]:
    c = table.c
    # an expression has no index: the narrow condition's is taken
    found = [(c[name].concat("") if is_narrow else c[name]) == value for name, value in lead]
    found += in_scope(query.scope, table)
    exact = {"domain": query.domain, "kind": query.kind, "campaign": query.campaign, "content_hash": query.content_hash}
    found += [c[name] == value for name, value in exact.items() if value]
    found += [c.score >= query.score_from] if query.score_from is not None else []
    found += [c.score <= query.score_to] if query.score_to is not None else []
    found += [c.received_at >= query.received_from] if query.received_from is not None else []
    found += [c.received_at < query.received_to] if query.received_to is not None else []
    if query.until is not None:
        found.append(exists(select(1).where(held_text.c.held_id == c.id, held_text.c.number <= query.until)))
    return found


def _is_behind(query: HeldQuery, lead: Sequence[tuple[str, str]], matching: Sequence[_Match]) -> ColumnElement[bool]:
    """Whether another of its campaign, which the query finds too, comes before it."""
    other = held.alias()
    ahead = tuple_(_place(query, other), other.c.id)
    here = tuple_(_place(query, held), held.c.id)
    is_ahead = ahead < here if query.order in ("oldest", "lowest") else ahead > here
    same = [other.c.campaign == held.c.campaign, other.c.campaign != "", *_conditions(query, lead, other)]
    return exists(select(1).where(*same, is_ahead, *[_match(other.c.id, one) for one in matching]))


def _is_behind_key(query: HeldQuery, key: tuple[float, str], table: FromClause) -> ColumnElement[bool]:
    here, there = tuple_(_place(query, table), table.c.id), tuple_(literal(key[0]), literal(key[1]))
    return here > there if query.order in ("oldest", "lowest") else here < there


def _place(query: HeldQuery, table: FromClause) -> ColumnElement[float]:
    place: ColumnElement[float] = table.c.received_at if query.order in ("newest", "oldest") else table.c.score
    return place


def _order(query: HeldQuery, place: Any, held_id: Any) -> tuple[Any, Any]:
    return (place, held_id) if query.order in ("oldest", "lowest") else (place.desc(), held_id.desc())


def _only(query: HeldQuery, campaign: str) -> HeldQuery:
    return replace(query, campaign=campaign, is_folded=False, after="")


# --- what is searched for -------------------------------------------------------------------------------------------


class _Match(NamedTuple):
    """A part that one of these columns of held_text has, or the whole of the recipient's address."""

    columns: tuple[str, ...]  # none: the address
    part: str
    candidates: Select[Any]  # ids, by an index

    @property
    def is_short(self) -> bool:
        """Too short for the index of trigrams."""
        return len(self.part) < _TRIGRAM


def _matching(connection: Connection, query: HeldQuery) -> list[_Match]:
    is_address = _is_held_for(connection, query.recipient)
    parts = (
        (("words", "sender", "recipient"), folded(query.text)),
        (("sender",), folded(query.sender)),
        (("recipient",), "" if is_address else folded(query.recipient)),
        (("hits",), f" {query.finding} " if query.finding else ""),
    )
    is_sqlite = connection.dialect.name == "sqlite"
    found = [
        _Match(columns, part[:_LONGEST], _candidates(columns, part[:_LONGEST], is_sqlite=is_sqlite))
        for columns, part in parts
        if part
    ]
    if is_address:
        address = query.recipient.lower()
        found.append(_Match((), address, select(held.c.id).where(func.lower(held.c.recipient) == address)))
    return found


def _is_held_for(connection: Connection, said: str) -> bool:
    """Whether it is an address of a domain that mail is held for: then no part of a longer one is meant."""
    local, _, domain = said.lower().rpartition("@")
    if not local or not domain or not said.isascii() or len(said) > _LONGEST:
        return False
    return connection.scalar(select(held.c.id).where(held.c.domain == domain).limit(1)) is not None


def _match(held_id: Any, one: _Match) -> ColumnElement[bool]:
    """The row's own text has it."""
    if not one.columns:
        same = held.alias()
        return exists(select(1).where(same.c.id == held_id, func.lower(same.c.recipient) == one.part))
    has = or_(*(held_text.c[name].contains(one.part, autoescape=True) for name in one.columns))
    return exists(select(1).where(held_text.c.held_id == held_id, has))


def _candidates(columns: tuple[str, ...], part: str, *, is_sqlite: bool) -> Select[Any]:
    """FTS5's phrase of trigrams is the substring itself. PostgreSQL takes its index for LIKE."""
    ids = select(held_text.c.held_id)
    if not is_sqlite:
        return ids.where(or_(*(held_text.c[name].contains(part, autoescape=True) for name in columns)))
    quoted = part.replace('"', '""')
    phrase = f'{{{" ".join(columns)}}} : "{quoted}"'
    found = select(_SEARCH.c.rowid).where(_NAME.op("MATCH")(phrase))
    return ids.where(held_text.c.number.in_(found))
