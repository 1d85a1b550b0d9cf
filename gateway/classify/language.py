"""The language of a text as figures are told by it: fa, ar, en or other. By script, letters and a few common words.

Cheap on purpose (the first 2,000 characters): it sorts the messages of a corpus, it decides nothing
about one. A text without letters is "other".
"""

from __future__ import annotations

import re
from typing import Literal, get_args
from unicodedata import normalize

from gateway.types import Message

Language = Literal["fa", "ar", "en", "other"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_CHARACTERS = 2000
_LATIN = re.compile(r"[A-Za-z]+")
_LETTERS = re.compile(r"[^\W\d_]+")
_ARABIC_SCRIPT = re.compile("[\u0620-\u063f\u0641-\u064a\u0671-\u06d3\u06d5]+")
_ADDRESS = ("@", "://", "www.")  # Latin in every language
# Letters of one alphabet that the other has not. Arabic yeh and kaf are none: much Persian is typed with them.
_PERSIAN = re.compile("[پچژگیک\u200c]")
_ARABIC = re.compile("[ةىأإؤ]")
_PERSIAN_WORDS = frozenset("از به در را که این است برای با شما می ها های بر یا هم نیز باشد شد شده کرد کنید".split())
_ARABIC_WORDS = frozenset("من في على إلى الى ان أن هذا هذه التي الذي عن مع ما لا كان لكم ذلك او أو".split())
_WORDS = re.compile(r"\w+")
_ENGLISH_WORDS = frozenset(
    "the of and to is that for it you with are this be at or have from not we your by can if all but my what our has "
    "any more please just get out here click now".split()
)
_OTHER_WORDS = frozenset(  # the commonest of other languages in Latin letters, none of them English
    "de la que el los las del por para con una su se um uma os ao da dos das você não seu sua com und der den das ist "
    "nicht sie ein eine für mit von zu auf ihr ihre le les des une est pour vous votre dans sur il di che per non è lo "
    "het een van je niet uw op te och att är på ve bir için bu w nie na się".split()
)
_FEW_WORDS = 8  # too few to tell: what is written in Latin letters alone is taken for English


def detect_language(message: Message) -> Language:
    """Of the message's subject and text."""
    return language_of(f"{message.subject}\n{message.text[:_CHARACTERS]}")


def language_of(text: str) -> Language:
    """By the first 2,000 characters. Never raises."""
    text = " ".join([word for word in text[:_CHARACTERS].split() if not any(mark in word for mark in _ADDRESS)])
    if not text.isascii():
        text = normalize("NFKC", text)  # styled letters, presentation forms
    letters = sum(map(len, _LETTERS.findall(text)))
    arabic = sum(map(len, _ARABIC_SCRIPT.findall(text)))
    # product names and HTML leftovers stand in Latin letters in Persian mail, hardly ever the other way round
    if arabic > 0.3 * letters:
        return _of_arabic_script(text)
    latin = sum(map(len, _LATIN.findall(text)))
    if not letters or latin < 0.8 * letters:
        return "other"
    words = _WORDS.findall(text.lower())
    english = sum(word in _ENGLISH_WORDS for word in words)
    foreign = sum(word in _OTHER_WORDS for word in words)
    is_short = len(words) < _FEW_WORDS and latin == letters
    return "en" if english > foreign or (is_short and not foreign) else "other"


def _of_arabic_script(text: str) -> Language:
    words = _WORDS.findall(text)
    persian = len(_PERSIAN.findall(text)) + 3 * sum(word in _PERSIAN_WORDS for word in words)
    arabic = len(_ARABIC.findall(text)) + 3 * sum(word in _ARABIC_WORDS for word in words)
    return "ar" if arabic > persian else "fa"
