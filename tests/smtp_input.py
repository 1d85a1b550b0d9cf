"""What a listener's Input reads, as bytes."""

from __future__ import annotations

from gateway.listeners.budget import Budget
from gateway.listeners.input import Input, unstuff

ROOMY = 1 << 30


async def read_message(source: Input, limit: int) -> bytes | None:
    """Dots unstuffed; None when it was too large. A small spool_above: what is tested goes to disk too."""
    incoming = Budget(ROOMY, ROOMY, 1 << 17, None).begin()
    try:
        content = await incoming.whole() if await source.message(limit, incoming) else None
        return None if content is None else unstuff(content)
    finally:
        incoming.close()


async def read_chunk(source: Input, size: int) -> bytes:
    incoming = Budget(ROOMY, ROOMY, 1 << 17, None).begin()
    try:
        await source.chunk(size, incoming)
        return await incoming.whole() or b""
    finally:
        incoming.close()
