"""`darban rules check` and `explain`: what the files say, whether their own tests hold, and one rule in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from gateway.rules import expression
from gateway.rules.regex import compile_confirming, fold, search
from gateway.rules.rule import Place, Problem, Rule, RuleFiles, RuleTest
from gateway.rules.ruleset import Rules

_WHERE = {
    "body": "the text a reader sees (subject first)",
    "rawbody": "the decoded text parts, HTML with its tags",
    "uri": "any link",
    "full": "the whole message as received",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found."""

    rules: int
    tests: int
    failures: tuple[Problem, ...]  # tests that do not hold
    problems: tuple[Problem, ...]  # of the files, worst first
    warnings: tuple[Problem, ...]

    @property
    def has_errors(self) -> bool:
        """Whether something is plainly wrong."""
        return bool(self.failures) or any(problem.severity == "error" for problem in self.problems)


def check(rules: Rules, known_findings: Collection[str]) -> Report:
    """Run the tests, look for names that lead nowhere."""
    files = rules.files
    failures = tuple(problem for test in files.tests if (problem := _run(files, test)) is not None)
    order = {"error": 0, "unsupported": 1, "note": 2}
    problems = tuple(sorted(files.problems, key=lambda problem: order[problem.severity]))
    return Report(len(files.rules), len(files.tests), failures, problems, tuple(_warnings(files, known_findings)))


def explain(rules: Rules, name: str) -> str:
    """What a rule matches, in words. Raises KeyError for an unknown name."""
    files = rules.files
    lines = [f"{name}  score {rules.score(name):g}"]
    if name in files.descriptions:
        lines.append(files.descriptions[name])
    rule = files.rules.get(name)
    if rule is None:
        if name not in files.descriptions and name not in files.scores:
            raise KeyError(name)
        return "\n".join([*lines, "A built-in finding: a check of the gateway reports it with its evidence."])
    lines += [_in_words(rule), f"defined in {rule.place}"]
    lines += [
        f"  {'hits' if test.should_hit else 'does not hit'}: {test.text}" for test in files.tests if test.name == name
    ]
    used = [one.name for one in files.rules.values() if one.kind == "meta" and name in _named(one)]
    if used:
        lines.append(f"used by {', '.join(used)}")
    return "\n".join(lines)


def _in_words(rule: Rule) -> str:
    if rule.kind == "meta":
        return f"Hits when this holds: {rule.expression}"
    if rule.is_exists:
        return f"Hits when the field {rule.selector} is there."
    assert rule.regex is not None
    how = "does not match" if rule.is_negated else "matches"
    where = f"the field {rule.selector}" if rule.kind == "header" else _WHERE[rule.kind]
    flags = ", ignoring case" if "i" in rule.regex.flags else ""
    unset = f" (taken as {rule.if_unset!r} when it is not there)" if rule.if_unset else ""
    return f"Hits when {where}{unset} {how}{flags}:  {rule.regex.text}"


# --- tests ----------------------------------------------------------------------------------------------------------


def _run(files: RuleFiles, test: RuleTest) -> Problem | None:
    rule = files.rules.get(test.name)
    if rule is None:
        return Problem(test.place, test.text, f"test of {test.name}, which is no rule", "error")
    try:
        hit = _hits(rule, test.text.replace("\\n", "\n"))
    except TimeoutError:
        return Problem(test.place, test.text, f"{test.name}: the pattern reached its step limit on this text", "error")
    if hit == test.should_hit:
        return None
    return Problem(
        test.place, test.text, f"{test.name} {'does not hit' if test.should_hit else 'hits'} this text", "error"
    )


def _hits(rule: Rule, text: str) -> bool:
    """For a meta the text lists the names that hit."""
    if rule.kind == "meta":
        counts: Mapping[str, float] = dict.fromkeys(text.split(), 1.0)
        return bool(expression.evaluate(expression.parse(rule.expression), counts))
    if rule.regex is None:
        return bool(text)
    return (search(compile_confirming(rule.regex), fold(text).encode("utf-8")) is not None) != rule.is_negated


# --- names ----------------------------------------------------------------------------------------------------------


def _warnings(files: RuleFiles, known_findings: Collection[str]) -> Iterator[Problem]:
    known = set(files.rules) | set(known_findings)
    named = {one for rule in files.rules.values() for one in _named(rule)}
    tested = {test.name for test in files.tests}
    for (directive, name), place in files.places.items():
        if name not in known:
            yield Problem(place, f"{directive} {name}", f"{name} is neither a rule nor a finding", "note")
    for rule in files.rules.values():
        yield from _about(rule, files, known, named, tested)


def _about(rule: Rule, files: RuleFiles, known: set[str], named: set[str], tested: set[str]) -> Iterator[Problem]:
    for name in sorted(_named(rule) - known):
        yield _note(rule.place, f"{rule.name} names {name}, which is neither a rule nor a finding")
    if rule.name.startswith("__"):
        if rule.name not in named:
            yield _note(rule.place, f"the sub-rule {rule.name} is used by no meta")
        return
    if rule.name not in files.descriptions:
        yield _note(rule.place, f"{rule.name} has no describe line")
    if rule.name not in tested:
        yield _note(rule.place, f"{rule.name} has no test line")


def _note(place: Place, reason: str) -> Problem:
    return Problem(place, "", reason, "note")


def _named(rule: Rule) -> frozenset[str]:
    return expression.names(expression.parse(rule.expression)) if rule.kind == "meta" else frozenset()
