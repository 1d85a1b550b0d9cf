"""sockets.py: who serves which socket, what a reload keeps, binds and closes."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import sockets as module
from gateway.errors import ConfigError
from gateway.sockets import Sockets, check_free


@pytest.fixture
def made() -> Iterator[Sockets]:
    one = Sockets()
    yield one
    one.close()


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def is_open(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=5):
        return True
    return False


def test_each_process_has_a_socket_of_its_own(made: Sockets) -> None:
    first, second = free_address(), free_address()
    shares = made.share("smtp", [first, second], 2)
    assert [len(one) for one in shares] == [2, 2]
    assert len({id(one) for share in shares for one in share}) == 4
    assert {one.getsockname()[1] for one in shares[0]} == {one.getsockname()[1] for one in shares[1]}


def test_nobody_is_let_in_before_a_process_listens(made: Sockets) -> None:
    address = free_address()
    ((one,),) = made.share("smtp", [address])
    assert not is_open(address)
    one.listen()
    assert is_open(address)


@pytest.mark.parametrize(("before", "after"), [(2, 2), (1, 3), (4, 1), (3, 2)])
def test_a_reload_serves_every_socket_there_was(made: Sockets, before: int, after: int) -> None:
    address = free_address()
    old = {one for share in made.share("smtp", [address], before) for one in share}
    made.settle(is_taken=True)
    shares = made.share("smtp", [address], after)
    made.settle(is_taken=True)
    assert all(shares)
    assert old <= {one for share in shares for one in share}
    assert all(one.fileno() >= 0 for one in old)


def test_what_nobody_serves_any_more_is_closed(made: Sockets) -> None:
    first, second = free_address(), free_address()
    ((one,),) = made.share("smtp", [first])
    one.listen()
    made.settle(is_taken=True)
    made.share("smtp", [second])
    assert is_open(first)  # until the new generation is up
    made.settle(is_taken=True)
    assert not is_open(first)


def test_what_was_bound_for_nothing_is_closed(made: Sockets) -> None:
    first, second = free_address(), free_address()
    ((one,),) = made.share("smtp", [first])
    made.settle(is_taken=True)
    shares = made.share("smtp", [first, second], 2)
    made.settle(is_taken=False)
    assert one.fileno() >= 0
    assert [other.fileno() for share in shares for other in share if other is not one] == [-1, -1, -1]
    check_free([second])


def test_without_the_right_to_bind_one_more_they_share(made: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    address = free_address()
    ((one,),) = made.share("smtp", [address])

    def refused(*_: object) -> socket.socket:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(module, "bind", refused)
    assert made.share("smtp", [address], 3) == [[one], [one], [one]]
    with pytest.raises(ConfigError, match=r"^\[smtp\] listen: 127\.0\.0\.1:24: Permission denied; .*restart$"):
        made.share("smtp", ["127.0.0.1:24"])


def test_sockets_that_were_handed_over_stand_for_the_addresses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        made = Sockets({"smtp": [door]})
        assert made.share("smtp", ["127.0.0.1:1"], 2) == [[door], [door]]
        made.settle(is_taken=True)
        assert made.names() == {"smtp"}
        assert door.fileno() >= 0


def test_a_child_keeps_only_its_own() -> None:
    made, address = Sockets(), free_address()
    (mine,), (other,) = made.share("smtp", [address], 2)
    made.keep([mine])
    assert mine.fileno() >= 0
    assert other.fileno() == -1
    mine.close()


@pytest.mark.parametrize("kind", ["port", "path"])
def test_a_place_that_is_taken_is_said(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "door"
    with socket.socket(socket.AF_UNIX if kind == "path" else socket.AF_INET) as other:
        other.bind(str(path) if kind == "path" else ("127.0.0.1", 0))
        other.listen()
        address = f"unix:{path}" if kind == "path" else f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match="Address already in use; is another gateway running"):
            check_free([address])
    check_free([address])  # a path that is left over is nobody's


def test_an_address_that_is_not_ours_is_said(made: Sockets) -> None:
    with pytest.raises(ConfigError, match=r"^192\.0\.2\.1:25: .*; write an address of ours$"):
        check_free(["192.0.2.1:25"])
    with pytest.raises(ConfigError, match=r"^\[web\] listen: 192\.0\.2\.1:2525: .*; write an address of ours$"):
        made.share("web", ["192.0.2.1:2525"])


def test_a_unix_socket_takes_the_place_of_an_older_one(made: Sockets, tmp_path: Path) -> None:
    path = tmp_path / "door"
    for _ in range(2):
        ((one,),) = Sockets().share("milter", [f"unix:{path}"])
        one.listen()
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
    assert [child.name for child in tmp_path.iterdir()] == ["door"]
