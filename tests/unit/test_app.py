"""app.py: what a serving installation loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.app import demo_command

SERVING = """
import sys
from pathlib import Path
from gateway.app import load_pipeline
from gateway.config.load import load_settings
import gateway.web.pages, gateway.listeners.smtp, gateway.service, gateway.supervisor
load_pipeline(load_settings(None), Path("var/cache"), offline=True)()
print(*sorted({"sklearn", "scipy", "pandas", "joblib", "checkdmarc"} & set(sys.modules)))
"""


def test_serving_loads_nothing_of_training() -> None:
    done = subprocess.run([sys.executable, "-c", SERVING], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


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
