"""Work that may wait, but mostly need not: run at once, and made a task only where it waits.

Most look-ups are answered from the cache; a task, a timer and a turn of the loop for each would cost more than they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Begun(Generic[T]):
    """A coroutine run as far as it goes without waiting; a task only from there on, like Python 3.12's eager tasks.

    Until its first wait the work runs in the caller's task: it must not ask for the current task there, which
    asyncio.timeout() does.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self.task: asyncio.Task[T] | None = None
        self._error: Exception | None = None
        try:
            waiting = work.send(None)
        except StopIteration as end:
            self._result: T = end.value
        except Exception as error:  # noqa: BLE001  raised by result()
            self._error = error
        else:
            self.task = asyncio.ensure_future(_finish(work, waiting))

    def result(self) -> T:
        """What the work returned or raised. Only when it is done."""
        if self._error is not None:
            raise self._error
        return self._result if self.task is None else self.task.result()


async def _finish(work: Coroutine[Any, Any, T], waiting: object) -> T:
    return await _rest(work, waiting)


@coroutine
def _rest(work: Coroutine[Any, Any, T], waiting: object) -> Generator[Any, Any, T]:
    """What is left of work that waits for `waiting`."""
    try:
        yield waiting
    except BaseException as error:  # noqa: BLE001  a cancellation, which is the work's to answer
        try:
            waiting = work.throw(error)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        return (yield from _rest(work, waiting))
    return (yield from work.__await__())
