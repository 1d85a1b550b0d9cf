"""Who reaches a door."""

from __future__ import annotations

import pytest

from gateway.listeners.place import is_private


@pytest.mark.parametrize(
    ("place", "private"),
    [
        ("127.0.0.1:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/run/s", True),
        ("0.0.0.0:1", False),
        ("192.0.2.1:1", False),
        ("mx.example:1", False),
    ],
)
def test_who_reaches_it(place: str, private: bool) -> None:
    assert is_private(place) is private
