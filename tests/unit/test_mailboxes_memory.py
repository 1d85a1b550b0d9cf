"""mailboxes.py: the memory of a mailbox; looking itself is in tests/e2e/test_mailboxes.py, against a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.mailboxes import load, save
from gateway.policy.moves import Look, Memory


def test_the_memory_comes_back(tmp_path: Path) -> None:
    memory = Memory({"INBOX": Look(1, 2, 3.5), "&BkcGMQ-": Look(4, 5, 6.0)}, ("A", "B"), ("C",))
    save(tmp_path / "new" / "one.json", memory)
    save(tmp_path / "new" / "one.json", memory)
    assert load(tmp_path / "new" / "one.json") == memory
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["one.json"]


@pytest.mark.parametrize(
    "damaged",
    [b"", b"{}", b"[]", b"\xff", b'{"looks": {"INBOX": [1]}, "junk": [], "rescued": []}', b'{"looks": [], "junk": 1}'],
)
def test_a_damaged_memory_is_a_first_look(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "one.json").write_bytes(damaged)
    assert load(tmp_path / "one.json") == Memory()
    assert load(tmp_path / "none.json") == Memory()
