"""Connections to PostgreSQL that do not wait for ever for one that takes what we say and answers nothing.

libpq bounds how long connecting takes, and nothing else: a server that stands still (its disk, its machine, the network
between) would keep whoever asked it until it moves again, and with them the mail that needs no database at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg

CONNECT_S = 5  # libpq counts whole seconds, two at least
# a network that is gone ends the connection, also where nothing bounds the answer
NETWORK = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
_PAUSE_S = 5.0
_LOOK_EVERY_S = 0.1

T = TypeVar("T")


def connector(answer_within_s: float | None) -> Callable[..., psycopg.Connection[Any]]:
    """What makes connections, as psycopg.connect. A statement that is not answered in time is an OperationalError and
    ends its connection; for some seconds then nobody waits: connecting is such an error at once."""
    silent_until = 0.0

    def give_up() -> None:
        nonlocal silent_until
        silent_until = time.monotonic() + _PAUSE_S

    class Bounded(psycopg.Connection[Any]):
        """One of them."""

        def wait(  # type: ignore[override]  # psycopg 3.3 has a timeout, 3.2 none
            self, gen: Any, interval: float = _LOOK_EVERY_S, **options: Any
        ) -> Any:
            """As psycopg's, with an end."""
            if answer_within_s is None:
                return super().wait(gen, interval, **options)
            return super().wait(self._until(gen, time.monotonic() + answer_within_s), _LOOK_EVERY_S, **options)

        def _until(self, gen: Generator[Any, Any, T], deadline: float) -> Generator[Any, Any, T]:
            try:
                wanted = next(gen)
                while True:
                    ready = yield wanted  # nothing is ready: this long has passed
                    if not ready and time.monotonic() > deadline:
                        give_up()
                        self.pgconn.finish()
                        raise psycopg.OperationalError(f"no answer within {answer_within_s} s")
                    wanted = gen.send(ready)
            except StopIteration as ended:
                return ended.value  # type: ignore[no-any-return]

    def connect(*arguments: Any, **options: Any) -> psycopg.Connection[Any]:
        if time.monotonic() < silent_until:
            raise psycopg.OperationalError("does not answer, and is not asked for some seconds")
        try:
            return Bounded.connect(*arguments, **options)
        except psycopg.errors.ConnectionTimeout:
            give_up()
            raise

    return connect
