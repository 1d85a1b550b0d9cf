"""A database with the newest schema: of SQLite one is made by the migrations, and copied for each test."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from gateway.stores.engine import migrate

_SQLITE = "sqlite:///"


def migrated(url: str) -> str:
    """The same URL, of a database that is new or not."""
    path = Path(url.removeprefix(_SQLITE))
    if not url.startswith(_SQLITE) or path.exists():
        migrate(url)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_template(), path)
    return url


@cache
def _template() -> Path:
    folder = tempfile.mkdtemp(prefix="darban-schema-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "darban.db"
    migrate(f"{_SQLITE}{path}")
    return path
