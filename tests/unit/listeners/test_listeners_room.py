"""How much a door holds at once."""

from __future__ import annotations

import pytest

from gateway.listeners.room import FullError, Room


def test_shares_are_given_back_whatever_happens() -> None:
    room = Room(100)
    with room.share() as one:
        one.grow(60)
        with pytest.raises(FullError), room.share() as other:
            other.grow(40)
            assert room.used_bytes == 100
            other.grow(1)
        assert room.used_bytes == 60
    assert room.used_bytes == 0
