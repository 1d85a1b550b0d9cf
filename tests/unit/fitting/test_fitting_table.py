"""From hits to what a fit looks at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from gateway.app.pipeline import load_pipeline
from gateway.classify.corpus import read_source
from gateway.classify.workers import LocalWorkers
from gateway.cli.demo import samples
from gateway.config.settings import Settings
from gateway.config.shipped import rules_path
from gateway.fitting import rule_file
from gateway.fitting.judged import Judged, as_received, judge
from gateway.fitting.table import Table, is_decided, make_table
from gateway.rules.reader import read
from gateway.rules.rule import RuleFiles
from gateway.scan.conclude import CLASSIFIER
from tests.compiled_rules import COMPILED

RULES = """
score CLASSIFIER 6
score FREE 2
score FIRM 5
tflags FIRM firm
score NET 3
tflags NET net
score OTHER -1
tflags OTHER nice userconf
score LEARNT 1
tflags LEARNT learn
score FIXED 1
tflags FIXED multiple fixed
score NICE -1
tflags NICE nice noautolearn
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> RuleFiles:
    path = tmp_path_factory.mktemp("rules") / "x.cf"
    path.write_text(RULES)
    return read([path])


def table_of(files: RuleFiles, *messages: tuple[str, float]) -> Table:
    """Of the names that hit each message, and the classifier's probability."""
    names = sorted({name for hits, _ in messages for name in hits.split()})
    hits = csr_matrix([[float(name in hits.split()) for name in names] for hits, _ in messages])
    none = np.zeros(len(messages), dtype=bool)
    text = np.array(["x"] * len(messages))
    return make_table(Judged(hits, tuple(names), np.array([p for _, p in messages]), none, text, text), files)


def test_decided_scores(files: RuleFiles) -> None:
    decided = {name for name in files.scores if is_decided(name, files)}
    assert decided == {"FIRM", "NET", "OTHER", "LEARNT", "FIXED"}


def test_columns_and_points(files: RuleFiles) -> None:
    table = table_of(files, ("FREE NET FIXED", 0.5), ("NICE OTHER", 0.9999), ("FREE", 0.0001))
    assert table.names == (CLASSIFIER, "FREE", "NICE")
    assert table.authored.tolist() == [6.0, 2.0, -1.0]
    assert table.decided.tolist() == [4.0, -1.0, 0.0]
    assert table.columns.toarray().tolist() == [[0, 1, 0], [1, 0, 1], [-0.5, 1, 0]]
    assert table.totals(table.authored).tolist() == [6.0, 4.0, -1.0]
    assert table.part(np.array([False, True, False])).totals(table.authored).tolist() == [4.0]


@pytest.mark.parametrize(("hits", "opinion"), [("FREE", -0.5), ("FREE FIRM", 0.0)])
def test_no_not_spam_beside_a_firm_hit(files: RuleFiles, hits: str, opinion: float) -> None:
    assert table_of(files, (hits, 0.0001)).columns.toarray()[0, 0] == opinion
    assert table_of(files, (hits, 0.9999)).columns.toarray()[0, 0] == 1.0


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    for number, (name, content) in enumerate(samples()):
        place = folder / "own" / ("ham" if number % 2 else "spam") / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return folder


async def test_totals_are_the_scores_of_the_pipeline(corpora: Path) -> None:
    """What is fitted is what judges: the same messages, judged by the pipeline itself."""
    make_pipeline = load_pipeline(Settings(), COMPILED, offline=True)
    judged = judge({"own": corpora / "own"}, make_pipeline, LocalWorkers(2))
    table = make_table(judged, read([rules_path()]))
    pipeline = make_pipeline()
    scores = [
        (await pipeline.score(*as_received(sample), ("authenticate",))).score
        for sample in read_source("own", corpora / "own")
    ]
    assert table.totals(table.authored).tolist() == pytest.approx(scores, abs=0.011)  # CLASSIFIER's is rounded
    assert judged.paths.tolist() == sorted(judged.paths.tolist())


def test_a_text_without_a_header_says_nothing_about_headers(tmp_path: Path) -> None:
    (tmp_path / "own" / "ham").mkdir(parents=True)
    text = b"Content-Type: text/plain; charset=utf-8\r\n\r\nSee you at noon, then we shall talk about the garden.\r\n"
    (tmp_path / "own" / "ham" / "text").write_bytes(text)
    (tmp_path / "own" / "ham" / "torn").write_bytes(text.replace(b"Content-Type", b"X-Other: 1\r\nContent-Type"))
    judged = judge({"own": tmp_path / "own"}, load_pipeline(Settings(), COMPILED, offline=True), LocalWorkers(2))
    whole, torn = ([name for name, hit in zip(judged.names, row, strict=True) if hit] for row in judged.hits.toarray())
    assert whole == []
    assert "FROM_MISSING" in torn


def test_shipped_scores_keep_signs_bounds_and_decisions() -> None:
    """Whatever they were fitted on: no rule alone tags mail unless its author decided so."""
    authored, shipped = read(rule_file.authored_files([rules_path()])), read([rules_path()])
    changed = {name for name in shipped.scores if shipped.score(name) != authored.score(name)}
    assert CLASSIFIER in changed
    assert [name for name in changed if is_decided(name, authored)] == []
    assert [name for name in changed if shipped.score(name) * authored.score(name) <= 0] == []
    tag_at, quarantine_at = Settings().domain[0].tag_at, Settings().domain[0].quarantine_at
    alone = {name: score for name, score in shipped.scores.items() if score >= tag_at and not is_decided(name, shipped)}
    assert set(alone) <= {CLASSIFIER}
    assert shipped.score(CLASSIFIER) < quarantine_at
