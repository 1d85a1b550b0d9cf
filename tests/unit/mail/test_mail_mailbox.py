"""Messages in files, folders, Maildirs and mboxes: each once, whole, in a fixed order."""

from __future__ import annotations

import mailbox
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InputError
from gateway.mail.mailbox import list_mailbox

ONE, TWO = b"Subject: one\n\ntext\nFrom here on\n", b"Subject: two\n\nbody\n\nFromage\n"


def listed(place: Path) -> list[tuple[str, bytes]]:
    return [(name.removeprefix(str(place)), read()) for name, read in list_mailbox(place)]


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (b"From a@b Mon Sep 21 13:33:20 2026\n" + ONE + b"\nFrom c@d Mon Sep 21 13:33:20 2026\n" + TWO, [ONE, TWO]),
        (b"From a@b x\r\nA: 1\r\n\r\nx\r\n\r\nFrom b@c y\r\nB: 2\r\n\r\n", [b"A: 1\r\n\r\nx\r\n", b"B: 2\r\n\r\n"]),
        (b"From a@b x\n\nFrom b@c y\nB: 2\n", [b"", b"B: 2\n"]),
    ],
)
def test_an_mbox_is_cut_at_from_lines_behind_empty_ones(tmp_path: Path, content: bytes, messages: list[bytes]) -> None:
    (tmp_path / "box").write_bytes(content)
    assert listed(tmp_path / "box") == [(f":{number}", one) for number, one in enumerate(messages)]


def test_what_pythons_mbox_writes_is_read(tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "box")
    for one in (ONE, TWO):
        box.add(one)
    box.close()
    assert [content.rstrip() for _, content in listed(tmp_path / "box")] == [
        ONE.replace(b"\nFrom", b"\n>From").rstrip(), TWO.rstrip()
    ]  # fmt: skip


def test_a_message_with_its_envelope_line_is_no_mbox_unless_named_so(tmp_path: Path) -> None:
    content = b"From a@b x\n" + ONE
    for name in ("one.eml", "one.mbox"):
        (tmp_path / name).write_bytes(content)
    assert listed(tmp_path / "one.eml") == [("", content)]
    assert listed(tmp_path / "one.mbox") == [(":0", ONE)]


def test_a_maildir_has_no_halves_and_a_folder_its_subfolders(tmp_path: Path) -> None:
    for name in ("cur/b:2,S", "new/a", "tmp/half"):
        path = tmp_path / "Maildir" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ONE)
    (tmp_path / "Maildir" / "dovecot.index").write_bytes(b"not mail")
    assert [name for name, _ in listed(tmp_path / "Maildir")] == ["/cur/b:2,S", "/new/a"]
    (tmp_path / "z.eml").write_bytes(TWO)
    assert [name for name, _ in listed(tmp_path)] == [
        "/Maildir/cur/b:2,S", "/Maildir/dovecot.index", "/Maildir/new/a", "/z.eml"
    ]  # fmt: skip


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone: No such file"):
        listed(tmp_path / "gone")


@given(st.lists(st.binary(max_size=60).map(lambda body: body.replace(b"From ", b"From_")), min_size=2, max_size=6))
def test_what_is_put_together_comes_apart(tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]) -> None:
    place = tmp_path_factory.mktemp("box") / "box.mbox"
    whole = [b"A: b\n\n" + body + b"\n" for body in bodies]
    place.write_bytes(b"\n".join(b"From a@b x\n" + one for one in whole))
    assert [content for _, content in listed(place)] == whole
