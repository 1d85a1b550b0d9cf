"""What policy/senders.py gives as the reason, in the reader's words and calendar."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from gateway.web.language import Language

_RULED = re.compile(r"\b(allowed|blocked) by (.{1,400}?)'s entry (?:until (\d{4}-\d\d-\d\d)|without an end)")
_PASSED_OVER = re.compile(
    r"(?:(?<=; )|^)([^;]{1,400}?)'s entry "
    r"(?:(does not count: the author is not proven)|(lets no malware in)|counts below (-?[0-9.]+))"
)


def entry_reason(language: Language, text: str) -> str:
    """What it does not know stays as it is."""
    words = language.translations.gettext

    def ruled(found: re.Match[str]) -> str:
        act, who, day = found.groups()
        if day is None:
            said = (
                "allowed by %(who)s's entry without an end"
                if act == "allowed"
                else "blocked by %(who)s's entry without an end"
            )
            return words(said) % {"who": who}
        at = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
        shown = language.when(at).partition(" ")[0]
        said = (
            "allowed by %(who)s's entry until %(day)s"
            if act == "allowed"
            else "blocked by %(who)s's entry until %(day)s"
        )
        return words(said) % {"who": who, "day": shown}

    def passed_over(found: re.Match[str]) -> str:
        who, unproven, malware, score = found.groups()
        if unproven:
            return words("%(who)s's entry does not count: the author is not proven") % {"who": who}
        if malware:
            return words("%(who)s's entry lets no malware in") % {"who": who}
        return words("%(who)s's entry counts below %(score)s") % {"who": who, "score": language.number(score)}

    return _PASSED_OVER.sub(passed_over, _RULED.sub(ruled, text))
