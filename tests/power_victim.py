"""Holds and delivers messages as fast as it can, until the power goes: python -m tests.power_victim FOLDER [careless].

Each line it says is a promise: "held ID", "delivered NAME". Careless: nothing is synced but what SQLite syncs itself.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from gateway.actions.hold import Hold, held_id
from gateway.net.maildir import MaildirNextHop
from gateway.stores.blobs import FileBlobs
from gateway.stores.engine import make_engine
from gateway.stores.quarantine import SqlQuarantine
from gateway.types import Disposition
from tests.builders import envelope, message_bytes, recipient, verdict


def content(number: int) -> bytes:
    """Of a few sizes, around a file system's block."""
    return message_bytes("x" * (number % 7 * 1500), Subject=f"power {number}")


async def _main(folder: Path) -> None:
    import hashlib

    hold = Hold(
        SqlQuarantine(make_engine(f"sqlite:///{folder}/darban.db"), FileBlobs(f"file://{folder}/blobs")),
        lambda *_: "{}",
    )
    for number in itertools.count():
        message, to = content(number), recipient("you@darban.test")
        around = envelope(to.address)
        (done,) = await hold.apply(around, message, verdict(9.0), [Disposition(to, "quarantine", "score", 5.0)])
        if done.reply.code == 250:
            print("held", held_id(hashlib.sha256(message).hexdigest(), around.reverse_path, to.address), flush=True)
        maildir = MaildirNextHop(folder / f"maildir{number % 5}")
        if (await maildir.deliver(around, message, [to]))[to.address].code == 250:
            print("delivered", number, flush=True)


if __name__ == "__main__":
    if "careless" in sys.argv:
        os.fsync = lambda _: None
    asyncio.run(_main(Path(sys.argv[1])))
