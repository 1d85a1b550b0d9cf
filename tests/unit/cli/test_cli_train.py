"""`darban train`: the model, its manifest, its card; what it cannot use is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mail import made_up
from gateway import __version__, classify
from gateway.classify.features import VERSION


def train(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "train", "--corpora", "mail", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **environment},
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for sample in made_up(120):
        place = tmp_path / "mail" / "own" / ("spam" if sample.is_spam else "ham") / f"{sample.path}.eml"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(sample.content)
    return tmp_path


EVALUATION = {
    "trials": [
        {
            "protocol": "half",
            "trained_on": "own, half",
            "pairs": [
                {
                    "spam": "own", "ham": "own", "language": language,
                    "ranking": {
                        "ham": 60, "spam": 60, "one_minus_auc": area, "recall": [0.9, 0.95],
                        "intervals": [[0.1, 0.3], [0.8, 1.0], [0.9, 1.0]],
                    },
                }
                for language, area in (("", 0.123), ("fa", 0.456), ("en", 0.789))
            ],
        }
    ]
}  # fmt: skip


def test_the_manifest_and_the_card(folder: Path) -> None:
    (folder / "evaluation.json").write_text(json.dumps(EVALUATION))
    done = train(folder, "--out", "new/mine", "--jobs", "1", "--json", "--seed", "7", "--metrics", "evaluation.json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    manifest = json.loads((folder / "new" / "mine" / "manifest.json").read_text())
    assert said == {"out": "new/mine", **manifest}
    assert manifest["training"] == {"seed": 7, "messages": 120, "passes": 0}
    assert (manifest["darban"], manifest["features"]["version"], manifest["created"]) == (__version__, VERSION, "")
    assert manifest["data"] == [{"name": "own", "ham": 60, "spam": 60, "terms": "own material"}]
    assert set(manifest["calibration"]) == {"slope", "offset", "log_loss", "brier"}
    assert manifest["use"] == "any"
    assert classify.load(folder / "new" / "mine").model_id == manifest["id"]
    assert sorted(path.name for path in (folder / "new").iterdir()) == ["mine"]  # no features are left behind
    card = (folder / "new" / "mine" / "card.md").read_text()
    for words in (
        manifest["id"],
        "| own | 60 | 60 | own material |",
        "0.123 [0.100, 0.300]",
        "90.0 / 95.0",
        "seed (7)",
    ):
        assert words in card
    assert card.index("## Persian") < card.index("0.456")
    assert "0.789" not in card
    assert "$" not in card


def test_the_same_bytes_whatever_the_hands_and_their_mathematics(folder: Path) -> None:
    for out, jobs, threads in (("1/m", "1", "1"), ("2/m", "3", "2")):
        done = train(folder, "--out", out, "--jobs", jobs, OPENBLAS_NUM_THREADS=threads, OMP_NUM_THREADS=threads)
        assert done.returncode == 0, done.stderr
    for name in ("weights.npz", "manifest.json", "card.md"):
        assert (folder / "1" / "m" / name).read_bytes() == (folder / "2" / "m" / name).read_bytes()


def one_class(folder: Path) -> None:
    for path in (folder / "mail" / "own" / "spam").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("arrange", "arguments", "said"),
    [
        (None, ("--exclude", "other"), "--exclude other: there is no such source in mail"),
        (None, ("--exclude", "own"), "--exclude leaves no source"),
        (one_class, (), "training needs both spam and ham"),
        (lambda folder: (folder / "mail" / "bad.tar.xz").write_bytes(b"x"), (), "mail/bad.tar.xz: cannot be read"),
        (lambda folder: (folder / "mail" / "empty" / "ham").mkdir(parents=True), (), "mail/empty: holds no message"),
        (None, ("--work", "nowhere"), "nowhere"),
        (None, ("--metrics", "nowhere.json"), "--metrics nowhere.json: No such file"),
        (lambda folder: (folder / "e.json").write_text("{}"), ("--metrics", "e.json"), "not an evaluation.json"),
        (lambda folder: (folder / "e.json").write_text("[1]"), ("--metrics", "e.json"), "not an evaluation.json"),
        (lambda folder: (folder / "e.json").write_text('{"trials": []}'), ("--metrics", "e.json"), "has no figures"),
        (None, ("--seed", "-1"), "Invalid value for '--seed'"),
        (None, ("--jobs", "0"), "Invalid value for '--jobs'"),
        (lambda folder: (folder / "new").write_text(""), (), "new"),
    ],
)
def test_what_it_cannot_use(folder: Path, arrange, arguments: tuple[str, ...], said: str) -> None:
    if arrange:
        arrange(folder)
    done = train(folder, "--out", "new/mine", *arguments)
    assert (done.returncode, len(done.stderr.splitlines()), done.stdout) == (2, 1, ""), done.stderr
    assert said in done.stderr
    assert not list(folder.glob("new/mine/*"))
