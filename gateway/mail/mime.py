"""The MIME structure of a message (RFC 2045, 2046, 2183): a walk over the bytes, no recursion, no needless decoding.

Attachments stay encoded (`decode_body` gives their bytes when somebody asks). Bounded: MAX_PARTS, MAX_DEPTH; what is
cut short stands in the defects. Ambiguities that readers resolve differently (two boundaries, two Content-Types, two
names for a file) are defects or `Part.other_filename`, because an attacker chooses the reader that is fooled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gateway.mail.charset import decode
from gateway.mail.header import decode_base64, make_field, parameter, parse_parameters, split_fields
from gateway.mail.html import render
from gateway.types import HeaderField, Html, Part

MAX_PARTS = 1000
MAX_DEPTH = 100
_LF, _CR = 10, 13
MAX_TEXT_BYTES = 4 << 20  # of one part's encoded text that is decoded

_END_OF_HEADER = re.compile(rb"\r?\n\r?\n")
_ENCODINGS = frozenset(
    ("7bit", "8bit", "binary", "base64", "quoted-printable", "x-uuencode", "uuencode", "x-uue", "uue")
)
_TYPE = re.compile(r"[a-z0-9!#$&^_.+*'-]{1,127}/[a-z0-9!#$&^_.+*'-]{1,127}")
_SOFT_BREAK = re.compile(rb"=[ \t]*\r?\n")
_ESCAPE = re.compile(rb"=([0-9A-Fa-f]{2})")
_ESCAPED = {f"{number:{form}}".encode(): bytes((number,)) for number in range(256) for form in ("02x", "02X")}


@dataclass(slots=True)
class Structure:
    """The parts found, and what was wrong."""

    parts: list[Part] = field(default_factory=list)
    defects: dict[str, None] = field(default_factory=dict)  # an ordered set

    def note(self, defect: str) -> None:
        """Remember a defect once."""
        self.defects[defect] = None


@dataclass(frozen=True, slots=True)
class _Entity:
    """An entity still to be looked at."""

    path: str
    depth: int
    fields: tuple[HeaderField, ...]
    body: bytes
    default_type: str


def split_entity(content: bytes) -> tuple[bytes, int]:
    """(header without the empty line, offset of the body)."""
    if content[:1] == b"\n":
        return b"", 1
    if content[:2] == b"\r\n":
        return b"", 2
    match = _END_OF_HEADER.search(content)
    if match is None:
        return content, len(content)
    first_end = match.start() + (2 if content[match.start() : match.start() + 1] == b"\r" else 1)
    return content[:first_end], match.end()


def read_fields(block: bytes, structure: Structure) -> tuple[HeaderField, ...]:
    """The fields of a header block, its defects noted."""
    raws, is_odd, is_cut = split_fields(block)
    if is_odd:
        structure.note("HEADER_MALFORMED")
    if is_cut:
        structure.note("HEADER_TOO_MANY_FIELDS")
    return tuple(make_field(name, raw) for name, raw in raws)


def walk(fields: tuple[HeaderField, ...], body: bytes) -> Structure:
    """All parts, document order."""
    structure = Structure()
    waiting = [_Entity("1", 0, fields, body, "text/plain")]
    while waiting:
        entity = waiting.pop()
        if len(structure.parts) >= MAX_PARTS:
            structure.note("MIME_TOO_MANY_PARTS")
            break
        children = _look_at(entity, structure)
        if children and entity.depth + 1 >= MAX_DEPTH:
            structure.note("MIME_TOO_DEEP")
            continue
        waiting.extend(reversed(children))
    return structure


def _look_at(entity: _Entity, structure: Structure) -> list[_Entity]:
    """Add the entity's part; return the entities inside it."""
    part, boundaries = _make_part(entity, structure)
    structure.parts.append(part)
    if part.content_type.startswith("multipart/"):
        return _multipart(part, boundaries, structure)
    if part.content_type in ("message/rfc822", "message/global"):
        return [_nested(part, structure)]
    return []


def _make_part(entity: _Entity, structure: Structure) -> tuple[Part, list[str]]:
    values: dict[str, list[str]] = {}
    for one in entity.fields:
        name = one.name.lower()
        if name.startswith("content-"):
            values.setdefault(name, []).append(one.text)
    if any(len(set(found)) > 1 for found in values.values()):
        structure.note("MIME_DUPLICATE_FIELD")
    content_type, type_parameters = parse_parameters(values.get("content-type", [entity.default_type])[0])
    if not _TYPE.fullmatch(content_type):
        structure.note("MIME_TYPE_MALFORMED")
        content_type = "text/plain"
    disposition, disposition_parameters = parse_parameters(values.get("content-disposition", [""])[0])
    filename, other = _filename(disposition_parameters, type_parameters)
    encoding = _encoding(values.get("content-transfer-encoding", []), structure)
    charset = parameter(type_parameters, "charset")[0].strip().lower()
    text, html = _text(content_type, disposition, filename, encoding, charset, entity.body, structure)
    part = Part(
        path=entity.path,
        depth=entity.depth,
        content_type=content_type,
        charset=charset,
        encoding=encoding,
        disposition=disposition if disposition in ("attachment", "inline") else ("attachment" if disposition else ""),
        filename=filename,
        other_filename=other,
        fields=entity.fields,
        raw=entity.body,
        text=text,
        html=html,
    )
    return part, [value for name, value in type_parameters if name == "boundary"] or _extended_boundary(type_parameters)


def _extended_boundary(parameters: list[tuple[str, str]]) -> list[str]:
    boundary = parameter(parameters, "boundary")[0]
    return [boundary] if boundary else []


def _filename(disposition: list[tuple[str, str]], content_type: list[tuple[str, str]]) -> tuple[str, str]:
    first, second = parameter(disposition, "filename")
    third, fourth = parameter(content_type, "name")
    names = [name for name in (first, second, third, fourth) if name]
    other = next((name for name in names[1:] if name != names[0]), "")
    return (names[0] if names else ""), other


def _encoding(values: list[str], structure: Structure) -> str:
    if not values:
        return "7bit"
    encoding = values[0].partition(";")[0].partition("(")[0].strip().strip("\"'").lower()
    if encoding not in _ENCODINGS:
        structure.note("MIME_ENCODING_UNKNOWN")
    return encoding or "7bit"


def _text(
    content_type: str, disposition: str, filename: str, encoding: str, charset: str, body: bytes, structure: Structure
) -> tuple[str | None, Html | None]:
    """Decoded text and, for HTML, what it shows. A named text/plain in line is still read, an attachment is not."""
    if not content_type.startswith("text/") or (disposition and disposition != "inline"):
        return None, None
    if filename and content_type not in ("text/plain", "text/html"):
        return None, None
    if len(body) > MAX_TEXT_BYTES:
        structure.note("MIME_TEXT_TOO_LONG")
        body = body[:MAX_TEXT_BYTES]
    text = decode(decode_bytes(body, encoding), charset).replace("\r\n", "\n")
    if content_type != "text/html":
        return text, None
    html = render(text)
    for defect in html.defects:
        structure.note(defect)
    return text, html


# --- containers -----------------------------------------------------------------------------------------------------


def _multipart(part: Part, boundaries: list[str], structure: Structure) -> list[_Entity]:
    if not boundaries:
        structure.note("MIME_BOUNDARY_MISSING")
        return [_Entity(f"{part.path}.1", part.depth + 1, (), part.raw, "text/plain")]
    if len(set(boundaries)) > 1:
        structure.note("MIME_BOUNDARY_AMBIGUOUS")
    bodies, is_closed = _split_at(part.raw, boundaries[0])
    if not bodies:
        structure.note("MIME_BOUNDARY_MISSING")
        return [_Entity(f"{part.path}.1", part.depth + 1, (), part.raw, "text/plain")]
    if not is_closed:
        structure.note("MIME_BOUNDARY_UNCLOSED")
    default = "message/rfc822" if part.content_type == "multipart/digest" else "text/plain"
    return [
        _entity(body, f"{part.path}.{number}", part.depth + 1, default, structure)
        for number, body in enumerate(bodies[:MAX_PARTS], start=1)
    ]


def _split_at(body: bytes, boundary: str) -> tuple[list[bytes], bool]:
    """The bodies between the delimiter lines, and whether the closing one is there (RFC 2046 §5.1.1)."""
    marker = b"--" + boundary.encode("utf-8", "replace").rstrip()
    bodies: list[bytes] = []
    start, position = -1, body.find(marker)
    while position >= 0 and len(bodies) < MAX_PARTS:
        line_end = body.find(b"\n", position)
        rest = body[position + len(marker) : line_end if line_end >= 0 else len(body)].rstrip(b" \t\r")
        if (position == 0 or body[position - 1] == _LF) and rest in (b"", b"--"):
            if start >= 0:
                bodies.append(body[start : _before_line_end(body, position)])
            if rest:
                return bodies, True
            start = line_end + 1 if line_end >= 0 else len(body)
        position = body.find(marker, position + len(marker))
    if len(bodies) >= MAX_PARTS:
        return bodies, True
    if start >= 0:
        bodies.append(body[start:])
    return bodies, False


def _before_line_end(body: bytes, position: int) -> int:
    """The line end before a delimiter belongs to the delimiter (RFC 2046 §5.1.1)."""
    if position == 0:
        return 0
    return position - 2 if position > 1 and body[position - 2] == _CR else position - 1


def _entity(content: bytes, path: str, depth: int, default_type: str, structure: Structure) -> _Entity:
    block, offset = split_entity(content)
    if offset == len(content) and not _looks_like_header(block):
        block, offset = b"", 0  # a part that forgot the empty line before its text
    return _Entity(path, depth, read_fields(block, structure), content[offset:], default_type)


def _looks_like_header(block: bytes) -> bool:
    return re.match(rb"[A-Za-z-]{1,64}[ \t]*:", block) is not None


def _nested(part: Part, structure: Structure) -> _Entity:
    content = decode_body(part) if part.encoding in ("base64", "quoted-printable") else part.raw
    return _entity(content, f"{part.path}.1", part.depth + 1, "text/plain", structure)


# --- decoding -------------------------------------------------------------------------------------------------------


def decode_body(part: Part) -> bytes:
    """The part's bytes without their Content-Transfer-Encoding. Never raises."""
    return decode_bytes(part.raw, part.encoding)


def decode_bytes(raw: bytes, encoding: str) -> bytes:
    """Total: what does not decode is left as it is, or left out."""
    if encoding == "base64":
        return decode_base64(raw.replace(b"\r\n", b"").replace(b"\n", b""))
    if encoding == "quoted-printable":
        return _quoted_printable(raw)
    if encoding in ("x-uuencode", "uuencode", "x-uue", "uue"):
        return _uuencoded(raw)
    return raw


def _quoted_printable(raw: bytes) -> bytes:
    if b"=" not in raw:
        return raw
    raw = _SOFT_BREAK.sub(b"", raw)
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1]) or bytes((int(match[1], 16),)), raw)


def _uuencoded(raw: bytes) -> bytes:
    import binascii

    out = bytearray()
    begun = False
    for line in raw.splitlines():
        if line.startswith(b"begin "):
            begun = True
        elif line.strip() == b"end":
            break
        elif begun:
            try:
                out += binascii.a2b_uu(line)
            except binascii.Error:
                continue
    return bytes(out)
