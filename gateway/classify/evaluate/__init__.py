"""How well it judges: protocols, measures and reports of the evaluation (docs/evaluation.md)."""

from __future__ import annotations

from gateway.classify.evaluate.trial import Trial, attempt, judge, measure, trials

__all__ = ["Trial", "attempt", "judge", "measure", "trials"]
