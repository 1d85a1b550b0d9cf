"""One PostgreSQL for all contract tests, and a database of each kind for those that want both."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.stores.engine import make_engine
from tests import postgres
from tests.database import migrated


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[postgres.Cluster]:
    with postgres.cluster() as one:
        yield one


@pytest.fixture(scope="session")
def postgres_server(postgres_cluster: postgres.Cluster) -> Path:
    return postgres_cluster.folder


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/darban.db"
    return postgres.fresh_database(request.getfixturevalue("postgres_server"))


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = make_engine(migrated(url))
    yield made
    made.dispose()
