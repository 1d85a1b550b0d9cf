"""Gauges of learning from people: how much, how well, how near to the caps (docs/learning.md)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import get_args

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.classify.online import CapName
from gateway.learning import LearningState
from gateway.types import Via

_LABELS = {True: "spam", False: "ham"}


class LearningMetrics(Collector):
    """What is true at the moment of the scrape."""

    def __init__(self, state: LearningState, now: Callable[[], float] = time.time) -> None:
        self._state = state
        self._now = now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All of darban_learning_*; no series is missing, so that each can be alarmed on."""
        yield from self._by_kind()
        state, counts = self._state, self._state.counts
        behind_s = self._now() - state.behind_since if state.behind_since else 0.0
        for name, text, value in (
            ("revoked_lessons", "Lessons that were revoked.", counts.revoked),
            ("foreign_lessons", "Lessons of another version of the features: kept, not used.", counts.foreign),
            ("unreadable_lessons", "Lessons whose features are damaged: not used.", state.unreadable),
            ("newest_lesson_timestamp_seconds", "When the newest lesson was taught; 0: never.", counts.newest_at),
            ("recent_spam_share", "Share of spam in the newest lessons.", state.health.get("spam_share", 0.0)),
            ("agreement", "Share of the newest lessons the model agreed with.", state.health.get("agreement", 0.0)),
            ("replay_seconds", "How long making the online model took.", state.replay_s),
            ("behind_seconds", "So long the published model lacks what the ledger has.", behind_s),
        ):
            gauge = GaugeMetricFamily(f"darban_learning_{name}", text)
            gauge.add_metric([], value)
            yield gauge
        model = GaugeMetricFamily("darban_learning_model_info", "The model that is published.", labels=["model_id"])
        model.add_metric([state.model_id], 1.0)
        yield model

    def _by_kind(self) -> Iterator[GaugeMetricFamily]:
        lessons = GaugeMetricFamily(
            "darban_learning_lessons", "Lessons that count, by label and door.", labels=["label", "via"]
        )
        for is_spam, label in _LABELS.items():
            for via in get_args(Via):
                lessons.add_metric([label, via], self._state.counts.lessons.get((is_spam, via), 0))
        cut = GaugeMetricFamily("darban_learning_limited_lessons", "Lessons that a cap cut short.", labels=["cap"])
        used = GaugeMetricFamily("darban_learning_budget_used", "Largest share of a cap used up now.", labels=["cap"])
        for cap in get_args(CapName):
            cut.add_metric([cap], self._state.cut.get(cap, 0))
            used.add_metric([cap], self._state.used.get(cap, 0.0))
        yield from (lessons, cut, used)
