"""RuleFiles in the making: the line in hand, and what is said about it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gateway.rules.replace import Replacements
from gateway.rules.rule import Place, Problem, Rule, RuleFiles, Severity

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_LINE_CUT = 100


@dataclass(slots=True)
class _Lines:
    """Many lines of one kind, of which one problem is made."""

    place: Place
    text: str
    reason: str
    severity: Severity
    count: int = 0


@dataclass(slots=True)
class Draft:
    """What the directives write to. `column`: which of four scores counts, 0 to 3."""

    column: int = 3
    found: RuleFiles = field(default_factory=RuleFiles)
    replacements: Replacements = field(default_factory=Replacements)
    place: Place = field(default_factory=lambda: Place("", 0))
    line: str = ""
    is_obeyed: bool = True  # the line in hand, as far as is known
    _alike: dict[str, _Lines] = field(default_factory=dict)

    def problem(self, reason: str, severity: Severity) -> None:
        """Say it of this line."""
        self.is_obeyed = False
        self.found.problems.append(Problem(self.place, self.line[:_LINE_CUT], reason, severity))

    def once(self, kind: str, reason: str, severity: Severity = "note") -> None:
        """Say it of the first line of this kind, and how many there were."""
        self.is_obeyed = False
        lines = self._alike.setdefault(kind, _Lines(self.place, self.line[:_LINE_CUT], reason, severity))
        lines.count += 1

    def define(self, rule: Rule) -> None:
        """A later rule takes the place of an earlier one of its name."""
        self.found.unsupported.pop(rule.name, None)
        self.found.rules.pop(rule.name, None)
        self.found.rules[rule.name] = rule

    def leave_out(self, name: str, reason: str) -> None:
        """The rule is understood but does not run here."""
        self.found.rules.pop(name, None)
        self.found.unsupported[name] = reason
        self.problem(f"{name} does not run: {reason}", "unsupported")

    def flush(self) -> None:
        """Write down the lines that were said once."""
        for lines in self._alike.values():
            more = f" ({lines.count} lines)" if lines.count > 1 else ""
            self.found.problems.append(Problem(lines.place, lines.text, lines.reason + more, lines.severity))
        self._alike.clear()


def split_name(rest: str) -> tuple[str, str]:
    """A rule's name and what follows. Raises ValueError."""
    name, value = split_word(rest)
    return rule_name(name), value


def split_word(rest: str) -> tuple[str, str]:
    """The first word and what follows, "" where there is nothing."""
    words = rest.split(None, 1)
    return (words[0] if words else ""), (words[1] if len(words) > 1 else "")


def rule_name(name: str) -> str:
    """The name, if it is one. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:40]!r} is not a rule name")
    return name
