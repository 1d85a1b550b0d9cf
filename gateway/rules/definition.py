"""The directives that make rules and say things about them: each takes what follows its word, or raises ValueError."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import translate

from gateway.rules import evals, expression
from gateway.rules.draft import Draft, rule_name, split_name, split_word
from gateway.rules.regex import compile_confirming, parse_literal
from gateway.rules.replace import Replacements
from gateway.rules.rule import Kind, Regex, Rule, RuleTest, TextKind
from gateway.rules.setting import name_of_today

Directive = Callable[[Draft, str], None]

_HEADER = re.compile(r"([\w.-]+(?::[a-z]+){0,2}):?\s*(=~|!~)\s*(.+)", re.ASCII | re.DOTALL)
_MODIFIER = re.compile(r":(?!(?:raw|addr|name|host|domain|ip|revip|first|last)\b)", re.IGNORECASE)
_MAX_META_DEPTH = 50  # metas that name metas: evaluating goes as deep
_IF_UNSET = re.compile(r"\s+\[if-unset:\s+(.+)\]$")
_EXISTS = re.compile(r"exists:([\w.-]+):?", re.ASCII)
_EVAL = re.compile(r"(?:rbl)?eval:(\w+)\s*\((.*)\)", re.ASCII | re.DOTALL)
_ARGUMENT = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)"|([\d.:A-Za-z-]+))\s*(,|$)""", re.ASCII)
_SCORE = re.compile(r"(\()?([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?(1)\))", re.ASCII)
_CAPTURE = re.compile(r"\(\?P?[<'][A-Z]")  # its text can be asked for in other rules, as %{NAME}
_TEMPLATE = re.compile(r"(?<!\\)%\\?\{([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*(?:\([^)}]*\))?)\\?\}")
_GLOB = re.compile(r"(?<!_)\brules_matching\(\s*([A-Za-z_*?][\w*?]{0,127})\s*\)", re.ASCII)
_CAPTURE_PRIORITY = -10_000
_PATTERN_RULES: tuple[Kind, ...] = ("body", "rawbody", "uri", "full")


# --- rules ----------------------------------------------------------------------------------------------------------


def header(draft: Draft, rest: str) -> None:
    """header NAME FIELD =~ /pattern/, !~, exists:FIELD or eval:function()."""
    name, value = split_name(rest)
    if _eval(draft, name, value, "header"):
        return
    exists = _EXISTS.fullmatch(value)
    if exists:
        draft.define(Rule(name, "header", draft.place, selector=exists[1], is_exists=True))
        return
    selector, is_negated, regex, if_unset = _comparison(name, value, "header")
    if _MODIFIER.search(selector):
        raise ValueError(f"header {name}: {selector} has a modifier that does not exist")
    _add(draft, Rule(name, "header", draft.place, selector, regex, is_negated, if_unset))


def mimeheader(draft: Draft, rest: str) -> None:
    """mimeheader NAME FIELD =~ /pattern/: the header fields of each part."""
    name, value = split_name(rest)
    selector, is_negated, regex, if_unset = _comparison(name, value, "mimeheader")
    if ":" in selector and not selector.endswith(":raw"):
        raise ValueError(f"mimeheader {name}: only :raw may follow the field")
    _add(draft, Rule(name, "mimeheader", draft.place, selector, regex, is_negated, if_unset))


def _pattern_of(kind: Kind) -> Directive:
    def pattern(draft: Draft, rest: str) -> None:
        name, value = split_name(rest)
        if kind == "uri" or not _eval(draft, name, value, kind):
            _add(draft, Rule(name, kind, draft.place, regex=_regex(value)))

    return pattern


def meta(draft: Draft, rest: str) -> None:
    """meta NAME EXPRESSION."""
    name, value = split_name(rest)
    if not value:
        raise ValueError(f"meta {name}: the expression is missing")
    if re.fullmatch(r"\(\s*\)", value):  # declares a rule that other programs set
        value = "0"
    expression.parse(_GLOB.sub(" 0 ", value))
    draft.define(Rule(name, "meta", draft.place, expression=value))


def _comparison(name: str, value: str, kind: str) -> tuple[str, bool, Regex, str]:
    match = _HEADER.fullmatch(value)
    if match is None:
        raise ValueError(f"{kind} {name}: write FIELD =~ /pattern/ or FIELD !~ /pattern/")
    pattern = match[3]
    if_unset = _IF_UNSET.search(pattern)
    if if_unset:
        pattern = pattern[: if_unset.start()]
    return match[1], match[2] == "!~", _regex(pattern), if_unset[1] if if_unset else ""


def _regex(text: str) -> Regex:
    regex = parse_literal(text.rstrip())
    compile_confirming(regex)
    return regex


def _add(draft: Draft, rule: Rule) -> None:
    assert rule.regex is not None
    template = _TEMPLATE.search(rule.regex.text)
    if template:
        draft.leave_out(rule.name, f"its pattern takes %{{{template[1]}}} from another rule")
        return
    if _CAPTURE.search(rule.regex.text):
        draft.found.priorities.setdefault(rule.name, _CAPTURE_PRIORITY)
    draft.define(rule)


def _eval(draft: Draft, name: str, value: str, kind: TextKind | Kind) -> bool:
    """True when it is an eval rule, run or not."""
    if not value.startswith(("eval:", "rbleval:")):
        return False
    match = _EVAL.fullmatch(value)
    if match is None:
        raise ValueError(f"{kind} {name}: write eval:function() or eval:function('argument', ...)")
    function, arguments = name_of_today(match[1]), _arguments(match[2])
    assert kind in ("header", "body", "rawbody", "full")
    reason = evals.refusal(function, arguments)
    if reason:
        draft.leave_out(name, f"eval:{function}(): {reason}")
    else:
        draft.define(Rule(name, "eval", draft.place, function=function, arguments=arguments, text_kind=kind))
    return True


def _arguments(text: str) -> tuple[str, ...]:
    """Quoted strings, numbers, addresses and names between commas."""
    found: list[str] = []
    position, text = 0, text.strip()
    while position < len(text):
        match = _ARGUMENT.match(text, position)
        if match is None:
            raise ValueError(f"the argument {text[position : position + 40]!r} is not understood")
        found.append(next(group for group in match.groups()[:3] if group is not None))
        position = match.end()
    return tuple(found)


def _of_another_program(reason: str) -> Directive:
    def leave_out(draft: Draft, rest: str) -> None:
        name, _ = split_name(rest)
        draft.leave_out(name, reason)

    return leave_out


# --- what is said about rules ---------------------------------------------------------------------------------------


def describe(draft: Draft, rest: str) -> None:
    """describe NAME TEXT."""
    name, text = split_name(rest)
    draft.found.descriptions[name] = text
    draft.found.places["describe", name] = draft.place


def score(draft: Draft, rest: str) -> None:
    """score NAME N, or four; (N) adds to the score it has."""
    name, text = split_name(rest)
    matches = [_SCORE.fullmatch(column) for column in text.split()]
    numbers = [float(match[2]) for match in matches if match is not None]
    if len(numbers) < len(matches):
        raise ValueError(f"score {name}: {text[:40]!r} is not one number, nor four")
    if len(numbers) not in (1, 4):
        raise ValueError(f"score {name}: {len(numbers)} numbers; write one, or four")
    number = numbers[draft.column] if len(numbers) == 4 else numbers[0]
    if any(match is not None and match[1] for match in matches):
        if name not in draft.found.scores:
            raise ValueError(f"score {name}: ({number:g}) adds to a score, but none was set before")
        number += draft.found.scores[name]
    draft.found.scores[name] = number
    draft.found.places["score", name] = draft.place


def test(draft: Draft, rest: str) -> None:
    """test NAME ok|fail TEXT."""
    name, value = split_name(rest)
    verdict, text = split_word(value)
    if verdict not in ("ok", "fail"):
        raise ValueError(f"test {name}: write ok or fail, then the text")
    draft.found.tests.append(RuleTest(name, verdict == "ok", text, draft.place))


def tflags(draft: Draft, rest: str) -> None:
    """tflags NAME WORDS."""
    name, value = split_name(rest)
    draft.found.tflags[name] = frozenset(value.split())
    draft.found.places["tflags", name] = draft.place


def priority(draft: Draft, rest: str) -> None:
    """priority NAME N."""
    name, value = split_name(rest)
    if not re.fullmatch(r"[+-]?\d{1,15}", value, re.ASCII):
        raise ValueError(f"priority {name}: {value[:40]!r} is not a number")
    draft.found.priorities[name] = int(value)
    draft.found.places["priority", name] = draft.place


def redirector_pattern(draft: Draft, rest: str) -> None:
    """redirector_pattern /pattern/: its first group is the URL it leads to."""
    draft.found.redirectors.append(_regex(rest))


# --- replace_* ------------------------------------------------------------------------------------------------------


def _replacement(table: str) -> Directive:
    def keep(draft: Draft, rest: str) -> None:
        name, value = split_word(rest)
        if not value:
            raise ValueError("write a name, then a pattern")
        getattr(draft.replacements, table)[name] = value

    return keep


def _mark(side: str) -> Directive:
    def keep(draft: Draft, rest: str) -> None:
        if not rest:
            raise ValueError("write the characters that mark a tag")
        setattr(draft.replacements, side, rest)

    return keep


def replace_rules(draft: Draft, rest: str) -> None:
    """replace_rules NAMES: rules whose patterns hold tags."""
    if not rest:
        raise ValueError("write the names of rules")
    for name in rest.split():
        draft.replacements.rules[rule_name(name)] = None
        draft.found.places["replace_rules", name] = draft.place


DIRECTIVES: Mapping[str, Directive] = {
    "header": header,
    "mimeheader": mimeheader,
    **{kind: _pattern_of(kind) for kind in _PATTERN_RULES},
    "meta": meta,
    "describe": describe,
    "score": score,
    "test": test,
    "tflags": tflags,
    "priority": priority,
    "redirector_pattern": redirector_pattern,
    "replace_tag": _replacement("tags"),
    "replace_pre": _replacement("before"),
    "replace_inter": _replacement("between"),
    "replace_post": _replacement("after"),
    "replace_start": _mark("start"),
    "replace_end": _mark("end"),
    "replace_rules": replace_rules,
    "askdns": _of_another_program("it asks a DNS list"),
    **{
        word: _of_another_program("it asks a DNS list of URLs")
        for word in """uridnsbl uridnssub urirhsbl urirhssub urinsrhsbl urinsrhssub urifullnsrhsbl
        urifullnsrhssub""".split()
    },
    "uri_detail": _of_another_program("uri_detail looks at an anchor's parts; write a uri or rawbody rule"),
}


# --- after the last line --------------------------------------------------------------------------------------------


def finish(draft: Draft) -> None:
    """What depends on all lines: tags replaced, rules_matching() written out, circles of metas broken."""
    for name in draft.replacements.rules:
        _replace(draft, name)
    for rule in [one for one in draft.found.rules.values() if "rules_matching" in one.expression]:
        _write_out(draft, rule)
    for name in _without_order(draft.found.rules):
        _locate(draft, draft.found.rules[name])
        reason = f"depends on itself, or on metas nested deeper than {_MAX_META_DEPTH}"
        draft.problem(f"meta {name} {reason}, and does not run", "error")
        draft.found.unsupported[name] = f"it {reason}"
        del draft.found.rules[name]


def _locate(draft: Draft, rule: Rule) -> None:
    draft.place, draft.line = rule.place, rule.expression or (rule.regex.text if rule.regex else "")


def _replace(draft: Draft, name: str) -> None:
    rule = draft.found.rules.get(name)
    if rule is None or rule.regex is None:
        return
    try:
        regex = _replaced(draft.replacements, rule.regex)
    except ValueError as error:
        _locate(draft, rule)
        draft.problem(f"{name}, after replace_rules: {error}", "error")
    else:
        draft.found.rules[name] = replace(rule, regex=regex, written=rule.regex.text)


def _replaced(replacements: Replacements, regex: Regex) -> Regex:
    """With the tags' patterns in place, or called where PCRE2's limit of 64 KB is too small for that."""
    try:
        found = Regex(replacements.apply(regex.text), regex.flags)
        compile_confirming(found)
    except ValueError:
        found = Regex(replacements.apply_shared(regex.text), regex.flags)
        compile_confirming(found)
    return found


def _write_out(draft: Draft, rule: Rule) -> None:
    """rules_matching(__FOO_*) becomes (__FOO_1 + __FOO_2)."""

    def named(match: re.Match[str]) -> str:
        pattern = re.compile(translate(match[1]))  # linear: each star is settled once
        names = sorted(one for one in draft.found.rules if one != rule.name and pattern.match(one))
        return f"({' + '.join(names) or '0'})"

    text = _GLOB.sub(named, rule.expression)
    try:
        expression.parse(text)
    except ValueError as error:
        _locate(draft, rule)
        draft.problem(f"{rule.name}: {error}", "error")
        del draft.found.rules[rule.name]
    else:
        draft.found.rules[rule.name] = replace(rule, expression=text)


def _without_order(rules: Mapping[str, Rule]) -> list[str]:
    """Metas that cannot be put behind all they name: those in a circle or nested too deep, and those that name one."""
    metas = {name for name, rule in rules.items() if rule.kind == "meta"}
    waiting = {
        name: set(expression.names(expression.parse(rule.expression))) & metas
        for name, rule in rules.items()
        if rule.kind == "meta"
    }
    naming: dict[str, list[str]] = {}
    for name, named in waiting.items():
        for one in named:
            naming.setdefault(one, []).append(name)
    depths = {name: 1 for name, named in waiting.items() if not named}
    ready = list(depths)
    while ready:
        done = ready.pop()
        del waiting[done]
        for name in naming.get(done, ()):
            waiting[name].discard(done)
            depths[name] = max(depths.get(name, 1), depths[done] + 1)
            if not waiting[name] and depths[name] <= _MAX_META_DEPTH:
                ready.append(name)
    return list(waiting)
