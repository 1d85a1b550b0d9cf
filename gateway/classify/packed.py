"""The features of a message as bytes, for the training ledger: which ones there are, sorted; about one byte each.

Their values need no room: a feature counts once, and each part of the space has unit length (features.py).
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from gateway.classify.features import SIZE

_MAX_FEATURES = SIZE
_WIDTH = 4  # bytes of an index


def pack(indices: NDArray[np.intp]) -> bytes:
    """Distances between neighbours, byte planes apart (the high ones are zeros), deflated."""
    gaps = np.diff(np.unique(indices), prepend=0).astype("<u4")
    return zlib.compress(gaps.view(np.uint8).reshape(-1, _WIDTH).T.tobytes(), 6)


def unpack(packed: bytes) -> NDArray[np.intp]:
    """(n,) different feature indices, sorted. Raises ValueError for what `pack` cannot have made."""
    inflater = zlib.decompressobj()
    try:
        planes = inflater.decompress(packed, _WIDTH * _MAX_FEATURES + 1)
    except zlib.error as error:
        raise ValueError(f"not packed features: {error}") from None
    if len(planes) % _WIDTH or not inflater.eof or inflater.unused_data:
        raise ValueError("not packed features: cut off, or too long")
    gaps = np.frombuffer(planes, np.uint8).reshape(_WIDTH, -1).T.copy().view("<u4").ravel()
    indices = np.cumsum(gaps, dtype=np.int64)
    if len(indices) and (int(indices[-1]) >= SIZE or not gaps[1:].all()):
        raise ValueError("not packed features: not different indices of this space")
    return indices
