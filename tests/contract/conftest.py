"""One PostgreSQL for all contract tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[postgres.Cluster]:
    with postgres.cluster() as one:
        yield one


@pytest.fixture
def postgres_server(postgres_cluster: postgres.Cluster) -> Path:
    return postgres_cluster.folder
