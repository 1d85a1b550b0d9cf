"""What a prediction is made of, as phrases and facts that a person reads.

Every feature's weight is shared by the places it stands in, and belongs to the words there: a word's own weight, half
of each pair with its neighbours, the n-grams inside it, what it says as a word of the subject. So the sum over all
words and facts is the decision but for its constant. Shown are the loudest; words that stand side by side somewhere
and speak for the same side are one phrase. Words of everyday language, numbers and lines of dashes are summed: one by
one they tell nothing.

Cost: about 0.4 ms for a message of 10 KB (benchmarks/classify.py: `explain` less `predict`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from gateway.classify import facts
from gateway.classify.features import STARTS, Features, part_indices
from gateway.classify.normalise import FIELD_END, normalise
from gateway.classify.words import Words
from gateway.types import Contribution

_SHOWN = 8
_LOUD_WORDS = 14  # that phrases are made of
_PHRASE_WORDS = 5
_BRIDGED = 2  # everyday words between two loud ones, "bottom of this mail"
_MAX_PLACES = 400  # of loud words that are looked at
_EVERYDAY_SHOWN = 3
_EVERYDAY, _NUMBERS, _DASHES = 1, 2, 3  # groups
_EVERYDAY_WORDS = """
a about after all also am an and any are as at be because been before being but by can could did do does doing done for
from get go had has have having he her hers him his how i i'd i'll i'm i've if in into is isn't it it's its itself just
like made make may me might more most much must my no not now of off on one only or other out over own re said same say
see she should so some such than that that's the their theirs them then there these they this those though through to
too two under until up us use used using very was wasn't way we were what when where which while who whom why will with
within without would yes yet
از است اند ام ای این آن آنها او اما اگر با باید بر برای بود بودن بوده به بی پس پیش تا تر ترین تو جز چرا چند چون چه چیزی
حتی خود دارد دارم داریم دارند داشت در دو دیگر را رو روی شد شدن شده شود شما زیر سپس سه که کرد کردن کرده کند کنند کنیم کنم
کنید گفت ما من مورد می میان نمی نه نیز نیست و وی ها های هر هم همان همه همین هنوز هیچ یا یک یکی
"""

Values = NDArray[np.float64]


def contributions(features: Features, weights: NDArray[np.float32], slope: float) -> tuple[Contribution, ...]:
    """The loudest, loudest first.

    Args:
        weights: (n,) the weight of each feature where it counts, else 0.
        slope: of the calibration: weights times it are log-odds.
    """
    shares = _shares(features, weights, slope)
    first_word = len(features.facts)
    found = [*_facts(features.facts, shares), *_phrases(features, shares, first_word)]
    found.sort(key=lambda one: -abs(one.weight))
    return tuple([one for one in found[:_SHOWN] if one.weight])


def _shares(features: Features, weights: NDArray[np.float32], slope: float) -> Values:
    """Of each feature, repetitions included, its part of the log-odds."""
    times = np.bincount(features.last, minlength=len(weights))
    shares: Values = (weights / np.maximum(times, 1)).take(features.last) * slope
    for where, scale in features.by_part():
        shares[where] *= scale
    return shares


def _facts(keys: Sequence[str], shares: Values) -> Iterator[Contribution]:
    """Those that say the same are one."""
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for key, share in zip(keys, shares[: len(keys)].tolist(), strict=True):
        sums[facts.describe(key)] += share
    for (kind, value), weight in sums.items():
        yield Contribution(kind, value, weight)


def _phrases(features: Features, shares: Values, first: int) -> Iterator[Contribution]:
    words, (_, named, grams, _) = features.words, features.bounds
    said, own, of_name = words.shares(shares[first:named], shares[named:grams], shares[grams:])
    own += first
    # a word's number is that of its last hash, which all its repetitions share; the groups have the first numbers
    ids = features.last.take(own).astype(np.intp) + _DASHES + 1
    groups = _GROUPS.take(features.indices.take(own))
    groups[:of_name] = 0
    ids = np.where(groups, groups, ids)
    sums: Values = np.bincount(ids, said, minlength=_DASHES + 1).astype(np.float64, copy=False)
    yield Contribution("numbers", "", float(sums[_NUMBERS]))
    yield Contribution("dashes", "", float(sums[_DASHES]))
    yield Contribution("everyday", _everyday(words, groups, said, sums[_EVERYDAY] < 0), float(sums[_EVERYDAY]))
    sums[: _DASHES + 1] = 0
    yield from islice(_joined(words, ids, sums, of_name), _SHOWN)


def _everyday(words: Words, groups: NDArray[np.uint8], said: Values, is_for_ham: bool) -> str:
    """Some of the everyday words that speak for this side."""
    loudness = np.where(groups == _EVERYDAY, -said if is_for_ham else said, 0.0)
    found: dict[str, None] = {}
    for number in _largest(loudness, 3 * _EVERYDAY_SHOWN):
        found[words.phrase(number, number).lower()] = None
    return ", ".join([*found][:_EVERYDAY_SHOWN])


def _joined(words: Words, ids: NDArray[np.intp], sums: Values, of_name: int) -> Iterator[Contribution]:
    """Loud words as phrases, the loudest first. Each word belongs to one of them, whose weight is that of its words."""
    weight = {one: float(sums[one]) for one in _largest(np.abs(sums), _LOUD_WORDS)}
    is_loud = np.zeros(len(sums), dtype=bool)
    is_loud[[*weight]] = True
    places = is_loud.take(ids).nonzero()[0].tolist()
    where: dict[int, list[int]] = defaultdict(list)
    for place, one in zip(places, ids.take(places).tolist(), strict=True):
        where[one].append(place)
    runs = _runs(words, ids, weight, places[:_MAX_PLACES], of_name)
    runs |= {(one,): (at[0], at[0]) for one, at in where.items()}
    taken: set[int] = set()
    for run in sorted(runs, key=lambda run: -abs(sum(weight[one] for one in {*run}))):
        if taken.isdisjoint(run):
            taken.update(run)
            kind = _kind(words, [place for one in run for place in where[one]], of_name)
            yield Contribution(kind, words.phrase(*runs[run]), sum(weight[one] for one in {*run}))


def _runs(
    words: Words, ids: NDArray[np.intp], weight: Mapping[int, float], places: Sequence[int], of_name: int
) -> dict[tuple[int, ...], tuple[int, int]]:
    """Loud words of one side that follow each other, and where they first do: first word and last."""
    found: dict[tuple[int, ...], tuple[int, int]] = {}
    run: tuple[int, ...] = ()
    first = before = -1
    for place, one in zip(places, ids.take(places).tolist(), strict=True):
        is_next = (
            0 < len(run) < _PHRASE_WORDS
            and one not in run
            and place - before <= 1 + _BRIDGED
            and weight[run[-1]] * weight[one] > 0
            and (place < of_name or before >= of_name)
            and all(ids[between] == _EVERYDAY for between in range(before + 1, place))
            and words.is_one_phrase(before, place)
        )
        run, first = (*run, one) if is_next else (one,), first if is_next else place
        if is_next:
            found.setdefault(run, (first, place))
        before = place
    return found


def _kind(words: Words, places: Sequence[int], of_name: int) -> str:
    """Where all of these stand."""
    if places[0] < of_name:
        return "name"
    return "subject" if all(words.is_of_subject(place) for place in places) else "words"


def _largest(values: Values, number: int) -> list[int]:
    """Where the largest positive values stand, the largest first. Empties them."""
    found: list[int] = []
    for _ in range(min(number, len(values))):
        largest = int(values.argmax())
        if not values[largest] > 0:
            break
        found.append(largest)
        values[largest] = 0
    return found


def _groups() -> NDArray[np.uint8]:
    """Of each named feature that is a word of one, the group."""
    groups = np.zeros(STARTS[1], dtype=np.uint8)
    numbers = " ".join(f"{'0' * length} {'0' * length}'0 {'0' * length}-00" for length in range(1, 13))
    for group, members in (
        (_EVERYDAY, _EVERYDAY_WORDS),
        (_NUMBERS, numbers),
        (_DASHES, " ".join("-" * length for length in range(1, 80))),
    ):
        groups[part_indices(0, Words(normalise(f"{FIELD_END}{FIELD_END}{members}")).hashes()[0])] = group
    return groups


_GROUPS = _groups()
