"""Labelled mail, judged without a network: which rules and findings hit each message.

Authentication is left out, and with it what follows from it: an answer that was not asked for is no sign of anything.
A message is judged as of the day it came; one whose day is unknown as of the day it names itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.classify.corpus import Sample, in_chunks, read_sources
from gateway.classify.workers import Workers
from gateway.errors import InputError
from gateway.mail import parse
from gateway.scan.conclude import CLASSIFIER
from gateway.scan.pipeline import Pipeline
from gateway.types import Envelope

_CHUNK, _CHUNK_BYTES = 32, 1 << 20  # messages, and their bytes, that a worker is given at a time
_SKIPPED = ("authenticate", "conclude")
# A text without a header says nothing about headers: it gets the one that any message has.
_BARE = re.compile(rb"(?:(?:content-|mime-)[^\r\n]*\r\n)+\r\n", re.IGNORECASE)
_HEADER = (
    b"From: a@example.org\r\nTo: b@example.net\r\nSubject: text\r\nDate: Thu, 1 Jan 2026 12:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n"
)

_Fact = tuple[str, str, bool, float]  # source, path, whether it is spam, the classifier's probability


@dataclass(frozen=True, slots=True)
class Judged:
    """Messages and what hit them."""

    hits: Any  # (n_messages, n_names) scipy CSR of 0 and 1
    names: tuple[str, ...]  # sorted
    probability: NDArray[np.float64]  # (n_messages,) of spam, as the classifier says
    is_spam: NDArray[np.bool_]  # (n_messages,)
    sources: NDArray[np.str_]  # (n_messages,)
    paths: NDArray[np.str_]  # (n_messages,)


def judge(
    sources: dict[str, Path],
    make_pipeline: Callable[[], Pipeline],
    workers: Workers,
    *,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Judged:
    """Every message of the sources, in a fixed order. `workers` have to be of this machine. Raises InputError."""
    from scipy.sparse import csr_matrix

    facts: list[_Fact] = []
    columns: dict[str, int] = {}
    places: list[int] = []
    bounds = [0]
    _pipeline[:] = [make_pipeline()]
    for part in workers.stream(_judge, in_chunks(progress(read_sources(sources)), _CHUNK, _CHUNK_BYTES)):
        for fact, hit in part:
            facts.append(fact)
            places += [columns.setdefault(name, len(columns)) for name in hit]
            bounds.append(len(places))
    if not facts:
        raise InputError("the corpora hold no message")
    names = tuple(sorted(columns))
    order = [columns[name] for name in names]
    hits = csr_matrix((np.ones(len(places)), places, bounds), shape=(len(facts), len(columns)))[:, order]
    of, paths, labels, probabilities = (np.array(column) for column in zip(*facts, strict=True))
    return Judged(hits, names, probabilities, labels, of, paths)


_pipeline: list[Pipeline] = []  # made before the workers are forked; each of them judges one message at a time


def _judge(samples: Sequence[Sample]) -> list[tuple[_Fact, list[str]]]:
    return [_judge_one(sample) for sample in samples]


def _judge_one(sample: Sample) -> tuple[_Fact, list[str]]:
    verdict = asyncio.run(_pipeline[0].score(*as_received(sample), _SKIPPED))
    probability = verdict.prediction.probability if verdict.prediction else 0.5
    names = {hit.name for hit in verdict.hits} - {CLASSIFIER}
    return (sample.source, sample.path, sample.is_spam, probability), sorted(names)


def as_received(sample: Sample) -> tuple[Envelope, bytes]:
    """What a gateway would have seen."""
    content = _HEADER + sample.content if _BARE.match(sample.content) else sample.content
    received_at = _day(sample.date) or parse(content).date or 0.0
    return replace(sample.envelope(), received_at=received_at), content


def _day(text: str) -> float:
    """Of an ISO date; 0 for none."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
