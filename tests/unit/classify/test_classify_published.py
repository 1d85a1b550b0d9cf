"""The published model: whole or not at all, taken up without a gap, and never when it is broken."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gateway.classify import published
from gateway.classify.features import SIZE
from gateway.classify.model import MANIFEST, Model
from gateway.classify.published import CURRENT, WEIGHTS, CurrentModel
from tests.builders import mail, message_bytes

SHIPPED = Model("shipped-1", np.zeros(SIZE, np.float32), 0.5, 2.0, 0.25)
MAIL = mail(message_bytes("Hello\r\n"))


def taught(number: int = 1) -> Model:
    return SHIPPED.with_weights(f"shipped-1+{number}-0000000{number}", np.full(SIZE, number / 8, np.float32))


def publish(folder: Path, number: int = 1) -> str:
    return published.publish(folder, taught(number), SHIPPED, {"lessons": number})


def test_it_is_taken_up_and_given_up(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    current = CurrentModel(SHIPPED, folder)
    assert current.read(MAIL).prediction == SHIPPED.read(MAIL).prediction
    publish(folder)
    assert current.model_id == "shipped-1", "not before it is told to look"
    current.refresh()
    assert current.model_id == "shipped-1+1-00000001"
    assert current.read(MAIL).prediction == taught().read(MAIL).prediction
    assert current.read(MAIL).prediction.probability != SHIPPED.read(MAIL).prediction.probability
    published.withdraw(folder)
    published.withdraw(folder)
    current.refresh()
    assert current.read(MAIL).prediction == SHIPPED.read(MAIL).prediction


def test_one_that_starts_later_has_it_at_once(tmp_path: Path) -> None:
    publish(tmp_path)
    assert CurrentModel(SHIPPED, tmp_path).model_id == "shipped-1+1-00000001"


def test_the_weights_are_mapped_not_copied(tmp_path: Path) -> None:
    publish(tmp_path)
    found = published.load(tmp_path, published.current(tmp_path), SHIPPED)
    assert found is not None
    assert str((tmp_path / CURRENT).resolve() / WEIGHTS) in Path("/proc/self/maps").read_text()
    assert not found.weights.flags.writeable


def test_what_is_published_already_is_not_written_again(tmp_path: Path) -> None:
    name = publish(tmp_path)
    assert publish(tmp_path) == name
    other = published.publish(tmp_path, taught(), SHIPPED, {"lessons": 2})
    assert other != name
    assert published.read_manifest(tmp_path)["lessons"] == 2


def test_only_the_last_two_are_kept(tmp_path: Path) -> None:
    names = [publish(tmp_path, number) for number in range(1, 5)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([CURRENT, *names[-2:]])


def damaged(where: str) -> Callable[[Path], None]:
    def manifest(folder: Path, **changes: object) -> None:
        path = folder / MANIFEST
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def weights(folder: Path, array: np.ndarray) -> None:
        import hashlib

        np.save(folder / WEIGHTS, array)
        manifest(folder, sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest())

    return {
        "weights cut off": lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-9]),
        "weights changed": lambda folder: (folder / WEIGHTS).write_bytes(
            (folder / WEIGHTS).read_bytes()[:-4] + bytes(4)
        ),
        "weights gone": lambda folder: (folder / WEIGHTS).unlink(),
        "manifest gone": lambda folder: (folder / MANIFEST).unlink(),
        "manifest cut off": lambda folder: (folder / MANIFEST).write_text("{"),
        "manifest a list": lambda folder: (folder / MANIFEST).write_text("[]"),
        "no hash": lambda folder: (folder / MANIFEST).write_text('{"id": "x", "base": "shipped-1"}'),
        "not numbers": lambda folder: weights(folder, np.full(SIZE, np.nan, np.float32)),
        "too few": lambda folder: weights(folder, np.zeros(9, np.float32)),
        "another type": lambda folder: weights(folder, np.zeros(SIZE, np.float64)),
    }[where]


@pytest.mark.parametrize(
    "where",
    ["weights cut off", "weights changed", "weights gone", "manifest gone", "manifest cut off", "manifest a list", "no hash",
     "not numbers", "too few", "another type"],
)  # fmt: skip
def test_a_broken_one_keeps_the_one_before(tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path, 1)
    current = CurrentModel(SHIPPED, tmp_path)
    publish(tmp_path, 2)
    damaged(where)((tmp_path / CURRENT).resolve())
    current.refresh()
    assert current.model_id == "shipped-1+1-00000001"
    told = capsys.readouterr().out
    assert "published model refused, the one before stays" in told
    current.refresh()
    assert capsys.readouterr().out == "", "said once"
    publish(tmp_path, 2)  # writes it again, as it is broken
    current.refresh()
    assert current.model_id == "shipped-1+2-00000002"


def test_one_made_from_another_shipped_model_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path)
    other = Model("other-1", SHIPPED.weights, 0.0, 1.0, 0.0)
    assert CurrentModel(other, tmp_path).model_id == "other-1"
    assert capsys.readouterr().out == ""


def test_readers_meet_a_whole_model_at_every_moment(tmp_path: Path) -> None:
    publish(tmp_path)
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            current = CurrentModel(SHIPPED, tmp_path)
            seen.add((current.model_id, current.read(MAIL).prediction.probability))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 30):
        publish(tmp_path, number % 5 + 1)
    stop.set()
    reader.join()
    whole = {(model.model_id, model.read(MAIL).prediction.probability) for model in map(taught, range(1, 6))}
    assert seen <= whole
