"""The rule file of fitted scores: `score` lines, and how they came to be. The same fit gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.fitting.outcome import Change, Held, Outcome
from gateway.rules.reader import list_files

_MARK = "# Fitted by `darban train scores`"  # a rule file that begins so is not what authors wrote


def authored_files(paths: Iterable[Path]) -> list[Path]:
    """The rule files below the paths, without those of fitted scores. Raises ConfigError."""
    return [path for path in list_files(paths) if not _is_fitted(path)]


def _is_fitted(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MARK)) == _MARK.encode()


def text_of(outcome: Outcome) -> str:
    """The file. Only scores that differ from their author's are in it."""
    changes = [one for one in outcome.changes if one.fitted != one.authored]
    return "\n".join([*_comment(outcome, len(changes)), "", *map(_line, changes), ""])


def _comment(outcome: Outcome, written: int) -> Iterator[str]:
    ham, spam = outcome.counts
    tag_at, quarantine_at = outcome.thresholds
    yield f"{_MARK}, which reads all rule files but this one and writes it anew (docs/rules.md)."
    yield f"# {written} of {len(outcome.changes)} scores that {ham} ham and {spam} spam hit; model {outcome.model}."
    yield f"# Held out, with the authors' scores -> with these; tagged at {tag_at:g}, quarantined at {quarantine_at:g}:"
    yield from (f"#   {line}" for one in outcome.held for line in describe(one))


def describe(one: Held) -> Iterator[str]:
    """The figures of one source in words, a line for its ham and one for its spam."""
    for kind, of, tagged, quarantined in (
        ("ham", one.ham, one.ham_tagged, one.ham_quarantined),
        ("spam", one.spam, one.spam_tagged, one.spam_quarantined),
    ):
        if of:
            yield f"{one.source} {kind} {of}: tagged {_percent(tagged, of)}, quarantined {_percent(quarantined, of)}"


def _percent(counts: tuple[int, int], of: int) -> str:
    return " -> ".join(f"{100 * count / of:.2f} %" for count in counts)


def _line(change: Change) -> str:
    seen = f"{change.ham} ham, {change.spam} spam" if change.name != "CLASSIFIER" else "its most"
    return f"score {change.name} {change.fitted:.2f}  # {change.authored:.2f} by its author; {seen}"
