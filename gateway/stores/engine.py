"""The database: SQLite (WAL, synchronous=FULL: a commit is on the disk) or PostgreSQL, by SQLAlchemy Core."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import ConfigError, StoreError

_BUSY_MS = 15_000
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x44415242  # "DARB", for pg_advisory_xact_lock


def make_engine(url: str, answer_within_s: float | None = None) -> Engine:
    """An engine for this process. Connects when first used.

    Args:
        answer_within_s: a PostgreSQL that stands still is given up by then. SQLite is waited for as long as it is busy.
    """
    if url.startswith("postgresql://"):
        return _make_postgresql(url, answer_within_s)
    engine = create_engine(url, connect_args={"timeout": _BUSY_MS / 1000})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: the driver's own begins too late
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY_MS}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.create_function("casefold", 1, str.casefold, deterministic=True)  # lower() knows ASCII alone

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        immediate = connection.get_execution_options().get("read_only") is not True
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _make_postgresql(url: str, answer_within_s: float | None) -> Engine:
    try:
        from gateway.stores import postgres
    except ImportError:
        raise ConfigError("[storage] database: its client is not installed: pip install 'darban[postgresql]'") from None

    options = {"connect_timeout": postgres.CONNECT_S, **postgres.NETWORK}
    asked = url.replace("postgresql://", "postgresql+psycopg://", 1)
    engine = create_engine(asked, pool_pre_ping=True, connect_args=options)
    connect = postgres.connector(answer_within_s)

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, arguments: Any, named: Any) -> Any:
        return connect(*arguments, **named)

    return engine


@contextlib.contextmanager
def faults(what: str) -> Iterator[None]:
    """Database and file faults become a StoreError that names what failed, not the cause's private text."""
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreError(f"{what}: database: {type(error).__name__}") from error
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise StoreError(f"{what}: {place}{error.strerror}") from error


def storable(value: object) -> Any:
    """Texts without what a database refuses: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
    return value


def migrate(url: str, to: str = "head") -> None:
    """Bring the schema up to date; processes that start together wait for each other. Raises StoreError."""
    if to == "head" and _is_current(url):
        return
    from alembic import command  # a third of the time of a short command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    with faults("migration"), _one_at_a_time(url):
        engine = make_engine(url)
        try:
            with engine.begin() as connection:
                if engine.dialect.name == "postgresql":
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                config.attributes["connection"] = connection
                command.upgrade(config, to)
        except CommandError as error:
            raise StoreError(f"migration: {error}; was the database made by a newer version?") from None
        finally:
            engine.dispose()


def _is_current(url: str) -> bool:
    """Whether the newest migration was the last; a migration's file begins with its revision."""
    newest = max(path.name for path in (_MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            return bool(connection.scalar(text("SELECT version_num FROM alembic_version")) == newest)
    except SQLAlchemyError:  # no table yet, no folder, no server: who migrates says it
        return False
    finally:
        engine.dispose()


@contextlib.contextmanager
def _one_at_a_time(url: str) -> Iterator[None]:
    if not url.startswith("sqlite:///") or url == "sqlite:///:memory:":
        yield
        return
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
