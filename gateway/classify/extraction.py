"""Labelled mail -> packed features, by workers. The chunks do not depend on who works, so neither do the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gateway.checks import observe
from gateway.classify.corpus import Sample, in_chunks, read_sources
from gateway.classify.features import extract
from gateway.classify.language import detect_language
from gateway.classify.rows import Rows, pack
from gateway.classify.workers import Workers
from gateway.mail import parse
from gateway.types import MailObject, Message

_MAX_BYTES = 1 << 20  # of a message
_CHUNK, _CHUNK_BYTES = 64, 1 << 20  # messages, and their bytes, that a worker is given at a time


def extract_rows(
    sources: dict[str, Path],
    workers: Workers,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    *,
    body: bool = True,
    relations: bool = True,
    header_words: bool = True,
) -> Iterator[Rows]:
    """Rows of every sample, in a fixed order. Raises InputError for a source that cannot be read or is empty."""
    samples = (replace(one, content=one.content[:_MAX_BYTES]) for one in progress(read_sources(sources)))
    work = partial(_extract, body=body, relations=relations, header_words=header_words)
    return workers.stream(work, in_chunks(samples, _CHUNK, _CHUNK_BYTES))


def _extract(samples: Sequence[Sample], *, body: bool, relations: bool, header_words: bool) -> Rows:
    vectors, languages = [], []
    for sample in samples:
        message = parse(sample.content)
        languages.append(detect_language(message))
        if not header_words:
            message = _without_header_words(message)
        mail = observe(MailObject(sample.envelope(), message))
        vectors.append(extract(mail, body=body, relations=relations).vector())
    return pack(samples, languages, vectors)


def _without_header_words(message: Message) -> Message:
    """For the ablation: no subject and no display name; addresses stay, for the relations between them."""
    author = tuple(box._replace(display_name="") for box in message.author)
    by_name = {name: fields for name, fields in message.by_name.items() if name != "subject"}  # that is not empty
    return replace(message, subject="", by_name=by_name, author=author)
