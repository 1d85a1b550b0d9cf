"""MailObject -> feature indices: one code for training and serving.

One hashed space in three parts: named features (facts, words, pairs of words), 3-grams and 4-grams of the text, 3-grams
of the sender's name and the subject. All binary; each part is scaled to unit length, so a long message speaks no louder
than a short one, and its subject is heard beside the longest text.

Left out on purpose, because they tell the corpus and not the class: list fields, recipients, dates, mailers, threads,
and the mere presence of signatures (the corpora's README names them; docs/model.md has the ablation).
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gateway.classify import facts
from gateway.classify.normalise import FIELD_END, MAX_CHARACTERS, normalise, without_addresses
from gateway.classify.words import Hashes, Words
from gateway.types import MailObject

VERSION = 4
_BITS = (17, 18, 17)  # of the hash, that say where in its part a feature stands
STARTS = tuple(itertools.accumulate((1 << bits for bits in _BITS), initial=0))  # of the parts; the last is the end
PARTS, SIZE = len(_BITS), STARTS[-1]
_NAME_CHARACTERS, _SUBJECT_CHARACTERS = 60, 400
_ORDER = np.arange(1 << 15, dtype=np.uint16)

Indices = NDArray[np.intp]


@dataclass(slots=True)  # frozen ones take longer to make
class Features:
    """A message's features."""

    indices: Indices  # with repetitions, part after part
    bounds: tuple[int, ...]  # (PARTS + 1,) where each part starts among them, and the end
    last: NDArray[np.uint16]  # of each, where the last one of the same index stands
    counted: NDArray[np.bool_]  # the last of each that is repeated
    scales: tuple[float, ...]  # (PARTS,) the value of each feature of the part
    facts: list[str]  # the keys of the first named ones
    words: Words  # of all others

    def vector(self) -> tuple[Indices, NDArray[np.float32]]:
        """Indices and values of the scaled sparse vector, each index once."""
        values = np.repeat(np.array(self.scales, dtype=np.float32), np.diff(self.bounds))
        return self.indices[self.counted], values[self.counted]

    @property
    def named(self) -> int:
        """How many are named."""
        return self.bounds[1]

    def by_part(self) -> Iterator[tuple[slice, float]]:
        """Where each part's features stand, and their value."""
        return zip(itertools.starmap(slice, itertools.pairwise(self.bounds)), self.scales, strict=True)

    def describe(self, number: int) -> tuple[str, str]:
        """What the named feature of this number is: kind and value, as scan/wording.py knows them."""
        if number < len(self.facts):
            return facts.describe(self.facts[number])
        return self.words.describe(number - len(self.facts))


def extract(mail: MailObject, *, body: bool = True, relations: bool = True) -> Features:
    """The features. The switches are for the ablation of docs/model.md. Never raises."""
    text = normalise(_text(mail) if body else "")
    words = Words(text)
    keys = list(facts.facts(mail, text, relations=relations)) if body else []
    keys += facts.relations(mail) if relations else ()
    keys += facts.findings(mail, body=body, relations=relations)
    of_keys = np.array([_hash(key) for key in keys], dtype=np.uint32)
    parts = [
        part_indices(number, np.concatenate(hashes))
        for number, hashes in enumerate(([of_keys, *words.hashes()], words.grams(), words.head_grams()))
    ]
    bounds = tuple(itertools.accumulate(map(len, parts), initial=0))
    indices = np.concatenate(parts)
    last = _last_of_each(indices)
    counted = last == _ORDER[: len(indices)]
    scales = tuple([_unit(counted[start:end]) for start, end in itertools.pairwise(bounds)])
    return Features(indices, bounds, last, counted, scales, keys, words)


def part_indices(part: int, hashes: Hashes) -> Indices:
    """Where features of these hashes stand."""
    indices: Indices = np.right_shift(hashes, 32 - _BITS[part], dtype=np.intp)
    indices += STARTS[part]
    return indices


def _unit(counted: NDArray[np.bool_]) -> float:
    return 1 / math.sqrt(np.count_nonzero(counted) or 1)


def _text(mail: MailObject) -> str:
    message = mail.message
    name = message.author[0].display_name[:_NAME_CHARACTERS] if message.author else ""
    text = without_addresses(message.text[:MAX_CHARACTERS])
    return FIELD_END.join((name, message.subject[:_SUBJECT_CHARACTERS], text))


def _last_of_each(indices: Indices) -> NDArray[np.uint16]:
    """Where the last of the same index stands. No sort: the last writer of a slot stays."""
    slots = np.empty(SIZE, dtype=np.uint16)
    slots[indices] = _ORDER[: len(indices)]
    last: NDArray[np.uint16] = slots.take(indices)
    return last


@lru_cache(maxsize=8192)
def _hash(key: str) -> int:
    return zlib.crc32(key.encode("utf-8", "replace"))
