r"""A pattern -> one that matches wherever it does, and that the multi-pattern engine takes without trouble.

Zero-width assertions go (look-ahead, look-behind), text anchors become line anchors (in a buffer of many texts each
begins and ends at a line end), atomic and possessive become plain, and long bounded repeats lose their upper bound. Of
a pattern too large for one automaton the most telling stretch is kept: where the whole matches, each of its stretches
does. hyperscan's own prefiltering turns such patterns into ones that match nearly anything (measured on SpamAssassin's
fuzzy rules: 30 µs a pattern and message, against 2), or compiles them for half a minute.

For text in ASCII alone there is another form (`is_ascii`): alternatives that need other bytes go. Of SpamAssassin's
fuzzy rules, which list every letter that looks like another, little is left, and no stretch has to be chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

MAX_WEIGHT = 700  # characters and classes, repeats multiplied; the engine's automata hold 512 states
_UNBEARABLE = 8000  # compiles for half a minute
_MAX_REPEAT = 64
_GOOD_TELLING = 3.0
_MAX_EXPRESSIONS = 16
_MIN_TELLING = 2.0  # a stretch that fixes less matches everywhere
_MAX_DEPTH = 50
_TOKEN = re.compile(
    r"\\(?:x\{[^}]*\}|x[0-9a-fA-F]{2}|.)"  # an escape
    r"|\[\^?\]?(?:\\.|\[:\^?[a-z]+:\]|[^\]\\])*\]"  # a class
    r"|\(\?&\w+\)|\(\?(?:<?[=!]|>|:|[a-z^-]*[:)]|P?<\w+>)?"  # a group that is special
    r"|[()|]|\{\d+(?:,\d*)?\}[+?]?|[*+?][+?]?|.",
    re.DOTALL,
)
_SPACING = re.compile(r"(\\.|\[\^?\]?(?:\\.|\[:\^?[a-z]+:\]|[^\]\\])*\]|\(\?#)|\s+|#[^\n]*", re.DOTALL)
_REPEAT = re.compile(r"\{(\d+)(?:,(\d*))?\}([+?]?)")
_DEFINE = "(?(DEFINE)"
_LOOKS = frozenset(("(?=", "(?!", "(?<=", "(?<!"))
_ANCHORS = {"\\A": "^", "\\z": "$", "\\Z": "$", "\\G": "", "^": "^", "$": "$", "\\b": "\\b", "\\B": "\\B"}
_UNTOUCHED = ("\\Q", "\\E", "\\K", "(?#", "(?(", "(?|", "(?R", "(*", "\\g", "\\k")
_MANY_ENDS = re.compile(r"(?:\.|\\[wWsSdD]|\[\^[^]]*\])(?:[*+]|\{\d+,(?:\d\d+)?\})")  # ends at many places, once begun
_CODE = r"\\x(?:[0-9a-fA-F]{2}|\{[^}]*\})"
_HIGH = re.compile(  # without the two letters that are, caseless, s and k
    r"\\x(?:[89a-fA-F][0-9a-fA-F]|\{0*(?!17[fF]\}|212[aA]\})(?:[89a-fA-F]|[1-9a-fA-F][0-9a-fA-F]{1,6})[0-9a-fA-F]\})"
    r"|[^\x00-\x7f\u017f\u212a]"
)
_IN_CLASS = re.compile(rf"(?:{_CODE}|\[:\^?[a-z]+:\]|\\.|.)(?:-(?:{_CODE}|\\.|.))?", re.DOTALL)
_LINE_END = re.compile(r"\\[nsWDRvX]|\[\^|\[[^\]]*\\[nsWD]")  # may match one
_WIDE = re.compile(r"\.|\\[WSDHVNwsh]|\[\^.*", re.DOTALL)  # matches nearly any character


@dataclass(frozen=True, slots=True)
class _Item:
    """One piece of a sequence."""

    text: str
    weight: int  # states it costs
    telling: float  # how rare a match is: about the number of characters it fixes
    opening: str = ""  # of a group that has to match: how it begins
    branches: tuple[tuple[_Item, ...], ...] = ()  # and its alternatives
    lowest: int = 1  # how often it has to match


def _never(opening: str = "") -> _Item:
    """What matches no text in ASCII."""
    return _Item("(?!)", 0, 0.0, opening)


def _is_never(item: _Item) -> bool:
    return item.text == "(?!)"


@dataclass(frozen=True, slots=True)
class Loosened:
    """What the pass looks for: a pattern can only match where one of these expressions matches `times` times."""

    expressions: tuple[str, ...]
    times: int = 1
    is_looser: bool = True


def loosen(text: str, *, keeps_anchors: bool = True, is_ascii: bool = False) -> Loosened:
    """The looser form of a pattern; one with rare syntax stays as it is.

    `keeps_anchors` False takes out ^ and $ too: the engine refuses them in the middle of a pattern. `is_ascii` is for
    text without other bytes; a pattern that never matches such a text has no expressions.
    """
    pattern, define, groups = text.partition(_DEFINE)
    if any(mark in pattern or mark in groups for mark in _UNTOUCHED):
        return Loosened((text,), is_looser=False)
    try:
        form = _Form(keeps_anchors, is_ascii)
        whole, reader = _read(pattern, _defined(groups.removesuffix(")"), form) if define else {}, form)
    except ValueError:
        return Loosened((text,), is_looser=False)
    if _is_never(whole):
        return Loosened(())
    if whole.weight > MAX_WEIGHT and not reader.has_flags:
        lighter = max(_choices(whole), key=lambda choice: (choice[0] >= _GOOD_TELLING, choice[0]), default=None)
        if lighter is not None and (lighter[0] >= _MIN_TELLING or whole.weight > _UNBEARABLE):
            return lighter[1]
    return Loosened((whole.text,), is_looser=reader.is_looser)


def _choices(whole: _Item) -> Iterator[tuple[float, Loosened]]:
    """How telling, and the form: as one expression, or one for each alternative of one of its groups."""
    items = whole.branches[0] if len(whole.branches) == 1 else (whole,)
    window = _stretch(items, MAX_WEIGHT)
    if window:
        yield _worth(window), Loosened(("".join(item.text for item in window),))
    for item in items:
        lighter = _lighter(item, MAX_WEIGHT) if item.weight > MAX_WEIGHT else None
        if lighter is not None:
            times = 1 if _MANY_ENDS.search(lighter.text) else item.lowest
            yield lighter.telling * times, Loosened((lighter.text,), times)
        if 1 < len(item.branches) <= _MAX_EXPRESSIONS:
            stretches = [_stretch(branch, MAX_WEIGHT) for branch in item.branches]
            if all(stretches):
                texts = tuple("".join(one.text for one in stretch) for stretch in stretches)
                yield min(_worth(stretch) for stretch in stretches), Loosened(texts)


def has_high(text: str) -> bool:
    """Whether a pattern names something outside ASCII, so that its form for text in ASCII is another one."""
    return _HIGH.search(text) is not None


def ending_at_nul(text: str) -> str:
    """The pattern for a buffer of many texts: its $ is also at the end of a text whose line end was matched before."""
    return "".join("(?:$|(?=\\x00))" if one == "$" else one for one in _TOKEN.findall(text)) if "$" in text else text


def unspaced(text: str) -> str:
    """A pattern written with the flag x, as it is without."""
    return _SPACING.sub(lambda match: match[1] or "", text)


@dataclass(frozen=True, slots=True)
class _Form:
    """What is asked for."""

    keeps_anchors: bool
    is_ascii: bool


def _read(pattern: str, called: Mapping[str, _Item], form: _Form) -> tuple[_Item, _Reader]:
    """Raises ValueError for what is not balanced, or calls a group that is not there."""
    reader = _Reader(_TOKEN.findall(pattern), called, form)
    branches = reader.branches(0)
    if not reader.is_at_end:
        raise ValueError("a group begins nowhere")
    return _group("", branches, ""), reader


def _defined(groups: str, form: _Form) -> dict[str, _Item]:
    """The groups that others call, by how each begins."""
    items = _Reader(_TOKEN.findall(groups), {}, form).branches(0, keeps_never=True)[0]
    return {item.opening: _group("(?:", item.branches, ")") for item in items}


class _Reader:
    """Reads tokens into sequences of items, loosening each."""

    def __init__(self, tokens: Sequence[str], called: Mapping[str, _Item], form: _Form) -> None:
        self._tokens = tokens
        self._form = form
        self._called = called
        self._position = 0
        self.is_looser = False
        self.has_flags = False  # (?i) in the middle: what follows depends on it

    @property
    def is_at_end(self) -> bool:
        """Whether every token was read."""
        return self._position >= len(self._tokens)

    def branches(self, depth: int, *, keeps_never: bool = False) -> list[list[_Item]]:
        """The alternatives up to the end of the group, without those that never match.

        Raises ValueError for what is not balanced.
        """
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deep")
        found: list[list[_Item]] = [[]]
        while not self.is_at_end and self._tokens[self._position] != ")":
            token = self._tokens[self._position]
            self._position += 1
            if token == "|":  # noqa: S105 - a token of the pattern
                found.append([])
            else:
                item = self._item(token, depth)
                if token == "$" and found[-1] and _takes_line_end(found[-1][-1]):  # noqa: S105 - as above
                    self.is_looser = True  # behind the line end of a text no line ends in the buffer
                elif item is not None:
                    found[-1].append(item)
        return [branch for branch in found if keeps_never or not any(map(_is_never, branch))]

    def _item(self, token: str, depth: int) -> _Item | None:
        """What this token begins, with its repeat; None for nothing."""
        if token in _LOOKS:
            self._group(token, depth)
            self._repeat()  # a repeated assertion is an assertion
            self.is_looser = True
            return None
        if token.startswith("(?&"):
            if (opening := f"(?<{token[3:-1]}>") not in self._called:
                raise ValueError("a group that is not there is called")
            self.is_looser = True
            return _with_repeat(self._called[opening], self._repeat())
        if token.startswith("(") and token.endswith(")"):
            self.has_flags = True
            return _Item(token, 0, 0.0)
        if token.startswith("("):
            item = self._group(token, depth)
        elif token in _ANCHORS:
            return self._anchor(token)
        else:
            item = self._character(token)
        return _with_repeat(item, self._repeat())

    def _character(self, token: str) -> _Item:
        if self._form.is_ascii:
            token = _in_ascii(token)
        return _Item(token, 1, _telling(token)) if token else _never()

    def _anchor(self, token: str) -> _Item:
        line = _ANCHORS[token] if self._form.keeps_anchors or token in ("\\b", "\\B") else ""
        self.is_looser = self.is_looser or line != token
        return _Item(line, 0, 0.0)

    def _group(self, token: str, depth: int) -> _Item:
        inner = self.branches(depth + 1)
        if self.is_at_end:
            raise ValueError("a group has no end")
        self._position += 1
        if token == "(?>":  # noqa: S105 - a token of the pattern
            token, self.is_looser = "(?:", True
        return _group(token, inner, ")")

    def _repeat(self) -> tuple[str, int, int] | None:
        """Text, lowest, highest of the repeat that follows; None when there is none."""
        if self.is_at_end:
            return None
        token = self._tokens[self._position]
        match = _REPEAT.fullmatch(token)
        if match is None and token[0] not in "*+?":
            return None
        self._position += 1
        if match is None:
            self.is_looser = self.is_looser or token[1:] == "+"
            return (token[0] if token[1:] == "+" else token), int(token[0] == "+"), 1
        lowest = int(match[1])
        highest = lowest if match[2] is None else int(match[2]) if match[2] else 0
        if highest > _MAX_REPEAT:
            self.is_looser = True
            lowest = min(lowest, _MAX_REPEAT)
            return ("*" if not lowest else "+" if lowest == 1 else f"{{{lowest},}}"), lowest, max(1, lowest)
        self.is_looser = self.is_looser or match[3] == "+"
        return token.rstrip("+"), lowest, max(highest, lowest, 1)


def _takes_line_end(item: _Item) -> bool:
    """Whether it has to match something, which may be a line end alone."""
    return bool(item.lowest) and _LINE_END.search(item.text) is not None


def _in_ascii(token: str) -> str:
    """A character or class without what is not in ASCII; "" when nothing is left."""
    if _HIGH.fullmatch(token):
        return ""
    if token[0] != "[" or token.startswith("[^"):
        return token
    kept = "".join(one for one in _IN_CLASS.findall(token[1:-1]) if not _HIGH.match(one))
    return f"[{kept.replace('^', chr(92) + '^', 1) if kept[0] == '^' else kept}]" if kept else ""


def _telling(token: str) -> float:
    if _WIDE.fullmatch(token):
        return 0.1
    if token[0] == "[":
        return 0.5
    return 0.3 if token in ("\\d", "\\R", " ") else 1.0


def _with_repeat(item: _Item, repeat: tuple[str, int, int] | None) -> _Item | None:
    if repeat is None:
        return item
    text, lowest, highest = repeat
    if _is_never(item):
        return item if lowest else None
    kept = replace(
        item, text=item.text + text, weight=item.weight * highest, telling=item.telling * lowest, lowest=lowest
    )
    return kept if lowest else replace(kept, opening="", branches=())


def _group(opening: str, branches: Sequence[Sequence[_Item]], closing: str) -> _Item:
    if not branches:
        return _never(opening)
    return _Item(
        f"{opening}{'|'.join(''.join(item.text for item in branch) for branch in branches)}{closing}",
        sum(_weight(branch) for branch in branches),
        min(_worth(branch) for branch in branches),
        opening,
        tuple(tuple(branch) for branch in branches),
    )


def _lighter(item: _Item, budget: int) -> _Item | None:
    """A group once, with the most telling stretch of each alternative; None when an alternative has none."""
    if not item.branches:
        return None
    stretches: list[Sequence[_Item]] = []
    lightest_first = sorted(item.branches, key=_weight)
    for number, branch in enumerate(lightest_first):  # what a light one leaves over is for the heavier ones
        share = budget // (len(lightest_first) - number)
        stretches.append(_trimmed(branch) if _weight(branch) <= share else _stretch(branch, share))
        budget -= _weight(stretches[-1])
    return _group(item.opening or "(?:", stretches, ")") if all(stretches) else None


def _stretch(items: Sequence[_Item], budget: int) -> list[_Item]:
    """The most telling run of items that is light enough, or a lighter form of a heavy one."""
    best: list[_Item] = []
    for start, item in enumerate(items):
        if item.weight > budget:
            lighter = _lighter(item, budget)
            best = max(best, [lighter] if lighter else [], key=_worth)
        weight = 0
        for end in range(start, len(items)):
            weight += items[end].weight
            if weight > budget:
                break
            best = max(best, list(items[start : end + 1]), key=_worth)
    return _trimmed(best)


def _trimmed(items: Sequence[_Item]) -> list[_Item]:
    """Without what need not match at either end."""
    telling = [number for number, item in enumerate(items) if item.telling or not item.weight]
    return list(items[telling[0] : telling[-1] + 1]) if telling else list(items)


def _weight(items: Sequence[_Item]) -> int:
    return sum(item.weight for item in items)


def _worth(items: Sequence[_Item]) -> float:
    return sum(item.telling for item in items)
