"""What reviewers keep beside the mail: notes on held messages, and filters of the list under a name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Engine, delete, func, insert, or_, select

from gateway.errors import InputError
from gateway.stores.engine import faults, storable
from gateway.stores.schema import held_note, saved_filter
from gateway.types import Note, SavedFilter

_WHAT = "reviewers' desk"
_NOTES = 200  # of one message that are shown
_MOST_FILTERS = 50  # of one account
_NOTE = tuple(held_note.c[name] for name in Note._fields)
_FILTER = tuple(saved_filter.c[name] for name in SavedFilter._fields)


class SqlDesk:
    """Implements ports.Desk."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add_note(self, note: Note) -> None:
        """It stays."""
        with faults(_WHAT), self._engine.begin() as connection:
            connection.execute(insert(held_note).values({k: storable(v) for k, v in note._asdict().items()}))

    def notes(self, held_ids: Sequence[str]) -> Mapping[str, Sequence[Note]]:
        """Of each message the oldest first."""
        query = select(*_NOTE).where(held_note.c.held_id.in_(held_ids)).order_by(held_note.c.number)
        found: dict[str, list[Note]] = defaultdict(list)
        with faults(_WHAT), self._read() as connection:
            for row in connection.execute(query.limit(_NOTES * max(1, len(held_ids)))):
                found[row.held_id].append(Note(*row))
        return found

    def save_filter(self, saved: SavedFilter) -> None:
        """In the place of the account's filter of that name."""
        mine = saved_filter.c.account == saved.account
        with faults(_WHAT), self._engine.begin() as connection:
            connection.execute(delete(saved_filter).where(mine, saved_filter.c.name == saved.name))
            if (connection.scalar(select(func.count()).where(mine)) or 0) >= _MOST_FILTERS:
                raise InputError("there are too many saved filters; delete one first")
            connection.execute(insert(saved_filter).values({k: storable(v) for k, v in saved._asdict().items()}))

    def filters(self, account: str) -> Sequence[SavedFilter]:
        """By name."""
        his = or_(saved_filter.c.account == account, saved_filter.c.is_shared)
        query = select(*_FILTER).where(his).order_by(saved_filter.c.name, saved_filter.c.id).limit(4 * _MOST_FILTERS)
        with faults(_WHAT), self._read() as connection:
            return [SavedFilter(*row) for row in connection.execute(query)]

    def drop_filter(self, filter_id: str, account: str) -> bool:
        """Only one's own."""
        query = delete(saved_filter).where(saved_filter.c.id == filter_id, saved_filter.c.account == account)
        with faults(_WHAT), self._engine.begin() as connection:
            return bool(connection.execute(query).rowcount)

    def _read(self) -> Connection:
        return self._engine.connect().execution_options(read_only=True)
