"""What a rule file says, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["header", "body", "rawbody", "uri", "full", "meta"]
Severity = Literal["error", "unsupported", "note"]


@dataclass(frozen=True, slots=True)
class Place:
    """File and line."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that is not, or not wholly, obeyed, and why. Nothing is skipped in silence."""

    place: Place
    text: str  # the line, cut
    reason: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class Regex:
    """A Perl pattern: text without delimiters, and its flags."""

    text: str
    flags: str  # of "imsx"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule line."""

    name: str
    kind: Kind
    place: Place
    selector: str = ""  # header: "Subject", "From:addr", "ALL" ...
    regex: Regex | None = None  # None for meta and exists:
    is_negated: bool = False  # header X !~ /.../
    if_unset: str = ""
    is_exists: bool = False
    expression: str = ""  # meta


@dataclass(frozen=True, slots=True)
class RuleTest:
    """A `test NAME ok|fail text` line."""

    name: str
    should_hit: bool
    text: str
    place: Place


@dataclass(slots=True)
class RuleFiles:
    """Everything the files say, later lines over earlier ones."""

    rules: dict[str, Rule] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    translations: dict[str, dict[str, str]] = field(default_factory=dict)  # language -> name -> description
    tflags: dict[str, frozenset[str]] = field(default_factory=dict)
    tests: list[RuleTest] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    places: dict[tuple[str, str], Place] = field(default_factory=dict)  # (directive, name) -> where it was last set
    digest: str = ""  # sha256 over the files' bytes
