"""Goes on with the bulk acts of a folder until somebody kills it: python -m tests.bulk_victim FOLDER.

Its next hop writes down, on the disk, whom it took a message for: half before its answer is on the way, and as a next
hop does, without asking whether it has that message already.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.bulk import Bulk
from gateway.learning import Teacher
from gateway.policy.domains import ConfiguredDomains
from gateway.reputation import Reputation
from gateway.review import Review
from gateway.service import Releaser
from gateway.stores.audit import SqlAudit
from gateway.stores.blobs import FileBlobs
from gateway.stores.bulk import SqlBulk
from gateway.stores.engine import make_engine
from gateway.stores.ledger import SqlLedger
from gateway.stores.quarantine import SqlQuarantine
from gateway.types import DomainPolicy, Envelope, Recipient, Reply
from tests.memory import MemoryCounters

HERE = "mx.test"


class WritingHop:
    """ports.NextHop with a file; refuses every seventh."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    async def verify(self, recipient: Recipient) -> Reply:
        return Reply(250, "2.1.5", "ok")

    async def deliver(self, envelope: Envelope, content: bytes, recipients: Sequence[Recipient]) -> Mapping[str, Reply]:
        await asyncio.sleep(0.005)
        (to,) = recipients
        if int(to.address.partition("@")[0][1:]) % 7 == 0:
            return {to.address: Reply(550, "5.1.1", "no such user")}
        os.write(self._file, f"{to.address}\n".encode())
        os.fsync(self._file)
        await asyncio.sleep(0.005)
        return {to.address: Reply(250, "2.0.0", "taken")}


def bulk_of(folder: Path) -> tuple[Bulk, SqlQuarantine, SqlBulk]:
    """The runner over the folder's stores."""
    engine = make_engine(f"sqlite:///{folder}/darban.db")
    quarantine = SqlQuarantine(engine, FileBlobs(f"file://{folder}/blobs"))
    store, review, record = SqlBulk(engine), review_of(folder), SqlAudit(engine).append
    return Bulk(store=store, quarantine=quarantine, review=review, record=record, runner=HERE), quarantine, store


def review_of(folder: Path) -> Review:
    """Acts over the folder's stores; what is released is written down."""
    engine = make_engine(f"sqlite:///{folder}/darban.db")
    quarantine = SqlQuarantine(engine, FileBlobs(f"file://{folder}/blobs"))
    hop, reputation = WritingHop(folder / "took"), Reputation(MemoryCounters(), b"a secret of the tests")
    releaser = Releaser(
        policies=ConfiguredDomains([DomainPolicy("darban.test", "smtp://127.0.0.1:1")]),
        next_hop=lambda _: hop,
        quarantine=quarantine,
        hostname=HERE,
        reputation=reputation,
    )
    return Review(
        quarantine=quarantine,
        release=releaser.release,
        is_ours=lambda _: True,
        teacher=Teacher(SqlLedger(engine), 10),
        reputation=reputation,
        hostname=HERE,
        is_spent=lambda _: False,
    )


if __name__ == "__main__":
    asyncio.run(bulk_of(Path(sys.argv[1]))[0].run())
