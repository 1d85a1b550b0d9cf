"""`darban rules check|explain|import`: rule files looked at before they are switched on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway.errors import InputError

if TYPE_CHECKING:
    from gateway.rules.report import Report
    from gateway.rules.rule import Problem

app = typer.Typer(no_args_is_help=True, help="Check, explain and import rule files.")

_PATHS = typer.Argument(None, help="Rule files or folders; the shipped ones when left out.")
_JSON = typer.Option(False, "--json", help="Print one JSON object.")
_SHOWN_UNSUPPORTED, _SHOWN_COSTS = 20, 20


@app.command("check")
def check(
    paths: list[Path] = _PATHS,
    as_json: bool = _JSON,
    verbose: bool = typer.Option(False, "--verbose", "-v", help="List every line that is not obeyed, and every note."),
    cost: bool = typer.Option(False, "--cost", help="Measure what each pattern costs."),
    config: Path | None = typer.Option(None, "--config", "-c", help="Know the findings of this file's DNS lists too."),
) -> None:
    """Name every line that is not understood, run the rules' own tests, look for names that lead nowhere."""
    from gateway.checks import FINDINGS
    from gateway.config.dns_lists import dns_lists, preset_findings
    from gateway.config.load import load_settings
    from gateway.rules import reader
    from gateway.rules import report as reports
    from gateway.rules.ruleset import FINDINGS as RULE_FINDINGS
    from gateway.scan.conclude import CLASSIFIER

    asked = dns_lists(load_settings(config).dns_list) if config else ()
    listed = {*preset_findings(), *(name for one in asked for name in one.findings)}
    known = FINDINGS | RULE_FINDINGS | {CLASSIFIER} | listed
    report = reports.check(reader.read(_given(paths)), known, with_costs=cost)
    if as_json:
        typer.echo(json.dumps(_object(report), ensure_ascii=False))
    else:
        _print(report, verbose=verbose)
    raise typer.Exit(1 if report.has_errors else 0)


@app.command("explain")
def explain(name: str = typer.Argument(..., help="A rule or finding."), paths: list[Path] = _PATHS) -> None:
    """Say in words what a rule matches, what it scores and where it is defined."""
    from gateway.rules import reader, report

    try:
        typer.echo(report.explain(reader.read(_given(paths)), name))
    except KeyError:
        raise InputError(f"{name}: no rule and no finding of that name") from None


@app.command("import")
def bring_over(
    paths: list[Path] = typer.Argument(..., help="A SpamAssassin configuration: local.cf, user_prefs, or a folder."),
    out: Path | None = typer.Option(None, "--out", "-o", help="Write the rule file here; - or nothing prints it."),
    base: list[Path] = typer.Option([], "--base", help="Rules it builds on, such as /usr/share/spamassassin."),
    as_json: bool = _JSON,
) -> None:
    """Bring rules, scores and lists of SpamAssassin over, and print what did not carry over."""
    from gateway.rules import importer

    found = importer.bring_over(paths, base)
    if out is not None and str(out) != "-":
        _write(out, found.text)
    elif not as_json:
        typer.echo(found.text, nl=False)
    if as_json:
        left = {"lines": found.lines, "left": _objects(found.left), "advice": list(found.advice)}
        typer.echo(json.dumps(left if out else {"text": found.text, **left}, ensure_ascii=False))
    else:
        for problem in found.left:
            typer.echo(f"{problem.place}: {problem.severity}: {problem.reason}", err=True)
        for line in found.advice:
            typer.echo(line, err=True)
        typer.echo(f"{found.lines} lines carried over, {len(found.left)} remarks about others", err=True)
    raise typer.Exit(1 if any(problem.severity != "note" for problem in found.left) else 0)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def _given(paths: Sequence[Path] | None) -> list[Path]:
    from gateway.config.shipped import rules_path

    return list(paths or ()) or [rules_path()]


# --- printing -------------------------------------------------------------------------------------------------------


def _print(report: Report, *, verbose: bool) -> None:
    from gateway.rules.report import summary

    unsupported = [one for one in report.problems if one.severity == "unsupported"]
    severities = {"error", "unsupported", "note"} if verbose else {"error"}
    if len(unsupported) <= _SHOWN_UNSUPPORTED:
        severities.add("unsupported")
    for problem in (*report.failures, *report.problems, *report.warnings):
        if problem.severity in severities:
            typer.echo(f"{problem.place}: {problem.severity}: {problem.reason}")
    for line in summary(report):
        typer.echo(line)
    if not verbose and len(unsupported) > _SHOWN_UNSUPPORTED:
        typer.echo(f"{len(unsupported)} lines are not supported; --verbose lists them")
    _print_costs(report)


def _print_costs(report: Report) -> None:
    slow = [cost for cost in report.costs if cost.is_slow]
    for cost in slow or report.costs[:_SHOWN_COSTS]:
        gave_up = ", gave up" if cost.gave_up else ""
        typer.echo(f"{cost.us_per_kilobyte:8.1f} us/KB  {cost.name} (on {cost.text}{gave_up})")
    if report.costs:
        typer.echo(f"{len(slow)} of {len(report.costs)} patterns are slow")


def _object(report: Report) -> dict[str, object]:
    return {
        "rules": report.rules,
        "kinds": dict(report.kinds),
        "unsupported": dict(report.unsupported),
        "tests": report.tests,
        "failures": _objects(report.failures),
        "problems": _objects(report.problems),
        "warnings": _objects(report.warnings),
        "costs": [
            {
                "rule": one.name,
                "us_per_kilobyte": round(one.us_per_kilobyte, 2),
                "text": one.text,
                "gave_up": one.gave_up,
                "is_slow": one.is_slow,
            }
            for one in report.costs
        ],
    }


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
