"""Named counters that expire, in the database."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Engine, delete, insert, select, update

from gateway.stores.engine import faults
from gateway.stores.schema import counter

_SWEEP_EVERY = 200


class SqlCounters:
    """Implements ports.Counters."""

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._now = now
        self._adds = 0

    def add(self, key: str, amount: float, ttl_s: float) -> float:
        """Add and return the new value; an expired counter begins at zero."""
        now = self._now()
        with faults("counters"), self._engine.begin() as connection:
            self._adds += 1
            if self._adds % _SWEEP_EVERY == 0:
                connection.execute(delete(counter).where(counter.c.expires_at < now))
            row = connection.execute(select(counter).where(counter.c.key == key).with_for_update()).mappings().first()
            alive = row is not None and row["expires_at"] > now
            value = amount + (float(row["value"]) if row is not None and alive else 0.0)
            statement = insert(counter).values(key=key) if row is None else update(counter).where(counter.c.key == key)
            connection.execute(statement.values(value=value, expires_at=now + ttl_s))
        return value

    def get(self, key: str) -> float:
        """0.0 when there is none, or it expired."""
        query = select(counter.c.value).where(counter.c.key == key, counter.c.expires_at > self._now())
        with faults("counters"), self._engine.connect().execution_options(read_only=True) as connection:
            return float(connection.scalar(query) or 0.0)
