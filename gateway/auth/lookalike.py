"""Domains that look like protected ones: twins, names within names, slips of the keyboard, lures, other endings.

An index over the protected domains is made once; a look-up costs 5-60 µs for a name not seen before (by its length),
0.1 µs for one that was. No look-up walks the protected domains: each asks maps for keys made of the name it was given
(Damerau-Levenshtein by deletion neighbourhoods, skeletons after UTS #39).

Short names are close to many others by chance, so the shorter a name is the less counts as a likeness; names that are
words of every language (GENERIC) are protected against twins alone. A protected domain, what stands below it, and the
domains named harmless are never a likeness of anything. Unknown here: whether somebody has a right to his name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from gateway.auth.organisation import organisational_domain
from gateway.mail.confusable import are_hard_twins, skeleton, twin
from gateway.mail.domain import to_u_label
from gateway.mail.person_name import Spelling, fold_latin, fold_persian, is_same

# twin: cannot be told apart · embedded: the whole domain stands in another's name · typo: a slip of the keyboard
# lure: our name and a word that lures · name: our name with another word or ending
Kind = Literal["twin", "embedded", "typo", "lure", "name"]
KINDS: tuple[Kind, ...] = ("twin", "embedded", "typo", "lure", "name")

LURES = frozenset(
    "account accounts accounting admin alert auth bank billing center centre confirm customer desk docs document "
    "documents email finance form help helpdesk hr id info invoice invoices it join login logon mail mailbox mails my "
    "notice notification office online order orders owa pay payment payments payroll portal post reset safe secure "
    "security server service services sharepoint sign signin sso support supportdesk team transfer update updates user "
    "vendor verify verification vpn web webmail hesab pardakht poshtibani sandoq vorud".split()
)
# Those that make another company's name where no hyphen parts them: washingtonpost
_JOINED_LURES = tuple(
    sorted({word for word in LURES if len(word) > 4} - {"center", "centre", "office", "finance", "order", "online"})
)
GENERIC = frozenset(
    "academy agency air art auto bank bazar best blog book books business cafe car care center city clinic cloud club "
    "college company computer contact data design dev digital doctor east energy engineering europe expert export "
    "express farm finance food forum game games global gmail gold green group health home hospital host hosting hotel "
    "house india info international internet invest iran iranian isfahan job jobs lab land law legal life link live "
    "local mail market master media medical mobile money music network news north office online orange parsian partner "
    "party persian phone photo plus portal post press print radio research safety school science search secure server "
    "service services shahr shop shiraz smart social soft software solutions south sport sports star start store "
    "studio support system systems tabriz team tech technology tehran test time today tour trade travel university "
    "video village water web weblog west work works world yahoo zone".split()
)
_MIN_TYPO, _MIN_ANY_SLIP, _MIN_TWO_SLIPS = 5, 9, 12  # letters
_MIN_NAME, _MIN_JOINED = 4, 6
_MIN_SOUNDS = 3  # consonants of a name that is looked for in the other script
_PERSIAN = re.compile("[\u0600-\u06ff]+")
_MAX_APART = 12  # letters more or less, as A-labels are written, behind which two names are not compared
_MAX_LABELS, _MAX_TOKENS = 12, 8
# Services that put their customers' names before their own: example-ir.cdn.ampproject.org is what it says
_HOSTS_OF_OTHERS = tuple(
    ".ampproject.org .translate.goog .googleusercontent.com .gappssmtp.com .outlook.com .onmicrosoft.com "
    ".sharepoint.com .safelinks.protection.outlook.com .amazonses.com .amazonaws.com .cloudfront.net .cloudflare.net "
    ".edgekey.net .edgesuite.net .akamaized.net .azureedge.net .azurewebsites.net .windows.net .arvancdn.ir".split()
)
_ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_ALIKE = frozenset(
    frozenset(pair) for pair in "uv gq il ij ce co nm nh bd pq vy ft 5s 2z 8b 0o 1l 1i kc cs ae ei ou iy ao oq".split()
)


class Likeness(NamedTuple):
    """What a domain looks like, and why."""

    kind: Kind
    domain: str  # the protected one, as a person reads it
    is_own: bool  # ours; else a partner's
    words: str  # "examp1e.ir can hardly be told from your domain example.ir"


class _Protected(NamedTuple):
    label: str  # U-label without the suffix: "example"
    suffix: str  # A-labels: "co.uk"
    shown: str  # the whole, as a person reads it
    is_own: bool

    @property
    def is_generic(self) -> bool:
        return self.label in GENERIC

    @property
    def owner(self) -> str:
        return "your domain" if self.is_own else "your partner's domain"


class Lookalikes:
    """The index."""

    def __init__(self, own: Iterable[str], partners: Iterable[str] = (), harmless: Iterable[str] = ()) -> None:
        """Domains as lower-case A-labels. Only the organisational domains count, whatever stands before them."""
        ours = {organisational_domain(domain) for domain in own}
        theirs = {organisational_domain(domain) for domain in partners} - ours
        self._known = frozenset(ours | theirs | {organisational_domain(domain) for domain in harmless})
        self._by_label: dict[str, list[_Protected]] = defaultdict(list)
        self._by_twin: dict[str, list[_Protected]] = defaultdict(list)
        self._by_deletion: dict[str, list[_Protected]] = defaultdict(list)
        self._by_whole: dict[str, _Protected] = {}
        self._by_third: dict[str, list[_Protected]] = defaultdict(list)  # of long names: two slips leave one whole
        self._by_sound: dict[str, list[_Protected]] = defaultdict(list)  # by the consonants, in Latin and in Persian
        self._has_persian = False
        self._long: frozenset[int] = frozenset()  # their lengths
        for domain in (*sorted(ours), *sorted(theirs)):
            self._add(domain, domain in ours)
        self.find = lru_cache(maxsize=4096)(self._find)

    def __bool__(self) -> bool:
        return bool(self._by_label)

    def _add(self, domain: str, is_own: bool) -> None:
        label, _, suffix = domain.partition(".")
        label = to_u_label(label)
        if not suffix or not label:
            return
        one = _Protected(label, suffix, to_u_label(domain), is_own)
        self._by_label[label].append(one)
        self._by_twin[twin(label)].append(one)
        plain = _plain(label)
        if not one.is_generic and len(plain) >= _MIN_NAME:
            for key in _deletions(plain):
                self._by_deletion[key].append(one)
            if len(plain) >= _MIN_TWO_SLIPS:
                self._long |= {len(plain)}
                third = len(plain) // 3
                for key in (f"<{plain[:third]}", f">{plain[-third:]}", f"={plain[third:-third]}"):
                    self._by_third[key].append(one)
        sound = _sound(label)
        if not one.is_generic and len(label) >= _MIN_NAME and sound is not None and len(sound.key) >= _MIN_SOUNDS:
            self._by_sound[sound.key].append(one)
            self._has_persian = self._has_persian or sound.is_persian
        if not one.is_generic and len(label) >= _MIN_NAME:
            self._by_whole.setdefault(one.shown, one)
            self._by_whole.setdefault(one.shown.replace(".", "-"), one)
            if len(label) >= _MIN_JOINED:
                self._by_whole.setdefault(one.shown.replace(".", ""), one)

    def is_known(self, domain: str) -> bool:
        """Is it protected, below one that is, or harmless?"""
        return organisational_domain(domain) in self._known

    def _find(self, domain: str) -> Likeness | None:
        """What this domain (lower-case A-labels) looks like; None for nothing. Never raises."""
        if not domain or domain.startswith("[") or not self._by_label or domain.endswith(_HOSTS_OF_OTHERS):
            return None
        organisation = organisational_domain(domain)
        if organisation in self._known:
            return None
        label, _, suffix = organisation.partition(".")
        label = to_u_label(label)
        shown = to_u_label(domain)[:100]
        return (
            self._find_twin(label, shown)
            or self._find_embedded(domain, shown)
            or self._find_typo(label, suffix, shown)
            or self._find_affix(label, shown)
            or self._find_ending(label, shown)
        )

    def _find_twin(self, label: str, shown: str) -> Likeness | None:
        for one in self._by_twin.get(twin(label), ()):
            if one.label == label:
                continue
            if not (label.isascii() and one.label.isascii()):
                if len(one.label) >= 2:
                    return _likeness("twin", one, shown, "looks exactly like")
            elif len(one.label) >= _MIN_NAME and are_hard_twins(label, one.label):
                return _likeness("twin", one, shown, f"can hardly be told from ({_difference(label, one.label)})")
            elif len(one.label) >= _MIN_TYPO:
                return _likeness("typo", one, shown, f"looks like ({_difference(label, one.label)})")
        return None

    def _find_embedded(self, domain: str, shown: str) -> Likeness | None:
        """The whole protected name as labels in front, or joined in one: example.ir.evil.example, example-ir.com."""
        if "-" not in domain and domain == organisational_domain(domain):
            one = self._by_whole.get(domain.partition(".")[0])
            return _likeness("embedded", one, shown, "holds the whole name of") if one is not None else None
        labels = [to_u_label(label) for label in domain.split(".")[-_MAX_LABELS:]]
        registered = organisational_domain(domain).count(".") + 1
        for start in range(len(labels) - registered):
            for end in range(start + 2, min(start + 5, len(labels) - registered + 2)):
                *first, last = labels[start:end]
                is_before = end <= len(labels) - registered
                # example.ir.evil.example; and example.com-evil.example, whose label begins as our ending does
                run = last if is_before else last.partition("-")[0] if "-" in last else ""
                one = self._by_whole.get(".".join((*first, run))) if run else None
                if one is not None:
                    return _likeness("embedded", one, shown, "holds the whole name of")
        for label in labels:
            for run in _runs(label) if "-" in label else (label,):
                one = self._by_whole.get(run)
                if one is not None and run != one.label:
                    return _likeness("embedded", one, shown, "holds the whole name of")
        return None

    def _find_typo(self, label: str, suffix: str, shown: str) -> Likeness | None:
        plain = _plain(label)
        if len(plain) < _MIN_NAME:
            return None
        keys = self._by_deletion.keys() & _deletions(plain)
        near = {one for key in keys for one in self._by_deletion[key]}
        if len(plain) >= _MIN_TWO_SLIPS - 1 and self._by_third:
            near.update(one for key in self._thirds(plain) for one in self._by_third.get(key, ()))
        for one in sorted(near, key=lambda one: (not one.is_own, one.shown)):
            if one.label != label:
                words = _label_slip(label, one.label, is_same_ending=one.suffix == suffix)
                if words:
                    return _likeness("typo", one, shown, f"is close to ({words})")
        return None

    def _thirds(self, plain: str) -> Iterator[str]:
        """What may stand whole in this name if it is a long one with two slips; the middle moved by up to two."""
        for length in {len(plain) - 1, len(plain), len(plain) + 1} & self._long:
            third = length // 3
            yield f"<{plain[:third]}"
            yield f">{plain[-third:]}"
            for start in range(third - 2, third + 3):
                yield f"={plain[start : start + length - 2 * third]}"

    def _find_affix(self, label: str, shown: str) -> Likeness | None:
        tokens = label.split("-")[:_MAX_TOKENS]
        for number, token in enumerate(tokens) if len(tokens) > 1 else ():
            for one in self._by_twin.get(twin(token), ()):
                if one.is_generic or len(one.label) < _MIN_NAME:
                    continue
                others = tokens[:number] + tokens[number + 1 :]
                if any(other in LURES for other in others):
                    return _likeness("lure", one, shown, "is the name and a luring word of")
                if len(one.label) >= _MIN_JOINED:
                    return _likeness("name", one, shown, "holds the name of")
        if not (label.endswith(_JOINED_LURES) or label.startswith(_JOINED_LURES)):
            return None
        for lure in _JOINED_LURES:
            for name in (label.removesuffix(lure), label.removeprefix(lure)):
                if len(label) > len(name) >= _MIN_JOINED and name not in GENERIC and name in self._by_label:
                    return _likeness("lure", self._by_label[name][0], shown, "is the name and a luring word of")
        return None

    def _find_ending(self, label: str, shown: str) -> Likeness | None:
        for one in self._by_label.get(label, ()):
            if not one.is_generic and len(label) >= _MIN_NAME:
                return _likeness("name", one, shown, "has another ending than")
        if self._by_sound and len(label) >= _MIN_NAME and (self._has_persian or not label.isascii()):
            sound = _sound(label)
            for one in self._by_sound.get(sound.key, ()) if sound else ():
                if sound and is_same(sound, _sound(one.label) or sound) and one.label != label:
                    return _likeness("name", one, shown, "is spelt in other letters than")
        return None


def _likeness(kind: Kind, one: _Protected, shown: str, words: str) -> Likeness:
    head, bracket, tail = words.partition(" (")
    note = f": {tail[:-1]}" if bracket else ""
    return Likeness(kind, one.shown, one.is_own, f"{shown} {head} {one.owner} {one.shown}{note}")


@lru_cache(maxsize=4096)
def are_alike(one: str, other: str) -> str:
    """Why two domains of different organisations look alike, in words; "" when they do not."""
    first, second = organisational_domain(one), organisational_domain(other)
    label, _, suffix = first.partition(".")
    meant, _, ending = second.partition(".")
    if first == second or label == meant or not suffix or not ending or abs(len(label) - len(meant)) > _MAX_APART:
        return ""
    label, meant = to_u_label(label), to_u_label(meant)
    if len(meant) >= _MIN_NAME and twin(label) == twin(meant):
        return _difference(label, meant)
    return _label_slip(label, meant, is_same_ending=suffix == ending)


def _sound(label: str) -> Spelling | None:
    """How it is spoken, when it is written in Latin or Persian letters alone."""
    name = label.replace("-", "").replace("\u200c", "")
    if name.isascii():
        return Spelling((fold_latin(name),), is_persian=False)
    return Spelling((fold_persian(name),), is_persian=True) if _PERSIAN.fullmatch(name) else None


def _plain(label: str) -> str:
    return skeleton(label).replace("-", "")


def _runs(label: str) -> Iterator[str]:
    """Every run of the words that hyphens part."""
    tokens = label.split("-")[:_MAX_TOKENS]
    for start in range(len(tokens)):
        for end in range(start + 1, len(tokens) + 1):
            yield "-".join(tokens[start:end])


def _deletions(name: str) -> set[str]:
    """The name, and it with each letter left out: two names that one slip parts share one of these."""
    name = name[:63]
    return {name, *(name[:index] + name[index + 1 :] for index in range(len(name)))}


def _label_slip(label: str, meant: str, *, is_same_ending: bool) -> str:
    """As _slip; of words that hyphens part, the one that differs must be long enough: fu-berlin is not tu-berlin."""
    tokens, others = skeleton(label).split("-"), skeleton(meant).split("-")
    if len(tokens) == len(others) > 1:
        unlike = [(one, other) for one, other in zip(tokens, others, strict=True) if one != other]
        return _slip(*unlike[0], is_same_ending=is_same_ending) if len(unlike) == 1 else ""
    return _slip("".join(tokens), "".join(others), is_same_ending=is_same_ending)


def _slip(name: str, meant: str, *, is_same_ending: bool) -> str:
    """The slip that makes one of the other, in words; "" when it is none that people make in names of this length."""
    if name == meant:
        return "a hyphen more or less"
    length = min(len(name), len(meant))
    if length < _MIN_TYPO:
        return ""
    distance = _distance(name, meant, 2)
    if distance == 1:
        start = next((i for i, (a, b) in enumerate(zip(name, meant, strict=False)) if a != b), length)
        least, words = _one_slip(name, meant, start)
        if not is_same_ending:
            least += 1
        return words if length >= least else ""
    if distance == 2 and length >= _MIN_TWO_SLIPS and is_same_ending and abs(len(name) - len(meant)) < 2:
        return "two letters differ"
    return ""


def _one_slip(name: str, meant: str, start: int) -> tuple[int, str]:
    """(the shortest name in which this counts, the slip in words)"""
    is_first = start == 0
    if len(name) == len(meant):
        if name[start : start + 2] == meant[start : start + 2][::-1]:
            return _MIN_TYPO, f"“{meant[start : start + 2]}” is swapped"
        pair = frozenset((name[start], meant[start]))
        words = f"“{name[start]}” for “{meant[start]}”"
        if pair in _ALIKE or pair in _NEIGHBOURS:
            return (8 if is_first else 6), words
        return _MIN_ANY_SLIP, words
    longer, words = (name, "more") if len(name) > len(meant) else (meant, "less")
    letter = longer[start] if start < len(longer) else longer[-1]
    before = longer[start - 1] if start else ""
    if letter == before:
        return _MIN_TYPO, f"one “{letter}” {words}"
    return (8 if is_first else 7), f"one “{letter}” {words}"


def _distance(one: str, other: str, most: int) -> int:
    """Optimal string alignment (Damerau-Levenshtein, no substring edited twice); most + 1 when it is greater."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, char in enumerate(one, 1):
        last, row = row, [i]
        for j, against in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (char != against))
            if i > 1 and j > 1 and char == other[j - 2] and one[i - 2] == against:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before = last
        if min(row) > most:
            return most + 1
    return row[-1]


def _difference(label: str, meant: str) -> str:
    """The first place where twins differ, in words."""
    start = next((i for i, (a, b) in enumerate(zip(label, meant, strict=False)) if a != b), 0)
    end = 0
    most = min(len(label), len(meant)) - start
    while end < most and label[len(label) - 1 - end] == meant[len(meant) - 1 - end]:
        end += 1
    return f"“{label[start : len(label) - end]}” for “{meant[start : len(meant) - end]}”"


def _neighbours() -> frozenset[frozenset[str]]:
    """Keys that touch on a QWERTY keyboard."""
    pairs = {frozenset(row[i : i + 2]) for row in _ROWS for i in range(len(row) - 1)}
    for upper, lower in pairwise(_ROWS):
        for index, key in enumerate(lower):
            pairs |= {frozenset((key, above)) for above in upper[index : index + 2]}
    return frozenset(pairs)


_NEIGHBOURS = _neighbours()
