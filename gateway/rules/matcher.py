"""Many patterns over all texts of one kind in one pass: hyperscan, confirmed by the backtracking engine.

The pass runs over a buffer in which the texts stand side by side (gateway.rules.text), so it may see a match that
reaches from one text into the next, and patterns that hyperscan cannot take are loosened for it (gateway.rules.loosen).
What it reports is a candidate; `find` confirms it in the single text. A pattern is `exact` when the pass alone is
right, `confirm` when not, `alone` when hyperscan cannot take it at all, `never` when it cannot match. Patterns that
name what is not in ASCII have two passes: one for buffers in ASCII, without what such a buffer never has (of
SpamAssassin's patterns for bodies a fifth as large and half as dear), and one for others. The compiled databases are
kept on disk under a name made of everything that went into them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import hyperscan

from gateway.rules import loosen as loosening
from gateway.rules.loosen import Loosened, ending_at_nul, has_high, loosen, unspaced
from gateway.rules.regex import compile_confirming, count, is_unicode, search
from gateway.rules.rule import Regex

_WORTH_A_PASS = 4  # below that many patterns the backtracking engine alone is cheaper
_MAX_CACHE = 400_000_000  # SpamAssassin's set and ours have 60 MB
_COUNTED = 1 << 20  # numbers from there on are of patterns whose matches are counted
_HIGH_AT_ONCE = 45  # compiling takes longer than in proportion: three parts of SpamAssassin's take less than half of it
_BLOCK = hyperscan.HS_MODE_BLOCK
# What may match a separator (a dot its NUL), or depends on where a text begins or ends
_CROSSING = re.compile(
    r"(?<!\\)\.|\[\^|\\[WDSNXRHVAzZG0]|\\x(?:0[0-9aA]|\{)|[\^$]|(?:^|[(|:])\\s|\(\?[a-z]*[sx]|\[\[:\^"
)

# hyperscan 5.4 loses matches of these that begin with a line end, beside others like them in one database
_LOST = re.compile(r"\^\[\^(?![^\]]*\\n)")
_LITERAL = re.compile(r"\(\?:([\w ]+)\)|([\w ]+)")
_MAX_LITERAL = 400
_AT_BOUNDS = re.compile(r"\(\?<[=!]|\\[AzZG]|\(\*|\(\?[a-z]*-")

# The code that decides what is in a database: a cache made by other code is another cache
_MADE_BY = hashlib.sha256(b"".join(Path(file).read_bytes() for file in (__file__, loosening.__file__))).hexdigest()

Span = tuple[int, int]


class Candidates(NamedTuple):
    """What one pass saw."""

    ends: dict[int, int]  # number -> where its first match ends; -1 for what has to be looked for everywhere
    counted: dict[int, list[int]]  # number -> where the matches end of a pattern that needs several in one text
    exact: frozenset[int]  # numbers for which the pass alone is right
    times: Mapping[int, int]  # how often the pass has to see a number in one text, if more than once


class Matcher:
    """Patterns by number. One for each kind of text; made before the fork, usable after it and in threads."""

    def __init__(self, regexes: Sequence[Regex], cache_dir: Path | None) -> None:
        self.regexes = tuple(regexes)
        self._compiled: list[Any] = [None] * len(self.regexes)
        self._in_lines: dict[int, Any] = {}
        high = frozenset(number for number, regex in enumerate(self.regexes) if has_high(regex.text))
        low = frozenset(range(len(self.regexes))) - high
        common = _Pass(self.regexes, low, cache_dir)
        parts = [sorted(high)[at : at + _HIGH_AT_ONCE] for at in range(0, len(high), _HIGH_AT_ONCE)]
        self._for_any = _Passes(common, *(_Pass(self.regexes, part, cache_dir) for part in parts))
        self._for_ascii = _Passes(common, _Pass(self.regexes, high, cache_dir, is_ascii=True))  # soon compiled
        self.exact, self.alone = self._for_any.exact, self._for_any.alone  # whatever the text
        self.unicode = frozenset(number for number, regex in enumerate(self.regexes) if is_unicode(regex))
        # a match in a single text is one in the buffer too: those that look neither behind nor at a text's bounds
        self._literals = _literals(self.regexes, is_ascii=False)
        self._ascii_literals = _literals(self.regexes, is_ascii=True)
        self.wholesale = frozenset(
            number for number, regex in enumerate(self.regexes) if not _AT_BOUNDS.search(regex.text)
        )

    def candidates(self, buffer: bytes) -> Candidates:
        """Every pattern that may match."""
        return (self._for_ascii if buffer.isascii() else self._for_any).candidates(buffer)

    def find(self, number: int, text: bytes) -> Span | None:
        """Where the pattern first matches this one text. Raises TimeoutError at the step limit."""
        return search(self._pattern(number), text)

    def first_group(self, number: int, text: bytes) -> bytes:
        """What the first group of its first match holds, b"" without one. Raises TimeoutError at the step limit."""
        span = search(self._pattern(number), text, group=1)
        return text[span[0] : span[1]] if span else b""

    def find_line(self, number: int, buffer: bytes) -> Span | None:
        """Where it first matches the buffer, its bounds being line ends. Raises TimeoutError at the step limit."""
        return search(self._pattern_in_lines(number), buffer)

    def count(self, number: int, texts: Iterable[bytes], most: int) -> int:
        """How often it matches, up to `most`. Raises TimeoutError at the step limit."""
        pattern = self._pattern(number)
        found = 0
        for text in texts:
            found += count(pattern, text, most - found)
            if found >= most:
                break
        return found

    def count_lines(self, number: int, buffer: bytes, most: int) -> int:
        """How often it matches the buffer, its bounds being line ends. Raises TimeoutError at the step limit."""
        literal = self._ascii_literals.get(number) if buffer.isascii() else self._literals.get(number)
        return min(most, buffer.count(literal)) if literal else count(self._pattern_in_lines(number), buffer, most)

    def _pattern_in_lines(self, number: int) -> Any:
        pattern = self._in_lines.get(number)
        if pattern is None:
            regex = self.regexes[number]
            text = ending_at_nul(unspaced(regex.text) if "x" in regex.flags else regex.text)
            pattern = self._in_lines[number] = compile_confirming(Regex(text, f"{regex.flags}m"))
        return pattern

    def _pattern(self, number: int) -> Any:
        if self._compiled[number] is None:
            self._compiled[number] = compile_confirming(self.regexes[number])
        return self._compiled[number]


class _Passes:
    """What is looked for in one kind of buffer."""

    def __init__(self, *passes: _Pass) -> None:
        self._passes = [one for one in passes if one.database is not None]
        self.exact = passes[0].numbers("exact").union(*(one.numbers("exact") for one in passes[1:]))
        self.alone = tuple(sorted(number for one in passes for number in one.numbers("alone")))
        self._times = {number: times for one in passes for number, times in one.times.items() if times > 1}

    def candidates(self, buffer: bytes) -> Candidates:
        """Every pattern that may match."""
        found: dict[int, int] = dict.fromkeys(self.alone, -1)
        counted: dict[int, list[int]] = {}
        for one in self._passes if buffer else ():
            one.scan(buffer, found, counted)
        for number, ends in counted.items():
            if len(ends) >= self._times[number]:
                found[number] = -1
        return Candidates(found, counted, self.exact, self._times)


class _Pass:
    """One database of some of the patterns."""

    def __init__(
        self, regexes: Sequence[Regex], numbers: Collection[int], cache_dir: Path | None, *, is_ascii: bool = False
    ) -> None:
        chosen = sorted(numbers)
        self.database: Any = None
        if len(regexes) < _WORTH_A_PASS:
            self._modes, self.times = dict.fromkeys(chosen, "alone"), dict[int, int]()
        else:
            plan, self.database = _build([regexes[number] for number in chosen], cache_dir, is_ascii=is_ascii)
            self._modes = dict(zip(chosen, plan.modes, strict=True))
            self.times = dict(zip(chosen, plan.times, strict=True))
        self._chosen = chosen
        self._local = threading.local()

    def numbers(self, mode: str) -> frozenset[int]:
        """Those that are matched this way."""
        return frozenset(number for number, its in self._modes.items() if its == mode)

    def scan(self, buffer: bytes, found: dict[int, int], counted: dict[int, list[int]]) -> None:
        """Note every pattern seen, and where."""
        context = (found, counted, self._chosen)
        self.database.scan(buffer, match_event_handler=_collect, context=context, scratch=self._scratch())

    def _scratch(self) -> Any:
        """hyperscan wants one for each thread, and a fork must not share its parent's."""
        local = self._local
        if getattr(local, "owner", None) != os.getpid():
            local.scratch = hyperscan.Scratch(self.database)
            local.owner = os.getpid()
        return local.scratch


def _collect(number: int, _start: int, end: int, _flags: int, context: Any) -> None:
    found, counted, chosen = context
    if number < _COUNTED:
        found[chosen[number]] = end
    else:
        counted.setdefault(chosen[number - _COUNTED], []).append(end)


# --- building -------------------------------------------------------------------------------------------------------


_Row = tuple[bytes, int, int]  # expression, number, flags
_NO_EXPRESSION: _Row = (b"(", 0, 0)  # hyperscan reads what stands before it, then refuses


class _Plan(NamedTuple):
    """How each pattern is matched, by number."""

    modes: Sequence[str]  # exact, confirm, alone or never
    times: Sequence[int]  # how often the pass has to see it in one text


def _build(regexes: Sequence[Regex], cache_dir: Path | None, *, is_ascii: bool) -> tuple[_Plan, Any]:
    path = cache_dir / f"{_key(regexes, is_ascii)}.hsdb" if cache_dir is not None else None
    cached = _load(path)
    if cached is not None and len(cached[0].modes) == len(regexes):
        return cached
    taken = [_taken(regex, is_ascii, _reads) for regex in regexes]
    database = _compile_all(taken)
    if database is None:  # what hyperscan reads it need not take
        taken = [_taken(regex, is_ascii, _takes) for regex in regexes]
        database = _compile_all(taken)
    if database is None:
        taken = [_Taken(one.mode if one.mode == "never" else "alone") for one in taken]
    plan = _Plan([one.mode for one in taken], [one.times for one in taken])
    if path is not None and database is not None:
        _save(path, plan, database)
    return plan, database


class _Taken(NamedTuple):
    """How hyperscan takes one pattern: exact, confirm, alone (not at all) or never (nothing to look for)."""

    mode: str
    expressions: Sequence[str] = ()
    times: int = 1
    flags: int = 0

    def rows(self, number: int) -> list[_Row]:
        """What is compiled for it."""
        is_counted = self.times > 1
        flags = self.flags & ~hyperscan.HS_FLAG_SINGLEMATCH if is_counted else self.flags
        return [(text.encode(), number + _COUNTED * is_counted, flags) for text in self.expressions]


def _taken(regex: Regex, is_ascii: bool, is_good: Callable[[Sequence[_Row]], bool]) -> _Taken:
    """Loosened as it is, without ^ and $, by hyperscan's own approximation: the first form that it takes."""
    is_lost = "m" in regex.flags and _LOST.search(regex.text) is not None
    for keeps_anchors, is_prefilter in ((True, False), (False, False), (True, True))[is_lost:]:
        form = _form(regex, keeps_anchors=keeps_anchors, is_ascii=is_ascii)
        if not form.expressions:
            return _Taken("never")
        is_right = keeps_anchors and not is_prefilter and not form.is_looser and "x" not in regex.flags
        mode = "exact" if is_right and not _CROSSING.search(regex.text) else "confirm"
        taken = _Taken(mode, form.expressions, form.times, _flags(regex, is_prefilter))
        if is_good(taken.rows(0)):
            return taken
    return _Taken("alone")


def _reads(rows: Sequence[_Row]) -> bool:
    """Whether hyperscan refuses none of them when it reads them; quicker than compiling."""
    return _refusal([*rows, _NO_EXPRESSION]) == _refusal([_NO_EXPRESSION])


def _takes(rows: Sequence[_Row]) -> bool:
    return _compile(rows) is not None


def _compile_all(taken: Sequence[_Taken]) -> Any:
    return _compile([row for number, one in enumerate(taken) for row in one.rows(number)])


def _compile(rows: Sequence[_Row]) -> Any:
    """A database, None when there is nothing to compile or hyperscan refuses."""
    if not rows:
        return None
    with contextlib.suppress(hyperscan.error):
        return _compiled(rows)
    return None


def _refusal(rows: Sequence[_Row]) -> str:
    """What hyperscan says against them, "" if nothing."""
    try:
        _compiled(rows)
    except hyperscan.error as error:
        return str(error)
    return ""


def _compiled(rows: Sequence[_Row]) -> Any:
    """Raises hyperscan.error."""
    texts, ids, flags = zip(*rows, strict=True)
    database = hyperscan.Database(mode=_BLOCK)
    database.compile(expressions=list(texts), ids=list(ids), elements=len(rows), flags=list(flags))
    return database


def _form(regex: Regex, *, keeps_anchors: bool = True, is_ascii: bool = False) -> Loosened:
    text = unspaced(regex.text) if "x" in regex.flags else regex.text
    return loosen(text, keeps_anchors=keeps_anchors, is_ascii=is_ascii)


def _literals(regexes: Sequence[Regex], *, is_ascii: bool) -> dict[int, bytes]:
    """Number -> the letters that the pattern is, without anything special about them."""
    found = {}
    for number, regex in enumerate(regexes):
        may_be_one = _LITERAL.fullmatch(regex.text) or (regex.text.startswith("(?:") and has_high(regex.text))
        if may_be_one and not regex.flags and len(regex.text) < _MAX_LITERAL:
            form = _form(regex, is_ascii=is_ascii)
            match = _LITERAL.fullmatch(form.expressions[0]) if len(form.expressions) == 1 else None
            if match and not form.is_looser:
                found[number] = (match[1] or match[2]).encode()
    return found


def _flags(regex: Regex, is_prefilter: bool) -> int:
    flags = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY | hyperscan.HS_FLAG_MULTILINE
    if "i" in regex.flags:
        flags |= hyperscan.HS_FLAG_CASELESS
    if "s" in regex.flags:
        flags |= hyperscan.HS_FLAG_DOTALL
    if is_unicode(regex):
        flags |= hyperscan.HS_FLAG_UTF8 | hyperscan.HS_FLAG_UCP
    if is_prefilter:
        flags |= hyperscan.HS_FLAG_PREFILTER
    return int(flags)


def _key(regexes: Sequence[Regex], is_ascii: bool) -> str:
    parts = [
        _MADE_BY,
        f"is_ascii={is_ascii}",
        getattr(hyperscan, "__version__", ""),
        *(f"{regex.text}/{regex.flags}" for regex in regexes),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _save(path: Path, plan: _Plan, database: Any) -> None:
    """Beside its final name, then renamed: a reader never sees half of it."""
    content = hyperscan.dumpb(database)
    head = json.dumps(plan._asdict() | {"sha256": hashlib.sha256(content).hexdigest()}).encode()
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(head + b"\n" + content)
        fresh.replace(path)
        _prune(path.parent)


def _prune(folder: Path) -> None:
    """Databases nobody loaded for longest go, when there are more than _MAX_CACHE bytes of them. Raises OSError."""
    room = _MAX_CACHE
    for path in sorted(folder.glob("*.hsdb"), key=lambda one: one.stat().st_mtime, reverse=True):
        room -= path.stat().st_size
        if room < 0:
            path.unlink()


def _load(path: Path | None) -> tuple[_Plan, Any] | None:
    """None when there is no usable cache."""
    try:
        head, _, content = path.read_bytes().partition(b"\n") if path is not None else (b"", b"", b"")
        facts = json.loads(head)
        if path is None or hashlib.sha256(content).hexdigest() != facts["sha256"]:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return _Plan(facts["modes"], facts["times"]), hyperscan.loadb(content, mode=_BLOCK)
    except (OSError, ValueError, KeyError, TypeError, hyperscan.error):
        return None
