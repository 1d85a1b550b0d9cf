"""stores/engine.py: a schema that is the newest is left alone, without Alembic."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.errors import ConfigError, StoreError
from gateway.stores import engine as engines
from gateway.stores.engine import make_engine, migrate

VERSIONS = sorted((Path(engines.__file__).parent / "migrations" / "versions").glob("[0-9]*.py"))


def test_a_migrations_file_begins_with_its_revision() -> None:
    before = None
    for path in VERSIONS:
        module = import_module(f"gateway.stores.migrations.versions.{path.stem}")
        assert (module.revision, module.down_revision) == (path.stem.partition("_")[0], before)
        before = module.revision


def test_the_newest_schema_needs_no_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/darban.db"
    migrate(url)
    program = (
        f"import sys; from gateway.stores.engine import migrate; migrate({url!r}); print('alembic' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


def test_an_older_schema_is_migrated_and_a_newer_one_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new/darban.db"
    migrate(url, "0004")
    migrate(url)
    made = make_engine(url)
    with made.begin() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == VERSIONS[-1].stem.partition("_")[0]
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer version"):
        migrate(url)
    made.dispose()


def test_a_client_of_postgresql_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gateway.stores.postgres", raising=False)
    monkeypatch.delattr("gateway.stores.postgres", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"pip install 'darban\[postgresql\]'"):
        make_engine("postgresql://darban@/x")
