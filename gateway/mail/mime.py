"""The MIME structure of a message (RFC 2045, 2046, 2183): a walk over the bytes, no recursion, no needless decoding.

Attachments stay encoded (`decode_body` gives their bytes when somebody asks). Bounded: MAX_PARTS, MAX_DEPTH, MAX_TEXT
bytes of text and MAX_HEADERS of headers in all, and _MAX_PASSES over the content, as nested parts are searched again;
what is cut short stands in the defects. Ambiguities that readers resolve differently (two boundaries, two types,
two names for a file) are defects or `Part.other_filename`, because an attacker chooses the reader that is fooled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from turbohtml.detect import detect

from gateway.mail.charset import codec_of, decode
from gateway.mail.encoding import ENCODINGS, decode_bytes, find_enclosures
from gateway.mail.header import MAX_VALUE, Header, read_header, written_value
from gateway.mail.html import render
from gateway.mail.parameter import Parameter, parameter, parse_parameters, without_comment
from gateway.types import HeaderField, Html, Part

MAX_PARTS = 1000
MAX_DEPTH = 100
MAX_TEXT = 4 << 20
MAX_HEADERS = 1 << 20  # bytes of all headers in which encoded-words are decoded
_MAX_PASSES = 5  # over a big message; a small one may be searched _MIN_SEARCHED bytes
_MIN_SEARCHED = 64 << 20
_MAX_LOOKALIKES = 300_000  # of delimiters, looked at one by one
_SHORT_VALUE = 1000  # characters of a Content-* field that are read when there is no more room for headers
_SHORT_HEAD = 300  # characters of an entity's Content-* fields that are worth remembering
_MAX_GUESSES = 100  # of a charset, 0.1 ms each
_GUESS_BYTES = 4096
_GUESS_MIN_BYTES = 48  # fewer say nothing about a language

Fields = tuple[HeaderField, ...]
_CONTAINERS = ("message/rfc822", "message/global")
_LINE_ENDS = b"\r\n"
_AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*+((?>\r{0,2}\n|\r)|\Z)")
_BETWEEN = re.compile(r"\([^()]{0,500}\)|\s+")  # RFC 5322 §3.2.2
_TYPE = re.compile(r"[a-z0-9!#$&^_.+*'-]{1,127}/[a-z0-9!#$&^_.+*'-]{1,127}")
_LONE_CR = re.compile(r"\r(?!\n)")
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)


@dataclass(slots=True)
class Structure:
    """The parts found, what was wrong, and what may still be spent."""

    passes: int  # bytes that may still be searched
    parts: list[Part] = field(default_factory=list)
    defects: dict[str, None] = field(default_factory=dict)  # an ordered set
    text_room: int = MAX_TEXT
    header_room: int = MAX_HEADERS
    lookalikes: int = _MAX_LOOKALIKES
    guesses: int = _MAX_GUESSES

    def note(self, defect: str) -> None:
        """Remember a defect once."""
        self.defects[defect] = None

    def guess(self, content: bytes) -> str | None:
        """A guessed charset, while the budget lasts."""
        self.guesses -= 1
        if self.guesses < 0:
            self.note("MIME_TOO_MANY_CHARSETS")
            return None
        return guess_charset(content)

    def read_header(self, content: bytes, start: int = 0, end: int | None = None) -> tuple[Header, Fields]:
        """A header and its fields, while the room for headers lasts; what is wrong with them is noted."""
        header, fields = read_header(content, start, end, max(0, self.header_room))
        self.header_room -= header.end - start
        if self.header_room < 0:
            self.note("HEADER_TOO_LONG")
        if header.has_stray:
            self.note("HEADER_MALFORMED")
        if header.is_cut:
            self.note("HEADER_TOO_MANY_FIELDS")
        if header.end - start > MAX_VALUE and any(end - start > MAX_VALUE for _, start, end in header.pieces):
            self.note("HEADER_FIELD_TOO_LONG")
        return header, fields


class _Entity(NamedTuple):
    """An entity still to be looked at: its fields, and where its body stands."""

    path: str
    depth: int
    fields: Fields
    content: bytes
    start: int
    end: int
    default_type: str = "text/plain"


class _Type(NamedTuple):
    """What a Content-Type says."""

    name: str  # "" for what is none
    charset: str = ""
    filenames: tuple[str, ...] = ()
    boundary: str = ""
    other_boundary: str = ""  # a second, different one: readers differ in which they follow


class _Head(NamedTuple):
    """What an entity's Content-* fields say."""

    content_type: str
    charset: str
    encoding: str
    disposition: str
    filename: str
    other_filename: str
    boundary: str
    other_boundary: str = ""
    defects: tuple[str, ...] = ()


def new_structure(content: bytes) -> Structure:
    """For a message of these bytes."""
    return Structure(passes=max(_MAX_PASSES * len(content), _MIN_SEARCHED))


def walk(fields: Fields, content: bytes, body_offset: int, structure: Structure) -> None:
    """Find all parts of a message with these fields, document order."""
    waiting = [_Entity("1", 0, fields, content, body_offset, len(content))]
    while waiting:
        entity = waiting.pop()
        if len(structure.parts) >= MAX_PARTS:
            structure.note("MIME_TOO_MANY_PARTS")
            break
        waiting.extend(reversed(_look_at(entity, structure)))


def guess_charset(content: bytes) -> str | None:
    """The codec that the first bytes look like, by the pairs of letters in them; None for too few."""
    return codec_of(detect(content[:_GUESS_BYTES]).encoding or "") if len(content) >= _GUESS_MIN_BYTES else None


def decode_body(part: Part) -> bytes:
    """The part's bytes without their Content-Transfer-Encoding. Never raises."""
    return decode_bytes(part.raw, part.encoding)


def _look_at(entity: _Entity, structure: Structure) -> list[_Entity]:
    """Add the entity's part; return the entities inside it."""
    head = _read_head(entity, structure)
    is_multipart = head.content_type.startswith("multipart/")
    if not is_multipart and head.content_type not in _CONTAINERS:
        structure.parts.extend(_leaf(entity, head, structure))
        return []
    structure.parts.append(_part(entity, head, b"", None, None))
    structure.passes -= entity.end - entity.start
    if entity.depth + 1 >= MAX_DEPTH or structure.passes < 0:
        structure.note("MIME_TOO_DEEP")
        return []
    return _multipart(entity, head, structure) if is_multipart else [_nested(entity, head, structure)]


def _part(entity: _Entity, head: _Head, raw: bytes, text: str | None, html: Html | None) -> Part:
    return Part(
        entity.path,
        entity.depth,
        head.content_type,
        head.charset,
        head.encoding,
        head.disposition,
        head.filename,
        head.other_filename,
        entity.fields,
        raw,
        text,
        html,
    )


# --- the Content-* fields -------------------------------------------------------------------------------------------


def _read_head(entity: _Entity, structure: Structure) -> _Head:
    values = _content_fields(entity.fields, structure)
    type_text, disposition = values.get("content-type", entity.default_type), values.get("content-disposition", "")
    encoding = values.get("content-transfer-encoding", "7bit")
    is_short = len(type_text) + len(disposition) + len(encoding) <= _SHORT_HEAD
    head = (_short_head if is_short else _head)(type_text, disposition, encoding)
    for defect in head.defects:
        structure.note(defect)
    return head


def _head(type_text: str, disposition_text: str, encoding_text: str) -> _Head:
    of_type, encoding = _read_type(type_text), _encoding(encoding_text)
    content_type = of_type.name or "text/plain"  # RFC 2045 §5.2
    is_multipart = content_type.startswith("multipart/")
    disposition, parameters = parse_parameters(disposition_text)
    names = (*_names(parameters, "filename"), *of_type.filenames)
    defects = (
        ("MIME_TYPE_MALFORMED", not of_type.name),
        ("MIME_BOUNDARY_AMBIGUOUS", is_multipart and of_type.other_boundary),
        ("MIME_ENCODING_UNKNOWN", encoding not in ENCODINGS),
    )
    return _Head(
        content_type=content_type,
        charset=of_type.charset,
        encoding=encoding or "7bit",
        # RFC 2183 §2.8: an unknown disposition is an attachment
        disposition=disposition if disposition in ("", "inline") else "attachment",
        # the name a reader shows, and a different one that another reader may show
        filename=names[0] if names else "",
        other_filename=next((name for name in names[1:] if name != names[0]), ""),
        boundary=of_type.boundary if is_multipart else "",
        other_boundary=of_type.other_boundary if is_multipart else "",
        defects=tuple([name for name, is_so in defects if is_so]),
    )


_short_head = lru_cache(maxsize=1024)(_head)  # half of all parts have one of a few dozen


def _content_fields(fields: Fields, structure: Structure) -> dict[str, str]:
    """The first value of each Content-* field, by lower-case name."""
    values: dict[str, str] = {}
    for one in fields:
        if one.name[:1] in "Cc" and (name := one.name.lower()).startswith("content-"):
            value = written_value(one)
            if structure.header_room < 0:
                value = value[:_SHORT_VALUE]
            if values.setdefault(name, value) != value:
                structure.note("MIME_DUPLICATE_FIELD")
    return values


def _read_type(text: str) -> _Type:
    name, parameters = parse_parameters(text)
    if not _TYPE.fullmatch(name):
        front, semicolon, rest = text.partition(";")
        name, parameters = parse_parameters(f"{_BETWEEN.sub('', front)}{semicolon}{rest}")
        name = name if _TYPE.fullmatch(name) else ""
    if not parameters:
        return _Type(name)
    boundary, other = parameter(parameters, "boundary")
    plain = next((one.value for one in parameters if one.name == "boundary" and one.value), boundary)
    return _Type(
        name,
        without_comment(parameter(parameters, "charset")[0]).lower(),
        _names(parameters, "name"),
        without_comment(plain).rstrip(),
        without_comment(next((one for one in (boundary, other) if one and one != plain), "")).rstrip(),
    )


def _names(parameters: list[Parameter], name: str) -> tuple[str, ...]:
    return tuple([value for value in parameter(parameters, name) if value])


def _encoding(value: str) -> str:
    encoding = value if value in ENCODINGS else "".join(value.partition(";")[0].partition("(")[0].split())
    return encoding.strip("\"'").lower()


# --- leaves ---------------------------------------------------------------------------------------------------------


def _leaf(entity: _Entity, head: _Head, structure: Structure) -> list[Part]:
    """The part, and the uuencoded files in its text."""
    raw = entity.content[entity.start : entity.end]
    if not _is_shown(head):
        return [_part(entity, head, raw, None, None)]
    content = _text_bytes(raw, head.encoding, structure)
    shown, enclosed = _without_enclosures(content, entity, structure) if b"begin " in content else (content, [])
    charset = head.charset
    if not charset and head.content_type == "text/html":
        meta = _META_CHARSET.search(shown, 0, 2048)
        charset = meta[1].decode("ascii") if meta else ""
    text = decode(shown, charset, structure.guess)
    if "\r" in text:  # taking single characters out is the quickest
        text = text.replace("\r\n", "\n").replace("\r", "\n") if _LONE_CR.search(text) else text.replace("\r", "")
    html = render(text) if head.content_type == "text/html" else None
    for defect in html.defects if html else ():
        structure.note(defect)
    return [_part(entity, head, raw, text, html), *enclosed]


def _is_shown(head: _Head) -> bool:
    """Text that a reader shows in place. A named text/plain in line is shown, a named calendar is a file."""
    if not head.content_type.startswith("text/") or head.disposition == "attachment":
        return False
    return not head.filename or head.content_type in ("text/plain", "text/html")


def _text_bytes(raw: bytes, encoding: str, structure: Structure) -> bytes:
    if len(raw) > structure.text_room:
        structure.note("MIME_TEXT_TOO_LONG")
        raw = raw[: structure.text_room]
    structure.text_room -= len(raw)
    return decode_bytes(raw, encoding)


def _without_enclosures(content: bytes, entity: _Entity, structure: Structure) -> tuple[bytes, list[Part]]:
    """The text around uuencoded files, and the files as parts of their own, as mail readers show them."""
    shown: list[bytes] = []
    found: list[Part] = []
    position = 0
    for name, start, end in find_enclosures(content):
        if len(structure.parts) + len(found) + 2 >= MAX_PARTS:
            structure.note("MIME_TOO_MANY_PARTS")
            break
        shown.append(content[position:start])
        inner = _Entity(f"{entity.path}.{len(found) + 1}", entity.depth + 1, (), b"", 0, 0)
        head = _Head("application/octet-stream", "", "x-uuencode", "attachment", decode(name).strip(), "", "")
        found.append(_part(inner, head, content[start:end], None, None))
        position = end
    return b"".join((*shown, content[position:])), found


# --- containers -----------------------------------------------------------------------------------------------------


def _multipart(entity: _Entity, head: _Head, structure: Structure) -> list[_Entity]:
    spans = _split_at(entity, head.boundary, structure) if head.boundary else []
    if head.other_boundary:
        spans += [span for span in _split_at(entity, head.other_boundary, structure) if span not in spans]
    if not spans:
        structure.note("MIME_BOUNDARY_MISSING")
        return [_Entity(f"{entity.path}.1", entity.depth + 1, (), entity.content, entity.start, entity.end)]
    default = "message/rfc822" if head.content_type == "multipart/digest" else "text/plain"  # RFC 2046 §5.1.5
    return [
        _entity(f"{entity.path}.{number}", entity.depth + 1, entity.content, start, end, default, structure)
        for number, (start, end) in enumerate(spans, start=1)
    ]


def _split_at(entity: _Entity, boundary: str, structure: Structure) -> list[tuple[int, int]]:
    """Where the bodies between the delimiter lines stand (RFC 2046 §5.1.1)."""
    content, end = entity.content, entity.end
    marker = b"--" + boundary.encode("utf-8", "replace")
    spans: list[tuple[int, int]] = []
    start, position = -1, content.find(marker, entity.start, end)
    while position >= 0:
        is_line = position == entity.start or content[position - 1] in _LINE_ENDS
        match = _AFTER_BOUNDARY.match(content, position + len(marker), end) if is_line else None
        if match is not None:
            if start >= 0:
                spans.append((start, max(start, _before_line_end(content, position))))
            if match[1] or len(spans) >= MAX_PARTS:
                _note_afterwards(content, marker, match.end(), end, structure)
                return spans
            start = match.end()
        elif structure.lookalikes > 0:
            structure.lookalikes -= 1
        else:
            structure.note("MIME_TOO_MANY_BOUNDARIES")
            break
        position = content.find(marker, position + len(marker), end)
    if start >= 0:
        structure.note("MIME_BOUNDARY_UNCLOSED")
        spans.append((start, end))
    return spans


def _note_afterwards(content: bytes, marker: bytes, position: int, end: int, structure: Structure) -> None:
    """Some readers show what follows the closing delimiter, some do not."""
    if content.find(b"\n" + marker, max(0, position - 1), end) >= 0:
        structure.note("MIME_PART_AFTER_END")


def _before_line_end(content: bytes, position: int) -> int:
    """The line end before a delimiter belongs to the delimiter (RFC 2046 §5.1.1)."""
    return position - 2 if content[max(0, position - 2) : position] == b"\r\n" else max(0, position - 1)


def _entity(
    path: str, depth: int, content: bytes, start: int, end: int, default_type: str, structure: Structure
) -> _Entity:
    header, fields = structure.read_header(content, start, end)
    return _Entity(path, depth, fields, content, header.body_offset, end, default_type)


def _nested(entity: _Entity, head: _Head, structure: Structure) -> _Entity:
    """The message inside a message/rfc822. It must not be encoded (RFC 2046 §5.2.1), but readers accept it."""
    content, start, end = entity.content, entity.start, entity.end
    if head.encoding in ("base64", "quoted-printable"):
        content = decode_bytes(content[start:end], head.encoding)
        start, end = 0, len(content)
    return _entity(f"{entity.path}.1", entity.depth + 1, content, start, end, "text/plain", structure)
