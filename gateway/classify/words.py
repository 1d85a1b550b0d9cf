"""Words, pairs of words and 3-grams of a folded text, hashed as whole arrays.

The hash of a word is that of its characters as a polynomial modulo 2^64, found as the difference of two prefix sums
times an inverse power (Karp and Rabin 1987): no loop over words. Strings are made only of those that are shown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gateway.classify.normalise import FIELD_END, MAX_CHARACTERS, Text, word_bounds

_FIELD_CHARACTERS = 600  # before these, both fields end
_MAX_WORDS = 2000
_GRAM_CHARACTERS = 8192
_SHOWN_CHARACTERS = 32

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_LEFT, _SUBJECT, _NAME, _FIRST, _SECOND, _MIX = (
    np.uint64(odd)
    for odd in (
        0xA0761D6478BD642F,
        0xE7037ED1A0B428DB,
        0x8EBC6AF09C88C6E3,
        0x589965CC75374CC3,
        0x1D8E4E27C47D124F,
        0xD6E8FEB86659FD93,
    )
)
_HALF_WORD = np.uint64(32)

Indices = NDArray[np.intp]
Hashes = NDArray[np.uint64]


def _powers(base: int) -> Hashes:
    powers = np.full(MAX_CHARACTERS + 2, base, dtype=np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


_POWERS, _INVERSE_POWERS = _powers(_BASE), _powers(pow(_BASE, -1, 1 << 64))


class Words:
    """The words of "name FIELD_END subject FIELD_END text"."""

    def __init__(self, text: Text) -> None:
        self._text = text
        starts, ends = word_bounds(text.codes)
        self._starts, self._ends = starts[:_MAX_WORDS], ends[:_MAX_WORDS]
        field_ends = (text.codes[:_FIELD_CHARACTERS] == ord(FIELD_END)).nonzero()[0][:2]
        self._subject_start = int(field_ends[0]) if len(field_ends) else 0
        firsts = self._starts.searchsorted(field_ends).tolist()
        self._firsts = (firsts[0], firsts[-1]) if firsts else (0, 0)  # first word of the subject, and of the text

    def hashes(self) -> Hashes:
        """Of words, neighbours, words of the subject and words of the name, in this order."""
        codes, starts, ends = self._text.codes, self._starts, self._ends
        sums = (codes * _POWERS[: len(codes)]).cumsum()
        every = (sums.take(ends - 1) - sums.take(starts - 1)) * _INVERSE_POWERS.take(starts)
        subject, text = self._firsts
        words = every[subject:]
        pairs = words[:-1] * _LEFT + words[1:]
        return np.concatenate([words, pairs, every[subject:text] * _SUBJECT, every[:subject] * _NAME])

    def grams(self, bits: int) -> Indices:
        """3-grams of the first characters of subject and text, each in `bits` bits."""
        codes = self._text.codes[self._subject_start :][:_GRAM_CHARACTERS]
        return to_indices(codes[:-2] * _FIRST + codes[1:-1] * _SECOND + codes[2:], bits)

    def describe(self, number: int) -> str:
        """What hashes()[number] stands for, for people."""
        subject, text = self._firsts
        words = len(self._starts) - subject
        kinds = (
            (words, subject, "word “{}”"),
            (max(0, words - 1), subject, "words “{} {}”"),
            (text - subject, subject, "“{}” in the subject"),
            (subject, 0, "“{}” in the sender's name"),
        )
        for size, first, shown in kinds:
            if number < size:
                found = range(first + number, first + number + shown.count("{}"))
                return shown.format(*map(self._word, found))
            number -= size
        raise IndexError(number)

    def _word(self, number: int) -> str:
        start, end = int(self._starts[number]), int(self._ends[number])
        word = self._text.shown(start, min(end, start + _SHOWN_CHARACTERS))
        return word if end - start <= _SHOWN_CHARACTERS else f"{word}…"


def to_indices(hashes: Hashes, bits: int) -> Indices:
    """The best mixed bits of each hash."""
    return (((hashes ^ (hashes >> _HALF_WORD)) * _MIX) >> np.uint64(64 - bits)).view(np.intp)
