"""replace_rules: tags in patterns, <A>, that stand for longer patterns (Mail::SpamAssassin::Plugin::ReplaceTags)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_MAX_PASSES = 6  # a tag's text may hold tags
_MAX_PATTERN = 100_000
_Table = dict[str, str]


@dataclass(slots=True)
class Replacements:
    """The replace_* lines."""

    tags: _Table = field(default_factory=dict)
    before: _Table = field(default_factory=dict)  # replace_pre: stands before every tag of a pattern with <pre NAME>
    between: _Table = field(default_factory=dict)  # replace_inter: between tags that touch
    after: _Table = field(default_factory=dict)  # replace_post: behind every tag
    rules: dict[str, None] = field(default_factory=dict)
    start: str = "<"
    end: str = ">"

    def apply(self, pattern: str) -> str:
        """The pattern with its tags replaced; a tag nobody defined stays. Raises ValueError when it grows too long."""
        for _ in range(_MAX_PASSES):
            fresh = self._pass(pattern, self.tags)
            if len(fresh) > _MAX_PATTERN:
                raise ValueError(f"replace_rules: the pattern grows beyond {_MAX_PATTERN} characters")
            if fresh == pattern:
                break
            pattern = fresh
        return pattern

    def apply_shared(self, pattern: str) -> str:
        """The same with each tag's pattern written once, as a group that is called: for what grows too long."""
        used = [name for name in self.tags if f"{self.start}{name}{self.end}" in pattern]
        groups = {name: f"T{number}" for number, name in enumerate(used)}
        called = self._pass(pattern, {name: f"(?&{group})" for name, group in groups.items()})
        written = "".join(f"(?<{group}>{self.apply(self.tags[name])})" for name, group in groups.items())
        return f"{called}(?(DEFINE){written})"

    def _pass(self, pattern: str, tags: _Table) -> str:
        pattern, before = self._modifier("pre", self.before, pattern)
        pattern, after = self._modifier("post", self.after, pattern)
        pattern, between = self._modifier("inter", self.between, pattern)
        pieces = re.split(r"(<[^<>]+>)", pattern)  # text and tags by turns; "" between two tags that touch
        for index, piece in enumerate(pieces):
            if index % 2:
                pieces[index] = self._tag(piece, before, after, tags)
            elif not piece and 0 < index < len(pieces) - 1:
                pieces[index] = between
        return "".join(pieces)

    def _modifier(self, word: str, table: _Table, pattern: str) -> tuple[str, str]:
        """<pre NAME> is taken out of the pattern; what it stands for."""
        match = re.search(f"{re.escape(self.start)}{word} ([^<>]+?){re.escape(self.end)}", pattern)
        if match is None:
            return pattern, ""
        return pattern[: match.start()] + pattern[match.end() :], table.get(match[1], "")

    def _tag(self, piece: str, before: str, after: str, tags: _Table) -> str:
        name = piece.removeprefix(self.start).removesuffix(self.end)
        is_tag = piece.startswith(self.start) and piece.endswith(self.end)
        return f"{before}{tags.get(name) or piece}{after}" if is_tag else piece
