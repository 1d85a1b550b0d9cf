"""The evaluation as one HTML page that needs nothing else, and as JSON (docs/evaluation.md)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from gateway.classify.evaluate import page
from gateway.classify.evaluate.cases import Kind
from gateway.classify.evaluate.chart import Axis, Line, draw
from gateway.classify.evaluate.measures import RATES, Interval, Share
from gateway.classify.evaluate.stream import Stream
from gateway.classify.evaluate.trial import Flagged, Pair, Trial
from gateway.errors import InputError

SCHEMA = 1
HTML, JSON = "evaluation.html", "evaluation.json"

_FALSE = Axis(
    "ham flagged", "log", 1e-4, 1.0, ((1e-4, "0.01 %"), (1e-3, "0.1 %"), (1e-2, "1 %"), (0.1, "10 %"), (1.0, "100 %"))
)
_CAUGHT = Axis(
    "spam caught",
    "logit",
    0.05,
    0.9995,
    ((0.1, "10 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %")),
)
_CERTAIN = ((1e-3, "0.1 %"), (1e-2, "1 %"), (0.1, "10 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, ""))
_SAID = Axis("probability said", "logit", 1e-3, 0.999, _CERTAIN)
_SEEN = Axis("share of spam", "logit", 1e-3, 0.999, _CERTAIN)
_AREA = Axis(
    "(1-AUC)% so far", "log", 0.001, 50.0, ((0.001, "0.001"), (0.01, "0.01"), (0.1, "0.1"), (1, "1"), (10, "10"))
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything of one run."""

    version: str  # of the package
    features: str  # the ablation
    corpora: tuple[dict[str, object], ...]  # name, ham, spam, terms
    trials: tuple[Trial, ...]
    streams: tuple[Stream, ...]
    cases: tuple[Kind, ...]


def write(folder: Path, evaluation: Evaluation) -> None:
    """evaluation.html and evaluation.json; the same evaluation gives the same bytes. Raises InputError."""
    content = {"schema": SCHEMA, **dataclasses.asdict(evaluation)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / JSON).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        (folder / HTML).write_text(html(evaluation), "utf-8")
    except OSError as error:
        raise InputError(f"{folder}: the report cannot be written: {error.strerror}") from None


def html(evaluation: Evaluation) -> str:
    """The page."""
    parts = [_corpora(evaluation)]
    for protocol, words in page.PROTOCOLS.items():
        chosen = [one for one in evaluation.trials if one.protocol == protocol]
        if chosen:
            parts += [f"<h2>{protocol}</h2><p>{words}</p>", *map(_trial, chosen)]
    if evaluation.streams:
        parts += [f"<h2>online</h2><p>{page.ONLINE}</p>", *_streams(evaluation.streams)]
    if evaluation.cases:
        parts += [f"<h2>hard cases</h2><p>{page.CASES}</p>", _cases(evaluation.cases)]
    return page.whole("".join(parts))


def _corpora(evaluation: Evaluation) -> str:
    rows = [[one["name"], one["ham"], one["spam"], one["terms"]] for one in evaluation.corpora]
    facts = f"<p>Darban {escape(evaluation.version)}, features: {escape(evaluation.features)}.</p>"
    return facts + _table(("source", "ham", "spam", "terms"), rows)


def _trial(trial: Trial) -> str:
    whole = [one for one in trial.pairs if not one.language]
    lines = [Line(_names(one), [point for point in one.ranking.roc if point[0] > 0]) for one in whole]
    told = [
        Line(_names(one), [(part.predicted, part.observed) for part in one.calibration.bins if part.messages >= 10])
        for one in whole
    ]
    figures = (
        draw("ROC", _FALSE, _CAUGHT, lines) + draw("Reliability", _SAID, _SEEN, told, dots=True, diagonal=True)
        if whole
        else ""
    )
    return (
        f"<section><h3>{escape(trial.trained_on)} → {escape(trial.tested_on)}</h3>"
        + _table(("spam of", "ham of", "language", "spam, ham", "(1-AUC)%", *_RECALL, *_LOSS), map(_pair, trial.pairs))
        + f'<div class="figures">{figures}</div>'
        + _table(("source", "class", "language", f"above {trial.threshold:.2f} log-odds"), map(_flagged, trial.flagged))
        + "</section>"
    )


_RECALL = tuple(f"recall at {100 * rate:g} %" for rate in RATES)
_LOSS = ("log-loss", "Brier", "ECE")


def _names(pair: Pair) -> str:
    return pair.spam if pair.spam == pair.ham else f"{pair.spam} : {pair.ham}"


def _pair(pair: Pair) -> list[str]:
    ranking, calibration = pair.ranking, pair.calibration
    area, *recall = ranking.intervals
    return [
        pair.spam,
        pair.ham,
        pair.language or "all",
        f"{ranking.spam}, {ranking.ham}",
        f"{ranking.one_minus_auc:.3f} {_between(area, 1, 3)}",
        *(f"{100 * one:.1f} {_between(two, 100, 1)}" for one, two in zip(ranking.recall, recall, strict=True)),
        f"{calibration.log_loss:.3f}",
        f"{calibration.brier:.3f}",
        f"{calibration.expected_error:.3f}",
    ]


def _flagged(one: Flagged) -> list[str]:
    return [one.source, "spam caught" if one.is_spam else "ham flagged", one.language or "all", share_text(one.flagged)]


def share_text(share: Share) -> str:
    """Percent with its interval, and the count."""
    if share.share is None or share.interval is None:
        return "-"
    return f"{100 * share.share:.2f} % {_between(share.interval, 100, 2)} ({share.count} of {share.of})"


def _between(interval: Interval, factor: float, digits: int) -> str:
    return f"[{factor * interval[0]:.{digits}f}, {factor * interval[1]:.{digits}f}]"


def _streams(streams: Sequence[Stream]) -> Iterable[str]:
    for name in dict.fromkeys(one.messages for one in streams):
        own = [one for one in streams if one.messages == name]
        end = max(len(own) and point.messages for one in own for point in one.curve)
        ticks = tuple((float(at), f"{at:,}") for at in (20, 100, 500, 2000, 10000, 50000) if at <= end)
        curves = [
            draw(
                f"{'Caps as they ship' if caps else 'No caps'}, from {start}",
                Axis("messages", "log", 20.0, float(end), ticks),
                _AREA,
                [Line(one.feedback, [(point.messages, point.one_minus_auc) for point in one.curve]) for one in chosen],
            )
            for start in dict.fromkeys(one.start for one in own)
            for caps in (True, False)
            if (chosen := [one for one in own if one.start == start and one.caps == caps])
        ]
        head = ("starts from", "feedback", "caps", "lessons", "(1-AUC)%", "ham flagged", "spam missed", *_LAST)
        yield f"<section><h3>{escape(name)}</h3>{_table(head, map(_stream, own))}"
        yield f'<div class="figures">{"".join(curves)}</div></section>'


_LAST = ("ham flagged, last quarter", "spam missed, last quarter")


def _stream(one: Stream) -> list[str]:
    shares = (one.false_positives, one.missed, one.last_false_positives, one.last_missed)
    area = f"{one.one_minus_auc:.3f} {_between(one.interval, 1, 3)}"
    return [one.start, one.feedback, "yes" if one.caps else "no", str(one.lessons), area, *map(share_text, shares)]


def _cases(kinds: Sequence[Kind]) -> str:
    judges = list(kinds[0].right)
    rows = [
        [
            kind.kind,
            "spam" if kind.is_spam else "ham",
            kind.cases,
            *(kind.right[judge] for judge in judges),
            "; ".join(f"{judge}: {', '.join(names)}" for judge, names in kind.wrong.items() if names),
        ]
        for kind in kinds
    ]
    return _table(("kind", "class", "cases", *(f"right: {judge}" for judge in judges), "wrong"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Each cell knows its column's name: a narrow page shows rows as lists."""
    titles = "".join(f"<th>{escape(one)}</th>" for one in head)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-is="{escape(name)}">{escape(str(cell))}</td>' for name, cell in zip(head, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
