"""`darban evaluate`: how well training on these corpora judges mail it has not seen, per source."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway.cli.progress import track_progress
from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.classify.evaluate import Result

_PROTOCOLS = ("half", "across", "time", "all")


def evaluate(
    corpora: Path = typer.Option(..., "--corpora", help="Folder with packs or with NAME/ham and NAME/spam folders."),
    protocol: str = typer.Option("all", help="half, across, time or all."),
    features: str = typer.Option("all", help="Ablation: body, or all."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object a line."),
) -> None:
    """Train and test by a protocol; print (1-AUC)%, recall at 0.1 % and 0.5 % false positives, 95 % intervals."""
    from gateway.classify import corpus
    from gateway.classify import evaluate as evaluation
    from gateway.classify import train as training

    training.require_learning()
    if protocol not in _PROTOCOLS or features not in ("body", "all"):
        raise InputError(f"write --protocol {'|'.join(_PROTOCOLS)} and --features body|all")
    matrix = training.extract_sources(corpus.sources(corpora), progress=track_progress, relations=features == "all")
    for result in evaluation.trials(matrix, protocol):
        typer.echo(json.dumps(dataclasses.asdict(result)) if as_json else _line(result))


def _line(result: Result) -> str:
    return (
        f"{result.protocol}: {result.trained_on} -> {result.tested_on} ({result.ham} ham, {result.spam} spam): "
        f"{_ranking(result)}at the training side's 0.1 % threshold: "
        f"{_percent(result.false_positives)} of ham, {_percent(result.recall_at_fixed)} of spam"
    )


def _ranking(result: Result) -> str:
    """What needs both classes."""
    if result.one_minus_auc is None:
        return ""
    (least, most), *of_recall = result.intervals
    recall = " / ".join(
        f"{_percent(one)} [{100 * low:.1f}, {100 * high:.1f}]"
        for one, (low, high) in zip(result.recall, of_recall, strict=True)
    )
    return (
        f"(1-AUC)% {result.one_minus_auc:.3f} [{least:.3f}, {most:.3f}], recall at 0.1/0.5 % false positives {recall}; "
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
