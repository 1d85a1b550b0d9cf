"""MailObject -> feature indices: one code for training and serving.

Two halves of one hashed space: named features (words, pairs of words, structure, relations; crc32 into the lower half)
and byte 4-grams of the text (multiplicative hash into the upper half). All binary; each half is scaled to unit length,
so a long message speaks no louder than a short one.

Left out on purpose, because they tell the corpus and not the class: list fields, recipients, dates, mailers, threads,
and the mere presence of signatures (the corpora's README names them; docs/model.md has the ablation).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.auth.organisation import organisational_domain
from gateway.classify.normalise import hidden_count, normalise
from gateway.mail.domain import to_u_label
from gateway.mail.link import host_of
from gateway.types import MailObject

VERSION = 1
HALF = 1 << 17
SIZE = 2 * HALF
_TEXT_CHARACTERS = 12_000
_GRAM_BYTES = 4096
_MAX_WORDS = 1500
_MAX_LINKS = 50
_WORD = re.compile(r"[^\W\d_]{2,24}|0|[$€£%!]")
_MULTIPLIER = np.uint32(0x9E3779B1)

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Features:
    """A message's features."""

    named: dict[int, str]  # index -> what it is, for people
    grams: Indices  # sorted, unique, in the upper half

    def vector(self) -> tuple[Indices, NDArray[np.float32]]:
        """Indices and values of the scaled sparse vector."""
        named = np.fromiter(self.named, dtype=np.int64, count=len(self.named))
        indices = np.concatenate([named, self.grams])
        values = np.empty(len(indices), dtype=np.float32)
        values[: len(named)] = 1.0 / max(1.0, len(named)) ** 0.5
        values[len(named) :] = 1.0 / max(1.0, len(self.grams)) ** 0.5
        return indices, values


def extract(mail: MailObject, *, body: bool = True, relations: bool = True) -> Features:
    """The features. The switches are for the ablation of docs/model.md. Never raises."""
    message = mail.message
    text = normalise(f"{message.subject}\n{message.text[:_TEXT_CHARACTERS]}") if body else ""
    named: dict[int, str] = {}
    for key, shown in _named(mail, text, body=body, relations=relations):
        named.setdefault(zlib.crc32(key.encode("utf-8", "replace")) % HALF, shown)
    return Features(named, _grams(text))


def _named(mail: MailObject, text: str, *, body: bool, relations: bool) -> Iterator[tuple[str, str]]:
    if body:
        yield from _words(text)
        yield from _fields(mail)
        yield from _structure(mail)
        yield from _links(mail)
    if relations:
        yield from _relations(mail)


def _words(text: str) -> Iterator[tuple[str, str]]:
    words = _WORD.findall(text)[:_MAX_WORDS]
    before = ""
    for word in words:
        yield word, f"word “{word}”"
        if before:
            yield f"{before} {word}", f"words “{before} {word}”"
        before = word


def _fields(mail: MailObject) -> Iterator[tuple[str, str]]:
    for word in _WORD.findall(normalise(mail.message.subject))[:40]:
        yield f"subject:{word}", f"“{word}” in the subject"
    for box in mail.message.author[:1]:
        for word in _WORD.findall(normalise(box.display_name))[:8]:
            yield f"name:{word}", f"“{word}” in the sender's name"


def _structure(mail: MailObject) -> Iterator[tuple[str, str]]:
    message = mail.message
    for part in message.parts[:30]:
        if part.text is None and not part.content_type.startswith("multipart/"):
            yield f"part:{part.content_type}", f"an attachment of type {part.content_type}"
            extension = part.filename.rpartition(".")[2].lower()
            if 0 < len(extension) <= 8:
                yield f"extension:{extension}", f"an attachment .{extension}"
        if part.html is not None:
            yield "html", "written in HTML"
            for tag in ("form", "script", "iframe", "input", "marquee", "map"):
                if part.html.tags.get(tag):
                    yield f"tag:{tag}", f"<{tag}> in the HTML"
            yield f"images:{min(part.html.image_count, 8)}", f"{part.html.image_count} images"
            if len(part.html.hidden_text) > 100:
                yield "hidden", "text hidden from the reader"
    length = len(message.text)
    yield f"length:{length.bit_length()}", f"a text of {length} characters"
    if hidden_count(message.text):
        yield "invisible", "invisible characters inside words"
    upper = sum(1 for char in message.subject if char.isupper())
    if upper > 8 and upper * 2 > len(message.subject):
        yield "subject:capitals", "a subject in capitals"


def _links(mail: MailObject) -> Iterator[tuple[str, str]]:
    links = mail.message.links[:_MAX_LINKS]
    yield f"links:{len(links).bit_length()}", f"{len(links)} links"
    for link in links:
        host = host_of(link.url)
        if not host:
            continue
        domain = organisational_domain(host) or host
        yield f"link:{domain}", f"link to {to_u_label(domain)}"
        yield f"tld:{host.rpartition('.')[2]}", f"link into .{to_u_label(host.rpartition('.')[2])}"
        if host.replace(".", "").isdigit():
            yield "link:address", "link to a bare address"


def _relations(mail: MailObject) -> Iterator[tuple[str, str]]:
    """How the identities agree, and what authentication said; absent is a value of its own, learned as neutral."""
    author = next((organisational_domain(box.domain) for box in mail.message.author if box.domain), "")
    reply_to = next((organisational_domain(box.domain) for box in mail.message.reply_to if box.domain), "")
    if reply_to and author and reply_to != author:
        yield "reply_to:elsewhere", "answers go to another domain"
    for result in mail.auth:
        if result.method in ("spf", "dmarc") and result.result in ("pass", "fail", "softfail"):
            yield f"{result.method}:{result.result}", f"{result.method.upper()} {result.result}"


def _grams(text: str) -> Indices:
    """Unique hashed byte 4-grams of the first bytes."""
    data = np.frombuffer(" ".join(text.split()).encode("utf-8", "replace")[:_GRAM_BYTES], dtype=np.uint8)
    if len(data) < 4:
        return np.empty(0, dtype=np.int64)
    wide = data.astype(np.uint32)
    packed = wide[:-3] | wide[1:-2] << 8 | wide[2:-1] << 16 | wide[3:] << 24
    hashed = (packed * _MULTIPLIER) >> np.uint32(32 - 17)
    return np.unique(hashed).astype(np.int64) + HALF
