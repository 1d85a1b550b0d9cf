"""`darban rules check` and `explain`: what the files say, whether their own tests hold, and one rule in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from gateway.rules import evals, expression
from gateway.rules.cost import Cost, measure
from gateway.rules.regex import compile_confirming, fold, search
from gateway.rules.rule import Place, Problem, Rule, RuleFiles, RuleTest

_WHERE = {
    "body": "the text a reader sees (subject first)",
    "rawbody": "the decoded text parts, HTML with its tags",
    "uri": "any link",
    "full": "the whole message as received",
}
_MODIFIERS = {
    "raw": "as it was received",
    "addr": "its addresses",
    "name": "its display names",
    "host": "the hosts of its addresses",
    "domain": "the registered domains of its addresses",
    "ip": "the IP addresses in it",
    "revip": "the IP addresses in it, reversed",
    "first": "the first one only",
    "last": "the last one only",
}
_SHOWN_PATTERN = 400


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found."""

    kinds: Mapping[str, int]  # kind -> rules that run
    unsupported: Mapping[str, int]  # reason -> rules that are understood and do not run
    tests: int
    failures: tuple[Problem, ...]  # tests that do not hold
    problems: tuple[Problem, ...]  # of the files, worst first
    warnings: tuple[Problem, ...]
    costs: tuple[Cost, ...] = ()  # dearest first

    @property
    def rules(self) -> int:
        """How many run."""
        return sum(self.kinds.values())

    @property
    def has_errors(self) -> bool:
        """Whether something is plainly wrong."""
        return bool(self.failures) or any(problem.severity == "error" for problem in self.problems)


def check(files: RuleFiles, known_findings: Collection[str], *, with_costs: bool = False) -> Report:
    """Run the tests, look for names that lead nowhere; measure the patterns if asked."""
    order = {"error": 0, "unsupported": 1, "note": 2}
    return Report(
        kinds=dict(Counter(rule.kind for rule in files.rules.values()).most_common()),
        unsupported=dict(Counter(map(_reason, files.unsupported.values())).most_common()),
        tests=len(files.tests),
        failures=tuple(problem for test in files.tests if (problem := _run(files, test)) is not None),
        problems=tuple(sorted(files.problems, key=lambda problem: order[problem.severity])),
        warnings=tuple(_warnings(files, known_findings)),
        costs=tuple(measure(list(files.rules.values()))) if with_costs else (),
    )


def _reason(text: str) -> str:
    """Without the function's name."""
    return text.rpartition("(): ")[2]


# --- one rule in words ----------------------------------------------------------------------------------------------


def explain(files: RuleFiles, name: str) -> str:
    """What a rule matches, in words. Raises KeyError for an unknown name."""
    lines = [f"{name}  score {files.score(name):g}"]
    if name in files.descriptions:
        lines.append(files.descriptions[name])
    rule = files.rules.get(name)
    if rule is None:
        lines.append(_without_rule(files, name))
    else:
        lines += [*_in_words(rule), *_flags_in_words(files.tflags.get(name, frozenset())), f"defined in {rule.place}"]
    lines += [
        f"  {'hits' if test.should_hit else 'does not hit'}: {test.text}" for test in files.tests if test.name == name
    ]
    used = [one.name for one in files.rules.values() if one.kind == "meta" and name in _named(one)]
    if used:
        lines.append(f"used by {', '.join(used)}")
    return "\n".join(lines)


def _without_rule(files: RuleFiles, name: str) -> str:
    if name in files.unsupported:
        return f"It does not run here: {files.unsupported[name]}."
    if name not in files.descriptions and name not in files.scores:
        raise KeyError(name)
    return "A built-in finding: a check of the gateway reports it with its evidence."


def _in_words(rule: Rule) -> list[str]:
    if rule.kind == "meta":
        return [f"Hits when this holds: {rule.expression}"]
    if rule.kind == "eval":
        return [_call_in_words(rule)]
    if rule.is_exists:
        return [f"Hits when the field {rule.selector} is there."]
    assert rule.regex is not None
    how = "does not match" if rule.is_negated else "matches"
    flags = ", ignoring case" if "i" in rule.regex.flags else ""
    unset = f" (taken as {rule.if_unset!r} when it is not there)" if rule.if_unset else ""
    lines = [f"Hits when {_place_in_words(rule)}{unset} {how}{flags}:  {_cut(rule.regex.text)}"]
    if rule.written:
        lines.append(f"The pattern is written with tags (replace_rules):  {_cut(rule.written)}")
    return lines


def _place_in_words(rule: Rule) -> str:
    if rule.kind not in ("header", "mimeheader"):
        return _WHERE[rule.kind]
    name, *modifiers = rule.selector.split(":")
    of_part = "of a MIME part" if rule.kind == "mimeheader" else ""
    what = [f"the field {name}", of_part, *(f"({_MODIFIERS.get(one, one)})" for one in modifiers)]
    return " ".join(one for one in what if one)


def _call_in_words(rule: Rule) -> str:
    call = f"{rule.function}({', '.join(map(repr, rule.arguments))})"
    words = (evals.FUNCTIONS[rule.function].__doc__ or "").split("\n")[0]
    return f"Hits when the gateway's {call} holds." + (f" {words}" if words else "")


def _flags_in_words(flags: Collection[str]) -> Iterator[str]:
    most = next((flag.partition("=")[2] for flag in flags if flag.startswith("maxhits=")), "")
    if "multiple" in flags:
        yield f"Every match counts{f', up to {most}' if most else ''}."
    if "nosubject" in flags:
        yield "The subject is not looked at."


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_PATTERN else f"{text[:_SHOWN_PATTERN]}… ({len(text)} characters)"


# --- tests ----------------------------------------------------------------------------------------------------------


def _run(files: RuleFiles, test: RuleTest) -> Problem | None:
    rule = files.rules.get(test.name)
    if rule is None or rule.kind == "eval":
        return _untestable(files, test)
    try:
        hit = _hits(rule, test.text.replace("\\n", "\n"))
    except TimeoutError:
        return Problem(test.place, test.text, f"{test.name}: the pattern reached its step limit on this text", "error")
    if hit == test.should_hit:
        return None
    return Problem(
        test.place, test.text, f"{test.name} {'does not hit' if test.should_hit else 'hits'} this text", "error"
    )


def _untestable(files: RuleFiles, test: RuleTest) -> Problem | None:
    if test.name in files.unsupported:
        return None  # listed where it is defined
    what = "an eval rule, which no single text shows" if test.name in files.rules else "no rule"
    return Problem(test.place, test.text, f"test of {test.name}, which is {what}", "error")


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
    known = {*files.rules, *files.unsupported, *known_findings}
    named = {one for rule in files.rules.values() for one in _named(rule)}
    tested = {test.name for test in files.tests}
    for (directive, name), place in files.places.items():
        if name not in known:
            yield Problem(place, f"{directive} {name}", f"{directive}: {name} is neither a rule nor a finding", "note")
    for rule in files.rules.values():
        yield from _about(rule, files, known, named, tested)


def _about(
    rule: Rule, files: RuleFiles, known: Collection[str], named: Collection[str], tested: Collection[str]
) -> Iterator[Problem]:
    for name in sorted(_named(rule)):
        if name in files.unsupported:
            yield _note(rule.place, f"{rule.name} names {name}, which does not run")
        elif name not in known:
            yield _note(rule.place, f"{rule.name} names {name}, which is neither a rule nor a finding")
    if rule.name.startswith("__"):
        if rule.name not in named:
            yield _note(rule.place, f"the sub-rule {rule.name} is used by no meta")
        return
    if rule.name not in files.descriptions:
        yield _note(rule.place, f"{rule.name} has no describe line")
    if rule.name not in tested and rule.kind != "eval":
        yield _note(rule.place, f"{rule.name} has no test line")


def _note(place: Place, reason: str) -> Problem:
    return Problem(place, "", reason, "note")


def _named(rule: Rule) -> frozenset[str]:
    return _names_in(rule.expression) if rule.kind == "meta" else frozenset()


@cache
def _names_in(text: str) -> frozenset[str]:
    return expression.names(expression.parse(text))


def summary(report: Report) -> Sequence[str]:
    """The report in a few lines: rules by kind, those that do not run by reason, tests."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in report.kinds.items())
    lines = [f"{report.rules} rules run" + (f": {kinds}" if kinds else "")]
    if report.unsupported:
        lines.append(f"{sum(report.unsupported.values())} rules do not run:")
        lines += [f"  {count:4}  {reason}" for reason, count in report.unsupported.items()]
    notes = sum(1 for one in (*report.problems, *report.warnings) if one.severity == "note")
    lines.append(f"{report.tests} tests, {len(report.failures)} failed, {notes} notes")
    return lines
