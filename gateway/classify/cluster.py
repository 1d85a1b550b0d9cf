"""Dask's workers in the place of processes and threads (`darban train --dask ADDRESS`).

They need no disk that they share with us: a task carries messages, and a shard lies in the memory of one worker (Dask
spills it to that worker's disk). What a worker that died held is computed, or sent, again. A few tasks for each thread
are on the way at a time, so the scheduler's memory does not grow with the corpora.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar

from gateway import __version__
from gateway.classify.features import VERSION
from gateway.classify.workers import LocalWorkers
from gateway.errors import InputError

_Item = TypeVar("_Item")
_Given = TypeVar("_Given")
_Result = TypeVar("_Result")

_ATTEMPTS = 5  # of work whose worker died
_CONNECT_S = 30


class DaskWorkers:
    """Implements workers.Workers on a cluster; `with` closes the connection."""

    def __init__(self, address: str) -> None:
        """Raises InputError when no scheduler answers, has no workers, or they run another version."""
        try:
            from distributed import Client
        except ImportError:
            raise InputError("--dask needs Dask: pip install 'darban[train]'") from None
        try:
            client: Any = Client
            self._client = client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(f"--dask {address}: no scheduler answers there ({error})") from None
        self._placed: dict[int, Any] = {}  # shard's number -> the future that holds it
        try:
            self._check(address)
        except InputError:
            self._client.close()
            raise

    def __enter__(self) -> DaskWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self._placed.clear()
        self._client.close()

    def _check(self, address: str) -> None:
        try:
            self._client.wait_for_workers(1, timeout=_CONNECT_S)
        except TimeoutError:
            raise InputError(f"--dask {address}: the cluster has no workers") from None
        for worker, found in self._client.run(_versions, on_error="return").items():
            if found != _versions():
                raise InputError(
                    f"--dask {address}: {worker} has not darban {__version__} but {found}; install the same"
                )

    def _ahead(self) -> int:
        return 2 * sum(self._client.nthreads().values()) or 2

    @property
    def here(self) -> LocalWorkers:
        """Of the machine that asks."""
        return LocalWorkers()

    def stream(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """As Workers says. Dask itself computes again what a worker lost, from the task."""
        waiting: deque[Any] = deque()
        for item in items:
            waiting.append(self._client.submit(function, item, pure=False))
            if len(waiting) > self._ahead():
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())

    def over(
        self, loaders: Sequence[Callable[[], _Item]], function: Callable[[_Item, _Given], _Result], given: _Given
    ) -> Iterator[_Result]:
        """As Workers says. A shard stays with its worker from call to call."""
        shared = self._send(given, everywhere=True)
        waiting: deque[tuple[int, Any]] = deque()
        for number in range(len(loaders)):
            waiting.append((number, self._submit(number, loaders, function, shared)))
            if len(waiting) > self._ahead():
                yield self._finish(*waiting.popleft(), loaders, function, given)
        while waiting:
            yield self._finish(*waiting.popleft(), loaders, function, given)

    def _submit(self, number: int, loaders: Sequence[Callable[[], Any]], function: Any, shared: Any) -> Any:
        if number not in self._placed:
            self._placed[number] = self._send(loaders[number]())
        return self._client.submit(function, self._placed[number], shared, pure=False)

    def _send(self, data: Any, *, everywhere: bool = False) -> Any:
        """The future of data on a worker, or on all."""
        for _ in range(_ATTEMPTS):
            with suppress(OSError):  # a worker died while it was sent; also what runs into the timeout
                self._client.wait_for_workers(1, timeout=_CONNECT_S)
                return self._client.scatter(data, broadcast=everywhere, hash=False)
        raise InputError("--dask: the cluster has no workers left")

    def _finish(self, number: int, future: Any, loaders: Sequence[Callable[[], Any]], function: Any, given: Any) -> Any:
        """What was scattered has no task to compute it again: send it once more where its worker died."""
        for _ in range(_ATTEMPTS):
            try:
                return _result(future)
            except (CancelledError, asyncio.CancelledError):
                del self._placed[number]
                shared = self._send(given, everywhere=True)
                future = self._submit(number, loaders, function, shared)
        return _result(future)


def _result(future: Any) -> Any:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise InputError(
            f"--dask: {error.args[0] if error.args else error}; its workers died, for want of memory?"
        ) from None


def _versions() -> tuple[str, int]:
    return __version__, VERSION
