"""MailObject -> feature indices: one code for training and serving.

One hashed space in two halves: named features (facts, words, pairs of words) in the lower half, 3-grams of the text in
the upper one. All binary; each half is scaled to unit length, so a long message speaks no louder than a short one.

Left out on purpose, because they tell the corpus and not the class: list fields, recipients, dates, mailers, threads,
and the mere presence of signatures (the corpora's README names them; docs/model.md has the ablation).
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gateway.classify import facts
from gateway.classify.normalise import FIELD_END, MAX_CHARACTERS, normalise
from gateway.classify.words import Hashes, Words
from gateway.types import MailObject

VERSION = 3
_BITS = 17
HALF = 1 << _BITS
SIZE = 2 * HALF
_NAME_CHARACTERS, _SUBJECT_CHARACTERS = 60, 400
_ORDER = np.arange(1 << 15, dtype=np.uint16)

Indices = NDArray[np.intp]


@dataclass(slots=True)  # frozen ones take longer to make
class Features:
    """A message's features."""

    indices: Indices  # with repetitions: the named ones first, then the 3-grams
    named: int  # how many are named
    last: NDArray[np.uint16]  # of each, where the last one of the same index stands
    counted: NDArray[np.bool_]  # the last of each that is repeated
    scales: tuple[float, float]  # the value of each named one, and of each 3-gram
    facts: list[str]  # the keys of the first named ones
    words: Words  # of the other named ones and of the 3-grams

    def vector(self) -> tuple[Indices, NDArray[np.float32]]:
        """Indices and values of the scaled sparse vector, each index once."""
        values = np.full(len(self.indices), self.scales[1], dtype=np.float32)
        values[: self.named] = self.scales[0]
        return self.indices[self.counted], values[self.counted]

    def describe(self, number: int) -> tuple[str, str]:
        """What the named feature of this number is: kind and value, as scan/wording.py knows them."""
        if number < len(self.facts):
            return facts.describe(self.facts[number])
        return self.words.describe(number - len(self.facts))


def extract(mail: MailObject, *, body: bool = True, relations: bool = True) -> Features:
    """The features. The switches are for the ablation of docs/model.md. Never raises."""
    text = normalise(_text(mail) if body else "")
    words = Words(text)
    keys = [*(facts.facts(mail, text) if body else ()), *(facts.relations(mail) if relations else ())]
    grams = words.grams()
    hashes = np.concatenate([np.array([_hash(key) for key in keys], dtype=np.uint32), *words.hashes(), grams])
    indices = named_indices(hashes)
    named = len(indices) - len(grams)
    indices[named:] += HALF
    last = _last_of_each(indices)
    counted = last == _ORDER[: len(indices)]
    scales = _unit(counted[:named]), _unit(counted[named:])
    return Features(indices, named, last, counted, scales, keys, words)


def named_indices(hashes: Hashes) -> Indices:
    """Where features of these hashes stand in the lower half."""
    return np.right_shift(hashes, 32 - _BITS, dtype=np.intp)


def _unit(counted: NDArray[np.bool_]) -> float:
    return 1 / math.sqrt(np.count_nonzero(counted) or 1)


def _text(mail: MailObject) -> str:
    message = mail.message
    name = message.author[0].display_name[:_NAME_CHARACTERS] if message.author else ""
    return FIELD_END.join((name, message.subject[:_SUBJECT_CHARACTERS], message.text[:MAX_CHARACTERS]))


def _last_of_each(indices: Indices) -> NDArray[np.uint16]:
    """Where the last of the same index stands. No sort: the last writer of a slot stays."""
    slots = np.empty(SIZE, dtype=np.uint16)
    slots[indices] = _ORDER[: len(indices)]
    last: NDArray[np.uint16] = slots.take(indices)
    return last


@lru_cache(maxsize=8192)
def _hash(key: str) -> int:
    return zlib.crc32(key.encode("utf-8", "replace"))
