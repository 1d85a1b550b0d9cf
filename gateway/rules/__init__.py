"""Rule files in SpamAssassin's language: read, compiled, matched in one pass for each kind of text (docs/rules.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway.rules.reader import read
from gateway.rules.ruleset import Rules


def load(paths: Sequence[Path], cache_dir: Path | None = None) -> Rules:
    """The compiled rules of these files and folders; what could not be obeyed is in `files.problems`.

    Raises ConfigError when a file cannot be read. `cache_dir` keeps compiled databases, by the hash of their patterns.
    """
    return Rules(read(paths), cache_dir)
