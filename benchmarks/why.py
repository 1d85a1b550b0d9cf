"""What it costs to find the smallest change that would have had a message delivered, and how often there is one.

    python -m benchmarks.why [--number 2000] [--messages FOLDER] [--out FILE]

Messages that reach tag_at of the default policy, without a network, received when they were sent. CPU time of the
process in milliseconds, once each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import ROOT, describe, percentile
from benchmarks.mail import messages
from gateway.app.compose import domain_policies
from gateway.app.pipeline import load_pipeline
from gateway.classify.corpus import Sample
from gateway.config.load import load_settings
from gateway.mail import parse
from gateway.policy.decide import decide
from gateway.scan.counterfactual import find_flip
from gateway.scan.pipeline import Pipeline
from gateway.types import DomainPolicy, Recipient

_DOMAIN = "darban.test"


async def measure(pipeline: Pipeline, policy: DomainPolicy, chosen: list[Sample]) -> dict[str, object]:
    """Counts by what was enough, and milliseconds."""
    spent: list[float] = []
    enough: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    judged = 0
    for sample in chosen:
        sent_at = parse(sample.content).date
        envelope = replace(sample.envelope(), recipients=(Recipient(f"you@{_DOMAIN}", _DOMAIN),))
        envelope = envelope if sent_at is None else replace(envelope, received_at=sent_at + 60)
        verdict = await pipeline.score(envelope, sample.content)
        if decide(verdict, envelope.recipients[0], policy).action == "accept":
            continue
        began = time.process_time()
        flip = find_flip(pipeline.case(envelope, sample.content, verdict), verdict, pipeline.judge_again, policy)
        spent.append((time.process_time() - began) * 1000)
        judged += flip.judged
        enough[("nothing", "one", "two")[len(flip.changes)]] += 1
        kinds.update(change.kind for change in flip.changes)
    if not spent:
        raise SystemExit("none of these messages reaches tag_at")
    return {
        "messages": len(chosen),
        "not_accepted": len(spent),
        "enough": dict(enough),
        "changes": dict(kinds.most_common()),
        "judged_mean": round(judged / len(spent), 1),
        "cpu_ms": {
            name: round(percentile(spent, share), 1) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        },
    }


def main() -> None:
    """Print JSON, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--messages", default="", help="a folder of .eml files instead of the corpora")
    parser.add_argument("--out", default="", help="write the result as JSON")
    options = parser.parse_args()
    settings = load_settings(None)
    policy = domain_policies(settings).policy(_DOMAIN)
    assert policy is not None
    pipeline = load_pipeline(settings, ROOT / "var" / "cache", offline=True)()
    result = {"machine": describe()} | asyncio.run(
        measure(pipeline, policy, messages(options.number, options.messages))
    )
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n")


if __name__ == "__main__":
    main()
