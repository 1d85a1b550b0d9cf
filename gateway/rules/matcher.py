"""Many patterns over one text in one pass: hyperscan, and the backtracking engine where hyperscan cannot be exact.

Each pattern is `exact` (hyperscan's answer is final), `confirm` (hyperscan's PREFILTER says where it is worth looking)
or `alone` (hyperscan cannot take it at all, or there are too few patterns to be worth a pass). The compiled database
is kept on disk under a name made of everything that went into it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hyperscan

from gateway.rules.regex import compile_confirming, is_unicode, search
from gateway.rules.rule import Regex

_WORTH_A_PASS = 4  # below that many patterns the backtracking engine alone is cheaper
_FORMAT = "1"


class Matcher:
    """Patterns by number. One for each kind of text; made before the fork, usable after it and in threads."""

    def __init__(self, regexes: Sequence[Regex], cache_dir: Path | None) -> None:
        self._regexes = list(regexes)
        self._compiled: dict[int, Any] = {}
        self._modes, self._database = _build(self._regexes, cache_dir)
        self._alone = [number for number, mode in enumerate(self._modes) if mode == "alone"]
        self._local = threading.local()
        self.gave_up: set[int] = set()  # patterns that reached their step limit, for the report

    def matching(self, subject: bytes) -> set[int]:
        """Numbers of the patterns that match. A pattern that reaches its step limit counts as not matching."""
        found: set[int] = set()
        if self._database is not None and subject:
            self._database.scan(subject, match_event_handler=_collect, context=found, scratch=self._scratch())
            for number in [one for one in found if self._modes[one] == "confirm"]:
                if self.span(number, subject) is None:
                    found.discard(number)
        found.update(number for number in self._alone if self.span(number, subject) is not None)
        return found

    def span(self, number: int, subject: bytes) -> tuple[int, int] | None:
        """Where the pattern first matches."""
        try:
            return search(self._pattern(number), subject)
        except TimeoutError:
            self.gave_up.add(number)
            return None

    def count(self, number: int, subject: bytes, limit: int) -> int:
        """How often it matches, up to `limit`."""
        matches = self._pattern(number).finditer(subject)
        return sum(1 for _, _ in zip(range(limit), matches, strict=False))

    def _pattern(self, number: int) -> Any:
        if number not in self._compiled:
            self._compiled[number] = compile_confirming(self._regexes[number])
        return self._compiled[number]

    def _scratch(self) -> Any:
        """hyperscan wants one for each thread, and a fork must not share its parent's."""
        owner = getattr(self._local, "owner", None)
        if owner != os.getpid():
            self._local.scratch = hyperscan.Scratch(self._database)
            self._local.owner = os.getpid()
        return self._local.scratch


def _collect(number: int, _start: int, _end: int, _flags: int, found: Any) -> None:
    found.add(number)


# --- building -------------------------------------------------------------------------------------------------------


def _build(regexes: Sequence[Regex], cache_dir: Path | None) -> tuple[list[str], Any]:
    if len(regexes) < _WORTH_A_PASS:
        return ["alone"] * len(regexes), None
    path = cache_dir / f"{_key(regexes)}.hsdb" if cache_dir is not None else None
    cached = _load(path)
    if cached is not None and len(cached[0]) == len(regexes):
        return cached
    modes = [_mode(regex) for regex in regexes]
    database = _compile([(number, regexes[number], mode) for number, mode in enumerate(modes) if mode != "alone"])
    if path is not None and database is not None:
        _save(path, modes, database)
    return modes, database


def _key(regexes: Sequence[Regex]) -> str:
    parts = [
        _FORMAT,
        hyperscan.__version__ if hasattr(hyperscan, "__version__") else "",
        *(f"{r.text}/{r.flags}" for r in regexes),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _flags(regex: Regex, mode: str) -> int:
    flags = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
    for letter, flag in (
        ("i", hyperscan.HS_FLAG_CASELESS),
        ("m", hyperscan.HS_FLAG_MULTILINE),
        ("s", hyperscan.HS_FLAG_DOTALL),
    ):
        if letter in regex.flags:
            flags |= flag
    if is_unicode(regex):
        flags |= hyperscan.HS_FLAG_UTF8 | hyperscan.HS_FLAG_UCP
    if mode == "confirm":
        flags |= hyperscan.HS_FLAG_PREFILTER
    return int(flags)


def _mode(regex: Regex) -> str:
    if "x" in regex.flags:
        return "alone"
    for mode in ("exact", "confirm"):
        if _compile([(0, regex, mode)]) is not None:
            return mode
    return "alone"


def _compile(patterns: Sequence[tuple[int, Regex, str]]) -> Any:
    """A database, None when there is nothing to compile or hyperscan refuses."""
    if not patterns:
        return None
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(
            expressions=[regex.text.encode("utf-8") for _, regex, _ in patterns],
            ids=[number for number, _, _ in patterns],
            elements=len(patterns),
            flags=[_flags(regex, mode) for _, regex, mode in patterns],
        )
    except hyperscan.error:
        return None
    return database


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
        return list(facts["modes"]), hyperscan.loadb(content, mode=hyperscan.HS_MODE_BLOCK)
    except (OSError, ValueError, KeyError, TypeError, hyperscan.error):
        return None
