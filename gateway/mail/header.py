"""Header fields: their bounds, decoding of encoded-words (RFC 2047), parameters (RFC 2045 §5.1, 2231).

Everything is total and linear: a field that follows no grammar still gives a text. Quirks that mail readers accept are
accepted: bare LF line ends, white space before the colon, encoded-words inside quotes or words, missing padding.
"""

from __future__ import annotations

import binascii
import re
from urllib.parse import unquote_to_bytes

import pybase64

from gateway.mail.charset import decode
from gateway.types import HeaderField

MAX_FIELDS = 10_000
_MAX_DECODED = 1 << 16  # characters of one field that are decoded
_FIELD = re.compile(rb"([^\s:\x00-\x20\x7f-\xff]{1,256})[ \t]*:")
_WORD = re.compile(r"=\?([A-Za-z0-9_.:()+-]{1,60})(?:\*[A-Za-z0-9-]{0,20})?\?([BbQq])\?([^?]{0,20000})\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)[ \t\r\n]+(?==\?[A-Za-z0-9_.:()+-]{1,60}(?:\*[A-Za-z0-9-]{0,20})?\?[BbQq]\?)")
_FOLD = re.compile(r"\r?\n(?=[ \t])|[\r\n]+$")
_QP = re.compile(rb"=([0-9A-Fa-f]{2})")


def split_fields(block: bytes) -> tuple[list[tuple[str, bytes]], bool, bool]:
    """(name, raw field) in order; whether lines that are no field were seen; whether there were too many fields.

    Args:
        block: the header, without the empty line behind it.
    """
    raws: list[bytes] = []
    odd = False
    for line in block.splitlines(keepends=True) if b"\r" not in block.replace(b"\r\n", b"") else _lines(block):
        if line[:1] in b" \t" and line[:1]:
            if raws:
                raws.append(line)
            else:
                odd = True
        else:
            raws.append(b"")  # a bound between fields
            raws.append(line)
    fields: list[tuple[str, bytes]] = []
    for raw in _joined(raws):
        match = _FIELD.match(raw)
        if match is None:
            odd = True
        elif len(fields) >= MAX_FIELDS:
            return fields, odd, True
        else:
            fields.append((match[1].decode("ascii"), raw))
    return fields, odd, False


def _lines(block: bytes) -> list[bytes]:
    """Lines that end in LF; a bare CR is no line end."""
    return [line + b"\n" for line in block.split(b"\n")[:-1]] + [tail for tail in block.split(b"\n")[-1:] if tail]


def _joined(pieces: list[bytes]) -> list[bytes]:
    fields: list[bytes] = []
    start = 0
    for index, piece in enumerate(pieces):
        if piece == b"" and index > start:
            fields.append(b"".join(pieces[start:index]))
            start = index
    if start < len(pieces):
        fields.append(b"".join(pieces[start:]))
    return [field for field in fields if field]


def make_field(name: str, raw: bytes) -> HeaderField:
    """The field with its decoded text."""
    return HeaderField(name, raw, decode_text(raw[raw.index(b":") + 1 :]))


def decode_text(value: bytes) -> str:
    """Unfolded, encoded-words decoded, outer white space removed."""
    text = value.decode("ascii") if value.isascii() else decode(value[:_MAX_DECODED])
    if "\n" in text:
        text = _FOLD.sub("", text)
    if "=?" in text:
        text = decode_words(text)
    return text.strip(" \t\r\n")


def decode_words(text: str) -> str:
    """Encoded-words decoded; adjacent ones of one charset as one, as a character may be split between them."""
    text = _BETWEEN_WORDS.sub(r"\1", text[:_MAX_DECODED])
    pieces: list[str] = []
    pending, charset, position = bytearray(), "", 0
    for match in _WORD.finditer(text):
        name = match[1].lower()
        if pending and (match.start() > position or name != charset):
            pieces.append(decode(bytes(pending), charset))
            pending.clear()
        pieces.append(text[position : match.start()])
        pending += _word_bytes(match[2], match[3])
        charset, position = name, match.end()
    if pending:
        pieces.append(decode(bytes(pending), charset))
    pieces.append(text[position:])
    return "".join(pieces)


def _word_bytes(encoding: str, payload: str) -> bytes:
    raw = payload.encode("utf-8", "replace")
    if encoding in "Qq":
        return _QP.sub(lambda match: bytes((int(match[1], 16),)), raw.replace(b"_", b" "))
    return decode_base64(raw)


_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


def decode_base64(raw: bytes) -> bytes:
    """Whatever base64 is in there, other bytes ignored (RFC 2045 §6.8), padding in the middle ends nothing."""
    try:
        return pybase64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        clean = _NOT_BASE64.sub(b"", raw)
    spare = len(clean) % 4
    if spare == 1:
        clean = clean[:-1]
    return pybase64.b64decode(clean + b"=" * (-len(clean) % 4))


# --- structured values: "value; name=value; name*0*=utf-8''..." -----------------------------------------------------

_PARAMETER = re.compile(
    r""";\s*([^\s=;"*]{1,64}(?:\*[0-9]{1,3})?\*?)\s*=\s*("(?:[^"\\]|\\.){0,8192}"?|[^;]{0,8192})""", re.DOTALL
)
_COMMENT = re.compile(r"\([^()\"]{0,500}\)")


def parse_parameters(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The lower-case value before the first ";", and the parameters in order, names lower-case, still encoded."""
    if "(" in text:
        text = _COMMENT.sub(" ", text)
    value = text.partition(";")[0].strip().lower()
    return value, [(match[1].lower(), _unquote(match[2])) for match in _PARAMETER.finditer(text)]


def parameter(parameters: list[tuple[str, str]], name: str) -> tuple[str, str]:
    """(the decoded value, a second different value of it or ""); RFC 2231's form comes before the plain one."""
    plain = [decode_words(value) if "=?" in value else value for key, value in parameters if key == name]
    extended = [_extended(value) for key, value in parameters if key == name + "*"]
    continued = _continued(parameters, name)
    found = [value for value in (*extended, *continued, *plain) if value]
    other = next((value for value in found[1:] if value != found[0]), "")
    return (found[0] if found else ""), other


def _extended(value: str) -> str:
    charset, first, rest = value.partition("'")
    _, second, payload = rest.partition("'")
    if not (first and second):
        return decode(unquote_to_bytes(value))
    return decode(unquote_to_bytes(payload), charset)


def _continued(parameters: list[tuple[str, str]], name: str) -> list[str]:
    pieces: dict[int, tuple[bool, str]] = {}
    for key, value in parameters:
        base, _, rest = key.partition("*")
        number = rest.rstrip("*")
        if base == name and number.isdigit():
            pieces.setdefault(int(number), (rest.endswith("*"), value))
    if 0 not in pieces:
        return []
    charset, content = "", bytearray()
    for index in range(len(pieces)):
        if index not in pieces:
            break
        is_encoded, value = pieces[index]
        if index == 0 and is_encoded and value.count("'") >= 2:
            charset, _, value = value.split("'", 2)
        content += unquote_to_bytes(value) if is_encoded else value.encode("utf-8", "replace")
    return [decode(bytes(content), charset)]


def _unquote(value: str) -> str:
    value = value.strip()
    if not value.startswith('"'):
        return value
    value = value[1:]
    if value.endswith('"') and not value.endswith('\\"'):
        value = value[:-1]
    return re.sub(r"\\(.)", r"\1", value) if "\\" in value else value
