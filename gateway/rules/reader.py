"""Rule files (SpamAssassin's language, docs/rules.md) -> RuleFiles. Every line is obeyed or listed as a problem."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.errors import ConfigError
from gateway.rules import expression
from gateway.rules.regex import compile_confirming, parse_literal
from gateway.rules.rule import Kind, Place, Problem, Rule, RuleFiles, RuleTest, Severity

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"(exists:)?([!-9;-~]+?)(?::(raw|addr|name))?\s*(?:(=~|!~)\s*(.*))?$", re.DOTALL)
_IF_UNSET = re.compile(r"\s*\[if-unset:\s*(.*?)\]\s*$")
_VERSION = re.compile(r"\(?\s*version\s*(>=|>|<=|<|==|!=)\s*v?([0-9.]+)\s*\)?")
_SPAMASSASSIN = 4.0  # the version of the language; `if (version >= ...)` compares with it
_MAX_INCLUDES = 20
_UNSUPPORTED_SELECTORS = ("X-Spam-Relays",)
_SILENT = frozenset(("required_score", "report_safe", "priority", "reuse", "lock_method"))
_LINE_CUT = 100


def read(paths: Iterable[Path]) -> RuleFiles:
    """All *.cf files below the paths, folders in name order. Raises ConfigError when one cannot be read."""
    reader = _Reader()
    for path in _files(paths):
        reader.file(path, path.name)
    reader.found.digest = reader.digest.hexdigest()
    return reader.found


def _files(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(path.glob("*.cf"))
        elif path.exists():
            found.append(path)
        else:
            raise ConfigError(f"{path}: no such rule file or folder")
    if not found:
        raise ConfigError(f"{', '.join(map(str, paths))}: no *.cf file there")
    return found


class _Reader:
    """Reads line by line, keeping the nesting of if and else."""

    def __init__(self) -> None:
        self.found = RuleFiles()
        self.digest = hashlib.sha256()
        self._place = Place("", 0)
        self._line = ""
        self._open: list[bool] = []  # for each open `if`: whether its lines count
        self._depth = 0
        self._directives: dict[str, Callable[[str], None]] = {
            "describe": self._describe,
            "score": self._score,
            "test": self._test,
            "tflags": self._tflags,
            "lang": self._lang,
            "meta": self._meta,
            "header": self._header,
            **{kind: self._pattern_of(kind) for kind in ("body", "rawbody", "uri", "full")},
        }

    def file(self, path: Path, name: str) -> None:
        """One file. `name` is how problems call it."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        self.digest.update(content)
        self._depth += 1
        before = len(self._open)
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
            self._place, self._line = Place(name, number), line.strip()
            if self._line and not self._line.startswith("#"):
                self._obey(path)
        if len(self._open) > before:
            self._problem("an `if` has no `endif`", "error")
            del self._open[before:]
        self._depth -= 1

    # --- one line

    def _obey(self, path: Path) -> None:
        word, _, rest = self._line.partition(" ") if " " in self._line else self._line.partition("\t")
        word, rest = word.strip(), rest.strip()
        if self._condition(word, rest) or (self._open and not all(self._open)):
            return
        if word == "include":
            self._include(path.parent / rest)
        elif word in self._directives:
            try:
                self._directives[word](rest)
            except ValueError as error:
                self._problem(str(error), "error")
        elif word not in _SILENT:
            self._problem(f"{word}: not supported", "unsupported")

    def _condition(self, word: str, rest: str) -> bool:
        if word in ("if", "ifplugin"):
            holds = self._holds(rest) if word == "if" else False
            if not holds and (not self._open or all(self._open)):
                self._problem(f"{word} {rest}: does not hold here, the lines up to else or endif are left out", "note")
            self._open.append(holds)
        elif word == "else":
            if self._open:
                self._open[-1] = not self._open[-1]
            else:
                self._problem("`else` without an `if`", "error")
        elif word == "endif":
            if self._open:
                self._open.pop()
            else:
                self._problem("`endif` without an `if`", "error")
        else:
            return False
        return True

    def _holds(self, condition: str) -> bool:
        match = _VERSION.fullmatch(condition.strip())
        if match is None:
            return condition.strip().startswith("!plugin") or condition.strip().startswith("(!plugin")
        parts = match[2].split(".")
        version = float(f"{parts[0]}.{''.join(parts[1:]) or '0'}")
        return {
            ">=": version <= _SPAMASSASSIN,
            ">": version < _SPAMASSASSIN,
            "<=": version >= _SPAMASSASSIN,
            "<": version > _SPAMASSASSIN,
            "==": version == _SPAMASSASSIN,
            "!=": version != _SPAMASSASSIN,
        }[match[1]]

    def _include(self, path: Path) -> None:
        if self._depth >= _MAX_INCLUDES:
            self._problem("includes nest too deep", "error")
            return
        place, line = self._place, self._line
        if path.exists():
            self.file(path, path.name)
        else:
            self._problem(f"include: {path.name} is not there", "error")
        self._place, self._line = place, line

    # --- directives

    def _split(self, rest: str) -> tuple[str, str]:
        name, _, value = rest.replace("\t", " ").partition(" ")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:40]!r} is not a rule name")
        return name, value.strip()

    def _describe(self, rest: str) -> None:
        name, text = self._split(rest)
        self.found.descriptions[name] = text
        self.found.places["describe", name] = self._place

    def _score(self, rest: str) -> None:
        name, text = self._split(rest)
        columns = text.partition("#")[0].split()
        try:
            numbers = [float(column.strip("()")) for column in columns]
        except ValueError:
            raise ValueError(f"score {name}: {text!r} is not one number, nor four") from None
        if len(numbers) not in (1, 4):
            raise ValueError(f"score {name}: {len(numbers)} numbers; write one, or four")
        self.found.scores[name] = numbers[-1]  # the fourth: network tests and classifier on
        self.found.places["score", name] = self._place

    def _test(self, rest: str) -> None:
        name, value = self._split(rest)
        verdict, _, text = value.partition(" ")
        if verdict not in ("ok", "fail"):
            raise ValueError(f"test {name}: write ok or fail, then the text")
        self.found.tests.append(RuleTest(name, verdict == "ok", text.strip(), self._place))

    def _tflags(self, rest: str) -> None:
        name, value = self._split(rest)
        self.found.tflags[name] = frozenset(value.split())

    def _lang(self, rest: str) -> None:
        language, _, directive = rest.partition(" ")
        word, _, value = directive.strip().partition(" ")
        if word != "describe":
            self._problem(f"lang {language} {word}: only describe is translated", "unsupported")
            return
        name, text = self._split(value.strip())
        self.found.translations.setdefault(language, {})[name] = text

    def _meta(self, rest: str) -> None:
        name, value = self._split(rest)
        expression.parse(value)
        self._add(Rule(name, "meta", self._place, expression=value))

    def _header(self, rest: str) -> None:
        name, value = self._split(rest)
        if value.startswith("eval:"):
            self._problem(f"{name}: eval: rules are Perl code; see the built-in findings", "unsupported")
            return
        if_unset = _IF_UNSET.search(value)
        value = value[: if_unset.start()] if if_unset else value
        match = _HEADER.match(value)
        if match is None or not (match[1] or match[4]):
            raise ValueError(f"header {name}: write FIELD =~ /pattern/, FIELD !~ /pattern/ or exists:FIELD")
        if match[2].startswith(_UNSUPPORTED_SELECTORS):
            self._problem(f"{name}: {match[2]} is not supported", "unsupported")
            return
        regex = None
        if match[4]:
            regex = parse_literal(match[5].strip())
            compile_confirming(regex)
        self._add(
            Rule(
                name,
                "header",
                self._place,
                selector=f"{match[2]}:{match[3]}" if match[3] else match[2],
                regex=regex,
                is_negated=match[4] == "!~",
                if_unset=if_unset[1] if if_unset else "",
                is_exists=bool(match[1]),
            )
        )

    def _pattern_of(self, kind: Kind) -> Callable[[str], None]:
        def pattern(rest: str) -> None:
            name, value = self._split(rest)
            if value.startswith("eval:"):
                self._problem(f"{name}: eval: rules are Perl code; see the built-in findings", "unsupported")
                return
            regex = parse_literal(value)
            compile_confirming(regex)
            self._add(Rule(name, kind, self._place, regex=regex))

        return pattern

    def _add(self, rule: Rule) -> None:
        self.found.rules[rule.name] = rule

    def _problem(self, reason: str, severity: Severity) -> None:
        self.found.problems.append(Problem(self._place, self._line[:_LINE_CUT], reason, severity))
