"""`darban evaluate` on a little mail of our own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.classify import corpus, model, train
from gateway.classify.evaluate.report import HTML, JSON
from gateway.cli import app
from gateway.errors import InputError
from tests.builders import message_bytes

SPAM = ("Cheap pills, order now!", "You won $$$ a prize, click", "Hot stocks buy now", "خرید ویژه با تخفیف فوق العاده")
HAM = ("Minutes of the meeting", "The patch is merged", "Lunch at noon with Sara?", "جلسه فردا ساعت ده است")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label, texts in (("spam", SPAM), ("ham", HAM)):
        (tmp_path / "corpora" / "spamassassin" / label).mkdir(parents=True)
        for number in range(24):
            body = f"{texts[number % 4]} {number}\r\nand {texts[(number + 1) % 4]}\r\n"
            path = tmp_path / "corpora" / "spamassassin" / label / f"{label}{number}.eml"
            path.write_bytes(message_bytes(body, Subject=texts[number % 4]))
    (tmp_path / "cases").mkdir()
    for kind, expect, text in (("pharmacy", "spam", SPAM[0]), ("meetings", "ham", HAM[0])):
        case = f"# ours\nkind: {kind}\nexpect: {expect}\n---\n" + message_bytes(f"{text}\r\n", Subject=text).decode()
        (tmp_path / "cases" / f"{kind}.case").write_text(case.replace("\r\n", "\n"))
    return tmp_path


def run(folder: Path, *arguments: str) -> list[str]:
    done = CliRunner().invoke(app, ["evaluate", "--corpora", str(folder / "corpora"), *arguments])
    if done.exception is not None:
        raise done.exception
    return done.stdout.splitlines()


def test_lines_for_people(folder: Path) -> None:
    lines = run(folder, "--protocol", "half", "--cases", str(folder / "cases"))
    assert lines[0] == "half: spamassassin, half -> spamassassin, other half"
    assert re.fullmatch(
        r"  spamassassin: \(1-AUC\)% 0\.000 \[0\.000, 0\.000\], recall at 0\.1/0\.5 % false positives 100\.0 .*",
        lines[1],
    )
    assert any(
        re.fullmatch(r"  above -?\d+\.\d\d: spamassassin, spam caught 100\.00 % \[\S+, 100\.00\] \(11 of 11\)", one)
        for one in lines
    )
    assert any(
        re.fullmatch(r"  above \S+: spamassassin, ham flagged [\d.]+ % \[[\d.]+, [\d.]+\] \(\d+ of 14\)", one)
        for one in lines
    )
    assert "hard cases: pharmacy (spam, 1): right by classifier 1, gateway " in "\n".join(lines)
    assert "hard cases: meetings (ham, 1): right by classifier 1, gateway " in "\n".join(lines)


def test_json_and_report(folder: Path) -> None:
    out = folder / "new" / "report"
    lines = [json.loads(line) for line in run(folder, "--json", "--report", str(out), "--cases", str(folder / "cases"))]
    assert [line["type"] for line in lines] == ["trial", "trial", "kind", "kind"]  # undated: no stream
    report = json.loads((out / JSON).read_text())
    assert report["trials"] == [{key: value for key, value in line.items() if key != "type"} for line in lines[:2]]
    assert [one["kind"] for one in report["cases"]] == ["pharmacy", "meetings"]
    assert report["corpora"][0]["name"] == "spamassassin"
    assert (out / HTML).read_text().startswith("<!doctype html>")


def test_a_given_model_is_not_trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = train.fit(train.extract_sources(corpus.sources([folder / "corpora"])))
    manifest = model.save(folder / "m", fitted.weights, (fitted.bias, fitted.slope, fitted.offset), {"data": []})
    monkeypatch.setattr(train, "fit", None)
    monkeypatch.setattr("gateway.classify.evaluate.trial.fit", None)
    lines = run(folder, "--model", str(folder / "m"), "--cases", str(folder / "cases"))
    assert lines[0] == f"model: {manifest['id']} -> spamassassin"
    assert any("ham flagged" in line for line in lines)


def test_ablations_leave_words_out(folder: Path) -> None:
    """Only subject and display name tell the classes apart."""
    for label, texts in (("spam", SPAM), ("ham", HAM)):
        for number, path in enumerate(sorted((folder / "corpora" / "spamassassin" / label).iterdir())):
            subject, name = texts[number % 4], "" if texts is HAM else "Your Best Friend "
            path.write_bytes(message_bytes("the same text\r\n", Subject=subject, From=f"{name}<sara@example.org>"))

    def areas(features: str) -> list[float]:
        lines = [json.loads(line) for line in run(folder, "--json", "--protocol", "half", "--features", features)]
        return [line["pairs"][0]["ranking"]["one_minus_auc"] for line in lines]

    assert areas("all") == [0, 0]
    assert areas("body") == areas("body+relations") == [50, 50]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--protocol", "thirds"), "write --protocol half|across|time|online|all"),
        (("--features", "none"), "--features body|body+relations|all"),
        (("--cases", "."), "no .case files there"),
    ],
)
def test_what_it_cannot_use(
    folder: Path, arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "corpora")
    with pytest.raises(InputError, match=re.escape(said)):
        run(folder, *arguments)
