"""A model's card, from its manifest and the figures of an evaluation (`darban evaluate --report`), by card.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from gateway.errors import InputError

_NONE = "No evaluation was given (`darban train --metrics FILE`)."
_HEAD = (
    "| protocol | trained on | spam of | ham of | messages | (1-AUC)% | recall at 0.1 / 0.5 % false positives |\n"
    + "|---" * 7
    + "|"
)


def read_metrics(path: Path) -> dict[str, Any]:
    """An evaluation.json. Raises InputError when it is none, or of another schema."""
    try:
        evaluation = json.loads(path.read_text("utf-8"))
        rows = [*_rows(evaluation, ""), *_rows(evaluation, "fa")]
    except OSError as error:
        raise InputError(f"--metrics {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"--metrics {path}: not an evaluation.json of `darban evaluate --report` ({type(error).__name__}: {error})"
        ) from None
    if not rows:
        raise InputError(f"--metrics {path}: has no figures; evaluate with spam and ham")
    return dict(evaluation)


def write_card(manifest: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> str:
    """Markdown; the same manifest and evaluation give the same text."""
    sources = manifest["data"]
    persian = next((one for one in sources if one["name"].startswith("persian")), None)
    named = (
        f"{persian['ham']} ham and {persian['spam']} spam of {persian['name']}" if persian else "no source of its own"
    )
    told = _table(_rows(evaluation, "fa")) if evaluation else ""
    return Template(files("gateway.classify").joinpath("card.md").read_text("utf-8")).substitute(
        id=manifest["id"],
        sha256=manifest["sha256"],
        package=manifest["darban"],
        features=manifest["features"]["version"],
        algorithm=manifest["algorithm"][0].upper() + manifest["algorithm"][1:],
        use=manifest["use"],
        seed=manifest["training"]["seed"],
        messages=f"{manifest['training']['messages']:,}",
        data="\n".join(f"| {one['name']} | {one['ham']} | {one['spam']} | {one['terms']} |" for one in sources),
        log_loss=f"{manifest['calibration']['log_loss']:.3g}",
        brier=f"{manifest['calibration']['brier']:.3g}",
        metrics=_table(_rows(evaluation, "")) or "Not measured." if evaluation else _NONE,
        persian=f"Persian mail in training: {named}.{f'{chr(10) * 2}{told}{chr(10) * 2}' if told else ''}",
    )


def _table(rows: Iterator[str]) -> str:
    lines = list(rows)
    return "\n".join([_HEAD, *lines]) if lines else ""


def _rows(evaluation: Mapping[str, Any], language: str) -> Iterator[str]:
    """Of the pairs of every trial, in this language ("" is all)."""
    for trial in evaluation["trials"]:
        for pair in trial["pairs"]:
            if pair["language"] != language:
                continue
            ranking = pair["ranking"]
            low, high = ranking["intervals"][0]
            first, second = ranking["recall"]
            yield (
                f"| {trial['protocol']} | {trial['trained_on']} | {pair['spam']} | {pair['ham']} | "
                f"{ranking['spam']} + {ranking['ham']} | {ranking['one_minus_auc']:.3f} [{low:.3f}, {high:.3f}] | "
                f"{100 * first:.1f} / {100 * second:.1f} |"
            )
