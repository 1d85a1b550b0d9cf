"""What is said when the gateway stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app.greeting import demo_command


@pytest.mark.parametrize(
    ("program", "config", "typed"),
    [
        (".venv/bin/darban", None, ".venv/bin/darban demo"),
        ("/usr/bin/darban", Path("/etc/darban.toml"), "/usr/bin/darban demo --config /etc/darban.toml"),
        ("/x/gateway/__main__.py", None, "darban demo"),
    ],
)
def test_the_greeting_names_a_command_that_is_there(program: str, config: Path | None, typed: str) -> None:
    assert demo_command(program, config) == typed
