"""Letters chosen to deceive a filter or a reader. ZWNJ joins Persian and Indic letters and is no sign there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.types import Finding, MailObject

_INVISIBLE = re.compile(r"[A-Za-z][\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e]{1,8}[A-Za-z]")
_MIXED = re.compile(r"[A-Za-z][\u0370-\u03ff\u0400-\u04ff]|[\u0370-\u03ff\u0400-\u04ff][A-Za-z]")
_TWINS = frozenset("асеорхуіјѕԁһԛԝАВСЕНІЈКМОРЅТХУΑΒΕΖΗΙΚΜΝΟΡΤΥΧαοερτυνικ")
_OVERRIDE = re.compile("[\u202d\u202e]")
_BOLD = re.compile("[\U0001d400-\U0001d7ff\uff21-\uff3a\uff41-\uff5a]{3}")
_MAX = 200_000


class Obfuscation:
    """See the module."""

    name = "obfuscation"
    findings = ("TEXT_INVISIBLE_IN_WORDS", "TEXT_MIXED_SCRIPT_WORDS", "TEXT_DIRECTION_OVERRIDE", "TEXT_FANCY_LETTERS")

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Subject, display names and text."""
        names = " ".join(box.display_name for box in mail.message.author)
        text = f"{mail.message.subject}\n{names}\n{mail.message.text[:_MAX]}"
        if text.isascii():
            return
        invisible = _INVISIBLE.findall(text)
        if len(invisible) >= 3:
            yield Finding("TEXT_INVISIBLE_IN_WORDS", (f"{len(invisible)} invisible characters inside Latin words",))
        mixed = [word for word in text.split() if _MIXED.search(word) and _is_disguise(word)]
        if len(mixed) >= 2:
            yield Finding("TEXT_MIXED_SCRIPT_WORDS", tuple(f"“{word[:40]}” mixes alphabets" for word in mixed[:3]))
        if _OVERRIDE.search(text):
            yield Finding("TEXT_DIRECTION_OVERRIDE", ("the text turns the reading direction",))
        if _BOLD.search(text):
            yield Finding("TEXT_FANCY_LETTERS", ("words are written in mathematical or full-width letters",))


def _is_disguise(word: str) -> bool:
    """Every foreign letter looks like a Latin one: 5μm and кВт/h do not."""
    foreign = [char for char in word if "\u0370" <= char <= "\u04ff"]
    return 0 < len(foreign) < sum(char.isalpha() for char in word) and all(char in _TWINS for char in foreign)
