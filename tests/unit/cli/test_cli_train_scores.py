"""`darban train scores` on a small corpus of own messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli import app
from gateway.errors import InputError
from tests.builders import message_bytes
from tests.compiled_rules import COMPILED

RULES = """
body OFFER /cheap watches/
score OFFER 2.0
body POLITE /kind regards/
score POLITE 1.0
body RARE /zebra/
score RARE 1.0
body DECIDED /secret word/
score DECIDED 1.0
tflags DECIDED userconf
body PART /watches/
score PART 0
score CLASSIFIER 6.0
"""


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources; spam offers watches, and everybody is polite, ham more so."""
    folder = tmp_path_factory.mktemp("corpora")
    for source in ("shop", "office"):
        for number in range(40):
            secret = "the secret word, " if number % 3 == 0 else ""
            zebra = "a zebra, " if number == 5 else ""
            polite = "kind regards" if number % 4 else "bye"
            spam = f"{secret}{zebra}cheap watches number {number}, {polite if number % 2 else 'buy'}\r\n"
            ham = f"{secret}the meeting about plan {number} is on Monday, {polite}\r\n"
            for label, body in (("spam", spam), ("ham", ham)):
                place = folder / source / label / f"{label}{number:02}.eml"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(message_bytes(body, Subject=f"About {number}"))
    return folder


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "10_own.cf").write_text(RULES)
    return tmp_path / "rules"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def train_scores(*arguments: str | Path) -> None:
    app(["train", "scores", *map(str, arguments)], standalone_mode=False)


def test_scores_move_as_the_mail_says(
    corpora: Path, rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = rules / "50_scores.cf"
    train_scores("--corpora", corpora, "--rules", rules, "--out", out, "--json")
    said = json.loads(capsys.readouterr().out)
    changes = {one["name"]: one for one in said["changes"]}
    assert set(changes) == {"CLASSIFIER", "OFFER", "POLITE", "RARE"}  # neither what is decided nor what is off
    assert (changes["OFFER"]["ham"], changes["OFFER"]["spam"]) == (0, 80)
    assert changes["OFFER"]["fitted"] >= 2.0
    assert changes["POLITE"]["fitted"] < 0.85
    assert 0.9 < changes["RARE"]["fitted"] < 1.1
    assert {one["source"]: (one["ham"], one["spam"]) for one in said["held"]} == {"shop": (40, 40), "office": (40, 40)}
    assert said["thresholds"] == [5.0, 8.0]
    first = out.read_bytes()
    assert f"score POLITE {changes['POLITE']['fitted']:.2f}".encode() in first
    assert b"DECIDED" not in first
    train_scores("--corpora", corpora, "--rules", rules, "--out", out)  # what it wrote is not what authors wrote
    assert out.read_bytes() == first
    assert "POLITE (" in capsys.readouterr().out


def test_without_out_nothing_is_written(corpora: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(rules.iterdir())
    train_scores("--corpora", corpora, "--rules", rules, "--exclude", "office")
    assert sorted(rules.iterdir()) == before
    said = capsys.readouterr().out
    assert "40 ham, 40 spam" in said
    assert "office" not in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--exclude", "nowhere"), "--exclude nowhere: there is no such source"),
        (("--exclude", "shop", "--exclude", "office"), "--exclude leaves no source"),
        (("--rules", "missing"), "missing: no such rule file or folder"),
        (("--model", "missing"), "missing/manifest.json"),
    ],
)
def test_bad_input(corpora: Path, more: tuple[str, ...], said: str) -> None:
    from gateway.errors import DarbanError

    with pytest.raises(DarbanError, match=said):
        train_scores("--corpora", corpora, *more)


def test_one_class_alone(tmp_path: Path, rules: Path) -> None:
    (tmp_path / "c" / "own" / "ham").mkdir(parents=True)
    (tmp_path / "c" / "own" / "ham" / "1").write_bytes(message_bytes())
    with pytest.raises(InputError, match="both spam and ham"):
        train_scores("--corpora", tmp_path / "c", "--rules", rules)


def test_the_trained_sources_are_judged_by_folds(corpora: Path, rules: Path, tmp_path: Path) -> None:
    """A model that has seen the mail is surer of it than folds that have not."""
    from gateway.app.pipeline import load_pipeline
    from gateway.classify import corpus
    from gateway.classify.workers import LocalWorkers
    from gateway.config.settings import ClassifierSettings, Rules, Settings
    from gateway.fitting.judged import judge
    from gateway.fitting.unseen import unseen

    model = tmp_path / "model"
    app(["train", "--corpora", str(corpora), "--exclude", "office", "--out", str(model)], standalone_mode=False)
    sources = corpus.sources([corpora])
    settings = Settings(rules=Rules(paths=(str(rules),)), classifier=ClassifierSettings(model=str(model)))
    judged = judge(sources, load_pipeline(settings, COMPILED, offline=True), LocalWorkers(2))
    held = unseen(judged, model, sources, LocalWorkers(2))
    is_shop = judged.sources == "shop"
    assert (held.probability[~is_shop] == judged.probability[~is_shop]).all()
    assert (held.probability[is_shop] != judged.probability[is_shop]).all()
