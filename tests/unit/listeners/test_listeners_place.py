"""Where a door listens."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gateway.listeners.place import bind, is_private


def test_a_path_is_taken_over_from_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first, second = bind(f"unix:{path}"), bind(f"unix:{path}")
    with first, second, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        second.settimeout(1)
        second.accept()[0].close()
    assert path.stat().st_mode & 0o777 == 0o660
    assert [one.name for one in tmp_path.iterdir()] == ["s"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        bind(f"unix:{tmp_path}/no/s")


def test_a_port_is_shared() -> None:
    with bind("127.0.0.1:0") as one, bind(f"127.0.0.1:{one.getsockname()[1]}"):
        pass


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
