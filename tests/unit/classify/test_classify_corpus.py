"""Labelled mail: packs, tables, folders, Maildirs, mboxes; what is broken is named in one line."""

from __future__ import annotations

import io
import lzma
import mailbox
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from gateway.classify.corpus import Sample, in_chunks, read_source, read_sources, sources
from gateway.errors import InputError

INDEX = "path\tlabel\tdate\tmail_from\nspam/a\tspam\t2024-01-01\ta@example.org\nham/b\tham\t\t\nphish/c\tphish\t\t\n"


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:xz", preset=0) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"dev-own/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def read(folder: Path) -> list[Sample]:
    return list(read_sources(sources([folder])))


def test_a_pack_comes_in_the_order_of_its_paths(tmp_path: Path) -> None:
    contents = {"spam/a": b"A: 1\n\nx\n", "phish/c": b"C: 1\r\n", "index.tsv": INDEX.encode(), "ham/b": b"B\n"}
    pack(tmp_path / "own.tar.xz", contents)
    ham, phish, spam = read(tmp_path)
    assert (ham.path, ham.is_spam, ham.content) == ("ham/b", False, b"B\r\n")
    assert (phish.path, phish.is_spam, phish.content) == ("phish/c", True, b"C: 1\r\n")
    assert spam == Sample("own", "spam/a", True, b"A: 1\r\n\r\nx\r\n", "2024-01-01", "a@example.org")


def test_a_pack_is_not_held_in_memory(tmp_path: Path) -> None:
    size, number = 1 << 18, 64
    rows = "".join(f"ham/{turn}\tham\n" for turn in range(number))
    index = {"index.tsv": f"path\tlabel\n{rows}".encode()}
    pack(tmp_path / "own.tar.xz", index | {f"ham/{turn}": b"x" * size for turn in range(number)})
    tracemalloc.start()
    assert sum(len(sample.content) for sample in read_source("own", tmp_path / "own.tar.xz")) == size * number
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * size


def test_a_table_of_texts(tmp_path: Path) -> None:
    with lzma.open(tmp_path / "own.tsv.xz", "wt") as file:
        file.write('Label\tText\nspam\tbuy\\nnow\nham\tsee "you\nham\nham\ta<b\\n&\n')
    spam, ham, page = read(tmp_path)
    assert (spam.is_spam, spam.content.partition(b"\r\n\r\n")[2]) == (True, b"buy\r\nnow\r\n")
    assert (ham.is_spam, ham.path, ham.content.partition(b"\r\n\r\n")[2]) == (
        False,
        "1",
        b'<html><body><p>see "you</p></body></html>\r\n',
    )
    assert (
        page.content
        == b"Content-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>a&lt;b<br>\r\n&amp;</p></body></html>\r\n"
    )


def test_several_folders(tmp_path: Path) -> None:
    for name in ("one/shop", "two/office", "three/shop"):
        (tmp_path / name / "ham").mkdir(parents=True)
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    assert sources([one, two]) == {"shop": one / "shop", "office": two / "office"}
    assert sources([one, two], ["shop"]) == {"office": two / "office"}
    with pytest.raises(InputError, match=r"shop: .*one/shop has the same name"):
        sources([one, three])
    with pytest.raises(InputError, match=r"--exclude bank: there is no such source in .*one, .*two$"):
        sources([one, two], ["bank"])


def test_folders_maildirs_and_mboxes(tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "own" / "ham.mbox") if (tmp_path / "own").mkdir() is None else None
    assert box is not None
    box.add(b"A: 1\n\nx\n")
    box.add(b"A: 2\n\ny\n")
    box.close()
    for name in ("cur/2:2,S", "new/1", "tmp/0"):
        (tmp_path / "own" / "spam" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / "spam" / name).write_bytes(b"B: 1\n")
    (tmp_path / "own" / "phish" / "old").mkdir(parents=True)
    (tmp_path / "own" / "phish" / "old" / "x.eml").write_bytes(b"C: 1\n")
    assert [(one.path, one.is_spam) for one in read(tmp_path)] == [
        ("ham.mbox:0", False),
        ("ham.mbox:1", False),
        ("spam/cur/2", True),
        ("spam/new/1", True),
        ("phish/old/x.eml", True),
    ]


def truncated(path: Path) -> None:
    pack(path / "own.tar.xz", {"index.tsv": INDEX.encode(), "ham/b": bytes(range(256)) * 400})
    content = (path / "own.tar.xz").read_bytes()
    (path / "own.tar.xz").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: (path / "own.tar.xz").write_bytes(b"nothing"), "own.tar.xz: cannot be read"),
        (lambda path: (path / "own.tar.xz").write_bytes(b""), "own.tar.xz: cannot be read"),
        (truncated, "own.tar.xz: cannot be read"),
        (lambda path: pack(path / "own.tar.xz", {"ham/b": b"x"}), "own.tar.xz: has no index.tsv"),
        (lambda path: pack(path / "own.tar.xz", {"index.tsv": b"a\tb\n"}), "no columns path and label"),
        (lambda path: pack(path / "own.tar.xz", {"index.tsv": INDEX.encode()}), "own.tar.xz: holds no message"),
        (
            lambda path: pack(path / "own.tar.xz", {"index.tsv": b"path\tlabel\nx\tHam\n", "x": b"x"}),
            "own.tar.xz: x: label 'Ham'",
        ),
        (lambda path: (path / "own.tsv.xz").write_bytes(lzma.compress(b"a\tb\n1\t2\n")), "no columns label and text"),
        (lambda path: (path / "own.tsv.xz").write_bytes(lzma.compress(b"label\ttext\nham\t\xff\n")), "cannot be read"),
        (lambda path: (path / "own.tsv.xz").write_bytes(lzma.compress(b"label\ttext\nmaybe\tx\n")), "line 2: label"),
        (lambda path: (path / "own" / "ham").mkdir(parents=True), "own: holds no message"),
        (lambda path: (path / "own").mkdir(), "no corpora there"),
        (lambda path: path.rmdir(), "is not a folder"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, make, said: str) -> None:
    make(tmp_path)
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_chunks_end_by_number_or_by_bytes() -> None:
    samples = [Sample("own", str(turn), False, b"x" * size) for turn, size in enumerate((1, 1, 1, 9, 1, 20, 1))]
    sizes = [[len(one.content) for one in chunk] for chunk in in_chunks(iter(samples), 3, 10)]
    assert sizes == [[1, 1, 1], [9, 1], [20], [1]]
