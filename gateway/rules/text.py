"""What each kind of rule is matched against, as bytes, made once for a message and only when a rule asks.

header      the decoded field, folds as one blank; :raw as received, :addr the addresses, :name the display names, :host
            :domain :ip :revip one of each value (gateway.rules.modifier); several fields of one name follow each other;
            ALL the whole header, ALL-TRUSTED and its like parts of it
mimeheader  the same of every MIME part
body        subject, then the rendered text of every part, hidden text included; one paragraph at a time, white space as
            one blank; 50 KB of a part
rawbody     each text part without its transfer encoding, HTML with its tags, a few kilobytes at a time
uri         each form of each URI (gateway.rules.uri)
full        the message as received, line ends as LF

All texts of a kind are one buffer, each with a line end (as in SpamAssassin), SEPARATOR between them: no `.` and no run
of white space reaches across it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from html import unescape
from itertools import dropwhile, islice
from typing import AnyStr

from gateway.mail import decode_body
from gateway.mail.address import parse_mailboxes
from gateway.mail.charset import decode
from gateway.mail.header import decode_text, unfold, written_value
from gateway.mail.html import render
from gateway.rules.modifier import REDUCING, reduced
from gateway.rules.regex import fold
from gateway.rules.relays import Relays, relays_of
from gateway.rules.rule import Networks
from gateway.rules.uri import UriReader
from gateway.types import Address, HeaderField, Html, MailObject, Message, Part

SEPARATOR = b"\x00\n"
MAX_BYTES = 1 << 20  # of one kind; a message's megabytes beyond it are attachments in disguise
_MAX_TEXTS = 4000
_MAX_LINE = 2048  # SpamAssassin cuts body lines there
_GAP = re.compile(r"\n\s*\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_BREAKS = (b"\n", b">", b" ")
_BREAKS_IN_TEXT = ("\n", " ")
_BLANKS = frozenset(" \t\n\r\f\v\xa0")
_MAX_BODY_PART, _MAX_RAW_PART = 50_000, 500_000  # of a part: SpamAssassin's body_part_scan_size, rawbody_part_scan_size
_NOT_RENDERED = frozenset(("text/calendar", "text/x-vcard"))
_CONTAINERS = ("multipart/", "message/rfc822", "message/global")
_REDIRECTED = "data-saferedirecturl"  # what Gmail makes of a link in mail that it shows, and its users forward
_BY_GMAIL = re.compile(_REDIRECTED + r"=[\"']([^\"'>]{1,4096})")
_HTML_FILE = re.compile(r"\.s?html?$", re.IGNORECASE)
_WORD_KEPT = "\x01?"  # stands for the "=?" of an encoded-word that is not to be decoded
# Fields in which encoded-words are none, as SpamAssassin sees it
_NEVER_ENCODED = re.compile(
    r"received|(?:resent-)?(?:message-id|date)|mime-version|references|in-reply-to|list-.*", re.IGNORECASE
)
_WITHOUT_LINE_END = re.compile(r"EnvelopeFrom|X-Spam-Relays-|.*:(?:addr|name|host|domain|ip|revip)\b")


_Special = Callable[["Texts", Sequence[str]], "bytes | None"]


def canonical(selector: str) -> str:
    """The same for all spellings of a selector."""
    name, colon, modifiers = selector.partition(":")
    return selector if name in _SPECIAL else f"{name.lower()}{colon}{modifiers}"


class Selectors:
    """The selectors of some header or mimeheader rules, by the field they name. Immutable."""

    def __init__(self, selectors: Iterable[str]) -> None:
        self._fields: dict[str, list[tuple[str, list[str]]]] = {}
        self._special: list[tuple[str, _Special, list[str]]] = []
        for selector in dict.fromkeys(selectors):
            name, *modifiers = selector.split(":")
            if name in _SPECIAL:
                self._special.append((selector, _SPECIAL[name], modifiers))
            else:
                self._fields.setdefault(name.lower(), []).append((selector, modifiers))

    def in_header(self, texts: Texts) -> Iterator[tuple[str, bytes | None]]:
        """Each selector with its text in the message's header; None for a field that holds nothing it asks for."""
        for selector, special, modifiers in self._special:
            yield selector, special(texts, modifiers)
        by_name = texts.mail.message.by_name
        for name in self._fields.keys() & by_name.keys():
            for selector, modifiers in self._fields[name]:
                yield selector, texts.text_of(by_name[name], modifiers)

    def present(self, texts: Texts) -> Iterator[str]:
        """The selectors whose field the message has."""
        yield from (selector for selector, special, modifiers in self._special if special(texts, modifiers) is not None)
        for name in self._fields.keys() & texts.mail.message.by_name.keys():
            yield from (selector for selector, _ in self._fields[name])

    def in_part(self, texts: Texts, part: Part) -> Iterator[tuple[str, bytes | None]]:
        """The same in a MIME part's header; ALL is the one special selector it has."""
        for selector, special, modifiers in self._special:
            if special is _all:
                yield selector, texts.all_of(part.fields, modifiers)
        for name, fields in _by_name(part.fields).items():
            for selector, modifiers in self._fields.get(name, ()):
                yield selector, texts.text_of(fields, modifiers)


class Texts:
    """The texts of one message. Buffers are b"" when the message has nothing of the kind."""

    def __init__(
        self, mail: MailObject, relays: Callable[[], Relays] | None = None, uris: UriReader | None = None
    ) -> None:
        self.mail = mail
        self._relays = relays
        self._uris = uris or _ANY_URIS
        self._buffers: dict[str, bytes] = {}
        self._values: dict[int, bytes] = {}

    def buffers(self, kind: str, selectors: Selectors) -> dict[str, bytes]:
        """Selector -> its texts in one buffer, for those the message has. Kinds without selectors have the one ""."""
        if kind == "header":
            return {selector: text[:MAX_BYTES] for selector, text in selectors.in_header(self) if text}
        if kind == "mimeheader":
            return self._mime_headers(selectors)
        buffer = self._buffer(kind)
        return {"": buffer} if buffer else {}

    def _buffer(self, kind: str) -> bytes:
        if kind not in self._buffers:
            self._buffers[kind] = (
                self._uri() if kind == "uri" else self._body() if kind == "body" else _BODIES[kind](self.mail.message)
            )
        return self._buffers[kind]

    @property
    def relays(self) -> Relays:
        """The relays; those a message has without any trusted_networks line when nobody said otherwise."""
        return self._relays() if self._relays is not None else relays_of(self.mail, Networks())

    def header(self, selector: str) -> bytes | None:
        """The text of a header selector; None when the message has no such field."""
        found = dict(Selectors((selector,)).in_header(self)).get(selector)
        return None if found is None else found[:MAX_BYTES]

    def text_of(self, fields: Sequence[HeaderField], modifiers: Sequence[str]) -> bytes | None:
        """The text of these fields, None when they hold nothing that was asked for (no address, for :addr)."""
        if modifiers:
            if "first" in modifiers:
                fields = fields[:1]
            elif "last" in modifiers:
                fields = fields[-1:]
            if "addr" in modifiers or "name" in modifiers:
                return self.reduced(_mailbox_texts(fields, modifiers), modifiers)
            if not REDUCING.isdisjoint(modifiers):
                return self.reduced([written_value(field) for field in fields], modifiers)
            if "raw" in modifiers:
                return b"".join(_raw_value(field) for field in fields)
        return b"".join([self._value(field) + b"\n" for field in fields])

    def reduced(self, values: list[str], modifiers: Sequence[str]) -> bytes | None:
        """The host, domain or address in each value where one was asked for; None without any."""
        if not REDUCING.isdisjoint(modifiers):
            values = reduced(values, modifiers, self._uris.is_known)
        return ("\n".join(values) + "\n").encode("utf-8", "replace") if values else None

    def all_of(self, fields: Iterable[HeaderField], modifiers: Sequence[str]) -> bytes:
        """Names and values of these fields."""
        if "raw" in modifiers:
            return b"".join(field.raw for field in fields).replace(b"\r\n", b"\n")
        return b"".join([b"%s: %s\n" % (field.name.encode("ascii", "replace"), self._value(field)) for field in fields])

    def _value(self, field: HeaderField) -> bytes:
        value = self._values.get(id(field))
        if value is None:
            value = self._values[id(field)] = _value(field)
        return value

    @cached_property
    def _parts(self) -> list[tuple[str, Html | None]]:
        return list(_rendered(self.mail.message))

    def _body(self) -> bytes:
        """Paragraphs stand between NULs while white space is folded, then between separators."""
        cut = (_cut(text, _MAX_BODY_PART, _BREAKS_IN_TEXT) for text, _ in self._parts)
        text = "\n".join(dropwhile(lambda one: not one, cut))[:MAX_BYTES]
        folded = " ".join(_GAP.sub("\0", text).split())
        start, end = " " if text[:1] in _BLANKS else "", " " if text[-1:] in _BLANKS else ""
        fields = self.mail.message.by_name.get("subject", ())
        subject = self._value(fields[-1])[:MAX_BYTES] if fields else b""
        whole = subject + f"\0{start}{folded}{end}".encode("utf-8", "replace")
        lines = whole.split(b"\0")
        if len(max(lines, key=len)) > _MAX_LINE:
            whole = b"\0".join(piece for line in lines for piece in _short_lines(line))
        return whole.replace(b"\0", b"\n" + SEPARATOR) + b"\n"

    def _uri(self) -> bytes:
        body = self._buffer("body")
        linked = dict.fromkeys(link.url for _, html in self._parts if html is not None for link in html.links)
        linked.update(dict.fromkeys(url for _, html in self._parts if html is not None for url in html.schemeless))
        for part in self.mail.message.parts:
            if part.text is not None and _REDIRECTED in part.text:
                linked.update(dict.fromkeys(unescape(url) for url in _BY_GMAIL.findall(part.text)))
        uris = self._uris.read(linked, body.decode("utf-8", "replace"))
        return SEPARATOR.join(uri.encode("utf-8", "replace") + b"\n" for uri in uris)[:MAX_BYTES]

    def _mime_headers(self, selectors: Selectors) -> dict[str, bytes]:
        found: dict[str, list[bytes]] = {}
        for part in self.mail.message.parts:
            for selector, text in selectors.in_part(self, part):
                if text:
                    found.setdefault(selector, []).append(text[:MAX_BYTES])
        return {selector: SEPARATOR.join(one[:_MAX_TEXTS])[:MAX_BYTES] for selector, one in found.items()}


def folded(buffer: bytes) -> bytes:
    """As patterns with letters outside ASCII see it."""
    return buffer if buffer.isascii() else fold(buffer.decode("utf-8", "replace")).encode()


def has_line_end(kind: str, selector: str) -> bool:
    """Whether a pattern sees a line end at a text's end. Addresses, names, relays and URLs are without one."""
    return kind != "uri" and not (kind == "header" and _WITHOUT_LINE_END.match(selector))


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


def _mailbox_texts(fields: Sequence[HeaderField], modifiers: Sequence[str]) -> list[str]:
    is_written = "raw" in modifiers and "name" in modifiers
    shown = [_undecoded(field) for field in fields] if is_written else fields
    boxes: Iterator[Address] = (box for field in shown for box in parse_mailboxes(field))
    found = (box.address if "addr" in modifiers else box.display_name for box in islice(boxes, _MAX_TEXTS))
    return [one.replace(_WORD_KEPT, "=?") if is_written else one for one in found if one]


def _undecoded(field: HeaderField) -> HeaderField:
    """The field as if its encoded-words were none."""
    if b"=?" not in field.raw:
        return field
    raw = field.raw.replace(b"=?", _WORD_KEPT.encode())
    return HeaderField(field.name, raw, unfold(raw[raw.index(b":") + 1 :]))


def _value(field: HeaderField) -> bytes:
    """The decoded value; a fold counts as one blank, unless encoded-words were joined over it."""
    raw = field.raw
    if raw.isascii() and (b"=?" not in raw or _NEVER_ENCODED.fullmatch(field.name)):
        value = raw[raw.index(b":") + 1 :].strip()
        return _FOLD.sub(b" ", value) if b"\n" in value else value
    if b"\n" in raw and b"=?" in raw:
        return decode_text(_FOLD.sub(b" ", raw[raw.index(b":") + 1 :])).encode("utf-8", "replace")
    return field.text.encode("utf-8", "replace")


def _raw_value(field: HeaderField) -> bytes:
    return _ended(field.raw[field.raw.index(b":") + 1 :].replace(b"\r\n", b"\n"))


def _joined(*names: str) -> _Special:
    """Fields of several names as one text."""

    def joined(texts: Texts, modifiers: Sequence[str]) -> bytes | None:
        by_name = texts.mail.message.by_name
        found = [field for name in names for field in by_name.get(name, ())]
        return texts.text_of(found, modifiers) if found else None

    return joined


def _until(is_internal: bool) -> _Special:
    """The fields that trusted relays wrote: up to the first untrusted relay's own Received, which is theirs too."""

    def until(texts: Texts, modifiers: Sequence[str]) -> bytes | None:
        end = texts.relays.internal_fields if is_internal else texts.relays.trusted_fields
        return (
            texts.all_of(texts.mail.message.fields[: _place(texts, end, behind=1)], modifiers) or None
            if end >= 0
            else None
        )

    return until


def _since(is_internal: bool) -> _Special:
    """The fields from there on."""

    def since(texts: Texts, modifiers: Sequence[str]) -> bytes | None:
        start = texts.relays.internal_fields if is_internal else texts.relays.trusted_fields
        fields = texts.mail.message.fields
        return texts.all_of(fields[_place(texts, start) if start >= 0 else 0 :], modifiers) or None

    return since


def _place(texts: Texts, number: int, behind: int = 0) -> int:
    """Where the Received field of this number stands, or behind it; the end when there are fewer."""
    received = (place for place, one in enumerate(texts.mail.message.fields) if one.name.lower() == "received")
    place = next(islice(received, number, None), None)
    return len(texts.mail.message.fields) if place is None else place + behind


def _all(texts: Texts, modifiers: Sequence[str]) -> bytes:
    return texts.all_of(texts.mail.message.fields, modifiers)


def _relays(name: str) -> _Special:
    return lambda texts, modifiers: texts.reduced([texts.relays.text(name)], modifiers)


_SPECIAL: Mapping[str, _Special] = {
    "ALL": _all,
    "ALL-TRUSTED": _until(is_internal=False),
    "ALL-INTERNAL": _until(is_internal=True),
    "ALL-UNTRUSTED": _since(is_internal=False),
    "ALL-EXTERNAL": _since(is_internal=True),
    "ToCc": _joined("to", "cc"),
    "MESSAGEID": _joined("x-message-id", "resent-message-id", "x-original-message-id", "message-id"),
    "EnvelopeFrom": lambda texts, modifiers: texts.reduced([texts.mail.envelope.reverse_path], modifiers),
    **{f"X-Spam-Relays-{which}": _relays(which) for which in ("Trusted", "Untrusted", "Internal", "External")},
}


# --- bodies ---------------------------------------------------------------------------------------------------------


def _rendered(message: Message) -> Iterator[tuple[str, Html | None]]:
    """The text of each part that is text, attached or not; of a file of HTML whatever its type. "" for the others."""
    for part in message.parts:
        if part.html is not None:
            yield part.html.flow, part.html
        elif is_html_file(part):
            html = render(decoded_text(part))
            yield html.flow, html
        elif part.content_type.startswith("text/") and part.content_type not in _NOT_RENDERED:
            yield part.text if part.text is not None else decoded_text(part), None
        elif not part.content_type.startswith(_CONTAINERS):
            yield "", None


def is_html_file(part: Part) -> bool:
    """Whether a part that is not shown in place holds HTML, whatever its type."""
    return part.content_type == "text/html" or bool(part.filename and _HTML_FILE.search(part.filename))


def decoded_text(part: Part) -> str:
    """The text of an attached part, as far as rules look at one."""
    return decode(_bytes_of(part)[: 2 * _MAX_BODY_PART], part.charset)


def _bytes_of(part: Part) -> bytes:
    """Its bytes without their encoding; line ends as LF. Big ones are cut before they are decoded."""
    if len(part.raw) > 2 * _MAX_RAW_PART:
        part = replace(part, raw=part.raw[: 2 * _MAX_RAW_PART])
    return decode_body(part).replace(b"\r\n", b"\n")


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
    found: list[bytes] = []
    room = MAX_BYTES
    for part in message.parts:
        if room > 0 and part.content_type.startswith(("text/", "message/")) and part.content_type != "text/calendar":
            text = _cut(_raw_text(part), _MAX_RAW_PART, _BREAKS)[:room]
            room -= len(text)
            found += _chunks(text) if text else ()
    return SEPARATOR.join(found)


def _raw_text(part: Part) -> bytes:
    """In its own charset: made from the text where that gives the same bytes, to decode nothing twice."""
    if part.text is not None and (part.text.isascii() or (part.charset == "utf-8" and "\ufffd" not in part.text)):
        return part.text.encode("utf-8", "replace")
    return _bytes_of(part)


def _cut(text: AnyStr, size: int, signs: Sequence[AnyStr]) -> AnyStr:
    """At most so long, and a little more when a good place to cut follows."""
    if len(text) <= size:
        return text
    for sign in signs:
        found = text.find(sign, size, size + 1024 + 1)
        if found >= 0:
            return text[: found + 1]
    return text[:size]


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


def _full(message: Message) -> bytes:
    return message.raw[:MAX_BYTES].replace(b"\r\n", b"\n")


_BODIES: dict[str, Callable[[Message], bytes]] = {"rawbody": _rawbody, "full": _full}
_ANY_URIS = UriReader()
