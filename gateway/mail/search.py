"""Text as it is searched for: without case, styled letters, and what people type for one another in Arabic script.

Both what is searched and what is searched for are folded, so "كتاب" finds "کتاب" and "STRASSE" finds "straße".
"""

from __future__ import annotations

import unicodedata

from gateway.mail.arabic import KASHIDA, MARKS, SAME_LETTER

_DIGITS = {code: str(unicodedata.decimal(chr(code))) for code in (*range(0x660, 0x66A), *range(0x6F0, 0x6FA))}
_GONE = dict.fromkeys(map(ord, MARKS + KASHIDA + "\u200c\u200d\u200e\u200f\u00ad\ufeff"), "")
_FOLD = {**{ord(one): letter for one, letter in SAME_LETTER.items()}, **_DIGITS, **_GONE}


def folded(text: str) -> str:
    """Total; as long as the text, or about that."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold().translate(_FOLD)
