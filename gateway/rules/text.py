"""What each kind of rule is matched against, as bytes, made once for a message and only when a rule asks.

header      the decoded field, folds as one blank; :raw as received, :addr the addresses, :name the display names;
            several fields of one name follow each other; ALL the whole header
mimeheader  the same of every MIME part
body        subject, then the rendered text, hidden text included; one paragraph at a time, white space as one blank
rawbody     each text part decoded, HTML with its tags, a few kilobytes at a time
uri         each link's URL
full        the message as received, line ends as LF

All texts of a kind are one buffer, each with a line end (as in SpamAssassin), SEPARATOR between them: no `.` and no run
of white space reaches across it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from gateway.mail.address import parse_mailboxes
from gateway.rules.regex import fold
from gateway.types import Address, HeaderField, MailObject, Message

SEPARATOR = b"\x00\n"
MAX_BYTES = 1 << 20  # of one kind; a message's megabytes beyond it are attachments in disguise
_MAX_TEXTS = 4000
_MAX_LINE = 2048  # SpamAssassin cuts body lines there
_GAP = re.compile(r"\n+\s*\n+")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_BREAKS = (b"\n", b">", b" ")


class Texts:
    """The texts of one message. Buffers are b"" when the message has nothing of the kind."""

    def __init__(self, mail: MailObject, relays: Callable[[str], str] | None = None) -> None:
        self._mail = mail
        self._relays = relays
        self._fields: dict[str, list[HeaderField]] | None = None
        self._buffers: dict[tuple[str, str], bytes | None] = {}

    def buffers(self, kind: str, selectors: Iterable[str], *, is_folded: bool = False) -> dict[str, bytes]:
        """Selector -> its texts in one buffer, for those the message has. Kinds without selectors have the one ""."""
        found: dict[str, bytes] = {}
        for selector in selectors:
            buffer = self._buffer(kind, selector)
            if buffer:
                found[selector] = _folded(buffer) if is_folded else buffer
        return found

    def _buffer(self, kind: str, selector: str) -> bytes | None:
        key = (kind, selector)
        if key not in self._buffers:
            self._buffers[key] = self._made(kind, selector)
        return self._buffers[key]

    def _made(self, kind: str, selector: str) -> bytes | None:
        if kind == "header":
            return self.header(selector)
        return self._mime_header(selector) if kind == "mimeheader" else _BODIES[kind](self._mail.message)

    def header(self, selector: str) -> bytes | None:
        """The text of a header selector; None when the message has no such field."""
        name, *modifiers = selector.split(":")
        special = _SPECIAL.get(name)
        if special is not None:
            found = special(self._mail, "raw" in modifiers)
            return None if found is None else found[:MAX_BYTES]
        if self._fields is None:
            self._fields = _by_name(self._mail.message.fields)
        fields = self._fields.get(name.lower())
        return None if fields is None else _text_of(fields, modifiers)

    def _mime_header(self, selector: str) -> bytes:
        name, *modifiers = selector.split(":")
        found = []
        for part in self._mail.message.parts:
            fields = part.fields if name == "ALL" else _by_name(part.fields).get(name.lower())
            if fields:
                text = _all_of(fields, "raw" in modifiers) if name == "ALL" else _text_of(fields, modifiers)
                if text is not None:
                    found.append(text)
        return SEPARATOR.join(found[:_MAX_TEXTS])[:MAX_BYTES]


def _folded(buffer: bytes) -> bytes:
    return buffer if buffer.isascii() else fold(buffer.decode("utf-8", "replace")).encode()


def texts_in(buffer: bytes, *, keeps_line_end: bool = True) -> list[bytes]:
    """The single texts of a buffer, each with its line end or without."""
    texts = buffer.split(SEPARATOR)
    return texts if keeps_line_end else [text[:-1] for text in texts]


def text_at(buffer: bytes, offset: int) -> bytes:
    """The text in which a match ended."""
    start, end = _bounds(buffer, offset)
    return buffer[start:end]


def crowded_texts(buffer: bytes, offsets: Iterable[int], least: int) -> list[bytes]:
    """The texts in which at least so many matches ended."""
    ends = sorted(offsets)
    found, position = [], 0
    while position < len(ends):
        start, end = _bounds(buffer, ends[position])
        behind = bisect_right(ends, end, position + 1)
        if behind - position >= least:
            found.append(buffer[start:end])
        position = behind
    return found


def _bounds(buffer: bytes, offset: int) -> tuple[int, int]:
    inside = max(0, offset - 1)
    start, end = buffer.rfind(SEPARATOR, 0, inside), buffer.find(SEPARATOR, inside)
    return start + len(SEPARATOR) if start >= 0 else 0, end if end >= 0 else len(buffer)


# --- fields ---------------------------------------------------------------------------------------------------------


def _by_name(fields: Iterable[HeaderField]) -> dict[str, list[HeaderField]]:
    found: dict[str, list[HeaderField]] = {}
    for field in fields:
        found.setdefault(field.name.lower(), []).append(field)
    return found


def _text_of(fields: Sequence[HeaderField], modifiers: Sequence[str]) -> bytes | None:
    """The text of these fields, None when they hold nothing that was asked for (no address, for :addr)."""
    if "first" in modifiers:
        fields = fields[:1]
    elif "last" in modifiers:
        fields = fields[-1:]
    if "addr" in modifiers or "name" in modifiers:
        values = _mailbox_texts(fields, modifiers)
        if not values:
            return None
        return ("\n".join(values) + "\n").encode("utf-8", "replace")[:MAX_BYTES]
    if "raw" in modifiers:
        return b"".join(_raw_value(field) for field in fields)[:MAX_BYTES]
    return b"".join(_value(field) + b"\n" for field in fields)[:MAX_BYTES]


def _mailbox_texts(fields: Sequence[HeaderField], modifiers: Sequence[str]) -> list[str]:
    boxes: Iterator[Address] = (box for field in fields for box in parse_mailboxes(field))
    found = (box.address if "addr" in modifiers else box.display_name for box in islice(boxes, _MAX_TEXTS))
    values = [one for one in found if one]
    return [one.rpartition("@")[2] for one in values] if "domain" in modifiers or "host" in modifiers else values


def _value(field: HeaderField) -> bytes:
    """The decoded value; a fold counts as one blank, unless encoded-words were joined over it."""
    raw = field.raw
    if b"=?" not in raw and raw.isascii():
        value = raw[raw.index(b":") + 1 :].strip()
        return _FOLD.sub(b" ", value) if b"\n" in value else value
    return field.text.encode("utf-8", "replace")


def _raw_value(field: HeaderField) -> bytes:
    value = field.raw[field.raw.index(b":") + 1 :].lstrip(b" \t").replace(b"\r\n", b"\n")
    return _ended(value)


def _all_of(fields: Sequence[HeaderField], is_raw: bool) -> bytes:
    if is_raw:
        return b"".join(field.raw for field in fields).replace(b"\r\n", b"\n")
    return b"".join(b"%s: %s\n" % (field.name.encode("ascii", "replace"), _value(field)) for field in fields)


def _joined(*names: str) -> Callable[[MailObject, bool], bytes | None]:
    """Fields of several names as one text."""

    def joined(mail: MailObject, is_raw: bool) -> bytes | None:
        by_name = _by_name(mail.message.fields)
        found = [field for name in names for field in by_name.get(name, ())]
        return b"".join(_raw_value(one) if is_raw else _value(one) + b"\n" for one in found) if found else None

    return joined


_SPECIAL: dict[str, Callable[[MailObject, bool], bytes | None]] = {
    "ALL": lambda mail, is_raw: _all_of(mail.message.fields, is_raw),
    "ToCc": _joined("to", "cc"),
    "MESSAGEID": _joined("x-message-id", "resent-message-id", "x-original-message-id", "message-id"),
    "EnvelopeFrom": lambda mail, _: mail.envelope.reverse_path.encode("utf-8", "replace") + b"\n",
}


# --- bodies ---------------------------------------------------------------------------------------------------------


def _body(message: Message) -> bytes:
    """Paragraphs stand between NULs while white space is folded, then between separators."""
    text = f"{message.text}\n\n{message.hidden_text}" if message.hidden_text else message.text
    folded = " ".join(_GAP.sub("\0", text[:MAX_BYTES]).split())
    whole = " ".join(message.subject.split()).encode("utf-8", "replace") + b"\0" + folded.encode("utf-8", "replace")
    lines = whole.split(b"\0")
    if len(max(lines, key=len)) > _MAX_LINE:
        whole = b"\0".join(piece for line in lines for piece in _short_lines(line))
    return whole.replace(b"\0", b"\n" + SEPARATOR) + b"\n"


def _short_lines(line: bytes) -> Iterator[bytes]:
    """Pieces of at most _MAX_LINE bytes, cut behind a blank where there is one."""
    start = 0
    while len(line) - start > _MAX_LINE:
        cut = line.rfind(b" ", start, start + _MAX_LINE + 1) + 1
        cut = cut if cut > start else start + _MAX_LINE
        yield line[start:cut]
        start = cut
    yield line[start:]


def _rawbody(message: Message) -> bytes:
    room = MAX_BYTES
    found: list[bytes] = []
    for part in message.parts:
        if part.text and room > 0:
            text = part.text[:room].encode("utf-8", "replace")
            room -= len(text)
            found += _chunks(text)
    return SEPARATOR.join(found)


def _chunks(text: bytes) -> Iterator[bytes]:
    """Pieces of 2 to 4 KB, cut behind a line end, else a tag, else a blank."""
    start, size = 0, len(text)
    while size - start > 2 * _MAX_LINE:
        cut = start + _MAX_LINE
        for sign in _BREAKS:
            found = text.find(sign, start + _MAX_LINE, start + 2 * _MAX_LINE)
            if found >= 0:
                cut = found
                break
        yield _ended(text[start : cut + 1])
        start = cut + 1
    yield _ended(text[start:])


def _ended(text: bytes) -> bytes:
    return text if text.endswith(b"\n") else text + b"\n"


def _uri(message: Message) -> bytes:
    urls = dict.fromkeys(link.url for link in message.links)
    return SEPARATOR.join(url.encode("utf-8", "replace") + b"\n" for url in islice(urls, _MAX_TEXTS))[:MAX_BYTES]


def _full(message: Message) -> bytes:
    return message.raw[:MAX_BYTES].replace(b"\r\n", b"\n")


_BODIES: dict[str, Callable[[Message], bytes]] = {"body": _body, "rawbody": _rawbody, "uri": _uri, "full": _full}
