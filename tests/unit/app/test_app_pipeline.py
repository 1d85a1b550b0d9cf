"""What a serving installation loads."""

from __future__ import annotations

import subprocess
import sys

SERVING = """
import sys
from pathlib import Path
from gateway.app.pipeline import load_pipeline
from gateway.config.load import load_settings
import gateway.web.pages, gateway.listeners.smtp, gateway.service, gateway.supervisor
load_pipeline(load_settings(None), Path("var/cache"), offline=True)()
print(*sorted({"sklearn", "scipy", "pandas", "joblib", "checkdmarc"} & set(sys.modules)))
"""


def test_serving_loads_nothing_of_training() -> None:
    done = subprocess.run([sys.executable, "-c", SERVING], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
