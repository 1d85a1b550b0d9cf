"""The subject: shouting, gaps between letters, a false reply, no words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.types import Finding, MailObject

_GAPPY = re.compile(r"\b(?:[A-Za-z][ ._*-]){5,}[A-Za-z]\b")
_REPLY = re.compile(r"^\s*(?:re|fwd?|aw|sv|پاسخ)\s*:", re.IGNORECASE)
_MARKS = re.compile(r"[!?$]{3,}|[!?]\s+[!?]\s+[!?]")
_QUOTATION = re.compile(r"^(?:>|-{3,} ?\w[^\n]{0,60}-{3,}|Begin forwarded message:)", re.IGNORECASE | re.MULTILINE)
_THREAD = frozenset(("references", "in-reply-to", "thread-index", "thread-topic"))
_PICTURES = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf\u2b50\u2b55]")


class Subject:
    """See the module."""

    name = "subject"
    findings = (
        "SUBJECT_ALL_CAPS",
        "SUBJECT_GAPPY",
        "SUBJECT_FALSE_REPLY",
        "SUBJECT_MARKS",
        "SUBJECT_EMPTY",
        "SUBJECT_PICTURES",
    )

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Silent without the field."""
        fields = mail.message.by_name
        if "subject" not in fields:
            return
        subject = mail.message.subject
        if not subject.strip():
            yield Finding("SUBJECT_EMPTY", ("the subject is empty",))
            return
        if _shouts(subject):
            yield Finding("SUBJECT_ALL_CAPS", (f"“{subject[:80]}”",))
        if _GAPPY.search(subject):
            yield Finding("SUBJECT_GAPPY", (f"“{subject[:80]}”",))
        if _MARKS.search(subject):
            yield Finding("SUBJECT_MARKS", (f"“{subject[:80]}”",))
        if not subject.isascii() and len(_PICTURES.findall(subject)) >= 3:
            yield Finding("SUBJECT_PICTURES", (f"“{subject[:80]}”",))
        if _REPLY.match(subject) and _THREAD.isdisjoint(fields) and not _holds_another(mail):
            yield Finding("SUBJECT_FALSE_REPLY", (f"“{subject[:80]}” answers nothing: no thread, no quotation",))


def _shouts(subject: str) -> bool:
    capitals = sum(map(str.isupper, subject))
    return capitals >= 10 and capitals > 0.9 * sum(map(str.isalpha, subject)) and " " in subject.strip()


def _holds_another(mail: MailObject) -> bool:
    """What it answers or forwards stands in it, quoted or attached."""
    return bool(_QUOTATION.search(mail.message.text)) or any(
        part.content_type in ("message/rfc822", "message/global") for part in mail.message.parts
    )
