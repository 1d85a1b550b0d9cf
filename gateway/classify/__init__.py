"""The trained classifier: features, the model that serves (numpy), and training (scikit-learn, only when asked)."""

from __future__ import annotations

from pathlib import Path

from gateway.classify.model import Model


def load(folder: Path) -> Model:
    """The model of this folder. Raises ConfigError when a file is missing, changed, or of another version."""
    return Model.load(folder)
