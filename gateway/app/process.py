"""What every process with a loop does alike: its loop, its signals, how its doors are left."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

GRACE_S = 25.0  # the supervisor kills after 30

SocketList = Sequence[socket.socket]


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Until it returns."""
    import uvloop

    from gateway import metrics

    try:
        uvloop.run(main)
    finally:
        metrics.flush()


def on_signal(number: signal.Signals) -> asyncio.Future[None]:
    """Done when it comes."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[None] = loop.create_future()

    def come() -> None:
        if not came.done():
            came.set_result(None)

    loop.add_signal_handler(number, come)
    return came


class Door(Protocol):
    """What listens, in a listener process."""

    async def drain(self, within_s: float) -> None:
        """A new generation serves: let nobody in any more, and return when the last has left."""

    async def stop(self, grace_s: float) -> None:
        """Say so, finish what is in our hands, for so long, and cut what is left."""


async def leave(
    doors: Sequence[Door], stopped: asyncio.Future[None], left: asyncio.Future[None], drain_s: float
) -> None:
    """Until asked to stop, or until a new generation has our place and the last session has ended."""
    await asyncio.wait((stopped, left), return_when=asyncio.FIRST_COMPLETED)
    if not stopped.done():
        draining = asyncio.gather(*(door.drain(drain_s) for door in doors))
        await asyncio.wait((stopped, draining), return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*(door.stop(GRACE_S) for door in doors))
