"""Schemathesis against the OpenAPI document: whatever is sent, no 5xx, and every answer is as the document says."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.config.settings import Settings
from gateway.policy.access import Act
from gateway.stores.api_tokens import SqlApiTokens
from gateway.types import Account
from tests.web_app import make_web_app

EXAMPLES = 10  # of each operation, right and wrong ones
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, str]]]:
    folder: Path = tmp_path_factory.mktemp("contract")
    web = make_web_app(folder, Settings.model_validate({"api": {"requests_per_minute": 1_000_000}}))
    web.accounts.add(Account("owner", "owner"))
    for number in range(3):
        web.hold(f"{number:032x}", "me@darban.test")
    secret = SqlApiTokens(web.engine).new("owner", "test", get_args(Act), (), 3600.0)[1]
    yield web.app, {"Authorization": f"Bearer {secret}"}
    web.engine.dispose()


def test_no_answer_breaks_the_contract(fields: tuple[Any, dict[str, str]]) -> None:
    app, headers = fields
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=headers)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 30
    for operation, mode in itertools.product(operations, GenerationMode):

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.as_strategy(generation_mode=mode))
        def holds(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers, checks=CHECKS)

        holds()
