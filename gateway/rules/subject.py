"""What each kind of rule is matched against, as bytes, made once for each message and only when a rule asks.

header   the decoded field; :raw as received, :addr the first address, :name the first display name; ALL the header
body     the subject, then the rendered text, one paragraph at a time, white space folded
rawbody  each text part decoded, HTML with its tags
uri      each link's URL
full     the message as received
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway.mail.address import parse_mailboxes
from gateway.rules.regex import fold
from gateway.types import MailObject

_MAX_PARAGRAPHS = 2000
_MAX_BYTES = 1 << 20  # of one text that patterns see; a message's megabytes beyond it are attachments in disguise
_PARAGRAPH = re.compile(r"\n\s*\n")
_SPACE = re.compile(r"\s+")


def subjects(mail: MailObject, kind: str, selector: str) -> list[bytes]:
    """The texts for this kind (and field). Empty when there is nothing."""
    if kind == "header":
        text = header_text(mail, selector)
        return [] if text is None else [_encode(fold(text))]
    return _BODIES[kind](mail)


def header_text(mail: MailObject, selector: str) -> str | None:
    """The text of a header selector, None when the field is not there. Several fields of one name: one a line."""
    name, _, part = selector.partition(":")
    if name in _SPECIAL:
        return _SPECIAL[name](mail)
    found = [field for field in mail.message.fields if field.name.lower() == name.lower()]
    if not found:
        return None
    if part == "raw":
        return "\n".join(field.raw.partition(b":")[2].decode("utf-8", "replace").strip() for field in found)
    if part in ("addr", "name"):
        boxes = [box for field in found for box in parse_mailboxes(field.text)[:1]]
        return "\n".join(box.address if part == "addr" else box.display_name for box in boxes)
    return "\n".join(field.text for field in found)


def _all(mail: MailObject) -> str:
    return "\n".join(f"{field.name}: {field.text}" for field in mail.message.fields) + "\n"


def _to_cc(mail: MailObject) -> str | None:
    found = [field.text for field in mail.message.fields if field.name.lower() in ("to", "cc")]
    return ", ".join(found) if found else None


def _message_ids(mail: MailObject) -> str | None:
    names = ("message-id", "resent-message-id", "x-message-id")
    found = [field.text for field in mail.message.fields if field.name.lower() in names]
    return "\n".join(found) if found else None


_SPECIAL: dict[str, Callable[[MailObject], str | None]] = {
    "ALL": _all,
    "ToCc": _to_cc,
    "MESSAGEID": _message_ids,
    "EnvelopeFrom": lambda mail: mail.envelope.reverse_path,
}


def _body(mail: MailObject) -> list[bytes]:
    text = fold(mail.message.text[:_MAX_BYTES])
    paragraphs = [_SPACE.sub(" ", one).strip() for one in _PARAGRAPH.split(text, maxsplit=_MAX_PARAGRAPHS)]
    return [_encode(one) for one in (fold(mail.message.subject), *paragraphs) if one]


def _rawbody(mail: MailObject) -> list[bytes]:
    return [_encode(fold(part.text[:_MAX_BYTES])) for part in mail.message.parts if part.text]


def _uri(mail: MailObject) -> list[bytes]:
    return [_encode(fold(link.url)) for link in mail.message.links]


def _full(mail: MailObject) -> list[bytes]:
    return [mail.message.raw[:_MAX_BYTES]]


_BODIES: dict[str, Callable[[MailObject], list[bytes]]] = {
    "body": _body,
    "rawbody": _rawbody,
    "uri": _uri,
    "full": _full,
}


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")
