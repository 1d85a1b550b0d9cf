"""The model that serves, and training: the same corpora give the same bytes, files are checked, predictions explained."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from gateway import classify
from gateway.classify import corpus, model, train
from gateway.classify.features import SIZE, VERSION, extract
from gateway.classify.model import MANIFEST, WEIGHTS, Model
from gateway.errors import ConfigError, InputError
from tests.builders import mail, message_bytes

SHIPPED = sorted(one.parent for one in (Path(__file__).parents[3] / "models").glob("*/manifest.json"))
SPAM = ("Cheap pills, order now!", "You won $$$ a prize, click", "Hot stocks buy now", "خرید ویژه با تخفیف")
HAM = ("Minutes of the meeting", "The patch is merged", "Lunch at noon with Sara?", "جلسه فردا ساعت ده است")


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    for label, texts in (("spam", SPAM), ("ham", HAM)):
        (tmp_path / "own" / label).mkdir(parents=True)
        for number in range(24):
            body = f"{texts[number % 4]} {number}\r\nand {texts[(number + 1) % 4]}\r\n"
            (tmp_path / "own" / label / f"{number}.eml").write_bytes(message_bytes(body, Subject=texts[number % 4]))
    return tmp_path


def trained(corpora: Path, out: Path) -> Model:
    fitted = train.fit(train.extract_sources(corpus.sources([corpora])))
    model.save(out, fitted.weights, (fitted.bias, fitted.slope, fitted.offset), {"data": []})
    return classify.load(out)


def test_training_is_reproducible_to_the_byte(corpora: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "1" / "m", tmp_path / "2" / "m"
    trained(corpora, first)
    trained(corpora, second)
    assert (first / WEIGHTS).read_bytes() == (second / WEIGHTS).read_bytes()
    assert (first / MANIFEST).read_text() == (second / MANIFEST).read_text()


def test_it_learns_and_says_why(corpora: Path, tmp_path: Path) -> None:
    ours = trained(corpora, tmp_path / "m")
    spam, ham = mail(message_bytes("Order cheap pills now!\r\n")), mail(message_bytes("The minutes of the meeting\r\n"))
    assert ours.read(spam).prediction.probability > 0.5 > ours.read(ham).prediction.probability
    assert any("pills" in one.value for one in ours.read(spam).explain() if one.weight > 0)
    assert any("meeting" in one.value for one in ours.read(ham).explain() if one.weight < 0)


def test_served_is_what_was_trained(corpora: Path, tmp_path: Path) -> None:
    """The sparse product of training and the sums of serving agree (weights are stored in half precision)."""
    matrix = train.extract_sources(corpus.sources([corpora]))
    fitted = train.fit(matrix)
    model.save(tmp_path / "m", fitted.weights, (fitted.bias, fitted.slope, fitted.offset), {})
    served = classify.load(tmp_path / "m")
    samples = list(corpus.read_source("own", corpora / "own"))
    scores = [served.decide(extract(mail(sample.content))) for sample in samples]
    assert scores == pytest.approx(fitted.log_odds(matrix.rows).tolist(), abs=0.01)


def test_held_out_scores_are_of_every_sample(corpora: Path) -> None:
    matrix = train.extract_sources(corpus.sources([corpora]))
    fitted = train.fit(matrix)
    assert fitted.held_out.shape == matrix.is_spam.shape
    assert (fitted.held_out[matrix.is_spam].mean() > 0) and (fitted.held_out[~matrix.is_spam].mean() < 0)


def test_there_must_be_mail() -> None:
    with pytest.raises(InputError, match="hold no message"):
        train.extract_sources({})


def test_training_needs_both_classes(corpora: Path) -> None:
    matrix = train.extract_sources(corpus.sources([corpora]))
    with pytest.raises(InputError, match="both"):
        train.fit(matrix.part(matrix.is_spam))


def put(folder: Path, content: bytes) -> None:
    """These weights, as if they were the manifest's."""
    (folder / WEIGHTS).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text()) | {"sha256": hashlib.sha256(content).hexdigest()}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def put_arrays(folder: Path, **arrays: np.ndarray) -> None:
    out = io.BytesIO()
    np.savez(out, **arrays)
    put(folder, out.getvalue())


NOTHING, EVEN = np.zeros(SIZE, np.float16), np.array((0.0, 1.0, 0.0))


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda folder: (folder / MANIFEST).unlink(), "names a folder with a manifest"),
        (lambda folder: (folder / WEIGHTS).unlink(), "No such file"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"PK"), "is not the file its manifest names"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "not JSON"),
        (lambda folder: (folder / MANIFEST).write_text("[]"), "has no id"),
        (lambda folder: (folder / MANIFEST).write_bytes(b"\xff"), "not JSON"),
        (lambda folder: put(folder, b""), "not a model"),
        (lambda folder: put(folder, (folder / WEIGHTS).read_bytes()[:-40]), "not a model"),
        (lambda folder: put(folder, b"\x93NUMPY"), "not a model"),
        (lambda folder: put_arrays(folder, weights=NOTHING), "not a model"),
        (lambda folder: put_arrays(folder, weights=NOTHING, calibration=EVEN[:2]), "not a model"),
        (lambda folder: put_arrays(folder, weights=np.array(["x"] * SIZE), calibration=EVEN), "not a model"),
        (lambda folder: put_arrays(folder, weights=NOTHING[:7], calibration=EVEN), "(7,) weights where"),
        (lambda folder: put_arrays(folder, weights=NOTHING.reshape(2, -1), calibration=EVEN), "weights where"),
        (lambda folder: put_arrays(folder, weights=NOTHING + np.nan, calibration=EVEN), "no numbers"),
        (lambda folder: put_arrays(folder, weights=NOTHING + np.inf, calibration=EVEN), "no numbers"),
        (lambda folder: put_arrays(folder, weights=NOTHING, calibration=EVEN / 0), "no numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_broken_model_is_refused(tmp_path: Path, break_it, says: str) -> None:
    model.save(tmp_path, np.zeros(SIZE, np.float32), (0.0, 1.0, 0.0), {})
    break_it(tmp_path)
    with pytest.raises(ConfigError) as caught:
        classify.load(tmp_path)
    assert says in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weight", [np.nan, np.inf, 1e9])
def test_weights_that_cannot_be_stored_leave_the_model_that_was_there(tmp_path: Path, weight: float) -> None:
    before = model.save(tmp_path, np.zeros(SIZE, np.float32), (0.0, 1.0, 0.0), {})
    with pytest.raises(InputError, match="nothing was written"):
        model.save(tmp_path, np.full(SIZE, weight, np.float32), (0.0, 1.0, 0.0), {})
    assert classify.load(tmp_path).model_id == before["id"]


@pytest.mark.parametrize(("size", "version"), [(SIZE, VERSION - 1), (SIZE // 2, VERSION)])
def test_a_model_of_other_features_is_refused(tmp_path: Path, size: int, version: int) -> None:
    manifest = model.save(tmp_path, np.zeros(size, np.float32), (0.0, 1.0, 0.0), {})
    manifest["features"]["version"] = version
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ConfigError):
        classify.load(tmp_path)


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_shipped_models(folder: Path) -> None:
    shipped = classify.load(folder)
    assert (folder / WEIGHTS).stat().st_size < 4 << 20
    assert shipped.model_id.startswith(f"{folder.name}-")
    assert shipped.model_id in (folder / "card.md").read_text()
    spam = "You have WON! Claim your $1,000,000 lottery prize now, send your bank details. Viagra cheap.\r\n"
    ham = "Attached is the patch we talked about yesterday; the build passes on my machine. Thanks!\r\n"
    assert shipped.read(mail(message_bytes(spam, Subject="Claim your prize"))).prediction.probability > 0.9
    assert shipped.read(mail(message_bytes(ham, Subject="Re: build"))).prediction.probability < 0.1


def test_the_manifest_tells_features_and_hash(tmp_path: Path) -> None:
    manifest = model.save(tmp_path / "mine", np.zeros(SIZE, np.float32), (0.0, 1.0, 0.0), {"use": "any"})
    assert manifest["features"]["version"] == VERSION
    assert manifest["id"] == f"mine-{manifest['sha256'][:12]}"
    assert classify.load(tmp_path / "mine").model_id == manifest["id"]


def test_an_empty_message_is_judged(tmp_path: Path) -> None:
    model.save(tmp_path, np.zeros(SIZE, np.float32), (0.0, 1.0, 0.0), {})
    empty = classify.load(tmp_path)
    assert (empty.read(mail(b"")).prediction.probability, empty.read(mail(b"")).explain()) == (0.5, ())
