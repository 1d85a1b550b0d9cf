"""The rule file of fitted scores: the same bytes for the same fit, read back as it was meant, never read as authors'."""

from __future__ import annotations

from pathlib import Path

from gateway.fitting.outcome import Change, Held, Outcome, Thresholds
from gateway.fitting.rule_file import authored_files, text_of
from gateway.rules.reader import read

OUTCOME = Outcome(
    changes=(
        Change("CLASSIFIER", 6.0, 7.36, 90, 80),
        Change("KEPT", 1.5, 1.5, 0, 3),
        Change("NICE", -1.0, -0.01, 2, 8),
        Change("SUNK", 2.0, 0.01, 60, 102),
    ),
    held=(
        Held("lists", 200, 0, (1, 2), (0, 1), (0, 0), (0, 0), None),
        Held("own", 0, 50, (0, 0), (0, 0), (20, 40), (5, 10), (0.1, 0.3, 0.2)),
    ),
    thresholds=Thresholds(5.0, 8.0),
    model="default-0123",
)
AUTHORED = "score CLASSIFIER 6.0\nscore SUNK 2.0\nscore NICE -1.0\nscore KEPT 1.5\n"


def test_text() -> None:
    assert text_of(OUTCOME).splitlines() == [
        "# Fitted by `darban train scores`, which reads all rule files but this one and writes it anew (docs/rules.md).",
        "# 3 of 4 scores that 200 ham and 50 spam hit; model default-0123.",
        "# Held out, with the authors' scores -> with these; tagged at 5, quarantined at 8:",
        "#   lists ham 200: tagged 0.50 % -> 1.00 %, quarantined 0.00 % -> 0.50 %",
        "#   own spam 50: tagged 40.00 % -> 80.00 %, quarantined 10.00 % -> 20.00 %",
        "",
        "score CLASSIFIER 7.36  # 6.00 by its author; its most",
        "score NICE -0.01  # -1.00 by its author; 2 ham, 8 spam",
        "score SUNK 0.01  # 2.00 by its author; 60 ham, 102 spam",
    ]


def test_it_wins_over_the_authors_and_is_not_taken_for_theirs(tmp_path: Path) -> None:
    (tmp_path / "10_rules.cf").write_text(AUTHORED)
    (tmp_path / "50_scores.cf").write_text(text_of(OUTCOME))
    (tmp_path / "60_own.cf").write_text("score SUNK 0.5 # by an admin\n")
    shipped = read([tmp_path])
    assert (shipped.score("CLASSIFIER"), shipped.score("NICE"), shipped.score("KEPT")) == (7.36, -0.01, 1.5)
    assert shipped.score("SUNK") == 0.5
    assert [problem for problem in shipped.problems if problem.severity == "error"] == []
    assert [path.name for path in authored_files([tmp_path])] == ["10_rules.cf", "60_own.cf"]
    assert authored_files([tmp_path / "50_scores.cf"]) == []
