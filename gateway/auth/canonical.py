"""Canonical forms of header fields and body (RFC 6376 §3.4), each made once for a message, in linear time.

Line ends are CRLF in all of them: a bare LF, as in a message read from a file, counts as one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

from gateway.types import HeaderField

Algorithm = Literal["simple", "relaxed"]

_MBOX_LINE = re.compile(rb">?From [^\n]*\n")
_FINAL_LINES = re.compile(rb"(?:\n\r)*")  # of reversed bytes


class Sections(Protocol):
    """What is needed of a types.Message."""

    @property
    def raw(self) -> bytes:
        """The whole of it."""

    @property
    def fields(self) -> Sequence[HeaderField]:
        """Top to bottom."""

    @property
    def by_name(self) -> Mapping[str, Sequence[HeaderField]]:
        """Lower-case name -> its fields, top to bottom."""

    @property
    def body_offset(self) -> int:
        """Where the body starts."""


class CanonicalMessage:
    """A message's canonical fields and body."""

    def __init__(self, message: Sections) -> None:
        self._message = message
        self._bodies: dict[Algorithm, bytes] = {}
        self._fields: dict[tuple[bytes, Algorithm], bytes] = {}
        self._hashes: dict[tuple[Algorithm, int | None], bytes] = {}

    @property
    def is_ambiguous(self) -> bool:
        """Other readers may see other fields than these."""
        return _is_ambiguous(self._message)

    def count(self, name: str) -> int:
        """How many fields of this lower-case name there are."""
        return len(self._message.by_name.get(name, ()))

    def field(self, raw: bytes, algorithm: Algorithm) -> bytes:
        """One of its fields, canonical, with its CRLF."""
        key = (raw, algorithm)
        if key not in self._fields:
            self._fields[key] = canonical_field(raw, algorithm)
        return self._fields[key]

    def fields(self, names: Iterable[str], algorithm: Algorithm) -> bytes:
        """The signed fields (RFC 6376 §5.4.2): each name takes the lowest field not taken yet, or nothing."""
        left: dict[str, int] = {}
        chosen: list[bytes] = []
        for name in names:
            place = left.get(name, self.count(name)) - 1
            if place >= 0:
                left[name] = place
                chosen.append(self.field(self._message.by_name[name][place].raw, algorithm))
        return b"".join(chosen)

    def body(self, algorithm: Algorithm) -> bytes:
        """The whole body, canonical."""
        if algorithm not in self._bodies:
            self._bodies[algorithm] = canonical_body(self._message.raw[self._message.body_offset :], algorithm)
        return self._bodies[algorithm]

    def body_hash(self, algorithm: Algorithm, length: int | None) -> bytes:
        """SHA-256 of the body's first `length` bytes, of all when None; made once."""
        key = (algorithm, length)
        if key not in self._hashes:
            self._hashes[key] = hashlib.sha256(memoryview(self.body(algorithm))[:length]).digest()
        return self._hashes[key]


def canonical_field(raw: bytes, algorithm: Algorithm) -> bytes:
    """One field, name, colon and CRLF included (RFC 6376 §3.4.1, §3.4.2)."""
    if algorithm == "simple":
        return _with_crlf(raw).removesuffix(b"\r\n") + b"\r\n"
    name, _, value = raw.partition(b":")
    value = _single_spaces(value.replace(b"\r\n", b"").replace(b"\n", b"")).strip(b" ")
    return name.strip(b" \t").lower() + b":" + value + b"\r\n"


def canonical_body(body: bytes, algorithm: Algorithm) -> bytes:
    """RFC 6376 §3.4.3, §3.4.4."""
    body = _with_crlf(body)
    if algorithm == "relaxed":
        body = _single_spaces(body).replace(b" \r\n", b"\r\n").removesuffix(b" ")
    body = _without_final_lines(body)
    if algorithm == "relaxed" and not body:
        return b""
    return body + b"\r\n"


def _is_ambiguous(message: Sections) -> bool:
    """Is there more in the header than its fields (and an mbox line before them)?"""
    if not message.fields:
        return True
    head = message.raw[: message.body_offset].rstrip(b"\r\n")
    first = max(0, head.find(message.fields[0].raw.rstrip(b"\r\n")))
    if first and not _MBOX_LINE.fullmatch(head, 0, first):
        return True
    return sum(len(field.raw) for field in message.fields) < len(head) - first


def _with_crlf(content: bytes) -> bytes:
    if content.count(b"\n") == content.count(b"\r\n"):
        return content
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _single_spaces(content: bytes) -> bytes:
    """Each run of spaces and tabs as one space. Each pass halves every run, so the work stays linear."""
    content = content.replace(b"\t", b" ")
    while b"  " in content:
        content = content.replace(b"  ", b" ")
    return content


def _without_final_lines(body: bytes) -> bytes:
    """Without its last CRLF and the empty lines before it."""
    ends = body[len(body.rstrip(b"\r\n")) :]
    final = _FINAL_LINES.match(ends[::-1])
    return body[: len(body) - final.end()] if final else body
