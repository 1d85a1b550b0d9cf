"""Words, pairs of words and 3-grams of a folded text, hashed as whole arrays.

The hash of some characters is their polynomial modulo 2^32, found as the difference of two prefix sums times an inverse
power (Karp and Rabin 1987): no loop over words. Of a hash the highest bits are the good ones. Strings are made only of
those words that are shown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gateway.classify.normalise import FIELD_END, MAX_CHARACTERS, Text, word_edges

_FIELD_CHARACTERS = 600  # before these, both fields end
_MAX_WORDS = 2000
_GRAM_CHARACTERS = 8192
_SHOWN_CHARACTERS = 32

_BASE = 0x9E3779B1  # odd, so that it has an inverse modulo 2^32
_MIX = 0x85EBCA6B
_LEFT, _SUBJECT, _NAME = np.uint32(0xC2B2AE35), np.uint32(0x27D4EB2F), np.uint32(0x165667B1)

Hashes = NDArray[np.uint32]


def _powers(first: int, base: int) -> Hashes:
    powers = np.full(MAX_CHARACTERS + 2, base, dtype=np.uint32)
    powers[0] = first
    return np.multiply.accumulate(powers, dtype=np.uint32)


_POWERS, _INVERSE_POWERS = _powers(1, _BASE), _powers(_MIX, pow(_BASE, -1, 1 << 32))


class Words:
    """The words of "name FIELD_END subject FIELD_END text"."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._edges = word_edges(text.codes)[: 2 * _MAX_WORDS]
        self._sums = np.multiply(text.codes, _POWERS[: len(text.codes)], dtype=np.uint32).cumsum(dtype=np.uint32)
        head = text.codes[:_FIELD_CHARACTERS].astype(np.uint8, copy=False).tobytes()
        self._subject_start = head.find(ord(FIELD_END))
        ends = (self._subject_start, head.find(ord(FIELD_END), self._subject_start + 1))
        subject, text_start = self._edges[0::2].searchsorted(ends).tolist()
        self._firsts = (subject, max(subject, text_start))  # first word of the subject, and of the text

    def hashes(self) -> list[Hashes]:
        """Of words, neighbours, words of the subject and words of the name, in this order."""
        sums, (subject, text) = self._sums.take(self._edges), self._firsts
        every = (sums[1::2] - sums[0::2]) * _INVERSE_POWERS.take(self._edges[0::2])
        words = every[subject:]
        return [words, words[:-1] * _LEFT + words[1:], every[subject:text] * _SUBJECT, every[:subject] * _NAME]

    def grams(self) -> Hashes:
        """Of the 3-grams of the first characters of subject and text."""
        start = max(0, self._subject_start - 1)
        sums = self._sums[start:][:_GRAM_CHARACTERS]
        grams: Hashes = (sums[3:] - sums[:-3]) * _INVERSE_POWERS[start:][: max(0, len(sums) - 3)]
        return grams

    def describe(self, number: int) -> str:
        """What the hash of this number stands for, for people."""
        subject, text = self._firsts
        words = len(self._edges) // 2 - subject
        pairs = max(0, words - 1)
        if number < words:
            return f"word “{self._word(subject + number)}”"
        if number < words + pairs:
            first = subject + number - words
            return f"words “{self._word(first)} {self._word(first + 1)}”"
        number -= words + pairs
        if number < text:  # those of the subject, then those of the name
            is_subject = number < text - subject
            word = self._word(subject + number if is_subject else number - (text - subject))
            return f"“{word}” in the subject" if is_subject else f"“{word}” in the sender's name"
        raise IndexError(number)

    def _word(self, number: int) -> str:
        before, last = self._edges[2 * number : 2 * number + 2].tolist()
        length = last - before
        word = self._text.shown(before + 1, before + 1 + min(length, _SHOWN_CHARACTERS))
        return word if length <= _SHOWN_CHARACTERS else f"{word}…"
