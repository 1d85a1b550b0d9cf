"""One PostgreSQL for all contract tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Path]:
    with postgres.server() as folder:
        yield folder
