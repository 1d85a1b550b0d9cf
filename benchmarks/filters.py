"""How well others judge: Darban, bogofilter, Rspamd and SpamAssassin trained and tested on the same messages.

    python -m benchmarks.filters [--every] [--filters NAME,...] [--corpora FOLDER] [--out FILE.json]

Splits and figures are those of `darban evaluate` (docs/evaluation.md): the half of spamassassin and the pairs
across sources that the corpora's README names; with --every all of half and across. Each filter learns everything
of the training side, whole messages with their header fields, and scores the same test messages; there is no DNS.
Rspamd learns in bulk, so it does not pass over what it judges rightly already; where its Bayes keeps silent, that
counts as 0. Darban's verdict is that of the shipped rules and checks with the classifier of the split in them.
SpamAssassin, at a tenth of a second a message, is asked on the half of spamassassin only. A difference is a
filter's (1-AUC)% minus that of Darban's classifier on the same bootstrap draws.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.machine import describe
from benchmarks.peers import written
from benchmarks.scanners import Answer, Mail, Running, Scanner, Timed
from benchmarks.scanners.bogofilter import SPAM_CUTOFF, Bogofilter
from benchmarks.scanners.darban import CACHE, judged
from benchmarks.scanners.rspamd import Rspamd
from benchmarks.scanners.spamassassin import Spamd
from gateway.app.pipeline import load_pipeline
from gateway.classify.corpus import Sample, read_source, sources
from gateway.classify.evaluate.measures import RATES, Curve, share, threshold
from gateway.classify.evaluate.splits import Split, splits
from gateway.classify.evaluate.stream import served
from gateway.classify.evaluate.trial import pairs_of
from gateway.classify.train import Fitted, Matrix, extract_sources, fit
from gateway.config.settings import Settings
from gateway.fitting.judged import as_received

NAMED = ("spamassassin, half", "spamassassin", "phishing_pot, list_usrp_users", "all but nazario")  # what trains
OURS, COMBINED = "darban, classifier", "darban, verdict"
_TAG_AT = 5.0
_RSPAMD_ADDS_HEADER_AT = 6.0
_EXTREMES = (2.5, 97.5)

Scores = NDArray[np.float64]
Opinion = Callable[[Answer], float]


def _total(answer: Answer) -> float:
    return answer.score


def _learned(answer: Answer) -> float:
    return answer.learned or 0.0


# scanner, and its scores: name -> (score of an answer, where it calls a message spam by default)
Filter = tuple[Scanner, dict[str, tuple[Opinion, float]]]


def peers() -> list[Filter]:
    """In the order of the table."""
    return [
        (Bogofilter(), {"bogofilter": (_total, SPAM_CUTOFF)}),
        (
            Rspamd(bayes=True, timed=False),
            {"rspamd, Bayes alone": (_learned, 0.0), "rspamd + Bayes": (_total, _RSPAMD_ADDS_HEADER_AT)},
        ),
        (Spamd(bayes=True), {"spamassassin + Bayes": (_total, _TAG_AT)}),
    ]


def main() -> None:
    """Print a line for each filter and pair; write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--every", action="store_true", help="all splits of half and across")
    parser.add_argument("--filters", default="bogofilter,rspamd + Bayes,spamd + Bayes", help="the peers' scanners")
    parser.add_argument("--corpora", default=os.environ.get("DARBAN_CORPORA", ""), help="the labelled corpora's folder")
    parser.add_argument("--out", default="", help="write the result as JSON")
    options = parser.parse_args()
    if not options.corpora:
        raise SystemExit("name the folder of the corpora: --corpora FOLDER, or DARBAN_CORPORA")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    names = {scanner.name for scanner, _ in peers()}
    if not set(options.filters.split(",")) <= names | {""}:
        raise SystemExit(f"--filters: choose among {', '.join(sorted(names))}")
    chosen = [one for one in peers() if one[0].name in options.filters.split(",")]
    for result in compare(Path(options.corpora), chosen, every=options.every):
        if options.out:  # after every split: it takes long
            Path(options.out).write_text(json.dumps(result, indent=1) + "\n")


def compare(corpora: Path, chosen: Sequence[Filter], *, every: bool) -> Iterator[dict[str, Any]]:
    """Everything that is written, after each split."""
    absent = {scanner.name: scanner.missing() for scanner, _ in chosen if scanner.missing()}
    print("".join(f"absent: {name}: {reason}\n" for name, reason in absent.items()), file=sys.stderr, end="")
    able = [one for one in chosen if one[0].name not in absent]
    found = sources([corpora])
    matrix = extract_sources(found)
    read = {(one.source, one.path): one for name, path in sorted(found.items()) for one in read_source(name, path)}
    samples = [read[key] for key in zip(matrix.sources.tolist(), matrix.paths.tolist(), strict=True)]
    result: dict[str, Any] = {"machine": describe(), "absent": absent, "splits": []}
    with tempfile.TemporaryDirectory(prefix="darban-filters-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the peers' users must come in
        mails = written(samples, folder / "mail")
        for split in (*splits(matrix, "half"), *splits(matrix, "across")):
            if every or split.trained_on in NAMED:
                result["splits"].append(_compare_split(split, matrix, samples, mails, able, folder))
                yield result


def _compare_split(
    split: Split,
    matrix: Matrix,
    samples: Sequence[Sample],
    mails: Sequence[Mail],
    chosen: Sequence[Filter],
    folder: Path,
) -> dict[str, Any]:
    train, test = np.flatnonzero(split.train), np.flatnonzero(split.test)
    tested = matrix.part(test)
    print(f"{split.protocol}: {split.trained_on} -> {split.tested_on}", flush=True)
    told: dict[str, Any] = {"protocol": split.protocol, "trained_on": split.trained_on, "tested_on": split.tested_on}
    told |= {"trained": len(train), "tested": len(test), "filters": {}}
    fitted = fit(matrix.part(train))
    limit = threshold(fitted.held_out[~matrix.is_spam[train]], RATES[0])
    ours = fitted.log_odds(tested.rows)
    figures: dict[str, tuple[Scores, float, dict[str, Any]]] = {OURS: (ours, limit, {})}
    figures[COMBINED] = (verdicts(fitted, [samples[number] for number in test]), _TAG_AT, {})
    for scanner, opinions in chosen:
        if isinstance(scanner, Spamd) and split.trained_on != NAMED[0]:
            continue
        answers = _answers(scanner, [mails[i] for i in train], [mails[i] for i in test], folder)
        silent = sum(answer.learned is None for answer in answers)
        facts = scanner.facts() | ({} if isinstance(scanner, Spamd) else {"silent": silent})
        for name, (opinion, at) in opinions.items():
            figures[name] = (np.array([opinion(answer) for answer in answers]), at, facts)
    for name, (scores, at, facts) in figures.items():
        pairs = list(_pairs(scores, ours, tested))
        told["filters"][name] = {"facts": facts, "pairs": pairs, "at": at, "flagged": _flagged(scores, at, tested)}
        for pair in pairs:
            print(f"  {name:22} {_line(pair)}", flush=True)
    return told


def verdicts(fitted: Fitted, samples: Sequence[Sample]) -> Scores:
    """The whole gateway's score, without network, of each message on its own day."""
    settings = Settings()
    pipeline = load_pipeline(settings, CACHE, offline=True)()
    pipeline.classifier = served(fitted, "split")

    async def judge() -> list[float]:
        return [judged(await pipeline.score(*as_received(one))).score for one in samples]

    return np.array(asyncio.run(judge()))


def _answers(scanner: Scanner, train: Sequence[Mail], test: Sequence[Mail], folder: Path) -> list[Answer]:
    """Of each test message, after learning from the training messages and nothing else."""
    own = folder / scanner.name.replace(" ", "")
    own.mkdir(exist_ok=True)  # what was compiled may stay, what was learned before not
    for pattern in ("wordlist*", "bayes*"):
        for path in own.glob(pattern):
            path.unlink()
    scanner.prepare(own, train)
    with scanner.start(1, sorted(os.sched_getaffinity(0))) as instance:
        return [one.answer for one in uvloop.run(_scan(instance, test))]


async def _scan(instance: Running, test: Sequence[Mail]) -> list[Timed]:
    return await instance.scan_block(test)


def _pairs(scores: Scores, ours: Scores, tested: Matrix) -> Iterator[dict[str, Any]]:
    for spam, ham in pairs_of(tested.is_spam, tested.sources):
        bad, good = (tested.sources == spam) & tested.is_spam, (tested.sources == ham) & ~tested.is_spam
        theirs, mine = Curve(scores[good], scores[bad]), Curve(ours[good], ours[bad])
        rounds, own = np.array(list(theirs.resampled())), np.array(list(mine.resampled()))
        area, *recall = theirs.figures()
        low, high = np.percentile(rounds, _EXTREMES, axis=0)
        yield {
            "spam": spam,
            "ham": ham,
            "messages": [int(bad.sum()), int(good.sum())],
            "one_minus_auc": round(area, 5),
            "recall": [round(one, 5) for one in recall],
            "intervals": [[round(a, 5), round(b, 5)] for a, b in zip(low.tolist(), high.tolist(), strict=True)],
            "difference": np.percentile(rounds[:, 0] - own[:, 0], _EXTREMES).round(5).tolist(),
        }


def _flagged(scores: Scores, at: float, tested: Matrix) -> list[dict[str, Any]]:
    """What lies above a filter's own threshold, by source and class."""
    found = []
    for source in sorted(set(tested.sources.tolist())):
        for is_spam in (False, True):
            chosen = (tested.sources == source) & (tested.is_spam == is_spam)
            over = share(int((scores[chosen] >= at).sum()), int(chosen.sum()))
            if over.interval is not None:
                interval = [round(bound, 5) for bound in over.interval]
                found.append(
                    {"source": source, "spam": is_spam, "count": over.count, "of": over.of, "interval": interval}
                )
    return found


def _line(pair: dict[str, Any]) -> str:
    sources_ = pair["spam"] if pair["spam"] == pair["ham"] else f"{pair['spam']} : {pair['ham']}"
    (low, high), *of_recall = pair["intervals"]
    recall = " / ".join(
        f"{100 * one:.1f} [{100 * least:.1f}, {100 * most:.1f}]"
        for one, (least, most) in zip(pair["recall"], of_recall, strict=True)
    )
    less, more = pair["difference"]
    return (
        f"{sources_:32} (1-AUC)% {pair['one_minus_auc']:.3f} [{low:.3f}, {high:.3f}], recall at 0.1/0.5 % {recall}, "
        f"difference [{less:+.3f}, {more:+.3f}]"
    )


if __name__ == "__main__":
    main()
