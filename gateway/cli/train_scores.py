"""`darban train scores`: the scores of rules and findings, fitted on labelled mail. Needs the `train` extra."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway.cli.progress import track_progress

if TYPE_CHECKING:
    from gateway.classify.workers import Workers
    from gateway.fitting.outcome import Held, Outcome

_SHOWN = 20


def scores(
    corpora: list[Path] = typer.Option(
        ..., "--corpora", help="Folder with packs, or with NAME/ham and NAME/spam (repeatable)."
    ),
    rules: list[Path] = typer.Option([], "--rules", help="Rule files or folders (repeatable); without it what ships."),
    model: Path | None = typer.Option(None, "--model", help="Folder of the classifier's model; without it what ships."),
    out: Path | None = typer.Option(None, "--out", help="The rule file to write; without it only the summary is made."),
    exclude: list[str] = typer.Option([], "--exclude", help="A source to leave out (repeatable)."),
    jobs: int | None = typer.Option(None, "--jobs", min=1, help="Processes; as many as there are cores by default."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Fit the scores of rules and findings, and the classifier's weight, on labelled mail.

    A score moves from what the rule files say as far as the mail asks for, and keeps its sign; scores that mail cannot
    tell (tflags net, userconf, learn, firm, fixed) stay. The file belongs behind the rules: later score lines win.
    """
    from gateway.classify import corpus
    from gateway.classify import train as training
    from gateway.classify.workers import LocalWorkers
    from gateway.config.shipped import model_path, rules_path
    from gateway.fitting import rule_file

    training.require_learning()
    sources = corpus.sources(corpora, exclude)
    files = rule_file.authored_files(rules or [rules_path()])
    outcome = _fit(sources, files, model or model_path(), LocalWorkers(jobs))
    if out is not None:
        out.write_text(rule_file.text_of(outcome), "utf-8")
    typer.echo(json.dumps(dataclasses.asdict(outcome)) if as_json else "\n".join(_summary(outcome)))


def _fit(sources: dict[str, Path], files: list[Path], model: Path, workers: Workers) -> Outcome:
    from gateway.app.pipeline import load_pipeline
    from gateway.app.places import cache_dir
    from gateway.classify.model import read_manifest
    from gateway.config.settings import ClassifierSettings, Rules, Settings
    from gateway.fitting.judged import judge
    from gateway.fitting.outcome import Thresholds, fit_and_check
    from gateway.fitting.table import make_table
    from gateway.fitting.unseen import unseen
    from gateway.rules.reader import read

    settings = Settings(rules=Rules(paths=tuple(map(str, files))), classifier=ClassifierSettings(model=str(model)))
    make_pipeline = load_pipeline(settings, cache_dir(settings), offline=True)
    judged = judge(sources, make_pipeline, workers, progress=partial(track_progress, words="judging mail"))
    judged = unseen(judged, model, sources, workers, progress=track_progress)
    policy = settings.domain[0]
    thresholds = Thresholds(policy.tag_at, policy.quarantine_at)
    return fit_and_check(judged, make_table(judged, read(files)), thresholds, str(read_manifest(model)["id"]))


def _summary(outcome: Outcome) -> list[str]:
    ham, spam = outcome.counts
    moved = sorted(outcome.changes, key=lambda one: (-abs(one.fitted - one.authored), one.name))
    return [
        f"{ham} ham, {spam} spam; {len(outcome.changes)} scores may change. The largest changes:",
        *(
            f"  {one.authored:6.2f} -> {one.fitted:5.2f}  {one.name} ({one.ham} ham, {one.spam} spam)"
            for one in moved[:_SHOWN]
            if one.fitted != one.authored
        ),
        "Held out, with the authors' scores -> with the fitted ones:",
        *(line for one in outcome.held for line in _held(one)),
    ]


def _held(one: Held) -> list[str]:
    from gateway.fitting.rule_file import describe

    lines = [f"  {line}" for line in describe(one)]
    if one.one_minus_auc:
        alone, authored, fitted = one.one_minus_auc
        lines.append(f"  {one.source} (1-AUC)%: {authored:.3f} -> {fitted:.3f}; the classifier alone {alone:.3f}")
    return lines
