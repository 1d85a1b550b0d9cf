"""Hits and prediction -> verdict. The prediction enters as one hit, so the score is the sum of the hits.

Text that reads like honest mail takes something away, but not beside a firm hit (tflags NAME firm): whoever forges an
author chooses the text as well (docs/decisions/0013-harmless-text-does-not-excuse-a-forged-author.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from gateway.ports import RuleSet
from gateway.scan.wording import contribution_text, isolated
from gateway.types import AuthResult, Contribution, Hit, Prediction, Summary, Verdict

CLASSIFIER = "CLASSIFIER"  # its `score` line is the weight at full certainty
_FULL_LOG_ODDS = math.log(0.99 / 0.01)  # certainty beyond 99 % adds nothing (docs/decisions/0017)
_HAM_SHARE = 0.5  # a certain "not spam" takes away half of what a certain "spam" adds: it must not outvote the rules
_DESCRIPTION = "The trained classifier's opinion"


def conclude(
    queue_id: str,
    hits: Sequence[Hit],
    prediction: Prediction | None,
    rules: RuleSet,
    *,
    auth: Sequence[AuthResult],
    incomplete: Sequence[str],
    summary: Summary,
    stages: Sequence[tuple[str, float]],
) -> Verdict:
    """The verdict; hits heaviest first."""
    every = list(hits)
    if prediction is not None:
        opinion = prediction_hit(prediction, rules.scores.get(CLASSIFIER, 0.0))
        if opinion.score > 0 or not any(hit.name in rules.firm for hit in every):
            every.append(opinion)
    every = [hit for hit in every if hit.score]
    every.sort(key=lambda hit: (-abs(hit.score), hit.name))
    return Verdict(
        queue_id=queue_id,
        score=sum(hit.score for hit in every),
        hits=tuple(every),
        auth=tuple(auth),
        prediction=prediction,
        incomplete=tuple(incomplete),
        summary=summary,
        rules_id=rules.id,
        seconds=sum(seconds for _, seconds in stages),
        stages=tuple(stages),
    )


def explained(verdict: Verdict, contributions: tuple[Contribution, ...]) -> Verdict:
    """The verdict with what its prediction is made of, in the classifier's hit too."""
    if verdict.prediction is None:
        return verdict
    prediction = replace(verdict.prediction, contributions=contributions)
    hits = [hit._replace(evidence=_evidence(prediction)) if hit.name == CLASSIFIER else hit for hit in verdict.hits]
    return replace(verdict, prediction=prediction, hits=tuple(hits))


def prediction_hit(prediction: Prediction, weight: float) -> Hit:
    """The certainty times the weight."""
    return Hit(CLASSIFIER, round(weight * certainty(prediction.probability), 2), _DESCRIPTION, _evidence(prediction))


def certainty(probability: float) -> float:
    """Log-odds as a share of full certainty: 1 for a certain spam, -0.5 for a certain ham."""
    share = max(-1.0, min(1.0, math.log(_bounded(probability) / (1 - _bounded(probability))) / _FULL_LOG_ODDS))
    return share if share > 0 else share * _HAM_SHARE


def _bounded(probability: float) -> float:
    return min(max(probability, 1e-9), 1 - 1e-9)


def _evidence(prediction: Prediction) -> tuple[str, ...]:
    evidence = [f"{_bounded(prediction.probability):.1%} likely spam"]
    for side, sign in (("spam", 1), ("ham", -1)):
        said = [one for one in prediction.contributions if one.weight * sign > 0]
        if said:
            evidence.append(f"for {side}: " + ", ".join(_told(one) for one in said))
    return tuple(evidence)


def _told(one: Contribution) -> str:
    return f"{isolated(contribution_text(one.kind, one.value))} {one.weight:+.1f}"
