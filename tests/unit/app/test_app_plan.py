"""Which processes the doors are, and where they may listen."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.app.plan import plan
from gateway.config.settings import Settings
from gateway.sockets import Sockets

USUAL = {"scorers", "admin"}


def processes(**tables: dict) -> set[str]:
    sockets = Sockets()
    try:
        specs = plan(Settings.model_validate(tables), sockets)
    finally:
        sockets.close()
    return {spec.name for spec in specs if not spec.name.startswith("listener-")}


@pytest.mark.parametrize(
    ("tables", "more"),
    [
        ({}, set()),
        ({"spamd": {"listen": "127.0.0.1:1783"}}, set()),  # in the listeners
        ({"spamd": {"learn": True}}, set()),
        ({"spamd": {"listen": "127.0.0.1:1783", "learn": True}}, {"door-learn"}),
        ({"http": {"listen": "127.0.0.1:11333"}}, {"door-http"}),
    ],
)
def test_processes(tables: dict, more: set[str]) -> None:
    assert processes(**tables) == USUAL | more


@pytest.mark.parametrize(
    ("table", "listen", "is_good"),
    [
        ("spamd", "unix:/run/darban/spamd.sock", True),
        ("spamd", "127.0.0.1:783", True),
        ("spamd", "", True),
        ("spamd", "unix:spamd.sock", False),
        ("spamd", "783", False),
        ("http", "127.0.0.1:11333", True),
        ("http", "unix:/run/darban/http.sock", False),
    ],
)
def test_where_doors_may_listen(table: str, listen: str, is_good: bool) -> None:
    if is_good:
        Settings.model_validate({table: {"listen": listen}})
    else:
        with pytest.raises(ValidationError):
            Settings.model_validate({table: {"listen": listen}})
