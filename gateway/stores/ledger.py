"""The training ledger: every lesson that people taught, and which were revoked. Features only, about 1.5 KB a lesson.

A change and the revision are one transaction, and the revision's row is locked first: writers wait for each other, so
one lesson taught twice at the same moment is one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, and_, case, func, insert, select, true, update

from gateway.errors import InputError
from gateway.stores.engine import faults, storable
from gateway.stores.schema import lesson as table
from gateway.stores.schema import lesson_revision
from gateway.types import LedgerCounts, Lesson, Lessons, Taught, Via

_DAY_S = 86_400
_WHAT = "training ledger"
_FIELDS = tuple(Lesson.__slots__)
_READ = 500  # rows read at a time
_MAX_PAGE = 1000

# of a trainer's lessons on one content, those that are not revoked: 1 is the newest
_PLACED = (
    select(
        table.c.id,
        func.row_number()
        .over(partition_by=(table.c.trainer, table.c.content_hash), order_by=(table.c.at.desc(), table.c.id.desc()))
        .label("place"),
    )
    .where(table.c.revoked_at.is_(None))
    .subquery()
)


class SqlLedger:
    """Implements ports.TrainingLedger."""

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._now = now

    def add(self, lesson: Lesson, daily_limit: int) -> Taught:
        """Taught "known" and "limited" change nothing."""
        values = _values(lesson)
        mine = and_(table.c.trainer == values["trainer"], table.c.revoked_at.is_(None))
        said = select(table.c.id, table.c.is_spam, table.c.features_version)
        said = said.where(mine, table.c.content_hash == lesson.content_hash)
        today = select(func.count()).where(table.c.trainer == values["trainer"], table.c.day == values["day"])
        with faults(_WHAT), self._engine.begin() as connection:
            _lock(connection)
            newest = connection.execute(said.order_by(table.c.at.desc(), table.c.id.desc()).limit(1)).first()
            if newest is not None and newest[1:] == (lesson.is_spam, lesson.features_version):
                return Taught("known", newest.id)
            if (connection.scalar(today) or 0) >= daily_limit:
                return Taught("limited")
            connection.execute(insert(table).values(values))
            _step(connection)
        is_relearned = newest is not None and newest.is_spam != lesson.is_spam
        return Taught("relearned" if is_relearned else "learned", lesson.id)

    def list(self, which: Lessons) -> tuple[Sequence[Lesson], int]:
        """Newest first."""
        wanted = _chosen(which)
        page = select(table).where(wanted).order_by(table.c.at.desc(), table.c.id.desc())
        page = page.limit(max(0, min(which.limit, _MAX_PAGE))).offset(max(0, which.offset))
        with faults(_WHAT), self._engine.connect().execution_options(read_only=True) as connection:
            total = connection.scalar(select(func.count()).select_from(table).where(wanted)) or 0
            return [_lesson(row) for row in connection.execute(page).mappings()], total

    def active(self, features_version: int) -> Iterator[Lesson]:
        """Read as they are used: a hundred thousand need no memory."""
        query = select(table).join(_PLACED, _PLACED.c.id == table.c.id).where(_PLACED.c.place == 1)
        query = query.where(table.c.features_version == features_version).order_by(table.c.at, table.c.id)
        with faults(_WHAT), self._engine.connect() as connection:
            reading = connection.execution_options(read_only=True, yield_per=_READ)
            for row in reading.execute(query).mappings():
                yield _lesson(row)

    def revoke(self, which: Lessons, by: str, at: float | None = None) -> int:
        """Those that are revoked already keep their date."""
        at = self._now() if at is None else at
        return self._set(which, False, {"revoked_at": at, "revoked_by": storable(by)[:320]})

    def restore(self, which: Lessons) -> int:
        """The contrary of revoke."""
        return self._set(which, True, {"revoked_at": None, "revoked_by": ""})

    def erase(self, trainer: str, pseudonym: str) -> int:
        """Put another name for a trainer's; his lessons count as before. How many there are."""
        name, put = storable(trainer)[:320], storable(pseudonym)[:320]
        with faults(_WHAT), self._engine.begin() as connection:
            _lock(connection)
            mine = func.lower(table.c.trainer) == name.lower()
            changed = connection.execute(update(table).where(mine).values(trainer=put)).rowcount
            by = func.lower(table.c.revoked_by) == name.lower()
            connection.execute(update(table).where(by).values(revoked_by=put))
        return changed

    def counts(self, features_version: int) -> LedgerCounts:
        """One look at every row but its features."""
        kind = case(
            (_PLACED.c.place.is_(None), "revoked"),
            (_PLACED.c.place > 1, "superseded"),
            (table.c.features_version != features_version, "foreign"),
            else_="active",
        ).label("kind")
        columns = (kind, table.c.is_spam, table.c.via)
        query = select(*columns, func.count(), func.max(table.c.at)).outerjoin(_PLACED, _PLACED.c.id == table.c.id)
        lessons: Counter[tuple[bool, Via]] = Counter()
        others: Counter[str] = Counter()
        newest_at = 0.0
        with faults(_WHAT), self._engine.connect().execution_options(read_only=True) as connection:
            for of_kind, is_spam, via, number, at in connection.execute(query.group_by(*columns)):
                newest_at = max(newest_at, at)
                if of_kind == "active":
                    lessons[bool(is_spam), via] = number
                else:
                    others[of_kind] += number
        return LedgerCounts(lessons, others["revoked"], others["superseded"], others["foreign"], newest_at)

    def revision(self) -> int:
        """One row."""
        with faults(_WHAT), self._engine.connect().execution_options(read_only=True) as connection:
            return connection.scalar(select(lesson_revision.c.revision)) or 0

    def _set(self, which: Lessons, is_revoked: bool, values: Mapping[str, Any]) -> int:
        if not (which.ids or which.trainer or which.day is not None or which.content_hash or which.revoked_at):
            raise InputError("no lesson is named: write ids of lessons, a trainer or a day")
        state = table.c.revoked_at.isnot(None) if is_revoked else table.c.revoked_at.is_(None)
        with faults(_WHAT), self._engine.begin() as connection:
            _lock(connection)
            changed = connection.execute(update(table).where(_chosen(which), state).values(values)).rowcount
            if changed:
                _step(connection)
        return changed


def _lock(connection: Connection) -> None:
    connection.execute(select(lesson_revision.c.revision).with_for_update())


def _step(connection: Connection) -> None:
    connection.execute(update(lesson_revision).values(revision=lesson_revision.c.revision + 1))


def _chosen(which: Lessons) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [true()]
    if which.ids:
        conditions.append(table.c.id.in_(which.ids))
    if which.trainer:
        conditions.append(table.c.trainer == storable(which.trainer)[:320])
    if which.day is not None:
        conditions.append(table.c.day == which.day)
    if which.content_hash:
        conditions.append(table.c.content_hash == which.content_hash)
    if which.revoked_at is not None:
        conditions.append(table.c.revoked_at == which.revoked_at)
    if which.is_revoked is not None:
        conditions.append(table.c.revoked_at.isnot(None) if which.is_revoked else table.c.revoked_at.is_(None))
    return and_(*conditions)


def _values(lesson: Lesson) -> dict[str, Any]:
    values = {name: getattr(lesson, name) for name in _FIELDS}
    return values | {"day": int(lesson.at // _DAY_S), "trainer": storable(lesson.trainer)[:320]}


def _lesson(row: RowMapping) -> Lesson:
    return Lesson(**{name: row[name] for name in _FIELDS})
