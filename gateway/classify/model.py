"""The model that serves: weights in an npz file (no pickle), checked against its manifest. Implements ports.Classifier.

probability = logistic(slope * (weights . x + bias) + offset); slope and offset are the calibration, fitted on held-out
messages. Needs numpy only.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.classify.explanation import contributions
from gateway.classify.features import SIZE, VERSION, Features, extract
from gateway.errors import ConfigError, InputError
from gateway.types import Contribution, MailObject, Prediction

WEIGHTS, MANIFEST = "weights.npz", "manifest.json"

Weights = NDArray[np.float32]


class Reading(NamedTuple):
    """Implements ports.Reading: the prediction, and what its explanation is made of."""

    prediction: Prediction
    features: Features
    weights: Weights  # of each feature where it counts, else 0
    slope: float

    def explain(self) -> tuple[Contribution, ...]:
        """What spoke loudest; see explanation.py."""
        return contributions(self.features, self.weights, self.slope)


@dataclass(frozen=True, slots=True)
class Model:
    """Weights and calibration."""

    model_id: str
    weights: NDArray[np.float32]  # (SIZE,)
    bias: float
    slope: float
    offset: float

    @staticmethod
    def load(folder: Path) -> Model:
        """Raises ConfigError."""
        manifest = read_manifest(folder)
        path = folder / WEIGHTS
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        if hashlib.sha256(content).hexdigest() != manifest.get("sha256"):
            raise ConfigError(f"{path}: is not the file its manifest names; copy the model folder again")
        features = manifest.get("features")
        if not isinstance(features, dict) or features.get("version") != VERSION:
            raise ConfigError(f"{folder / MANIFEST}: made for other features; train it again with `darban train`")
        try:
            with np.load(path, allow_pickle=False) as arrays:
                weights = arrays["weights"].astype(np.float32)
                bias, slope, offset = (float(value) for value in arrays["calibration"])
        except (ValueError, TypeError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise ConfigError(f"{path}: not a model: {error}") from None
        if weights.shape != (SIZE,):
            raise ConfigError(f"{path}: {weights.shape} weights where {SIZE} belong")
        if not (np.isfinite(weights).all() and all(map(math.isfinite, (bias, slope, offset)))):
            raise ConfigError(f"{path}: holds weights that are no numbers; train it again with `darban train`")
        return Model(str(manifest["id"]), weights, bias, slope, offset)

    def with_weights(self, model_id: str, weights: Weights) -> Model:
        """The same bias and calibration under other weights."""
        return replace(self, model_id=model_id, weights=weights)

    def decide(self, features: Features) -> float:
        """Log-odds of spam."""
        return self._log_odds(features, self._weights(features))

    def read(self, mail: MailObject) -> Reading:
        """The probability; what it is made of costs more, and is asked of the reading."""
        features = extract(mail)
        weights = self._weights(features)
        log_odds = max(-30.0, min(30.0, self._log_odds(features, weights)))
        return Reading(Prediction(1.0 / (1.0 + math.exp(-log_odds)), self.model_id), features, weights, self.slope)

    def refresh(self) -> None:
        """It stays what it is."""

    def _weights(self, features: Features) -> Weights:
        """The weight of each feature where it counts, else 0."""
        weights = self.weights.take(features.indices)
        weights *= features.counted
        return weights

    def _log_odds(self, features: Features, weights: Weights) -> float:
        score = sum([float(np.add.reduce(weights[where])) * scale for where, scale in features.by_part()])
        return self.slope * (score + self.bias) + self.offset


def save(
    folder: Path, weights: NDArray[np.float32], calibration: tuple[float, float, float], facts: dict[str, Any]
) -> dict[str, Any]:
    """Write weights and manifest; the same input gives the same bytes. Returns the manifest.

    Raises InputError for weights that half precision does not hold: the model that was there stays.
    """
    with np.errstate(over="ignore"):
        stored = weights.astype(np.float16)
    if not (np.isfinite(stored).all() and np.isfinite(calibration).all()):
        raise InputError(f"{folder}: training found weights that are no numbers or above 65,504; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    content = _npz(weights=stored, calibration=np.array(calibration, dtype=np.float64))
    (folder / WEIGHTS).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    manifest = {
        "id": f"{folder.name}-{digest[:12]}",
        "sha256": digest,
        "features": {"version": VERSION, "size": SIZE},
        **facts,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
    return manifest


def _npz(**arrays: NDArray[Any]) -> bytes:
    """np.savez_compressed stamps the time of day; this does not."""
    import io

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            body = io.BytesIO()
            np.lib.format.write_array(body, array, allow_pickle=False)
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), body.getvalue(), zipfile.ZIP_DEFLATED
            )
    return out.getvalue()


def read_manifest(folder: Path) -> dict[str, Any]:
    """What the model of this folder says of itself. Raises ConfigError."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; [classifier] model names a folder with a manifest") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from None
    if not isinstance(manifest, dict) or "id" not in manifest:
        raise ConfigError(f"{path}: has no id")
    return manifest
