"""What fuzzing begins with, and what it once found: run again each time."""

from __future__ import annotations

import pytest

from tests.fuzz.targets import CRASHES, TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_what_was_found(name: str) -> None:
    for content in (*TARGETS[name].seeds(), *(file.read_bytes() for file in CRASHES.glob(f"{name}-*"))):
        TARGETS[name].run(content)
