"""What spoke against a message, found again in its text: numbered notes, and where to put their marks.

Phrases come from the verdict: words the classifier weighed, what rules matched, what findings quote, hosts that links
are blamed for; and from the message, text hidden from its reader. Only notes that the message bears out are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.types import Message

_MAX_NOTES = 30
_MAX_PHRASES = 60
_MAX_PHRASE = 300  # characters
_SEARCHED = 300_000  # characters of the text
_WEIGHED = frozenset(("words", "everyday", "link"))  # kinds of contributions that stand in the body
_BLAMES_A_HOST = ("URL_", "LOOKALIKE_", "URIBL_")
_MATCHED = re.compile(r"[\w.:-]{1,60}: (.{2,})", re.DOTALL)  # of a rule: where, and the words around what matched
_QUOTED = re.compile("“([^“”]{2,300})”")
_HOST = re.compile(r"(?:[\w-]{1,63}\.){1,10}[^\W\d_][\w-]{1,62}")
_HIDDEN_LINES, _HIDDEN_LEAST = 20, 12


class Note(NamedTuple):
    """Why something is marked."""

    number: int
    phrases: tuple[str, ...]
    hit: Mapping[str, Any] | None = None  # of the verdict
    contribution: Mapping[str, Any] | None = None  # of its prediction; neither: text hidden from the reader


class Mark(NamedTuple):
    """A piece of a text that a note is about."""

    start: int
    end: int
    number: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """The notes of one message, and what finds their phrases."""

    notes: tuple[Note, ...] = ()
    pattern: re.Pattern[str] | None = None

    def marks(self, text: str) -> Iterator[Mark]:
        """In order, none over another; white space is any white space, letters any case."""
        if self.pattern is not None:
            for found in self.pattern.finditer(text, 0, _SEARCHED):
                yield Mark(found.start(), found.end(), int((found.lastgroup or "n0_")[1:].partition("_")[0]))


def gather(verdict: Mapping[str, Any], message: Message) -> Evidence:
    """The notes that the message bears out, in the order they weigh."""
    wanted = list(_of_prediction(verdict)) + list(_of_hits(verdict)) + list(_hidden(message))
    text = "\n".join((message.text[:_SEARCHED], message.hidden_text[:_SEARCHED], *(link.url for link in message.links)))
    all_of_them = _evidence(wanted)
    there = {mark.number for mark in all_of_them.marks(text)}
    return _evidence([note for note in all_of_them.notes if note.number in there][:_MAX_NOTES])


def _evidence(notes: Sequence[Note]) -> Evidence:
    """Numbered anew. Of two phrases that begin alike the longer one is found."""
    numbered = tuple(note._replace(number=number) for number, note in enumerate(notes, 1))
    phrases: dict[str, int] = {}
    for note in numbered:
        for phrase in note.phrases:
            if len(phrases) < _MAX_PHRASES:
                phrases.setdefault(" ".join(phrase[:_MAX_PHRASE].lower().split()), note.number)
    phrases = {phrase: number for phrase, number in phrases.items() if phrase.strip("… ")}
    if not phrases:
        return Evidence(numbered)
    longest_first = sorted(phrases.items(), key=lambda one: -len(one[0]))
    # the name of the group that matched says which note it was
    pieces = [f"(?P<n{number}_{index}>{_pattern(phrase)})" for index, (phrase, number) in enumerate(longest_first)]
    return Evidence(numbered, re.compile("|".join(pieces), re.IGNORECASE))


def _pattern(phrase: str) -> str:
    """Whole words, but where "…" says that it was cut there."""
    words = r"\s+".join(re.escape(word) for word in phrase.strip("…").split())
    before = r"(?<!\w)" if _is_word(phrase[0]) else ""
    return before + words + (r"(?!\w)" if _is_word(phrase[-1]) else "")


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _of_prediction(verdict: Mapping[str, Any]) -> Iterator[Note]:
    for one in (verdict.get("prediction") or {}).get("contributions", ()):
        if one.get("kind") in _WEIGHED and one["weight"] > 0:
            phrases = one["value"].split(", ") if one["kind"] == "everyday" else (one["value"],)
            yield Note(0, tuple(phrases), contribution=one)


def _of_hits(verdict: Mapping[str, Any]) -> Iterator[Note]:
    for hit in verdict["hits"]:
        if hit["score"] > 0 and hit["name"] != "CLASSIFIER":
            blames_hosts = hit["name"].startswith(_BLAMES_A_HOST)
            phrases = [phrase for line in hit["evidence"] for phrase in _phrases(line, blames_hosts)]
            yield Note(0, tuple(phrases), hit=hit)


def _phrases(line: str, blames_hosts: bool) -> list[str]:
    quoted = _QUOTED.findall(line)
    hosts = _HOST.findall(line) if blames_hosts else []
    matched = _MATCHED.fullmatch(line)
    return [*quoted, *hosts] or ([matched[1]] if matched else [line] if len(line) > 1 else [])


def _hidden(message: Message) -> Iterator[Note]:
    lines = [line for line in message.hidden_text[:_SEARCHED].splitlines() if len(line) >= _HIDDEN_LEAST]
    if lines:
        yield Note(0, tuple(lines[:_HIDDEN_LINES]))
