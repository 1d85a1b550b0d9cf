"""Text as the model sees it: letters folded, invisible characters gone, numbers and addresses reduced to their shape.

Persian and Arabic: yeh, kaf, digits, kashida and vowel signs as rules.regex.fold has them; ZWNJ joins a word (it is
removed between Arabic letters, so that می‌شود is one word) and is an oddity elsewhere, counted as a feature.
"""

from __future__ import annotations

import re
import unicodedata

_FOLD = {
    **{ord(a): b for a, b in zip("يىئكةۀ", "ییئکهه", strict=True)},
    **{ord(char): str(index) for index, char in enumerate("۰۱۲۳۴۵۶۷۸۹")},
    **{ord(char): str(index) for index, char in enumerate("٠١٢٣٤٥٦٧٨٩")},
    **dict.fromkeys(range(0x64B, 0x653)),
    **dict.fromkeys([0x640, 0x670, 0xAD, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF]),
}
# look-alikes of Latin letters, folded inside words that have Latin letters too
_TWINS = str.maketrans(
    "асеорхуіјѕԁһԛԝАВСЕНІЈКМОРЅТХУΑΒΕΖΗΙΚΜΝΟΡΤΥΧαορ", "aceopxyijsdhqwABCEHIJKMOPSTXYABEZHIKMNOPTYXaop"
)
_HIDDEN_IN_LATIN = re.compile(r"[A-Za-z][\u200b\u200c\u200d\u2060\ufeff\u00ad][A-Za-z]")
_FOREIGN = re.compile(r"[\u0370-\u04ff]")
_LATIN = re.compile(r"[A-Za-z]")
_URL = re.compile(r"\b(?:https?|ftp)://\S+|\bwww\.\S+|\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_DIGITS = re.compile(r"[0-9]+")


def normalise(text: str) -> str:
    """Lower-case, folded. URLs and addresses go (their hosts are features of their own), numbers become 0."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_FOLD))
        if _FOREIGN.search(text) and _LATIN.search(text):
            text = " ".join(_untwin(word) for word in text.split(" "))
    return _DIGITS.sub("0", _URL.sub(" ", text)).lower()


def hidden_count(text: str) -> int:
    """Invisible characters inside Latin words."""
    return 0 if text.isascii() else len(_HIDDEN_IN_LATIN.findall(text))


def _untwin(word: str) -> str:
    return word.translate(_TWINS) if _LATIN.search(word) and _FOREIGN.search(word) else word
