"""A scorer's memory of domains: its listener's. The question and the answer are frames beside those of the messages.

The scorer, which has read hostile bytes, needs neither the database nor the secret that its keys are hashed with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gateway.scan.frames import unpack_domains

_ANSWER_S = 1.0  # the listener gives its store less than that


class ListenersMemory:
    """Implements ports.DomainMemory for one connection; before `connect` nobody can tell."""

    def __init__(self) -> None:
        self._ask: Callable[[int, Sequence[str]], None] | None = None
        self._waiting: dict[int, asyncio.Future[frozenset[str] | None]] = {}
        self._sequence = 0

    def connect(self, ask: Callable[[int, Sequence[str]], None]) -> None:
        """`ask` sends a question: its number and the domains."""
        self._ask = ask

    async def lookup_new(self, domains: Sequence[str]) -> frozenset[str] | None:
        """Ask, and wait for the answer, but not for long."""
        if self._ask is None:
            return None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[frozenset[str] | None] = loop.create_future()
        self._sequence = number = self._sequence + 1
        self._waiting[number] = answer
        timer = loop.call_later(_ANSWER_S, self._settle, number, None)
        try:
            self._ask(number, domains)
            return await answer
        finally:
            timer.cancel()
            self._waiting.pop(number, None)

    def take(self, number: int, head: bytes) -> None:
        """An answer came."""
        new = unpack_domains(head)
        self._settle(number, None if new is None else frozenset(new))

    def _settle(self, number: int, new: frozenset[str] | None) -> None:
        answer = self._waiting.get(number)
        if answer is not None and not answer.done():
            answer.set_result(new)
