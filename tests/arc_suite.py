"""ValiMail's ARC test suite, read from a copy outside the repository: DARBAN_ARC_SUITE names its folder, else it is
looked for in suites/arc_test_suite beside DARBAN_CORPORA.

Its files are the small part of YAML that is read here: mappings by indentation, plain values, and texts after "|" (as
they stand) and ">-" (joined by spaces); documents are parted by "---".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

VALIDATION = "tests/arc-draft-validation-tests.yml"
SIGNING = "tests/arc-draft-sign-tests.yml"


def suite_folder() -> Path | None:
    """Where the copy is, None when there is none."""
    named = os.environ.get("DARBAN_ARC_SUITE", "")
    corpora = os.environ.get("DARBAN_CORPORA", "")
    if named:
        return Path(named)
    folder = Path(corpora).parent / "suites" / "arc_test_suite"
    return folder if corpora and folder.is_dir() else None


def cases(file: str) -> list[Any]:
    """(scenario, case) for pytest, one for each test; one that skips when there is no copy."""
    folder = suite_folder()
    if folder is None:
        reason = "ValiMail's ARC test suite is not beside the corpora; DARBAN_ARC_SUITE names its folder"
        return [pytest.param({}, {}, id="suite", marks=pytest.mark.skip(reason=reason))]
    return [
        pytest.param(scenario, case, id=name)
        for scenario in documents((folder / file).read_text(encoding="utf-8"))
        for name, case in scenario["tests"]
    ]


def documents(text: str) -> Iterator[dict[str, Any]]:
    """Each document as nested dicts; its tests as a list of pairs, as names stand there twice."""
    for document in ("\n" + text).split("\n---"):
        lines = document.split("\n")
        if any(line.startswith("tests:") for line in lines):
            found = dict(_pairs(lines, 0, len(lines), 0))
            yield found | {
                "tests": [(name, dict(case)) for name, case in found["tests"]],
                "txt-records": dict(found["txt-records"]),
            }


def _pairs(lines: list[str], start: int, end: int, indent: int) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    while start < end:
        line = lines[start]
        if not line.strip() or line.lstrip().startswith("#") or len(line) - len(line.lstrip()) != indent:
            start += 1
            continue
        name, _, value = line.strip().partition(":")
        stop = start + 1
        while stop < end and (not lines[stop].strip() or lines[stop].startswith(" " * (indent + 1))):
            stop += 1
        pairs.append((name, _value(value.strip(), lines, start + 1, stop, indent)))
        start = stop
    return pairs


def _value(mark: str, lines: list[str], start: int, stop: int, indent: int) -> Any:
    if mark not in ("", "|", ">-"):
        return mark
    block = lines[start:stop]
    first = next((line for line in block if line.strip()), "")
    depth = len(first) - len(first.lstrip())
    if mark == "|":
        return "\n".join(line[depth:] for line in block).rstrip("\n") + "\n" if first else ""
    if mark == ">-":
        return " ".join(line.strip() for line in block if line.strip())
    return _pairs(lines, start, stop, depth) if depth > indent else ""
