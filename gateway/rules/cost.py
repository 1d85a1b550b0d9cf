"""What each pattern costs: measured with the backtracking engine, on texts that are usual and on texts that are not.

The multi-pattern engine is not measured here: it hides most patterns' cost, but confirms with this one, and a pattern
that is dear on one of the odd texts is dear for whoever meets a sender who knows it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.rules.regex import compile_confirming, search
from gateway.rules.rule import Rule

SLOW = 100.0  # microseconds for each kilobyte
_KILOBYTES = 4
_ROUNDS = 3
_PROSE = (
    "Dear customer, thank you for your order of 14 March. The invoice is attached; please pay the amount of $1,250.00 "
    "within 30 days, or call us at +1 555 010 0199. Kind regards, the team at https://www.example.org/orders?id=12345 "
)
_HTML = (
    '<table width="600"><tr><td style="color:#333;font-size:14px"><a href="https://news.example.org/a/b?c=d">Read more'
    '</a><br><img src="cid:logo" width="1" height="1"></td></tr></table>\n'
)
_HEADER = (
    "Received: from mail.example.org (mail.example.org [192.0.2.10]) by mx.example.net with ESMTPS id 4XyZ12\n"
    "Message-ID: <20260921133320.1a2b3c@mail.example.org>\nSubject: =?UTF-8?B?2LPZhNin2YU=?=\n"
)
TEXTS = {
    "prose": _PROSE,
    "Persian": "با سلام، صورت‌حساب شما پیوست شده است؛ لطفاً تا پایان ماه پرداخت کنید. ",
    "HTML": _HTML,
    "header": _HEADER,
    "a run of one letter": "a",
    "a run of digits": "1",
    "a run of blanks": " ",
    "a run of word and blank": "a ",
    "a run of dots": "a.",
    "a run of brackets": "<",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """One rule's pattern, and the text it cost most on."""

    name: str
    us_per_kilobyte: float
    text: str
    gave_up: bool  # it reached its step limit there

    @property
    def is_slow(self) -> bool:
        """Whether check warns of it."""
        return self.gave_up or self.us_per_kilobyte > SLOW


def measure(rules: Sequence[Rule]) -> list[Cost]:
    """Every rule with a pattern, dearest first. Takes about half a millisecond for each."""
    subjects = {name: _subject(text) for name, text in TEXTS.items()}
    costs = [_cost(rule, subjects) for rule in rules if rule.regex is not None]
    return sorted(costs, key=lambda cost: (-cost.gave_up, -cost.us_per_kilobyte))


def _subject(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return (encoded * (_KILOBYTES * 1024 // len(encoded) + 1))[: _KILOBYTES * 1024].decode("utf-8", "ignore").encode()


def _cost(rule: Rule, subjects: dict[str, bytes]) -> Cost:
    assert rule.regex is not None
    pattern = compile_confirming(rule.regex)
    worst = max(_times(pattern, subjects), key=lambda found: (found[2], found[1]))
    return Cost(rule.name, worst[1] * 1e6 / _KILOBYTES, worst[0], worst[2])


def _times(pattern: Any, subjects: dict[str, bytes]) -> Iterator[tuple[str, float, bool]]:
    """Text, seconds of the best of a few rounds, whether it gave up."""
    for name, subject in subjects.items():
        best, gave_up = float("inf"), False
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            try:
                search(pattern, subject)
            except TimeoutError:
                gave_up = True
            best = min(best, time.perf_counter() - started)
        yield name, best, gave_up
