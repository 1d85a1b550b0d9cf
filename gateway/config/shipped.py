"""Where the rules and models that ship are: beside the package in a checkout, inside it when installed from a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def rules_path() -> Path:
    """The folder of the shipped rule files."""
    return _shipped("rules")


def model_path() -> Path:
    """The folder of the shipped default model."""
    return _shipped("models") / "default"


def _shipped(name: str) -> Path:
    packaged = _PACKAGE / "shipped" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name
