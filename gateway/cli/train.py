"""`darban train`: a model from labelled mail. Needs the `train` extra (scikit-learn).

The verb is a group that works by itself: what else is fitted to labelled mail is a command below it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from gateway.cli import train_scores
from gateway.cli.progress import track_progress
from gateway.errors import InputError

TERMS = {
    "spamassassin": "public corpus, repackaged under PDDL/CC0; texts belong to their senders",
    "list_usrp_users": "public list archive",
    "bounces_sisimai": "BSD-2-Clause",
    "persian_text": "none stated by the source",
    "phishing_pot": "CC BY-NC 4.0: non-commercial use only",
    "nazario": "none stated; research use with credit",
}
_FREE = frozenset(("spamassassin", "list_usrp_users", "bounces_sisimai", "persian_text"))


app = typer.Typer(invoke_without_command=True)
app.command("scores")(train_scores.scores)


@app.callback()
def train(
    context: typer.Context,
    corpora: Path | None = typer.Option(
        None, "--corpora", help="Folder with packs or with NAME/ham and NAME/spam folders."
    ),
    out: Path | None = typer.Option(None, "--out", help="Folder of the new model."),
    exclude: list[str] = typer.Option([], "--exclude", help="A source to leave out (repeatable)."),
) -> None:
    """Train a model and write it with its manifest and card."""
    if context.invoked_subcommand is not None:
        if corpora or out or exclude:
            raise InputError(f"write the options behind the word {context.invoked_subcommand}")
        return
    if corpora is None or out is None:
        raise InputError("write --corpora FOLDER and --out FOLDER; see darban train --help")
    from gateway.classify import corpus, model
    from gateway.classify import train as training

    training.require_learning()
    sources = {name: path for name, path in corpus.sources(corpora).items() if name not in exclude}
    unknown = set(exclude) - set(corpus.sources(corpora))
    if unknown:
        raise InputError(f"--exclude {sorted(unknown)[0]}: there is no such source in {corpora}")
    matrix = training.extract_sources(sources, progress=track_progress)
    fitted = training.fit(matrix)
    described = training.describe_sources(matrix, TERMS)
    facts = {
        "created": os.environ.get("SOURCE_DATE", ""),
        "data": described,
        "use": "any" if set(sources) <= _FREE else "non-commercial: see the terms of each source",
        "algorithm": "logistic regression, balanced by source and class; Platt calibration on held-out folds",
    }
    manifest = model.save(out, fitted.weights, (fitted.bias, fitted.slope, fitted.offset), facts)
    (out / "card.md").write_text(_card(manifest), "utf-8")
    typer.echo(f"{manifest['id']}: {matrix.rows.shape[0]} messages, {len(sources)} sources, in {out}")


def _card(manifest: dict[str, Any]) -> str:
    rows = "\n".join(f"| {one['name']} | {one['ham']} | {one['spam']} | {one['terms']} |" for one in manifest["data"])
    return f"""# Model {manifest["id"]}

Judges whether a message is unwanted, from its text, subject, links and structure. Use: {manifest["use"]}.

| source | ham | spam | terms |
|---|---|---|---|
{rows}

{manifest["algorithm"]}. Features: version {manifest["features"]["version"]} (gateway/classify/features.py).

Limits: the sources are mostly mailing-list ham and spam of other years; across sources recall falls and false positives
rise (docs/model.md has the figures). It is one hit among others, weighted by the CLASSIFIER score line, and its
"not spam" counts half.
"""
