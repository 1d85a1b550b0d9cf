"""`darban rules check|explain|import`: counts, words, costs, and what is brought over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.rules import app
from gateway.rules import report
from gateway.rules.cost import TEXTS, measure
from gateway.rules.importer import bring_over
from gateway.rules.reader import read
from gateway.rules.rule import RuleFiles

SET = """
header SUBJ Subject:raw =~ /hello/i [if-unset: none]
describe SUBJ Says hello
tflags SUBJ multiple maxhits=3 nosubject
header HAS exists:X-Foo
mimeheader PART Content-Type !~ /text/
header SHIFT eval:check_for_shifted_date('3', '6')
header LISTED eval:check_rbl('a', 'b.example.')
header SPF eval:check_for_spf_pass()
replace_tag A [a@]
replace_rules TAGGED
body TAGGED /b<A>d/
meta BOTH SUBJ && LISTED && GHOST
test SUBJ ok hello
test SHIFT ok x
test LISTED ok x
test NONE ok x
score SPF_FAIL 2
score NOWHERE 2
"""


@pytest.fixture
def files(tmp_path: Path) -> RuleFiles:
    (tmp_path / "t.cf").write_text(SET)
    return read([tmp_path])


def test_check_counts(files: RuleFiles) -> None:
    found = report.check(files, {"SPF_FAIL"})
    assert found.kinds == {"header": 2, "eval": 2, "mimeheader": 1, "body": 1, "meta": 1}
    assert found.unsupported == {"it asks a DNS list": 1}
    assert [one.reason for one in found.failures] == [
        "test of SHIFT, which is an eval rule, which no single text shows",
        "test of NONE, which is no rule",
    ]
    said = " / ".join(one.reason for one in found.warnings)
    for words in ("BOTH names LISTED, which does not run", "BOTH names GHOST, which is neither", "score: NOWHERE is"):
        assert words in said
    assert report.summary(found)[0].startswith("7 rules run: 2 header, 2 eval")
    assert found.has_errors


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "SUBJ",
            "the field Subject (as it was received) (taken as 'none' when it is not there) matches, ignoring case:  hello",
        ),
        ("SUBJ", "Every match counts, up to 3."),
        ("SUBJ", "The subject is not looked at."),
        ("SUBJ", "used by BOTH"),
        ("HAS", "Hits when the field X-Foo is there."),
        ("PART", "the field Content-Type of a MIME part does not match:  text"),
        ("SHIFT", "check_for_shifted_date('3', '6') holds. Hours between"),
        ("SPF", "SPF's result for the mailfrom identity is pass."),
        ("LISTED", "It does not run here: eval:check_rbl(): it asks a DNS list."),
        ("TAGGED", "The pattern is written with tags (replace_rules):  b<A>d"),
        ("TAGGED", "matches:  b[a@]d"),
        ("BOTH", "Hits when this holds: SUBJ && LISTED && GHOST"),
        ("SPF_FAIL", "A built-in finding"),
    ],
)
def test_explain(files: RuleFiles, name: str, words: str) -> None:
    assert words in report.explain(files, name)


def test_costs(tmp_path: Path) -> None:
    (tmp_path / "t.cf").write_text("body CHEAP /needle/\nbody DEAR /(?:a|a)+[^a]/\nmeta M CHEAP\n")
    costs = {cost.name: cost for cost in measure(list(read([tmp_path]).rules.values()))}
    assert set(costs) == {"CHEAP", "DEAR"}
    assert (costs["DEAR"].is_slow, costs["CHEAP"].is_slow) == (True, False)
    assert costs["DEAR"].text in TEXTS


LOCAL = r"""
required_score 6.5
rewrite_header Subject SPAM
use_bayes 1
bayes_path /x
trusted_networks 192.0.2.0/24
whitelist_from a@example.org
blacklist_from *@spam.example
score SUBJ (0.5)
score OTHER 3
header MINE Subject =~ /a\#b/
body OWN eval:own()
include more.cf
ifplugin Mail::SpamAssassin::Plugin::DCC
score DCC_CHECK 1
endif
"""


def test_a_configuration_is_brought_over(tmp_path: Path) -> None:
    (tmp_path / "base.cf").write_text(f"required_score 1\n{SET}")
    (tmp_path / "more.cf").write_text("score MORE 1\n")
    local = tmp_path / "local.cf"
    local.write_text(LOCAL)
    found = bring_over([local], [tmp_path / "base.cf"])
    lines = found.text.splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == [
        "trusted_networks 192.0.2.0/24",
        "whitelist_from a@example.org",
        "blacklist_from *@spam.example",
        "score OTHER 3",
        r"header MINE Subject =~ /a\#b/",
        "score MORE 1",
    ]
    assert found.lines == len([line for line in lines if line and not line.startswith("#")])
    said = " / ".join(one.reason for one in found.left)
    for words in ("adds to a score", "OWN does not run", "rewrite_header has no effect", "DCC: does not hold"):
        assert words in said
    assert found.advice[0] == "required_score 6.5: set tag_at = 6.5 in each [[domain]]"
    (tmp_path / "out.cf").write_text(found.text)
    again = read([tmp_path / "out.cf"])
    assert not again.problems
    assert again.rules["MINE"].regex is not None
    assert again.rules["MINE"].regex.text == "a#b"


def test_relative_scores_become_sums(tmp_path: Path) -> None:
    (tmp_path / "base.cf").write_text("score A 2\n")
    (tmp_path / "local.cf").write_text("score A (0.5)\n")
    assert "score A 2.5" in bring_over([tmp_path / "local.cf"], [tmp_path / "base.cf"]).text
    assert "adds to a score" in bring_over([tmp_path / "local.cf"]).left[0].reason


# --- the command ----------------------------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_check_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "t.cf"
    path.write_text("body A /a/\nbody B eval:own()\nbody C /(/\n")
    code, said = run("check", str(path))
    assert code == 1
    assert "t.cf:3: error:" in said
    assert "t.cf:2: unsupported: B does not run" in said
    assert "1 rules run: 1 body" in said
    code, said = run("check", "--json", "--cost", str(path))
    found = json.loads(said)
    assert (found["rules"], found["kinds"], len(found["costs"])) == (1, {"body": 1}, 1)
    assert {one["severity"] for one in found["problems"]} == {"error", "unsupported"}


def test_long_lists_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.cf"
    path.write_text("".join(f"header R{number} eval:check_rbl('a', 'b')\n" for number in range(30)))
    code, said = run("check", str(path))
    assert code == 0
    assert "30  it asks a DNS list" in said
    assert "R7" not in said
    assert "R7" in run("check", "--verbose", str(path))[1]


def test_import_on_the_command_line(tmp_path: Path) -> None:
    path, out = tmp_path / "local.cf", tmp_path / "out.cf"
    path.write_text("score A 1\nuse_bayes 1\n")
    code, _ = run("import", str(path), "--out", str(out))
    assert code == 0
    assert "score A 1" in out.read_text()
    path.write_text("score A 1\nuse_dcc 1\n")
    code, said = run("import", str(path), "--json")
    assert code == 1
    assert json.loads(said)["lines"] == 1


def test_explain_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "t.cf"
    path.write_text("body A /a/\n")
    assert "matches:  a" in run("explain", "A", str(path))[1]
    assert run("explain", "B", str(path))[0] != 0
