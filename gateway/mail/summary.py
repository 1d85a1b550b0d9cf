"""The few words of a message that lists and logs show: bounded, without control and direction-override characters."""

from __future__ import annotations

import re

from gateway.types import Message, Summary

_SUBJECT, _AUTHOR, _MESSAGE_ID = 300, 200, 250
# C0, C1, bidi overrides and isolates, line separators; ZWNJ, ZWJ, LRM and RLM are letters' business and stay
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")


def summarise(message: Message) -> Summary:
    """Never raises."""
    first = message.author[0] if message.author else None
    author = "" if first is None else f"{first.display_name} <{first.address}>" if first.display_name else first.address
    return Summary(
        message_id=clean(message.message_id, _MESSAGE_ID),
        subject=clean(message.subject, _SUBJECT),
        author=clean(author, _AUTHOR),
        size_bytes=len(message.raw),
    )


def clean(text: str, limit: int) -> str:
    """One line that cannot disturb a terminal, a log or a page's direction."""
    text = text[: limit * 2]
    return (text if text.isprintable() else _UNWANTED.sub(" ", text)).strip()[:limit]
