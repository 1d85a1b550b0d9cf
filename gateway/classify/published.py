"""The online model where the scorers find it: written whole, then named by one symbolic link, taken up without a gap.

    FOLDER/current -> NAME          renamed over the one before: it names a whole model, the old or the new one
    FOLDER/NAME/manifest.json       what it was made of, and the hash of the weights
    FOLDER/NAME/weights.npy         mapped into memory by every scorer: one copy for all

The one before stays for those that are just reading it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from gateway.classify.features import SIZE, VERSION
from gateway.classify.model import MANIFEST, Model, Reading
from gateway.errors import ConfigError
from gateway.types import MailObject

CURRENT, WEIGHTS = "current", "weights.npy"
_ADVICE = "the gateway writes it again when somebody teaches it, or starts"

log = structlog.get_logger("darban.classify")


def publish(folder: Path, model: Model, shipped: Model, facts: Mapping[str, Any]) -> str:
    """Make it the current one, and return its name; nothing is written when it is that already.

    Raises OSError, and then the one before stays current.
    """
    content = _npy(model)
    manifest = {
        "id": model.model_id,
        "base": shipped.model_id,
        "sha256": hashlib.sha256(content).hexdigest(),
        "features": {"version": VERSION},
        **facts,
    }
    if read_manifest(folder) == manifest and _is_sound(folder, shipped):
        return current(folder)
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{model.model_id}.{secrets.token_hex(4)}"
    place.mkdir()
    _write(place / WEIGHTS, content)
    _write(place / MANIFEST, (json.dumps(manifest, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode())
    before = current(folder)
    link = folder / f"{CURRENT}.{secrets.token_hex(4)}"
    link.symlink_to(place.name)
    link.replace(folder / CURRENT)
    for old in folder.iterdir():
        if old.is_dir() and not old.is_symlink() and old.name not in (place.name, before):
            shutil.rmtree(old, ignore_errors=True)
    return place.name


def withdraw(folder: Path) -> None:
    """The shipped model alone. Raises OSError."""
    (folder / CURRENT).unlink(missing_ok=True)


def current(folder: Path) -> str:
    """The name of the current one; "" where there is none."""
    try:
        return str((folder / CURRENT).readlink())
    except OSError:
        return ""


def read_manifest(folder: Path) -> dict[str, Any]:
    """The current one's; empty when there is none that can be read."""
    try:
        found = json.loads((folder / CURRENT / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def load(folder: Path, name: str, shipped: Model) -> Model | None:
    """The model of this name; None when it was made from another than this shipped one. Raises ConfigError."""
    place = folder / name
    try:
        manifest = json.loads((place / MANIFEST).read_text("utf-8"))
        model_id, base, digest = manifest["id"], manifest["base"], manifest["sha256"]
        if hashlib.sha256((place / WEIGHTS).read_bytes()).hexdigest() != digest:
            raise ConfigError(f"{place / WEIGHTS}: is not the file its manifest names; {_ADVICE}")
        weights = np.asarray(np.load(place / WEIGHTS, mmap_mode="r", allow_pickle=False))
    except OSError as error:
        raise ConfigError(f"{error.filename or place}: {error.strerror}; {_ADVICE}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{place}: not a model: {error}; {_ADVICE}") from None
    if base != shipped.model_id or manifest.get("features") != {"version": VERSION}:
        return None
    if weights.shape != (SIZE,) or weights.dtype != np.float32 or not np.isfinite(weights).all():
        raise ConfigError(f"{place / WEIGHTS}: not {SIZE} finite weights; {_ADVICE}")
    return shipped.with_weights(str(model_id), weights)


class CurrentModel:
    """Implements ports.Classifier: the published model, or the shipped one where none is published."""

    def __init__(self, shipped: Model, folder: Path) -> None:
        self._shipped = shipped
        self._folder = folder
        self._model = shipped
        self._taken = ""
        self.refresh()

    @property
    def model_id(self) -> str:
        """Of the model that judges now."""
        return self._model.model_id

    def read(self, mail: MailObject) -> Reading:
        """Judge one message."""
        return self._model.read(mail)

    def refresh(self) -> None:
        """Take up what was published since; one look at a link when nothing was. What is broken is not taken up."""
        while (name := current(self._folder)) != self._taken:
            self._taken = name
            try:
                # one of another base was written before the configuration changed: ours is on its way
                self._model = (load(self._folder, name, self._shipped) or self._model) if name else self._shipped
            except ConfigError as error:
                if name == current(self._folder):  # else it went while it was read, and a newer one is there
                    log.error("published model refused, the one before stays", error=str(error), model=self.model_id)


def _is_sound(folder: Path, shipped: Model) -> bool:
    try:
        return load(folder, current(folder), shipped) is not None
    except ConfigError:
        return False


def _npy(model: Model) -> bytes:
    import io

    out = io.BytesIO()
    np.lib.format.write_array(out, model.weights, allow_pickle=False)
    return out.getvalue()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
