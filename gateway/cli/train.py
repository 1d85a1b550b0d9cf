"""`darban train`: a model from labelled mail. Needs the `train` extra (scikit-learn).

The verb is a group that works by itself: what else is fitted to labelled mail is a command below it.
"""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from gateway import __version__
from gateway.cli import train_scores
from gateway.cli.progress import track_progress
from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.classify.workers import Workers

TERMS = {
    "spamassassin": "public corpus, repackaged under PDDL/CC0; texts belong to their senders",
    "list_usrp_users": "public list archive",
    "bounces_sisimai": "BSD-2-Clause",
    "persian_text": "none stated by the source",
    "own_mail": "written for Darban, under its licence",
    "phishing_pot": "CC BY-NC 4.0: non-commercial use only",
    "nazario": "none stated; research use with credit",
}
_RESTRICTED = frozenset(("phishing_pot", "nazario"))


app = typer.Typer(invoke_without_command=True)
app.command("scores")(train_scores.scores)


@app.callback()
def train(
    context: typer.Context,
    corpora: list[Path] = typer.Option(
        [],
        "--corpora",
        help="Folder with packs, or with NAME/ham and NAME/spam: folders of messages, Maildirs, mboxes (repeatable).",
    ),
    out: Path | None = typer.Option(None, "--out", help="Folder of the new model."),
    exclude: list[str] = typer.Option([], "--exclude", help="A source to leave out (repeatable)."),
    seed: int | None = typer.Option(
        None, "--seed", min=0, max=2**32 - 1, help="Of the solver; a fixed one by default."
    ),
    jobs: int | None = typer.Option(None, "--jobs", min=1, help="Processes; as many as there are cores by default."),
    work: Path | None = typer.Option(
        None, "--work", help="Where features wait (4 KB a message); beside --out by default."
    ),
    dask: str | None = typer.Option(None, "--dask", metavar="ADDRESS", help="Work on a Dask cluster: its scheduler."),
    metrics: Path | None = typer.Option(None, "--metrics", help="An evaluation.json, for the card."),
    as_json: bool = typer.Option(False, "--json", help="Print the summary as JSON."),
) -> None:
    """Train a model and write it with its manifest and card."""
    if context.invoked_subcommand is not None:
        if corpora or out or exclude:
            raise InputError(f"write the options behind the word {context.invoked_subcommand}")
        return
    if not corpora or out is None:
        raise InputError("write --corpora FOLDER and --out FOLDER; see darban train --help")
    from gateway.classify import card, corpus, model
    from gateway.classify import train as training

    training.require_learning()
    evaluation = card.read_metrics(metrics) if metrics else None
    sources = corpus.sources(corpora, exclude)
    seed = training.SEED if seed is None else seed
    out.parent.mkdir(parents=True, exist_ok=True)
    with _workers(dask, jobs) as workers, TemporaryDirectory(prefix=".features-", dir=work or out.parent) as folder:
        shards = training.extract_shards(sources, Path(folder), workers, track_progress)
        fitted = training.fit_shards(shards, workers, seed=seed, progress=partial(track_progress, words="training"))
    facts = {
        "created": os.environ.get("SOURCE_DATE", ""),
        "darban": __version__,
        "data": training.describe_groups(shards.groups, TERMS),
        "use": "non-commercial: see the terms of each source" if _RESTRICTED & set(sources) else "any",
        "algorithm": "linear support vector machine, balanced by source and class; Platt calibration on held-out folds",
        "training": {"seed": seed, "messages": shards.groups.total(), "passes": fitted.passes},
        "calibration": {name: round(value, 6) for name, value in fitted.calibration.items()},
    }
    manifest = model.save(out, fitted.weights, (fitted.bias, fitted.slope, fitted.offset), facts)
    (out / "card.md").write_text(card.write_card(manifest, evaluation), "utf-8")
    if as_json:
        typer.echo(json.dumps({"out": str(out), **manifest}, ensure_ascii=False))
    else:
        typer.echo(f"{manifest['id']}: {shards.groups.total()} messages, {len(sources)} sources, in {out}")


def _workers(dask: str | None, jobs: int | None) -> AbstractContextManager[Workers]:
    if dask is None:
        from gateway.classify.workers import LocalWorkers

        return nullcontext(LocalWorkers(jobs))
    from gateway.classify.cluster import DaskWorkers

    return DaskWorkers(dask)
