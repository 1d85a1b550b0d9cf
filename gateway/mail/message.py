"""bytes -> Message, once. Any bytes give one; what was wrong with them stands in `defects`.

Cost: about 100 µs for a message of 5 KB without HTML (benchmarks/scan.py, stage "parse"). Memory: the message again;
for a moment four times as much and some 50 MB. Limits: header.MAX_FIELDS and MAX_VALUE, mime.MAX_HEADERS,
MAX_PARTS, MAX_DEPTH and MAX_TEXT, html.MAX_LINKS links, address.MAX_MAILBOXES mailboxes of a field name; each that is
reached is a defect (tests/fuzz/test_mail_floods.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from gateway.mail import mime
from gateway.mail.address import MAX_MAILBOXES, parse_mailboxes
from gateway.mail.date import parse_date
from gateway.mail.html import MAX_LINKS
from gateway.mail.link import find_links
from gateway.types import Address, HeaderField, Link, Message, Part

_MAX_ADDRESS_TEXT = 1 << 18  # bytes of all fields of one name
_MAX_REPEATED = 20_000  # links looked at
_MSGID = re.compile(r"<\s*([^<>\s]{1,995})\s*>")

_Fields = dict[str, list[HeaderField]]


def parse(content: bytes) -> Message:
    """The message. Never raises, whatever the bytes."""
    structure = mime.new_structure(content)
    header, fields = structure.read_header(content)
    mime.walk(fields, content, header.body_offset, structure)
    if header.has_envelope_line:
        structure.note("HEADER_MBOX_LINE")
    if not header.has_separator:
        structure.note("BODY_MISSING" if header.end >= len(content) else "HEADER_UNENDED")
    if b"\0" in content:
        structure.note("MESSAGE_HAS_NUL")
    by_name = _by_name(fields)
    text, hidden = _texts(structure.parts)
    links = _links(structure)
    return Message(
        raw=content,
        fields=fields,
        by_name=by_name,
        body_offset=header.body_offset,
        parts=tuple(structure.parts),
        subject=_first(by_name, "subject"),
        message_id=_message_id(_first(by_name, "message-id")),
        date=parse_date(_first(by_name, "date")) if "date" in by_name else None,
        author=_mailboxes(by_name, "from", structure),
        sender=_mailboxes(by_name, "sender", structure),
        reply_to=_mailboxes(by_name, "reply-to", structure),
        to=_mailboxes(by_name, "to", structure) + _mailboxes(by_name, "cc", structure),
        text=text,
        hidden_text=hidden,
        links=links,
        defects=tuple(structure.defects),
    )


def _by_name(fields: Iterable[HeaderField]) -> _Fields:
    found: _Fields = {}
    for field in fields:
        name = field.name.lower()
        if name in found:
            found[name].append(field)
        else:
            found[name] = [field]
    return found


def _first(by_name: _Fields, name: str) -> str:
    return by_name[name][0].text if name in by_name else ""


def _mailboxes(by_name: _Fields, name: str, structure: mime.Structure) -> tuple[Address, ...]:
    found: list[Address] = []
    room = _MAX_ADDRESS_TEXT
    for field in by_name.get(name, ()):
        if len(found) >= MAX_MAILBOXES or room < 0:
            structure.note("HEADER_TOO_MANY_ADDRESSES")
            break
        found += parse_mailboxes(field)
        room -= len(field.raw)
    if len(found) >= MAX_MAILBOXES:
        structure.note("HEADER_TOO_MANY_ADDRESSES")
    return tuple(found[:MAX_MAILBOXES])


def _message_id(text: str) -> str:
    match = _MSGID.search(text)
    return match[1] if match else ""


def _texts(parts: Sequence[Part]) -> tuple[str, str]:
    """What a reader sees of all parts, and what is hidden from him; no longer than what mime.MAX_TEXT let in."""
    shown: list[str] = []
    hidden: list[str] = []
    for part in parts:
        if part.text is None:
            continue
        text = part.html.text if part.html is not None else part.text.strip()
        if part.html is not None and part.html.hidden_text:
            hidden.append(part.html.hidden_text)
        if text:
            shown.append(text)
    return "\n\n".join(shown), "\n\n".join(hidden)


def _links(structure: mime.Structure) -> tuple[Link, ...]:
    """Every link once, in document order."""
    every = _every_link(structure.parts)
    found = dict.fromkeys(islice(every, MAX_LINKS))
    for number, link in enumerate(every):
        if number >= _MAX_REPEATED or (len(found) >= MAX_LINKS and link not in found):
            structure.note("MESSAGE_TOO_MANY_LINKS")
            break
        found[link] = None
    return tuple(found)


def _every_link(parts: Sequence[Part]) -> Iterator[Link]:
    for part in parts:
        if part.html is not None:
            yield from part.html.links
            seen: set[str] | None = None
            for url in find_links(part.html.text):
                if seen is None:
                    seen = {url for link in part.html.links for url in (link.url, *_urls_in(link.text))}
                if url not in seen:
                    yield Link(url, url, "text")
        elif part.text is not None:
            yield from (Link(url, url, "text") for url in find_links(part.text))


def _urls_in(text: str) -> Iterator[str]:
    """URLs in an anchor's text: shown, but they lead nowhere."""
    return find_links(text) if "://" in text or "www." in text else iter(())
