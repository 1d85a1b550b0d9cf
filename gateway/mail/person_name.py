"""Names of people, compared as readers do: titles dropped, order and spacing free, Persian and Latin letters one name.

"Dr. Sara Rahimi", "Rahimi, Sara", "Sarah Raheemi", "سارا رحیمی" and "ساره‌ رحيمي" spelt with other code points are
found for "Sara Rahimi"; "Sam Rahimi" is not. Latin spellings of one sound are folded (ee and i, ou and u, kh and x,
doubled letters); Persian letters of one sound are folded likewise (ح and ه, ط and ت), and Arabic code points become
Persian ones. Across the two scripts the long vowels must agree, and the short ones, which Persian does not write, may
stand anywhere. A name needs two words: one alone is everybody's.

Cost: 10-40 µs for a name not seen before; those seen are remembered (bounded). Total, never raises.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import Generic, NamedTuple, TypeVar

from gateway.mail.confusable import has_mixed_scripts, is_disguised_latin, skeleton, without_invisible

T = TypeVar("T")

_MAX = 200  # characters of a name that are read
_MAX_WORDS, _MIN_JOINED = 6, 8
_TITLES = frozenset(
    "dr drs doctor prof professor mr mrs ms miss mx sir madam eng engr engineer ing dipl ir phd md mba msc bsc cpa esq "
    "jr sr ii iii ceo cfo cto coo cio ciso vp svp evp president director manager chairman hr "
    "seyed seyyed sayed sayyed sayyid seyedeh seyyedeh mohandes doktor haj hajj haji agha khanom jenab herr frau "
    "monsieur madame".split()
)
_PERSIAN_TITLES = frozenset(
    "دکتر مهندس آقا آقای اقای خانم جناب سرکار استاد پروفسور حاج حاجی سید سیده مدیرعامل مدیر عامل رئیس معاون".split()
)
_WORD = re.compile(r"[^\W\d_]+(?:['’`][^\W\d_]+)*")
_PARTS = re.compile(r"[|/;:()\[\]{}<>«»“”\"•·–—]+|\s-+\s|\s(?:via|at|from|از)\s", re.IGNORECASE)
_ARABIC = re.compile("[\u0600-\u06ff\u0750-\u077f]")
_UNSEEN_IN_LATIN = re.compile("[A-Za-z][\u00ad\u200b-\u200f\u2060-\u2064\ufeff]+[A-Za-z]")
_JOINED = re.compile("([a-z])([A-Z])")  # SaraRahimi
_QUOTES = str.maketrans("", "", "'’`")

# One letter for each sound. A, W and Y are the long vowels (W and Y also v and y), ' is no sound in Latin.
_PERSIAN_SOUNDS = {
    "A": "اآأإٱ", "W": "وؤ", "Y": "یيىئےۍ", "'": "عء", "b": "ب", "p": "پ", "t": "تطة", "s": "ثسص", "j": "جژ", "C": "چ",
    "h": "حهۀەھ", "x": "خ", "d": "د", "z": "ذزضظ", "r": "ر", "S": "ش", "q": "غق", "f": "ف", "k": "کك", "g": "گ",
    "l": "ل", "m": "م", "n": "ن",
}  # fmt: skip
_PERSIAN_LETTERS = {ord(letter): sound for sound, letters in _PERSIAN_SOUNDS.items() for letter in letters}
_PERSIAN_LETTERS |= dict.fromkeys((0x640, 0x670, *range(0x64B, 0x656)), "")  # kashida and the vowel signs
# In this order: later ones see what earlier ones made.
_LATIN_SOUNDS = (
    ("x", "ks"), ("tch", "C"), ("sch", "S"), ("ch", "C"), ("sh", "S"), ("kh", "x"), ("gh", "q"), ("zh", "j"),
    ("ph", "f"), ("th", "t"), ("ck", "k"), ("c", "k"), ("w", "v"), ("ee", "i"), ("oo", "o"), ("ou", "o"),
    ("ie", "i"), ("y", "i"), ("ue", "u"), ("oe", "o"), ("ae", "a"), ("e", "a"), ("u", "o"),
)  # fmt: skip
_VOWELS = "aio"
_NO_CONSONANTS = str.maketrans("", "", "aiohvAWY'")  # h, v and y are sometimes vowels


class Spelling(NamedTuple):
    """A name's words in folded letters."""

    words: tuple[str, ...]
    is_persian: bool

    @property
    def key(self) -> str:
        """The consonants in the order of the alphabet: equal for equal names of the same order of words."""
        return "".join(sorted(_undoubled("".join(self.words)).translate(_NO_CONSONANTS)))


class Names(Generic[T]):
    """People, to be found by any spelling of their names."""

    def __init__(self, people: Iterable[tuple[str, T]], ignored: Iterable[str] = ()) -> None:
        """Names of one word are left out. `ignored`: words that may stand beside a name, as an employer's."""
        self._ignored = frozenset(word.lower() for word in ignored)
        self._by_key: dict[str, list[tuple[Spelling, T]]] = {}
        for name, value in people:
            for one in spellings(name, self._ignored, are_parts_names=False):
                turns = (one._replace(words=one.words[turn:] + one.words[:turn]) for turn in range(len(one.words)))
                for key in {turned.key for turned in turns}:
                    self._by_key.setdefault(key, []).append((one, value))
        self.find = lru_cache(maxsize=4096)(self._find)

    def _find(self, shown: str) -> tuple[T, ...]:
        """Everybody whose name this display name holds; mostly nobody."""
        if not self._by_key:
            return ()
        found: dict[T, None] = {}
        for one in spellings(shown, self._ignored):
            for other, value in self._by_key.get(one.key, ()):
                if is_same(other, one):
                    found[value] = None
        return tuple(found)


def spellings(name: str, ignored: frozenset[str] = frozenset(), *, are_parts_names: bool = True) -> Iterator[Spelling]:
    """The names in a text, of two to six words: the whole, and its parts between brackets and strokes.

    One long word is taken for a name too, as its words may be joined; not where a name is said to be one.
    """
    text = without_invisible(unicodedata.normalize("NFKC", name[:_MAX]))
    parts = dict.fromkeys((text, text.partition(",")[0], *_PARTS.split(text)) if are_parts_names else (text,))
    seen: set[Spelling] = set()
    for part in list(parts)[:8]:
        words = [word.lower() for word in _WORD.findall(_JOINED.sub(r"\1 \2", part))]
        persian = [word for word in words if _ARABIC.search(word)]
        latin = [word for word in words if not _ARABIC.search(word)] if len(persian) < len(words) else []
        for chosen, is_persian in ((latin, False), (persian, True)):
            one = _spelling(chosen, is_persian, ignored, least=1 if are_parts_names else 2)
            if one is not None and one not in seen:
                seen.add(one)
                yield one


def _spelling(words: list[str], is_persian: bool, ignored: frozenset[str], least: int) -> Spelling | None:
    titles = _PERSIAN_TITLES if is_persian else _TITLES
    kept = [word for word in words if word not in titles and word not in ignored]
    if len(kept) > 2:  # a middle initial is written or not
        kept = [word for word in kept if len(word) > 1]
    if not least <= len(kept) <= _MAX_WORDS or min(len(word) for word in kept) < (2 if len(kept) > 1 else _MIN_JOINED):
        return None
    return Spelling(tuple(fold_persian(word) if is_persian else fold_latin(word) for word in kept), is_persian)


def fold_latin(word: str) -> str:
    """One of the many ways to write the sounds of a word in Latin letters."""
    word = skeleton(word).translate(_QUOTES)
    for letters, sound in _LATIN_SOUNDS:
        word = word.replace(letters, sound)
    if word.endswith("h") and word[-2:-1] in ("a", "i", "o"):
        word = word[:-1]
    return _undoubled(word)


def fold_persian(word: str) -> str:
    """The sounds of a word in Arabic letters, in the alphabet of fold_latin; short vowels are not written."""
    return _undoubled(word.translate(_PERSIAN_LETTERS))


def _undoubled(word: str) -> str:
    return "".join([letter for letter, _ in groupby(word)])


def is_same(one: Spelling, other: Spelling) -> bool:
    """Is it one name? Words may be joined or parted (Ali Reza, Alireza) and the surname of `one` come first."""
    whole = _undoubled("".join(other.words))
    for turn in range(len(one.words)):
        turned = _undoubled("".join(one.words[turn:] + one.words[:turn]))
        if one.is_persian == other.is_persian:
            if turned == whole:
                return True
        elif agree(whole, turned) if one.is_persian else agree(turned, whole):
            return True
    return False


def agree(latin: str, persian: str) -> bool:
    """Can these folded letters be one name? Follows all places in `latin` that the letters of `persian` lead to."""
    places = {0}
    for index, letter in enumerate(persian):
        before, after = persian[index - 1 : index], persian[index + 1 : index + 2]
        places = {new for place in places for new in _after(latin, place, letter, before, after)}
        if not places:
            return False
    return len(latin) in places


def _after(latin: str, place: int, letter: str, before: str, after: str) -> Iterator[int]:
    """Where one may stand in `latin` behind this Persian letter."""
    if letter in "'A":
        if latin[place : place + 1] and latin[place] in _VOWELS:
            yield place + 1
        if letter == "'" or (after and after in "YW"):  # ای is i, او is u
            yield place
    elif letter in "WY":
        yield from _after_long_vowel(latin, place, letter, before)
    else:
        yield from _after_consonant(latin, place, letter, before)


def _after_long_vowel(latin: str, place: int, letter: str, before: str) -> Iterator[int]:
    """W is v, o or ao; Y is i or ai."""
    sounds = "ov" if letter == "W" else "i"
    if latin[place : place + 1] and latin[place] in sounds:
        yield place + 1
    if latin[place : place + 1] in ("a", "o") and latin[place + 1 : place + 2] and latin[place + 1] in sounds:
        yield place + 2
    if letter == "W" and before == "x":
        yield place  # خواجه


def _after_consonant(latin: str, place: int, letter: str, before: str) -> Iterator[int]:
    """Perhaps with a vowel before it that Persian does not write; no word begins with one."""
    is_skipped = before != "" and latin[place : place + 1] != "" and latin[place] in _VOWELS
    if letter == "h" and before:
        yield place  # a final ه is written "eh", "e", "a" or not at all
        if is_skipped:
            yield place + 1
    for start in (place, place + 1) if is_skipped else (place,):
        if latin[start : start + 1] == letter:
            yield start + 1


def is_disguised(name: str) -> bool:
    """Is a Latin name written with letters of other alphabets, or with invisible ones inside?"""
    name = name[:_MAX]
    if name.isascii():
        return False
    if _UNSEEN_IN_LATIN.search(name):
        return True
    return any(has_mixed_scripts(word) or is_disguised_latin(word) for word in _WORD.findall(name))
