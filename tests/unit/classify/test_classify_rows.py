"""Packed features: packing loses nothing, shards are bounded, and what is broken on disk is named."""

from __future__ import annotations

import resource
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.classify import rows
from gateway.classify.corpus import Sample
from gateway.classify.features import SIZE
from gateway.classify.rows import Labelled, Rows, Shards, fold_of, join, pack, read_shard
from gateway.errors import InputError

vectors = st.lists(
    st.dictionaries(st.integers(0, SIZE - 1), st.sampled_from([0.25, 0.5, 1.0]), max_size=12).map(
        lambda found: (np.array(list(found), dtype=np.intp), np.array(list(found.values()), dtype=np.float32))
    ),
    min_size=1,
    max_size=5,
)


def packed(given: list, first: int = 0) -> Rows:
    samples = [Sample("own", str(first + turn), turn % 2 == 0, b"") for turn in range(len(given))]
    return pack(samples, ["en"] * len(given), given)


@given(vectors)
def test_a_matrix_holds_what_was_packed(given: list) -> None:
    matrix = packed(given).matrix()
    assert matrix.shape == (len(given), SIZE)
    for number, (indices, values) in enumerate(given):
        row = matrix[number].tocoo()
        assert dict(zip(row.col.tolist(), row.data.tolist(), strict=True)) == dict(
            zip(indices.tolist(), values.tolist(), strict=True)
        )
        assert (np.diff(matrix[number].indices) > 0).all()


@given(st.lists(vectors, min_size=1, max_size=4))
def test_joining_is_packing_together(parts: list) -> None:
    firsts = np.cumsum([0, *map(len, parts)]).tolist()
    joined = join([packed(part, first) for part, first in zip(parts, firsts[:-1], strict=True)]).matrix()
    assert (joined != packed([vector for part in parts for vector in part]).matrix()).nnz == 0


def some_parts(number: int) -> list[Rows]:
    vector = (np.arange(100), np.ones(100, np.float32))
    return [packed([vector] * 4, 4 * turn) for turn in range(number)]


@pytest.mark.parametrize("limit", ["SHARD_ROWS", "SHARD_FEATURES"])
def test_shards_end_at_either_limit_and_keep_the_order(tmp_path: Path, monkeypatch, limit: str) -> None:
    monkeypatch.setattr(rows, limit, {"SHARD_ROWS": 8, "SHARD_FEATURES": 800}[limit])
    shards = Shards(tmp_path)
    shards.write(some_parts(5))
    assert [len(read_shard(path, Labelled).is_spam) for path in shards.files] == [8, 8, 4]
    assert [path for shard in shards.files for path in read_shard(shard, Rows).paths] == [str(n) for n in range(20)]
    assert (shards.features, shards.groups) == (2000, Counter({("own", True): 10, ("own", False): 10}))
    assert sum(shards.folds.values()) == 20


def test_a_shard_that_is_not_whole(tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    shards.write(some_parts(1))
    for content in (shards.files[0].read_bytes()[:-50], b"", b"PK"):
        shards.files[0].write_bytes(content)
        with pytest.raises(InputError, match="not a shard of features"):
            read_shard(shards.files[0], Rows)


def test_a_disk_that_does_not_take_them(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"File too large; --work names another folder"):
            Shards(tmp_path).write(some_parts(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_fold_is_told_by_the_path_alone() -> None:
    paths = [f"spam/{number}" for number in range(500)] + ["ham/\udce9"]
    folds = fold_of(paths).tolist()
    assert folds == fold_of(paths[::-1]).tolist()[::-1]
    assert min(Counter(folds).values()) > 60
