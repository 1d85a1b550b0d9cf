"""Words, pairs of words, 3-grams and 4-grams of a folded text, hashed as whole arrays.

The hash of some characters is their polynomial modulo 2^32, found as the difference of two prefix sums times an inverse
power (Karp and Rabin 1987): no loop over words. Of a hash the highest bits are the good ones. Strings are made only of
those words that are shown.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gateway.classify.normalise import FIELD_END, MAX_CHARACTERS, Codes, Text, word_edges

_FIELD_CHARACTERS = 600  # before these, both fields end
_MAX_WORDS = 2000
_GRAM_CHARACTERS = 8192
_SHOWN_CHARACTERS, _PHRASE_CHARACTERS = 32, 80

_BASE = 0x9E3779B1  # odd, so that it has an inverse modulo 2^32
_MIX = 0x85EBCA6B
_LEFT, _SUBJECT, _NAME = np.uint32(0xC2B2AE35), np.uint32(0x27D4EB2F), np.uint32(0x165667B1)

_MAX_GAP, _GAP = 2, frozenset(' ,،/&"“”«»‘')  # between words of one phrase

Hashes = NDArray[np.uint32]
Shares = NDArray[np.float64]


def _powers(first: int, base: int) -> Hashes:
    powers = np.full(MAX_CHARACTERS + 2, base, dtype=np.uint32)
    powers[0] = first
    return np.multiply.accumulate(powers, dtype=np.uint32)


def _prefix_sums(codes: Codes) -> Hashes:
    return np.multiply(codes, _POWERS[: len(codes)], dtype=np.uint32).cumsum(dtype=np.uint32)


def _grams(sums: Hashes, inverse_powers: Hashes, length: int) -> Hashes:
    """Of what stands behind the first of these prefix sums."""
    grams: Hashes = (sums[length:] - sums[:-length]) * inverse_powers[: max(0, len(sums) - length)]
    return grams


_NOTHING = np.zeros(1, dtype=np.uint32)
_POWERS, _INVERSE_POWERS = _powers(1, _BASE), _powers(_MIX, pow(_BASE, -1, 1 << 32))


class Words:
    """The words of "name FIELD_END subject FIELD_END text"."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._edges = word_edges(text.codes)[: 2 * _MAX_WORDS]
        self._sums = _prefix_sums(text.codes)
        self._gram_sums = _prefix_sums(text.with_digits(_FIELD_CHARACTERS + _GRAM_CHARACTERS))
        head = text.codes[:_FIELD_CHARACTERS].astype(np.uint8, copy=False).tobytes()
        self._subject_start = head.find(ord(FIELD_END))
        text_start = head.find(ord(FIELD_END), self._subject_start + 1)
        self._text_start = text_start if text_start >= 0 else len(head)  # of fields that folding made longer
        subject, text_start = self._edges[0::2].searchsorted((self._subject_start, self._text_start)).tolist()
        self._firsts: tuple[int, int] = (
            subject,
            max(subject, text_start),
        )  # first word of the subject, and of the text

    def hashes(self) -> list[Hashes]:
        """Of words, neighbours, words of the subject and words of the name, in this order."""
        sums, (subject, text) = self._sums.take(self._edges), self._firsts
        every = (sums[1::2] - sums[0::2]) * _INVERSE_POWERS.take(self._edges[0::2])
        words = every[subject:]
        return [words, words[:-1] * _LEFT + words[1:], every[subject:text] * _SUBJECT, every[:subject] * _NAME]

    def grams(self) -> list[Hashes]:
        """Of the 3-grams of the first characters of subject and text, and of the 4-grams."""
        start = max(0, self._subject_start - 1)
        sums, powers = self._gram_sums[start:], _INVERSE_POWERS[start:]
        return [_grams(sums, powers, 3), _grams(sums, powers, 4)]

    def head_grams(self) -> list[Hashes]:
        """Of the 3-grams of the name, and of the subject."""
        start, end = max(0, self._subject_start), self._text_start
        sums = self._gram_sums
        name = np.concatenate([_NOTHING, sums[:start]])
        return [_grams(name, _INVERSE_POWERS, 3), _grams(sums[start:end], _INVERSE_POWERS[start:], 3)]

    def shares(self, named: Shares, grams: Shares, head_grams: Shares) -> tuple[Shares, NDArray[np.intp], int]:
        """What each word says, by what its hashes and n-grams say.

        Half of what a pair says belongs to either word, an n-gram to the word its second character stands in or behind.

        Args:
            named: of each hash of `hashes`, in their order.
            grams: of each of `grams`, likewise.
            head_grams: of each of `head_grams`, likewise.

        Returns:
            Of each word, the name's first; where in `named` the word's own hash stands; how many are the name's.
        """
        subject, text = self._firsts
        number = len(self._edges) // 2
        words, pairs = number - subject, max(0, number - subject - 1)
        said = np.zeros(number)
        said[subject:] = named[:words]
        halves = named[words : words + pairs] / 2
        said[subject : subject + pairs] += halves
        said[number - pairs :] += halves
        rest = words + pairs
        said[subject:text] += named[rest : rest + text - subject]
        said[:subject] = named[rest + text - subject :]
        if number:
            places = np.zeros(len(self._sums) + 1)  # what the n-grams that begin at each character say, and a 0 before
            for first, part in self._gram_places(grams, head_grams):
                places[first + 1 : first + 1 + len(part)] += part
            bounds = np.append(self._edges[0::2], len(places) - 1)
            bounds[0] = 0
            said += np.diff(places.cumsum().take(bounds))
        own = np.concatenate([np.arange(rest + text - subject, len(named)), np.arange(words)])
        return said, own, subject

    def _gram_places(self, grams: Shares, head_grams: Shares) -> Iterator[tuple[int, Shares]]:
        """Of each run of n-grams, the character at which the first one begins."""
        start, subject = max(0, self._subject_start - 1) + 1, max(0, self._subject_start)
        threes, of_name = (len(grams) + 1) // 2, max(0, subject - 2)
        yield start, grams[:threes]
        yield start, grams[threes:]
        yield 0, head_grams[:of_name]
        yield subject + 1, head_grams[of_name:]

    def is_of_subject(self, number: int) -> bool:
        """Whether this word stands in the subject."""
        return self._firsts[0] <= number < self._firsts[1]

    def is_one_phrase(self, first: int, last: int) -> bool:
        """Whether nothing ends between these words: no sentence, no field."""
        gaps: list[int] = self._edges[2 * first + 1 : 2 * last + 1].tolist()
        return all(
            end - start <= _MAX_GAP and _GAP.issuperset(self._text.written(start + 1, end + 1) or FIELD_END)
            for start, end in zip(gaps[0::2], gaps[1::2], strict=True)
        )

    def phrase(self, first: int, last: int) -> str:
        """The words from first to last as they are written."""
        start, end = int(self._edges[2 * first]) + 1, int(self._edges[2 * last + 1]) + 1
        shown = self._text.written(start, min(end, start + _PHRASE_CHARACTERS)).strip("-'’")
        return shown if end - start <= _PHRASE_CHARACTERS else f"{shown}…"

    def describe(self, number: int) -> tuple[str, str]:
        """What the hash of this number stands for: kind and value, as scan/wording.py knows them."""
        subject, text = self._firsts
        words = len(self._edges) // 2 - subject
        pairs = max(0, words - 1)
        if number < words:
            return "words", self._word(subject + number)
        if number < words + pairs:
            first = subject + number - words
            return "words", f"{self._word(first)} {self._word(first + 1)}"
        number -= words + pairs
        if number >= text:  # those of the subject, then those of the name
            raise IndexError(number)
        of_subject = text - subject
        if number < of_subject:
            return "subject", self._word(subject + number)
        return "name", self._word(number - of_subject)

    def _word(self, number: int) -> str:
        before, last = self._edges[2 * number : 2 * number + 2].tolist()
        length = last - before
        word = self._text.shown(before + 1, before + 1 + min(length, _SHOWN_CHARACTERS))
        return word if length <= _SHOWN_CHARACTERS else f"{word}…"
