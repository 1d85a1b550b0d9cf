"""The message log: one row for each message and recipient that ever reached us."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, insert, or_, select, update

from gateway.mail.address import mention_of
from gateway.stores.engine import faults, storable
from gateway.stores.schema import message_log
from gateway.types import LogRow, Summary

_SUMMARY = tuple(Summary.__slots__)
_PLAIN = tuple(name for name in LogRow.__slots__ if name not in ("summary", "hits"))
_MAX_PAGE = 1000


class SqlMessageLog:
    """Implements ports.MessageLog."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(self, rows: Sequence[LogRow]) -> None:
        """All in one transaction."""
        if not rows:
            return
        with faults("message log"), self._engine.begin() as connection:
            connection.execute(insert(message_log), [_row(row) for row in rows])

    def search(self, text: str, limit: int = 50) -> Sequence[LogRow]:
        """Newest first; an empty text finds everything."""
        # the next hop's reply names the message as it, or the MTA, calls it
        columns = (
            "queue_id", "message_id", "subject", "author", "reverse_path", "recipient", "client_ip", "next_hop_reply",
        )  # fmt: skip
        found = [message_log.c[name].icontains(text, autoescape=True) for name in columns]
        query = select(message_log).order_by(message_log.c.number.desc()).limit(max(1, min(limit, _MAX_PAGE)))
        with faults("message log"), self._engine.connect().execution_options(read_only=True) as connection:
            rows = connection.execute(query.where(or_(*found)) if text else query).mappings().all()
        return [_log_row(row) for row in rows]

    def of_message(self, queue_id: str) -> Sequence[LogRow]:
        """In the order of the recipients, at most as many as a search gives."""
        query = select(message_log).where(message_log.c.queue_id == queue_id).order_by(message_log.c.number)
        with faults("message log"), self._engine.connect().execution_options(read_only=True) as connection:
            return [_log_row(row) for row in connection.execute(query.limit(_MAX_PAGE)).mappings()]

    def about(self, address: str, *, as_sender: bool) -> Sequence[LogRow]:
        """Rows of messages to this address, and from it when that is asked for; oldest first."""
        query = select(message_log).where(_names(address, as_sender=as_sender)).order_by(message_log.c.number)
        with faults("message log"), self._engine.connect().execution_options(read_only=True) as connection:
            found = [_log_row(row) for row in connection.execute(query).mappings()]
        named = mention_of(address)
        return [one for one in found if any(map(named.search, (one.recipient, one.reverse_path, one.summary.author)))]

    def erase(self, address: str, pseudonym: str, *, as_sender: bool) -> int:
        """Take out the rows of messages to this address; of those from it take out name, subject and Message-ID."""
        named = mention_of(address)
        columns = (message_log.c.number, message_log.c.recipient, message_log.c.reverse_path, message_log.c.author)
        query = select(*columns).where(_names(address, as_sender=as_sender))
        with faults("message log"), self._engine.begin() as connection:
            rows = connection.execute(query).all()
            to = [row.number for row in rows if named.search(row.recipient)]
            sent = [row.number for row in rows if named.search(row.reverse_path) or named.search(row.author)]
            words = {"reverse_path": pseudonym, "author": pseudonym, "subject": "", "message_id": "", "reason": ""}
            for start in range(0, len(to), _MAX_PAGE):
                chosen = message_log.c.number.in_(to[start : start + _MAX_PAGE])
                connection.execute(delete(message_log).where(chosen))
            for start in range(0, len(sent), _MAX_PAGE):
                chosen = message_log.c.number.in_(sent[start : start + _MAX_PAGE])
                connection.execute(update(message_log).where(chosen).values(words))
        return len({*to, *sent})

    def purge(self, older_than_s: float) -> int:
        """Forget rows older than so many seconds; how many went."""
        with faults("message log"), self._engine.begin() as connection:
            return connection.execute(delete(message_log).where(message_log.c.at < time.time() - older_than_s)).rowcount


def _names(address: str, *, as_sender: bool) -> ColumnElement[bool]:
    columns = (message_log.c.recipient, message_log.c.reverse_path, message_log.c.author)
    return or_(*(one.icontains(address, autoescape=True) for one in (columns if as_sender else columns[:1])))


def _log_row(row: Mapping[Any, Any]) -> LogRow:
    return LogRow(
        summary=Summary(**{name: row[name] for name in _SUMMARY}),
        hits=tuple(row["hits"].split()),
        **{name: row[name] for name in _PLAIN},
    )


def _row(row: LogRow) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(row, name) for name in _PLAIN}
    values |= {name: getattr(row.summary, name) for name in _SUMMARY}
    values["hits"] = " ".join(row.hits)
    return {name: storable(value) for name, value in values.items()}
