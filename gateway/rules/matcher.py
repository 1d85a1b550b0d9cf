"""Many patterns over all texts of one kind in one pass: hyperscan, confirmed by the backtracking engine.

The pass runs over a buffer in which the texts stand side by side (gateway.rules.text), so it may see a match that
reaches from one text into the next, and patterns hyperscan cannot take exactly are loosened there (its PREFILTER mode).
What it reports is a candidate; `find` confirms it in the single text. A pattern is `exact` when the pass alone is right,
`confirm` when not, `alone` when hyperscan cannot take it at all. The compiled database is kept on disk under a name
made of everything that went into it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import hyperscan

from gateway.rules.regex import compile_confirming, is_unicode, search
from gateway.rules.rule import Regex

_WORTH_A_PASS = 4  # below that many patterns the backtracking engine alone is cheaper
_FORMAT = "2"
_BLOCK = hyperscan.HS_MODE_BLOCK
# What may match a separator, or depends on where a text begins or ends
_CROSSING = re.compile(r"\[\^|\\[WDSNXRHVAzZG0x]|[\^$]|(?:^|[(|:])\\s|\(\?[a-z]*[sx]|\[\[:\^")
_ANCHORS = re.compile(r"\\(.)|(\[\^?\]?(?:\\.|[^\]\\])*\])", re.DOTALL)

Span = tuple[int, int]


class Matcher:
    """Patterns by number. One for each kind of text; made before the fork, usable after it and in threads."""

    def __init__(self, regexes: Sequence[Regex], cache_dir: Path | None) -> None:
        self.regexes = tuple(regexes)
        self._compiled: list[Any] = [None] * len(self.regexes)
        modes, self._database = _build(self.regexes, cache_dir)
        self.exact = frozenset(number for number, mode in enumerate(modes) if mode == "exact")
        self.alone = tuple(number for number, mode in enumerate(modes) if mode == "alone")
        self.unicode = frozenset(number for number, regex in enumerate(self.regexes) if is_unicode(regex))
        self._local = threading.local()

    def candidates(self, buffer: bytes) -> dict[int, int]:
        """Number -> where its first match ends, for every pattern that may match; -1 for those tried without a pass."""
        found: dict[int, int] = dict.fromkeys(self.alone, -1)
        if self._database is not None and buffer:
            self._database.scan(buffer, match_event_handler=_collect, context=found, scratch=self._scratch())
        return found

    def find(self, number: int, text: bytes) -> Span | None:
        """Where the pattern first matches this one text. Raises TimeoutError at the step limit."""
        return search(self._pattern(number), text)

    def count(self, number: int, texts: Iterable[bytes], limit: int) -> int:
        """How often it matches, up to `limit`. Raises TimeoutError at the step limit."""
        pattern, total = self._pattern(number), 0
        for text in texts:
            position = 0
            while total < limit and (span := search(pattern, text, position)) is not None:
                total += 1
                position = span[1] if span[1] > span[0] else span[1] + 1
                if position > len(text):
                    break
        return total

    def _pattern(self, number: int) -> Any:
        if self._compiled[number] is None:
            self._compiled[number] = compile_confirming(self.regexes[number])
        return self._compiled[number]

    def _scratch(self) -> Any:
        """hyperscan wants one for each thread, and a fork must not share its parent's."""
        local = self._local
        if getattr(local, "owner", None) != os.getpid():
            local.scratch = hyperscan.Scratch(self._database)
            local.owner = os.getpid()
        return local.scratch


def _collect(number: int, _start: int, end: int, _flags: int, found: Any) -> None:
    found[number] = end


# --- building -------------------------------------------------------------------------------------------------------


def _build(regexes: Sequence[Regex], cache_dir: Path | None) -> tuple[list[str], Any]:
    if len(regexes) < _WORTH_A_PASS:
        return ["alone"] * len(regexes), None
    path = cache_dir / f"{_key(regexes)}.hsdb" if cache_dir is not None else None
    cached = _load(path)
    if cached is not None and len(cached[0]) == len(regexes):
        return cached
    loose = _loose_numbers(regexes, range(len(regexes)))
    alone = set(_refused(regexes, sorted(loose), loose))
    database = _compile(regexes, [number for number in range(len(regexes)) if number not in alone], loose)
    modes = [_mode(number, regex, loose, alone) for number, regex in enumerate(regexes)]
    if path is not None and database is not None:
        _save(path, modes, database)
    return modes, database


def _mode(number: int, regex: Regex, loose: set[int], alone: set[int]) -> str:
    if number in alone:
        return "alone"
    is_crossing = number in loose or ("s" in regex.flags and "." in regex.text) or _CROSSING.search(regex.text)
    return "confirm" if is_crossing else "exact"


def _loose_numbers(regexes: Sequence[Regex], numbers: Sequence[int]) -> set[int]:
    """Those that hyperscan takes only loosened, if at all."""
    return set(_refused(regexes, numbers, frozenset()))


def _refused(regexes: Sequence[Regex], numbers: Sequence[int], loose: set[int] | frozenset[int]) -> list[int]:
    """The numbers that do not compile, found by halving: most sets have few."""
    if not numbers or _parses(regexes, numbers, loose):
        return []
    if len(numbers) == 1:
        return list(numbers)
    middle = len(numbers) // 2
    return _refused(regexes, numbers[:middle], loose) + _refused(regexes, numbers[middle:], loose)


def _parses(regexes: Sequence[Regex], numbers: Sequence[int], loose: set[int] | frozenset[int]) -> bool:
    return _compile(regexes, numbers, loose) is not None


def _compile(regexes: Sequence[Regex], numbers: Sequence[int], loose: set[int] | frozenset[int]) -> Any:
    """A database, None when there is nothing to compile or hyperscan refuses."""
    if not numbers:
        return None
    database = hyperscan.Database(mode=_BLOCK)
    try:
        database.compile(
            expressions=[_for_pass(regexes[number]).encode("utf-8") for number in numbers],
            ids=list(numbers),
            elements=len(numbers),
            flags=[_flags(regexes[number], number in loose) for number in numbers],
        )
    except hyperscan.error:
        return None
    return database


def _for_pass(regex: Regex) -> str:
    r"""The pattern with \A, \z, \Z and \G as line anchors: every text begins and ends at a line end of the buffer."""
    text = f"(?x){regex.text}" if "x" in regex.flags else regex.text
    if "\\" not in text:
        return text
    line = {"A": "^", "G": "", "z": "$", "Z": "$"}
    return _ANCHORS.sub(lambda m: line.get(m[1], m[0]) if m[1] else m[0], text)


def _flags(regex: Regex, is_loose: bool) -> int:
    flags = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY | hyperscan.HS_FLAG_MULTILINE
    if "i" in regex.flags:
        flags |= hyperscan.HS_FLAG_CASELESS
    if "s" in regex.flags:
        flags |= hyperscan.HS_FLAG_DOTALL
    if is_unicode(regex):
        flags |= hyperscan.HS_FLAG_UTF8 | hyperscan.HS_FLAG_UCP
    if is_loose:
        flags |= hyperscan.HS_FLAG_PREFILTER
    return int(flags)


def _key(regexes: Sequence[Regex]) -> str:
    parts = [_FORMAT, hyperscan.__version__, *(f"{regex.text}/{regex.flags}" for regex in regexes)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _save(path: Path, modes: Sequence[str], database: Any) -> None:
    """Beside its final name, then renamed: a reader never sees half of it."""
    content = hyperscan.dumpb(database)
    head = json.dumps({"modes": list(modes), "sha256": hashlib.sha256(content).hexdigest()}).encode()
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(head + b"\n" + content)
        fresh.replace(path)


def _load(path: Path | None) -> tuple[list[str], Any] | None:
    """None when there is no usable cache."""
    try:
        head, _, content = path.read_bytes().partition(b"\n") if path is not None else (b"", b"", b"")
        facts = json.loads(head)
        if hashlib.sha256(content).hexdigest() != facts["sha256"]:
            return None
        return list(facts["modes"]), hyperscan.loadb(content, mode=_BLOCK)
    except (OSError, ValueError, KeyError, TypeError, hyperscan.error):
        return None
