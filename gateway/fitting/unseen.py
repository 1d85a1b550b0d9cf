"""What the classifier says of mail it has not seen: of the mail it was trained on it thinks too well of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gateway.classify import train as training
from gateway.classify.model import read_manifest
from gateway.classify.workers import Workers
from gateway.fitting.judged import Judged


def unseen(
    judged: Judged,
    model: Path,
    sources: dict[str, Path],
    workers: Workers,
    *,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Judged:
    """The same messages; for the sources the model was trained on with the probability by folds that left them out."""
    trained = {str(one["name"]) for one in read_manifest(model).get("data", ())} & sources.keys()
    inside = np.isin(judged.sources, sorted(trained))
    if not inside.any():
        return judged
    matrix = training.extract_sources({name: sources[name] for name in trained}, workers=workers, progress=progress)
    assert matrix.paths.tolist() == judged.paths[inside].tolist()
    probability = judged.probability.copy()
    probability[inside] = 1.0 / (1.0 + np.exp(-np.clip(training.fit(matrix).held_out, -30.0, 30.0)))
    return replace(judged, probability=probability)
