"""Features as bytes for the ledger: nothing is lost, and no bytes do harm."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.classify.features import SIZE, extract
from gateway.classify.packed import pack, unpack
from tests.builders import mail, message_bytes


@given(st.sets(st.integers(0, SIZE - 1)))
def test_what_is_packed_comes_back_sorted(indices: set[int]) -> None:
    assert unpack(pack(np.array(list(indices), dtype=np.intp))).tolist() == sorted(indices)


def test_a_message_takes_about_a_byte_a_feature() -> None:
    words = ("".join(letters) for letters in itertools.permutations("abdefgilmnorst", 4))
    body = " ".join(itertools.islice(words, 0, 18_000, 40))
    indices, _ = extract(mail(message_bytes(body))).vector()
    assert len(indices) > 1000
    assert len(pack(indices)) < 1.3 * len(indices)


def planes(*gaps: int) -> bytes:
    return np.array(gaps, dtype="<u4").view(np.uint8).reshape(-1, 4).T.tobytes()


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"no deflate",
        pack(np.arange(9))[:-1],
        pack(np.arange(9)) + b"x",
        zlib.compress(b"abc"),
        zlib.compress(bytes(4 * SIZE + 4)),
        zlib.compress(planes(5, 0)),  # one feature twice
        zlib.compress(planes(5, SIZE)),  # beyond the space
        zlib.compress(planes(5, 0xFFFFFFFF)),
    ],
)
def test_other_bytes_are_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="packed features"):
        unpack(packed)


@given(st.binary(max_size=64).map(zlib.compress) | st.binary(max_size=64))
def test_any_bytes_give_indices_of_the_space_or_are_refused(packed: bytes) -> None:
    try:
        indices = unpack(packed)
    except ValueError:
        return
    assert sorted({*indices.tolist()}) == indices.tolist()
    assert not len(indices) or (indices[0] >= 0 and indices[-1] < SIZE)
