"""Text for a header field of our own: as it is where it is ASCII, else as encoded-words (RFC 2047)."""

from __future__ import annotations

import base64
import re

_CHARACTERS = 10  # of four bytes each: 54 in base64, an encoded-word may have 75


def encode_words(text: str) -> str:
    """An unstructured value, as of Subject. Lines are folded with CRLF and a space."""
    clean = _clean(text)
    if clean.isascii() and "=?" not in clean:
        return clean
    words = [clean[start : start + _CHARACTERS] for start in range(0, len(clean), _CHARACTERS)]
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(one.encode('utf-8', 'replace')).decode()}?=" for one in words)


def encode_name(name: str) -> str:
    """A display name: a quoted string where it is ASCII (§5)."""
    clean = _clean(name)
    return '"' + re.sub(r'(["\\])', r"\\\1", clean) + '"' if clean.isascii() else encode_words(clean)


def _clean(text: str) -> str:
    return "".join(char for char in text if char.isprintable() or char in "\u200c\u200d")
