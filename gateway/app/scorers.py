"""The scorer parent: rules and model are loaded here, once, before scorers are forked."""

from __future__ import annotations

from pathlib import Path

import structlog

from gateway.app.pipeline import load_pipeline, rule_problems
from gateway.app.places import Places
from gateway.config.settings import Settings
from gateway.supervisor import Ready

log = structlog.get_logger("darban")


def run(settings: Settings, where: Places, ready: Ready) -> None:
    """Until told to stop. Raises ConfigError."""
    from gateway.scan.scorer import ScorerParent, bind

    make_pipeline = load_pipeline(settings, where.cache)
    problems = rule_problems(settings)
    if problems:
        log.warning(
            "rule lines are not obeyed; `darban rules check` lists them", number=len(problems), first=problems[0]
        )
    for left in where.run.glob("scorer-*.stage"):
        if not Path(f"/proc/{left.stem.partition('-')[2]}").exists():
            left.unlink(missing_ok=True)
    parent = ScorerParent(
        bind(where.scorers),
        make_pipeline,
        folder=where.run,
        stage_cpu_s=settings.limits.stage_cpu_s,
        memory=settings.limits.scorer_memory,
    )
    ready()
    parent.serve()
