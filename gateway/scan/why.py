"""Asks the scorers what would have had a held message delivered: one connection, one child, one answer.

The admin process asks: it does not judge hostile mail itself, and what comes back is data that is checked. The child
runs behind the scorers that judge mail, under their limits of CPU and memory, and ends with the connection.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from gateway.errors import ScorerError
from gateway.policy.senders import NOTHING_SAID, Said
from gateway.scan.frames import FLIP, HELLO, WHY, Frame, FrameReader, pack, pack_why
from gateway.types import DomainPolicy, Envelope

_MAX_ANSWER = 1 << 18
_MAX_CHANGES = 10
_CHUNK = 1 << 16


class Why:
    """One for a process."""

    def __init__(self, scorers: Path, limit_s: float, at_once: int = 2) -> None:
        self._scorers = scorers
        self._limit_s = limit_s
        self._turn = asyncio.Semaphore(at_once)

    async def ask(
        self, envelope: Envelope, content: bytes, verdict_json: str, policy: DomainPolicy, said: Said = NOTHING_SAID
    ) -> dict[str, Any]:
        """counterfactual.flip_object's answer. Raises ScorerError when none comes within the limit."""
        try:
            async with asyncio.timeout(self._limit_s), self._turn:
                return await self._ask(pack_why(envelope, verdict_json, policy, said), content)
        except (OSError, EOFError, ValueError, TypeError, LookupError) as error:
            raise ScorerError(f"not judged again: {type(error).__name__}") from None

    async def _ask(self, head: bytes, content: bytes) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(str(self._scorers))
        try:
            writer.writelines(pack(WHY, 1, head, content))
            await writer.drain()
            answer = await _answer(reader)
        finally:
            writer.close()
        if answer.kind != FLIP:
            raise ValueError("a fault in the scorer")
        return _checked(json.loads(answer.head))


async def _answer(reader: asyncio.StreamReader) -> Frame:
    """The first frame behind the scorer's greeting."""
    frames = FrameReader(_MAX_ANSWER)
    while data := await reader.read(_CHUNK):
        for frame in frames.feed(data):
            if frame.kind != HELLO:
                return frame
    raise EOFError


def _checked(found: Any) -> dict[str, Any]:
    """What a page may rely on. Raises ValueError, TypeError, LookupError."""
    changes = [{name: str(one[name]) for name in ("kind", "value", "text")} for one in found["changes"]]
    words = {name: str(found[name]) for name in ("text", "was", "action", "entry")}
    numbers = {name: int(found[name]) for name in ("judged", "signs")}
    return {
        **words,
        "changes": changes[:_MAX_CHANGES],
        "score": float(found["score"]),
        **numbers,
        "is_needed": bool(found["is_needed"]),
    }
