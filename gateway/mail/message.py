"""bytes -> Message, once. Any bytes give one; what was wrong with them stands in `defects`.

Cost: about 100 µs for a message of 5 KB without HTML (benchmarks/scan.py, stage "parse"). Limits: header.MAX_FIELDS,
mime.MAX_PARTS and MAX_DEPTH, MAX_TEXT characters of text in all, html.MAX_LINKS links.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from gateway.mail import mime
from gateway.mail.address import parse_mailboxes
from gateway.mail.date import parse_date
from gateway.mail.html import MAX_LINKS
from gateway.mail.link import find_links
from gateway.types import Address, HeaderField, Link, Message, Part

MAX_TEXT = 4 << 20
_MSGID = re.compile(r"<([^<>\s]{1,995})>")


def parse(content: bytes) -> Message:
    """The message. Never raises, whatever the bytes."""
    start = _envelope_line(content)
    block, offset = mime.split_entity(content[start:] if start else content)
    head = mime.Structure()
    fields = mime.read_fields(block, head)
    body_offset = start + offset
    structure = mime.walk(fields, content[body_offset:])
    defects = {**head.defects, **structure.defects}
    if start:
        defects["HEADER_MBOX_LINE"] = None
    if offset >= len(content) - start and content:
        defects["BODY_MISSING"] = None
    if b"\0" in content:
        defects["MESSAGE_HAS_NUL"] = None
    by_name = _by_name(fields)
    text, hidden = _texts(structure.parts, defects)
    links = _links(structure.parts, defects)
    return Message(
        raw=content,
        fields=fields,
        body_offset=body_offset,
        parts=tuple(structure.parts),
        subject=_first(by_name, "subject"),
        message_id=_message_id(_first(by_name, "message-id")),
        date=parse_date(_first(by_name, "date")) if "date" in by_name else None,
        author=_mailboxes(by_name, "from"),
        sender=_mailboxes(by_name, "sender"),
        reply_to=_mailboxes(by_name, "reply-to"),
        to=_mailboxes(by_name, "to") + _mailboxes(by_name, "cc"),
        text=text,
        hidden_text=hidden,
        links=links,
        defects=tuple(defects),
    )


def _envelope_line(content: bytes) -> int:
    """Length of an mbox "From " line before the header, 0 without one."""
    if not content.startswith((b"From ", b">From ")):
        return 0
    end = content.find(b"\n")
    return end + 1 if 0 < end < 1000 else 0


def _by_name(fields: Iterable[HeaderField]) -> dict[str, list[HeaderField]]:
    found: dict[str, list[HeaderField]] = {}
    for field in fields:
        found.setdefault(field.name.lower(), []).append(field)
    return found


def _first(by_name: dict[str, list[HeaderField]], name: str) -> str:
    return by_name[name][0].text if name in by_name else ""


def _mailboxes(by_name: dict[str, list[HeaderField]], name: str) -> tuple[Address, ...]:
    return tuple(mailbox for field in by_name.get(name, ()) for mailbox in parse_mailboxes(_address_text(field)))


def _address_text(field: HeaderField) -> str:
    """Encoded-words are decoded inside the phrase only, lest an encoded comma or bracket forge a mailbox."""
    if b"=?" not in field.raw:
        return field.text
    raw = field.raw[field.raw.index(b":") + 1 :]
    return _ENCODED.sub(_decode_guarded, raw.decode("utf-8", "replace").replace("\r\n", "").replace("\n", ""))


_ENCODED = re.compile(r"=\?[^?\s]{1,80}\?[BbQq]\?[^?]{0,20000}\?=(?:\s+=\?[^?\s]{1,80}\?[BbQq]\?[^?]{0,20000}\?=)*")


def _decode_guarded(match: re.Match[str]) -> str:
    from gateway.mail.header import decode_words

    text = decode_words(match[0]).replace("\\", "\\\\").replace('"', '\\"')
    before = match.string[: match.start()]
    if before.count('"') % 2:  # already inside a quoted string
        return text
    return f'"{text}"'


def _message_id(text: str) -> str:
    match = _MSGID.search(text)
    return match[1] if match else ""


def _texts(parts: Sequence[Part], defects: dict[str, None]) -> tuple[str, str]:
    """What a reader sees of all parts, and what is hidden from him."""
    shown: list[str] = []
    hidden: list[str] = []
    room = MAX_TEXT
    for part in parts:
        if part.text is None:
            continue
        text = part.html.text if part.html is not None else part.text.strip()
        if part.html is not None and part.html.hidden_text:
            hidden.append(part.html.hidden_text)
        if not text:
            continue
        if len(text) > room:
            defects["MESSAGE_TEXT_TOO_LONG"] = None
            text = text[:room]
        room -= len(text)
        shown.append(text)
    return "\n\n".join(shown), "\n\n".join(hidden)


def _links(parts: Sequence[Part], defects: dict[str, None]) -> tuple[Link, ...]:
    found: dict[tuple[str, str], Link] = {}
    for part in parts:
        if part.html is not None:
            for link in part.html.links:
                found.setdefault((link.url, link.text), link)
            in_text = part.html.text
        else:
            in_text = part.text or ""
        for url in find_links(in_text):
            if len(found) >= MAX_LINKS:
                defects["MESSAGE_TOO_MANY_LINKS"] = None
                break
            if not any(key in found for key in ((url, url), (url, ""))):
                found.setdefault((url, url), Link(url, url, "text"))
    return tuple(found.values())[:MAX_LINKS]
