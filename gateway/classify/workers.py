"""Who extracts features and sums over shards: processes and threads of this machine. cluster.py has Dask's workers.

Results come in the order of what was asked, so who worked on what, and how many there were, leaves no trace.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

from gateway.errors import InputError

_Item = TypeVar("_Item")
_Given = TypeVar("_Given")
_Result = TypeVar("_Result")

_MAX_SUMMING = 8  # threads; each holds a shard, and more of them wait for the memory, not for the processor


class Workers(Protocol):
    """Some hands."""

    @property
    def here(self) -> LocalWorkers:
        """Those of this machine."""
        ...

    def stream(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """function(item) of each, in order; only a few items are on the way at a time. Raises InputError."""
        ...

    def over(
        self, loaders: Sequence[Callable[[], _Item]], function: Callable[[_Item, _Given], _Result], given: _Given
    ) -> Iterator[_Result]:
        """function(loader(), given) of each loader, in order. Raises InputError."""
        ...


class LocalWorkers:
    """Processes to extract, since parsing is Python; threads to sum, since scipy lets go of the interpreter."""

    def __init__(self, jobs: int | None = None) -> None:
        self._jobs = jobs or os.cpu_count() or 1

    @property
    def here(self) -> LocalWorkers:
        """Themselves."""
        return self

    def stream(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """As Workers says."""
        pool = ProcessPoolExecutor(self._jobs, multiprocessing.get_context("fork"))
        try:
            pool.submit(os.getpid).result()  # all are forked now, before a progress bar starts its thread
            yield from _in_order(pool, function, items, 4 * self._jobs)
        except BrokenProcessPool:
            raise InputError(
                f"one of {self._jobs} processes was killed, for want of memory? --jobs 1 needs least"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)

    def over(
        self, loaders: Sequence[Callable[[], _Item]], function: Callable[[_Item, _Given], _Result], given: _Given
    ) -> Iterator[_Result]:
        """As Workers says."""
        threads = min(self._jobs, _MAX_SUMMING)
        with ThreadPoolExecutor(threads) as pool:
            yield from _in_order(pool, lambda load: function(load(), given), loaders, threads)


def _in_order(
    pool: Executor, function: Callable[[_Item], _Result], items: Iterable[_Item], ahead: int
) -> Iterator[_Result]:
    waiting: deque[Future[_Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
