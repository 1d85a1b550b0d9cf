"""Header edits on raw bytes: whole fields removed or put on top; every other byte of the message stays as it came.

What is stripped from inbound mail: DESIGN §4. Fields are found as the parser finds them (header.split_header), white
space before the colon and bare CR included, or a forged field would slip by.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache

from gateway.mail.authentication_results import may_be_of
from gateway.mail.header import Header, Piece, split_header

_LINE = 78  # RFC 5322 §2.1.1
_HARD_LINE = 240  # characters; 960 bytes of UTF-8 at most, RFC 5322 §2.1.1 allows 998
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")
_NOT_NAME = re.compile(r"[^!-9;-~]+")
_LINE_END = re.compile(rb"\r{0,2}\n|\r")
_OURS = ("x-spam-", "x-darban-", "x-ms-exchange-organization-")


def edit_header(content: bytes, remove: Callable[[str, bytes], bool], prepend: Sequence[bytes]) -> bytes:
    """The content with the fields for which `remove(name, raw)` holds taken out, and `prepend` (whole fields) on top.

    Stray lines at the very top (an mbox line, a continuation of nothing) would end the header or continue our last
    field once something stands above them: they are dropped when something is put there. So are fields beyond
    header.MAX_FIELDS, which nobody looked at.
    """
    header = split_header(content)
    kept = _without_orphans(
        [
            piece
            for piece in _without_leading_stray(header, bool(prepend))
            if not (piece[0] and remove(piece[0], content[piece[1] : piece[2]]))
        ],
        header.end,
    )
    if header.has_separator and kept == header.pieces and (not kept or kept[-1][2] == header.end):
        return b"".join((*prepend, content))
    # what has no empty line before its body gets one: its first line could be taken for a field in new surroundings
    is_changed = prepend or len(kept) < len(header.pieces)
    has_no_bound = is_changed and not header.has_separator and header.end < len(content)
    tail = (b"\r\n" if has_no_bound else b"") + content[header.end :]
    if kept and (has_no_bound or kept[-1][2] != header.end) and tail[:1] in (b"\r", b"\n"):
        end = kept[-1][2]
        if content[end - 1 : end] == b"\r":  # a bare CR would swallow the line end that now follows it
            tail = b"\n" + tail
    return b"".join((*prepend, *(content[start:end] for _, start, end in kept), tail))


def _without_leading_stray(header: Header, is_prepended: bool) -> Sequence[Piece]:
    """The pieces, but for those at the top that something above them would change."""
    if not is_prepended:
        return header.pieces
    first = next((index for index, piece in enumerate(header.pieces) if piece[0]), len(header.pieces))
    return header.pieces[first:]


def _without_orphans(pieces: Sequence[Piece], end: int) -> list[Piece]:
    """A stray line is part of the header for the field behind it alone: it goes where that goes."""
    kept: list[Piece] = []
    start_of_next = end
    for piece in reversed(pieces):
        if piece[0] or piece[2] == start_of_next:
            kept.append(piece)
            start_of_next = piece[1]
    return kept[::-1]


def format_field(name: str, value: str) -> bytes:
    """The field as bytes, folded at white space; no name or value can begin another field."""
    text = f"{_clean_name(name)}: {value if value.isprintable() else _UNSAFE.sub(' ', value)}"
    if len(text) > _LINE:
        text = "\r\n".join(_folded(text))
    return text.encode("utf-8", "replace") + b"\r\n"


@lru_cache(maxsize=256)
def _clean_name(name: str) -> str:
    return _NOT_NAME.sub("", name)[:76]


def _folded(text: str) -> Iterator[str]:
    """The lines: none of white space alone, which would end the header for some readers (RFC 5322 §3.2.2)."""
    value = text.index(":") + 2  # no line ends before it has begun
    start, indent = 0, ""
    while len(indent) + len(text) - start > _LINE:
        hard = start + _HARD_LINE - len(indent)
        cut = text.rfind(" ", max(value, start + 1), start + _LINE - len(indent) + 1)
        if cut < 0:
            cut = text.find(" ", max(value, start + 1), hard + 1)
        if cut < 0:
            cut = hard
        yield from _unless_blank(indent + text[start:cut])
        start, indent = cut, "" if text.startswith(" ", cut) else " "
    yield from _unless_blank(indent + text[start:])


def _unless_blank(line: str) -> Sequence[str]:
    return () if line.isspace() else (line,)


def to_crlf(content: bytes) -> bytes:
    """Every line end CRLF; bare CR and LF become line ends (RFC 5321 §2.3.8 forbids to send them on)."""
    if content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r"):
        return content
    if b"\r" not in content:
        return content.replace(b"\n", b"\r\n")
    return _LINE_END.sub(b"\r\n", content)


def inbound_field_to_strip(name: str, raw: bytes, hostname: str, domains: Collection[str] = ()) -> bool:
    """Whether an inbound field pretends to be ours, or would steer the server behind us.

    Args:
        domains: those of the recipients; an Authentication-Results field of a host there pretends to come from behind
            us. ARC-Authentication-Results stay, as a chain is nothing without them, and are no such claim.
    """
    if name[:1] not in "xXaA":  # most fields
        return False
    lower = name.lower()
    if lower.startswith(_OURS) or lower == "x-spam":
        return True
    if lower != "authentication-results":
        return False
    return may_be_of(raw[raw.find(b":") + 1 :].decode("utf-8", "replace"), (hostname,), domains)
