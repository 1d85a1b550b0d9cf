"""A SpamAssassin configuration (local.cf, lists, custom rules, scores) -> one .cf that Darban loads, and what is left.

Files are flattened in the order they are read: included files stand where they were included, and of an `if` the lines
that hold. A line that has no effect here, or is not understood, is left out and told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.rules.reader import read_lines
from gateway.rules.rule import Place, Problem, RuleFiles

_RELATIVE = re.compile(r"score\s+(\w+)\s.*\(", re.ASCII)


@dataclass(frozen=True, slots=True)
class Import:
    """What was brought over."""

    text: str  # the .cf
    lines: int  # how many lines of the configuration stand in it
    left: tuple[Problem, ...]  # what did not carry over, and why
    advice: tuple[str, ...]  # what to set in darban.toml instead


def bring_over(paths: Iterable[Path], before: Iterable[Path] = ()) -> Import:
    """Read the configuration as SpamAssassin would. `before`: rule files it builds on, /usr/share/spamassassin.

    Raises ConfigError when a file cannot be read.
    """
    files, lines = read_lines(paths, before)
    order = {"error": 0, "unsupported": 1, "note": 2}
    left = sorted(files.problems, key=lambda problem: order[problem.severity])
    return Import("\n".join(_written(lines, files)) + "\n", len(lines), tuple(left), tuple(_advice(files)))


def _written(lines: list[tuple[Place, str]], files: RuleFiles) -> Iterator[str]:
    yield "# Brought over by `darban rules import`"
    path = ""
    for place, line in lines:
        if place.path != path:
            path = place.path
            yield f"\n# {path}"
        yield _absolute(line, files).replace("#", "\\#")


def _absolute(line: str, files: RuleFiles) -> str:
    """(1) adds to a score of files that may not be there: the sum is written instead."""
    match = _RELATIVE.match(line)
    return f"score {match[1]} {files.scores[match[1]]:g}" if match else line


def _advice(files: RuleFiles) -> Iterator[str]:
    left = {problem.text.split(None, 1)[0] for problem in files.problems if problem.text.strip()}
    score = files.settings.get("required_score")
    if score is not None:
        yield f"required_score {score}: set tag_at = {float(score):g} in each [[domain]]"
    if "rewrite_header" in left:
        yield "rewrite_header: subjects are left as they are; let the mail server sort by X-Spam-Flag"
    if "bayes_path" in left:
        yield "bayes_path: train the classifier from the folders SpamAssassin learned from, with `darban train`"
