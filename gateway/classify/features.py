"""MailObject -> feature indices: one code for training and serving.

One hashed space in two halves: named features (facts, words, pairs of words) in the lower half, 3-grams of the text in
the upper one. All binary; each half is scaled to unit length, so a long message speaks no louder than a short one.

Left out on purpose, because they tell the corpus and not the class: list fields, recipients, dates, mailers, threads,
and the mere presence of signatures (the corpora's README names them; docs/model.md has the ablation).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gateway.classify import facts
from gateway.classify.normalise import FIELD_END, MAX_CHARACTERS, normalise
from gateway.classify.words import Indices, Words, to_indices
from gateway.types import MailObject

VERSION = 2
_BITS = 17
HALF = 1 << _BITS
SIZE = 2 * HALF
_NAME_CHARACTERS, _SUBJECT_CHARACTERS = 60, 400
_ORDER = np.arange(1 << 15, dtype=np.uint16)


@dataclass(frozen=True, slots=True)
class Features:
    """A message's features."""

    indices: Indices  # distinct: the named ones first, then the 3-grams
    named: int  # how many are named
    scales: tuple[float, float]  # the value of each named one, and of each 3-gram
    _origins: Indices  # (named,) what each named one came from: a fact, or one of the words' hashes
    _facts: list[str]
    _words: Words

    def vector(self) -> tuple[Indices, NDArray[np.float32]]:
        """Indices and values of the scaled sparse vector."""
        values = np.full(len(self.indices), self.scales[1], dtype=np.float32)
        values[: self.named] = self.scales[0]
        return self.indices, values

    def describe(self, number: int) -> str:
        """What the named feature of this number is, for people."""
        origin = int(self._origins[number])
        if origin < len(self._facts):
            return facts.describe(self._facts[origin])
        return self._words.describe(origin - len(self._facts))


def extract(mail: MailObject, *, body: bool = True, relations: bool = True) -> Features:
    """The features. The switches are for the ablation of docs/model.md. Never raises."""
    text = normalise(_text(mail) if body else "")
    words = Words(text)
    keys = [*(facts.facts(mail, text) if body else ()), *(facts.relations(mail) if relations else ())]
    named = np.array([_slot(key) for key in keys], dtype=np.intp)
    hashed = to_indices(words.hashes(), _BITS)
    grams = words.grams(_BITS) + HALF
    every = np.concatenate([named, hashed, grams])
    kept = _distinct(every)
    count = int(kept.searchsorted(len(named) + len(hashed)))
    scales = 1.0 / max(1, count) ** 0.5, 1.0 / max(1, len(kept) - count) ** 0.5
    return Features(every[kept], count, scales, kept[:count], keys, words)


def _text(mail: MailObject) -> str:
    message = mail.message
    name = message.author[0].display_name[:_NAME_CHARACTERS] if message.author else ""
    return FIELD_END.join((name, message.subject[:_SUBJECT_CHARACTERS], message.text[:MAX_CHARACTERS]))


def _distinct(indices: Indices) -> Indices:
    """Where each different index stands (one place each), in order. No sort: the last writer of a slot stays."""
    slots = np.empty(SIZE, dtype=np.uint16)
    order = _ORDER[: len(indices)]
    slots[indices] = order
    kept: Indices = (slots.take(indices) == order).nonzero()[0]
    return kept


@lru_cache(maxsize=8192)
def _slot(key: str) -> int:
    return zlib.crc32(key.encode("utf-8", "replace")) % HALF
