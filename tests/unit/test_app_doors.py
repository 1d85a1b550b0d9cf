"""Which processes the doors are, and what is wrong with their configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.app import check_settings, plan
from gateway.config.settings import Settings
from gateway.errors import ConfigError
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
    ("content", "mode", "words"),
    [
        (None, 0, "No such file"),
        ("", 0o600, "is empty; write a long random word"),
        ("word", 0o644, "others may read or change it; chmod 600 or 640"),
    ],
)
@pytest.mark.parametrize("option", ["token_file", "learn_token_file"])
def test_a_token_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, option: str, content: str | None, mode: int, words: str
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"\[http\] {option}: {path}: .*{words}"):
        check_settings(Settings.model_validate({"http": {option: str(path)}}))


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
