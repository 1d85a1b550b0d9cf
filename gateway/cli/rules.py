"""`darban rules check|explain`: rule files looked at before they are switched on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.rules.rule import Problem

app = typer.Typer(no_args_is_help=True, help="Check and explain rule files.")

_PATHS = typer.Argument(None, help="Rule files or folders; the shipped ones when left out.")


@app.command("check")
def check(
    paths: list[Path] = _PATHS,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Also list what is only worth a note."),
) -> None:
    """Name every line that is not understood, run the rules' own tests, look for names that lead nowhere."""
    from gateway import rules
    from gateway.checks import FINDINGS
    from gateway.rules import report as reports
    from gateway.scan.conclude import CLASSIFIER

    report = reports.check(rules.load(_given(paths)), FINDINGS | {CLASSIFIER})
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "rules": report.rules,
                    "tests": report.tests,
                    "failures": _objects(report.failures),
                    "problems": _objects(report.problems),
                    "warnings": _objects(report.warnings),
                },
                ensure_ascii=False,
            )
        )
    else:
        notes = [*report.problems, *report.warnings]
        for problem in (*report.failures, *(one for one in notes if verbose or one.severity != "note")):
            typer.echo(f"{problem.place}: {problem.severity}: {problem.reason}")
        left = sum(1 for one in notes if one.severity == "note")
        typer.echo(f"{report.rules} rules, {report.tests} tests, {len(report.failures)} failed, {left} notes")
    raise typer.Exit(1 if report.has_errors else 0)


@app.command("explain")
def explain(name: str = typer.Argument(..., help="A rule or finding."), paths: list[Path] = _PATHS) -> None:
    """Say in words what a rule matches, what it scores and where it is defined."""
    from gateway import rules
    from gateway.rules import report

    try:
        typer.echo(report.explain(rules.load(_given(paths)), name))
    except KeyError:
        raise InputError(f"{name}: no rule and no finding of that name") from None


def _given(paths: Sequence[Path] | None) -> list[Path]:
    from gateway.config.shipped import rules_path

    return list(paths or ()) or [rules_path()]


def _objects(problems: Sequence[Problem]) -> list[dict[str, object]]:
    return [
        {
            "file": one.place.path,
            "line": one.place.line,
            "severity": one.severity,
            "reason": one.reason,
            "text": one.text,
        }
        for one in problems
    ]
