"""The retention at work on a folder's quarantine, again and again, until it is killed: python -m tests.retention_victim FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from gateway.housekeeping import Housekeeping
from gateway.policy.retention import Retention
from gateway.stores.audit import SqlAudit
from gateway.stores.blobs import FileBlobs
from gateway.stores.engine import make_engine
from gateway.stores.quarantine import SqlQuarantine
from gateway.stores.vault import SqlKeys

DAYS = {"spam": 1.0, "phishing": 2.0, "malware": 3.0, "released": 1.0, "rows": 36_500.0}


def open_all(folder: Path, max_size: int = 0) -> tuple[SqlQuarantine, Housekeeping]:
    engine = make_engine(f"sqlite:///{folder}/darban.db")
    keys = SqlKeys(engine, lambda: [bytes(32)])
    quarantine = SqlQuarantine(engine, FileBlobs(f"file://{folder}/blobs"), keys)
    return quarantine, Housekeeping(quarantine, Retention(DAYS, max_size=max_size), SqlAudit(engine), keys)


if __name__ == "__main__":
    _, work = open_all(Path(sys.argv[1]))
    print("begins", flush=True)
    for _ in work.steps():
        pass
    print("ended", flush=True)
