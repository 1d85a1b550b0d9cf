"""`darban evaluate`: how well training on these corpora, or a given model, judges mail it has not seen."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway import __version__
from gateway.cli.progress import track_progress
from gateway.cli.train import TERMS
from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.classify.evaluate.cases import Case, Kind
    from gateway.classify.evaluate.stream import Stream
    from gateway.classify.evaluate.trial import Pair, Trial
    from gateway.classify.model import Model
    from gateway.classify.train import Matrix

_PROTOCOLS = ("half", "across", "time", "online", "all")
_FEATURES = {"body": (False, False), "body+relations": (True, False), "all": (True, True)}  # relations, header's words


def evaluate(
    corpora: list[Path] = typer.Option(
        ..., "--corpora", help="Folder with packs, or with NAME/ham and NAME/spam (repeatable)."
    ),
    protocol: str = typer.Option("all", help="half, across, time, online or all."),
    features: str = typer.Option("all", help="Ablation: body, body+relations or all."),
    model: Path | None = typer.Option(None, "--model", help="Judge with this model; train nothing but online."),
    cases: Path | None = typer.Option(None, "--cases", help="Folder of hard cases (.case files)."),
    report: Path | None = typer.Option(None, "--report", help="Folder for evaluation.html and evaluation.json."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object a line."),
) -> None:
    """Per source and language: (1-AUC)%, recall at small rates of false positives, calibration; 95 % intervals."""
    from gateway import classify
    from gateway.classify import corpus
    from gateway.classify import train as training
    from gateway.classify.evaluate.cases import load_cases
    from gateway.classify.evaluate.report import Evaluation, write

    training.require_learning()
    if protocol not in _PROTOCOLS or features not in _FEATURES:
        raise InputError(f"write --protocol {'|'.join(_PROTOCOLS)} and --features {'|'.join(_FEATURES)}")
    given = classify.load(model) if model else None
    hard = load_cases(cases) if cases else []
    relations, words = _FEATURES[features]
    found = corpus.sources(corpora)
    matrix = training.extract_sources(found, progress=track_progress, relations=relations, header_words=words)
    trials, streams, kinds = [], [], []
    for trial in _trials(matrix, protocol, given):
        trials.append(trial)
        _print(trial, [_trial_lines(trial)], as_json=as_json)
    for stream in _streams(matrix, protocol, given):
        streams.append(stream)
        _print(stream, [[_stream_line(stream)]], as_json=as_json)
    for kind in _judge_cases(hard, matrix, given):
        kinds.append(kind)
        _print(kind, [[_kind_line(kind)]], as_json=as_json)
    if report:
        described = tuple(training.describe_sources(matrix, TERMS))
        write(report, Evaluation(__version__, features, described, tuple(trials), tuple(streams), tuple(kinds)))


def _trials(matrix: Matrix, protocol: str, given: Model | None) -> Iterator[Trial]:
    from gateway.classify.evaluate import attempt, judge
    from gateway.classify.evaluate.splits import splits

    if given is not None:
        yield judge(given, matrix)
    elif protocol != "online":
        for split in track_progress(list(splits(matrix, protocol)), "training and testing"):
            yield attempt(matrix, split)


def _streams(matrix: Matrix, protocol: str, given: Model | None) -> Iterator[Stream]:
    from gateway.classify.evaluate.stream import streams

    if protocol == "online" or (protocol == "all" and given is None):
        yield from track_progress(streams(matrix, given), "learning message by message")


def _judge_cases(cases: Sequence[Case], matrix: Matrix, given: Model | None) -> Iterator[Kind]:
    """By the model alone, and by the whole gateway as it ships with that model in it."""
    from gateway.app.pipeline import load_pipeline
    from gateway.app.places import cache_dir
    from gateway.classify.evaluate.cases import tell
    from gateway.classify.evaluate.stream import served
    from gateway.classify.train import fit
    from gateway.config.settings import Settings

    if not cases:
        return
    settings = Settings()
    pipeline = load_pipeline(settings, cache_dir(settings), offline=True)()
    pipeline.classifier = given or served(fit(matrix), "these corpora")
    tag_at = settings.domain[0].tag_at
    alone, together = [], []
    for case in track_progress(cases, "judging hard cases"):
        verdict = asyncio.run(pipeline.score(case.envelope, case.content))
        alone.append(verdict.prediction is not None and verdict.prediction.probability > 0.5)
        together.append(verdict.score >= tag_at)
    yield from tell(cases, {"classifier": alone, "gateway": together})


# --- what is printed -------------------------------------------------------------------------------------------------


def _print(figures: Trial | Stream | Kind, lines: Sequence[Sequence[str]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"type": type(figures).__name__.lower(), **dataclasses.asdict(figures)}))
    else:
        typer.echo("\n".join(line for block in lines for line in block))


def _trial_lines(trial: Trial) -> list[str]:
    from gateway.classify.evaluate.report import share_text

    lines = [f"{trial.protocol}: {trial.trained_on} -> {trial.tested_on}", *map(_pair_line, trial.pairs)]
    for one in trial.flagged:
        words = "spam caught" if one.is_spam else "ham flagged"
        language = f" ({one.language})" if one.language else ""
        lines.append(f"  above {trial.threshold:.2f}: {one.source}{language}, {words} {share_text(one.flagged)}")
    return lines


def _pair_line(pair: Pair) -> str:
    ranking, (area, *of_recall) = pair.ranking, pair.ranking.intervals
    recall = " / ".join(
        f"{100 * one:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        for one, (low, high) in zip(ranking.recall, of_recall, strict=True)
    )
    sources = pair.spam if pair.spam == pair.ham else f"spam of {pair.spam} against ham of {pair.ham}"
    return (
        f"  {sources}{f' ({pair.language})' if pair.language else ''}: "
        f"(1-AUC)% {ranking.one_minus_auc:.3f} [{area[0]:.3f}, {area[1]:.3f}], "
        f"recall at 0.1/0.5 % false positives {recall}; log-loss {pair.calibration.log_loss:.3f}, "
        f"ECE {pair.calibration.expected_error:.3f}"
    )


def _stream_line(one: Stream) -> str:
    from gateway.classify.evaluate.report import share_text

    return (
        f"online: {one.messages}, from {one.start}, feedback {one.feedback}, {'caps' if one.caps else 'no caps'}: "
        f"(1-AUC)% {one.one_minus_auc:.3f} [{one.interval[0]:.3f}, {one.interval[1]:.3f}], {one.lessons} lessons; "
        f"last quarter: ham flagged {share_text(one.last_false_positives)}, spam missed {share_text(one.last_missed)}"
    )


def _kind_line(kind: Kind) -> str:
    right = ", ".join(f"{judge} {number}" for judge, number in kind.right.items())
    return f"hard cases: {kind.kind} ({'spam' if kind.is_spam else 'ham'}, {kind.cases}): right by {right}"
