"""Characters that look like others: skeletons of names, and scripts that are mixed to deceive (UTS #39 §4, §5).

The table is Unicode's, cut to what names are disguised in (confusables.txt beside this file says how). A skeleton is
for comparing, never for showing. Unlike UTS #39's it is taken of the lower-case text, compatibility mappings and
diacritics are undone first, and the invisible is left out: "É", "е" (Cyrillic) and "e" are one. A twin goes further,
within ASCII: 0 and o, 1, i and l, rn and m, vv and w, cl and d are one.

Cost: one pass, 2 µs for a short name; ASCII nearly nothing. Total, never raises.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from pathlib import Path

# Default ignorables and what has no width: soft hyphen, joiners, bidi marks, word joiner, variation selectors, fillers
INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0"
)
_INVISIBLE = re.compile(f"[{INVISIBLE}\U000e0000-\U000e0fff]")
_DIACRITIC = re.compile("[\u0300-\u036f\u0653-\u0655\u064b-\u0652\u0640]")
_TWINS = str.maketrans({"0": "o", "1": "l", "i": "l", "m": "rn", "w": "vv", "d": "cl", "5": "s"})
# Twins that a reader cannot tell at a glance: a digit for a letter, rn, vv
_HARD = str.maketrans({"0": "o", "1": "l", "m": "rn", "w": "vv"})
_HARD_I = str.maketrans({"0": "o", "1": "i", "m": "rn", "w": "vv"})
_LETTERS = re.compile(r"[^\W\d_]")
_ALPHABETS = frozenset("LATIN CYRILLIC GREEK ARMENIAN CHEROKEE COPTIC LISU DESERET GEORGIAN".split())
_MAX = 1000  # characters that are looked at


def _read_table() -> dict[int, str]:
    table: dict[str, str] = {}
    for line in Path(__file__).with_name("confusables.txt").read_text("utf-8").splitlines():
        prototype, _, characters = line.partition("\t")
        if not line.startswith("#"):
            table |= dict.fromkeys(characters, prototype)
    table |= {"ة": "ه", "ı": "i"}
    for zero in ("٠", "۰"):  # Arabic and Persian digits are one, whatever else they look like
        table |= {chr(ord(zero) + digit): str(digit) for digit in range(10)}

    def final(text: str, depth: int = 0) -> str:
        shown = "".join(table.get(char, char) for char in unicodedata.normalize("NFKD", text)).lower()
        shown = _DIACRITIC.sub("", shown)
        return shown if shown == text or depth > 5 else final(shown, depth + 1)

    return {ord(char): final(char) for char in table}


_TABLE = _read_table()


def skeleton(text: str) -> str:
    """Equal for two texts that look the same (see the module). Idempotent."""
    text = text[:_MAX].lower()
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKD", text)
    text = _DIACRITIC.sub("", _INVISIBLE.sub("", text))
    return unicodedata.normalize("NFKD", text.translate(_TABLE)).lower().translate(_TABLE)


def twin(text: str) -> str:
    """Equal also where ASCII letters look alike. Idempotent."""
    return skeleton(text).translate(_TWINS)


def are_hard_twins(one: str, other: str) -> bool:
    """Do these differ only by what no reader sees: foreign letters, digits for letters, rn for m?"""
    first, second = skeleton(one), skeleton(other)
    return first.translate(_HARD) == second.translate(_HARD) or first.translate(_HARD_I) == second.translate(_HARD_I)


def without_invisible(text: str) -> str:
    """What is seen of it; ZWNJ and ZWJ, which shape Persian words, are left out too."""
    return text if text.isascii() else _INVISIBLE.sub("", text)


def has_mixed_scripts(label: str) -> bool:
    """Letters of two alphabets whose letters look alike in one word: Latin and Cyrillic, Greek and Latin ...

    Latin beside Chinese, Japanese, Korean, Arabic or Hebrew letters is how people write there (UTS #39 §5.2).
    """
    return not label.isascii() and len(_scripts(label) & _ALPHABETS) > 1


def is_disguised_latin(label: str) -> bool:
    """A whole word in foreign letters that reads as ASCII: "аррӏе" (UTS #39 §4.2, whole-script confusables)."""
    if label.isascii() or len(label) < 3:
        return False
    found = _scripts(label)
    return "LATIN" not in found and bool(found & _ALPHABETS) and skeleton(label).replace("-", "").isascii()


def _scripts(text: str) -> set[str]:
    return {_script(char) for char in set(_LETTERS.findall(text[:_MAX]))}


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    """By the first word of the character's name: the standard library has no script property."""
    return unicodedata.name(char, "?").partition(" ")[0]
