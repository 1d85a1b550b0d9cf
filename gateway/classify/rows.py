"""Packed features of many samples, and the shards they wait in on disk.

A row is ascending indices and the runs of equal values along them: a feature's value is the scale of its kind, so a row
has two or three runs, and takes 4 bytes a feature where a matrix takes 8. A shard is an npz file (no pickle).
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from gateway.classify.corpus import Sample
from gateway.classify.features import SIZE
from gateway.errors import InputError

_Kind = TypeVar("_Kind", bound="Packed")

FOLDS = 5
SHARD_ROWS = 16_384
SHARD_FEATURES = 1 << 24  # 64 MiB of indices: what a worker holds of a shard while it sums is five times that


@dataclass(frozen=True, slots=True)
class Packed:
    """Features of n samples."""

    indices: NDArray[np.uint32]  # of all rows, one behind the other
    bounds: NDArray[np.int64]  # (n + 1,) where each row starts in indices
    run_values: NDArray[np.float32]  # of all rows
    run_lengths: NDArray[np.uint32]  # of the same runs; the sum is len(indices)

    def matrix(self, kind: type[np.floating[Any]] = np.float32) -> Any:
        """(n, SIZE) scipy CSR."""
        from scipy.sparse import csr_matrix

        values = np.repeat(self.run_values.astype(kind), self.run_lengths)
        return csr_matrix((values, self.indices.view(np.int32), self.bounds), shape=(len(self.bounds) - 1, SIZE))


@dataclass(frozen=True, slots=True)
class Labelled(Packed):
    """And what training goes by."""

    is_spam: NDArray[np.bool_]  # (n,)
    sources: NDArray[np.str_]  # (n,)
    folds: NDArray[np.uint8]  # (n,) the fold each is held out in, by its path alone


@dataclass(frozen=True, slots=True)
class Rows(Labelled):
    """And what evaluation tells apart."""

    paths: NDArray[np.str_]  # (n,)
    dates: NDArray[np.str_]  # (n,) ISO, "" unknown
    languages: NDArray[np.str_]  # (n,)


def pack(
    samples: Sequence[Sample], languages: Sequence[str], vectors: Sequence[tuple[NDArray[Any], NDArray[np.float32]]]
) -> Rows:
    """Rows of samples, at least one, by the (indices, values) of each, where an index stands once."""
    orders = [np.argsort(found, kind="stable") for found, _ in vectors]
    indices = [found[order] for (found, _), order in zip(vectors, orders, strict=True)]
    values = np.concatenate([scaled[order] for (_, scaled), order in zip(vectors, orders, strict=True)])
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(values)])
    return Rows(
        indices=np.concatenate(indices).astype(np.uint32),
        bounds=np.cumsum([0, *map(len, indices)]),
        run_values=values[starts],
        run_lengths=np.diff(np.append(starts, len(values))).astype(np.uint32),
        is_spam=np.array([sample.is_spam for sample in samples]),
        sources=np.array([sample.source for sample in samples]),
        paths=np.array([sample.path for sample in samples]),
        dates=np.array([sample.date for sample in samples]),
        languages=np.array(languages),
        folds=fold_of(sample.path for sample in samples),
    )


def join(parts: Sequence[Rows]) -> Rows:
    """All rows, in this order."""
    sizes = np.cumsum([0, *(len(part.indices) for part in parts)])
    bounds = [part.bounds[1:] + start for part, start in zip(parts, sizes[:-1], strict=True)]
    joined = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Rows)
        if field.name != "bounds"
    }
    return Rows(bounds=np.concatenate([[0], *bounds]).astype(np.int64), **joined)


def fold_of(paths: Iterable[str]) -> NDArray[np.uint8]:
    """(n,) of paths inside their sources."""
    digests = (hashlib.sha256(os.fsencode(path)).hexdigest() for path in paths)
    return np.array([int(digest, 16) % FOLDS for digest in digests], dtype=np.uint8)


class Shards:
    """Rows on disk, in files of a bounded size, and what must be known of all of them together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []
        self.features = 0
        self.groups: Counter[tuple[str, bool]] = Counter()  # samples of each source and class
        self.folds: Counter[tuple[int, bool]] = Counter()  # samples of each fold and class

    def write(self, parts: Iterable[Rows]) -> None:
        """Append parts in their order; a shard ends where a part does. Raises InputError when the disk is full."""
        waiting: list[Rows] = []
        for part in parts:
            waiting.append(part)
            rows, features = sum(len(one.is_spam) for one in waiting), sum(len(one.indices) for one in waiting)
            if rows >= SHARD_ROWS or features >= SHARD_FEATURES:
                self._append(join(waiting))
                waiting = []
        if waiting:
            self._append(join(waiting))

    def _append(self, rows: Rows) -> None:
        path = self.folder / f"{len(self.files):06}.npz"
        try:
            with path.open("wb") as file:
                np.savez(file, allow_pickle=False, **{field.name: getattr(rows, field.name) for field in fields(Rows)})
        except OSError as error:
            raise InputError(f"{self.folder}: {error.strerror}; --work names another folder for the features") from None
        self.files.append(path)
        self.features += len(rows.indices)
        labels = rows.is_spam.tolist()
        self.groups.update(zip(rows.sources.tolist(), labels, strict=True))
        self.folds.update(zip(rows.folds.tolist(), labels, strict=True))


def read_shard(path: Path, kind: type[_Kind]) -> _Kind:
    """As much of it as Rows, Labelled or Packed ask for. Raises InputError when it is not whole."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return kind(**{field.name: arrays[field.name] for field in fields(kind)})
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError(f"{path}: not a shard of features: {error}") from None
