"""rules/: the language, the matching, the report. Small rule files written here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import rules
from gateway.errors import ConfigError
from gateway.rules import expression, matcher, report
from gateway.rules.regex import fold, parse_literal
from gateway.types import Finding
from tests.builders import mail, message_bytes


def load(tmp_path: Path, text: str) -> rules.Rules:
    path = tmp_path / "t.cf"
    path.write_text(text, "utf-8")
    return rules.load([path], tmp_path / "cache")


def hits(ruleset: rules.Rules, content: bytes, *findings: str) -> dict[str, float]:
    return {hit.name: hit.score for hit in ruleset.match(mail(content), [Finding(name) for name in findings])}


FILE = """
header SUBJ Subject =~ /hello/i
score SUBJ 1.5
describe SUBJ Says hello
header FROM_ADDR From:addr =~ /@example\\.org$/
header FROM_NAME From:name =~ /^Sara$/
header NOT_THERE X-None =~ /^unset$/ [if-unset: unset]
header NEGATED Subject !~ /money/
header HAS_DATE exists:Date
header HAS_NONE exists:X-None
header ENVELOPE EnvelopeFrom =~ /sara@/
header WHOLE ALL =~ /^Subject: Hello$/m
body PRIZE /you have won/i
body ANCHORED /^second paragraph$/
body LOOKAHEAD /pay(?=ment)/
body FIRST_IS_SUBJECT /^Hello$/
body PERSIAN /قرعه کشی/
uri LINK /^https?:\\/\\/evil\\.example\\//
rawbody TAG m{<b>bold</b>}
full RAW /\\nTo: you@/
body __A /apple/
body __B /banana/
meta BOTH __A && !__B
meta SUM (__A + __B + SPF_FAIL) >= 2
tflags __MANY multiple
body __MANY /x/
meta MANY __MANY > 2
score SPF_FAIL 2
score OFF 0
body OFF /./
body T_TEST /./
"""


@pytest.fixture(scope="module")
def ruleset(tmp_path_factory: pytest.TempPathFactory) -> rules.Rules:
    return load(tmp_path_factory.mktemp("rules"), FILE)


@pytest.mark.parametrize(
    ("content", "expected", "absent"),
    [
        (
            message_bytes(),
            "SUBJ FROM_ADDR FROM_NAME NOT_THERE NEGATED HAS_DATE ENVELOPE WHOLE FIRST_IS_SUBJECT RAW T_TEST",
            "HAS_NONE PRIZE OFF",
        ),
        (message_bytes("You  have\r\nwon\r\n\r\nsecond paragraph\r\n\r\nlast"), "PRIZE ANCHORED", "LOOKAHEAD"),
        (message_bytes("won\r\n\r\nsecond paragraph\r\n"), "", "ANCHORED"),  # a blank stands at the end, as there
        (message_bytes("payment"), "LOOKAHEAD", "PRIZE"),
        (message_bytes("payless"), "", "LOOKAHEAD"),
        (message_bytes("see http://evil.example/x now"), "LINK", ""),
        (message_bytes("see http://good.example/?evil.example/"), "", "LINK"),
        (message_bytes("see http://good.example/?http://evil.example/"), "LINK", ""),  # where a redirector leads
        (message_bytes("<b>bold</b>", Content_Type="text/html"), "TAG", ""),
        (message_bytes("apple"), "BOTH", "SUM"),
        (message_bytes("apple banana"), "SUM", "BOTH"),
        (message_bytes("x x x"), "MANY", ""),
        (message_bytes("x x"), "", "MANY"),
        (message_bytes("قرعه‌كشي بزرگ", Content_Type="text/plain; charset=utf-8"), "PERSIAN", ""),
        (message_bytes(Subject="money"), "", "NEGATED SUBJ"),
    ],
)
def test_kinds(ruleset: rules.Rules, content: bytes, expected: str, absent: str) -> None:
    found = hits(ruleset, content)
    assert set(expected.split()) <= set(found)
    assert not set(absent.split()) & set(found)
    assert not any(name.startswith("__") for name in found)


LINES = r"""
body WORD /^word\s$/
body LABEL /^(?:label\W){1,3}$/m
body LATER /^tag(?=\s)\s$/
body NO_LABEL /^label\S$/
body OTHER /^[^w]ther\s{1,4}$/
rawbody PICTURE /^[^>].*?<img src=/im
rawbody PICTURE_HERE /^[^>].*?<img src=["']data/im
rawbody PICTURE_ONE_CASE /^[^>].*?<(?:img src|IMG SRC)=/m
rawbody LINKED /^[^>].*?<a href=/im
"""


def test_line_ends_are_matched(tmp_path: Path) -> None:
    content = message_bytes(
        '<p>word</p>label<p>other</p><p>tag one</p><p>tag</p><p class="a" name="b">\r\n\r\n<img src="x.png">',
        Content_Type="text/html",
    )
    assert set(hits(load(tmp_path, LINES), content)) == {
        "WORD",
        "LABEL",
        "LATER",
        "OTHER",
        "PICTURE",
        "PICTURE_ONE_CASE",
    }


def test_findings_are_scored_and_combined(ruleset: rules.Rules) -> None:
    found = hits(ruleset, message_bytes("apple"), "SPF_FAIL", "UNSCORED")
    assert found["SPF_FAIL"] == 2.0
    assert found["SUM"] == 1.0
    assert "UNSCORED" not in found


def test_scores_and_evidence(ruleset: rules.Rules) -> None:
    found = {hit.name: hit for hit in ruleset.match(mail(message_bytes("at last you have won the prize")), ())}
    assert found["SUBJ"].score == 1.5
    assert found["SUBJ"].description == "Says hello"
    assert found["T_TEST"].score == 0.01
    assert found["PRIZE"].evidence == ("body: at last you have won the prize",)


@pytest.mark.parametrize(
    ("line", "severity", "reason"),
    [
        ("body X /(/", "error", "parenthesis"),
        ("body X nothing", "error", "slashes"),
        ("body X /a", "error", "no end"),
        ("score X abc", "error", "not one number"),
        ("score X 1 2", "error", "2 numbers"),
        ("meta X A &&", "error", "missing"),
        ("meta X A @ B", "error", "not understood"),
        ("header X Subject", "error", "FIELD"),
        ("header X eval:check()", "unsupported", "eval"),
        ("use_bayes 1", "note", "use_bayes"),
        ("test X maybe", "error", "ok or fail"),
        ("include nowhere.cf", "error", "not there"),
        ("endif", "error", "without"),
        ("ifplugin Foo\nendif", "note", "left out"),
        ("if (version >= 3.004)", "error", "endif"),
    ],
)
def test_every_line_is_obeyed_or_listed(tmp_path: Path, line: str, severity: str, reason: str) -> None:
    problems = load(tmp_path, f"# comment\n{line}\n").files.problems
    assert any(one.severity == severity and reason in one.reason for one in problems), problems
    assert all(one.place.path == "t.cf" for one in problems)


def test_conditions(tmp_path: Path) -> None:
    text = "if (version >= 3.004)\nbody YES /a/\nelse\nbody NO /a/\nendif\nifplugin Foo\nbody NO2 /a/\nelse\nbody YES2 /a/\nendif\n"
    assert set(load(tmp_path, text).files.rules) == {"YES", "YES2"}


def test_later_lines_override(tmp_path: Path) -> None:
    (tmp_path / "a.cf").write_text("body A /one/\nscore A 1\n")
    (tmp_path / "b.cf").write_text("score A 3\n")
    assert hits(rules.load([tmp_path]), message_bytes("one")) == {"A": 3.0}


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such rule file"):
        rules.load([tmp_path / "none"])
    with pytest.raises(ConfigError, match=r"no \*.cf file"):
        rules.load([tmp_path])


def test_the_cache_gives_the_same_hits(tmp_path: Path) -> None:
    first = load(tmp_path, FILE)
    assert list((tmp_path / "cache").glob("*.hsdb"))
    again = load(tmp_path, FILE)
    content = message_bytes("you have won apple payment")
    assert first.match(mail(content), ()) == again.match(mail(content), ())
    assert first.id == again.id
    for path in (tmp_path / "cache").glob("*.hsdb"):
        path.write_bytes(b"rubbish")
    assert load(tmp_path, FILE).match(mail(content), ()) == first.match(mail(content), ())


def test_databases_nobody_loads_any_more_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    four = "".join(f"body B{number} /word {number}/\n" for number in range(4))
    load(tmp_path, four)
    (old,) = (tmp_path / "cache").glob("*.hsdb")
    os.utime(old, (1, 1))
    load(tmp_path, four)
    assert old.stat().st_mtime > 1  # it was loaded now
    os.utime(old, (1, 1))
    monkeypatch.setattr(matcher, "_MAX_CACHE", old.stat().st_size * 3 // 2)
    load(tmp_path, four.replace("word", "term"))
    (kept,) = (tmp_path / "cache").glob("*.hsdb")
    assert kept != old


def test_a_greedy_pattern_gives_up(tmp_path: Path) -> None:
    ruleset = load(tmp_path, "body GREEDY /(a+)+(?!b)$/\n")
    content = mail(message_bytes("a" * 60 + "b!"))
    assert ruleset.counts(content) == {"RULES_PATTERN_GAVE_UP": 1.0}
    assert ruleset.match(content, ()) == ()  # what it costs is for a `score` line to say


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("A", {"A": 2}, 2), ("!A", {}, 1), ("A && B", {"A": 1}, 0), ("A || B && C", {"A": 1}, 1), ("(A || B) && C", {"A": 1}, 0),
        ("A + B * 2 > 4", {"A": 1, "B": 2}, 1), ("1 - 2 - 3", {}, -4), ("A / 0", {"A": 1}, 0), ("-A + 3", {"A": 1}, 2), ("A==1", {"A": 1}, 1),
        ("!A && !B", {}, 1),
    ],
)  # fmt: skip
def test_expressions(text: str, values: dict[str, float], expected: float) -> None:
    assert expression.evaluate(expression.parse(text), values) == expected


@given(st.text("AB12()&|!<>=+-*/ ", max_size=40))
def test_expressions_are_total(text: str) -> None:
    try:
        node = expression.parse(text)
    except ValueError:
        return
    assert isinstance(float(expression.evaluate(node, {"A": 1.0})), float)


@given(st.text(max_size=60))
def test_literals_are_total(text: str) -> None:
    try:
        regex = parse_literal(text)
    except ValueError:
        return
    assert regex.text == fold(regex.text)


@pytest.mark.parametrize(
    "written",
    [
        "تأیید وام فوری ۱۲", "تایید وام فوری 12", "تاييد وام فوري ١٢", "تـأیـید وام‌فوری ۱۲", "تَأیید وامِ فوری ۱۲",
        "تا\u0654یید وام فوری ۱۲", "\u202bتأیید\u202c \u2067وا\u2068م\u2069\u2069 فوری ۱۲", "تأی\u061cید وا\u2063م فوری ۱۲",
        "ﺗﺄﯾﯿﺪ ﻭﺍﻡ ﻓﻮﺭﯼ ۱۲", "تأییٖد وام فورۍ ۱۲", "تأیید\u00a0وام\u200fفوری ۱۲".replace("\u200f", "\u200f "),
    ],
    ids=ascii,
)  # fmt: skip
def test_persian_is_matched_however_it_was_typed(written: str, tmp_path: Path) -> None:
    ruleset = load(tmp_path, "body FA /تأیید وام فوری 12/\n")
    content = mail(message_bytes(f"لطفاً برای {written} بیایید", Content_Type="text/plain; charset=utf-8"))
    assert ruleset.counts(content) == {"FA": 1.0}


@given(
    st.text(
        st.characters(min_codepoint=0x600, max_codepoint=0x6FF)
        | st.characters(min_codepoint=0xFB50, max_codepoint=0xFEFF)
    )
)
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.binary(max_size=400))
def test_match_never_raises(ruleset: rules.Rules, content: bytes) -> None:
    ruleset.match(mail(content), ())


def test_report(tmp_path: Path) -> None:
    ruleset = load(
        tmp_path,
        "body A /apple/\ndescribe A Apples\nscore A 1\ntest A ok an apple\ntest A fail a pear\ntest A ok a pear\n"
        "score NOBODY 2\nmeta M A && GHOST\ntest M fail A\nbody __UNUSED /x/\nscore SPF_FAIL 1\n",
    )
    found = report.check(ruleset.files, {"SPF_FAIL"})
    assert (found.rules, found.tests, len(found.failures)) == (3, 4, 1)
    assert "a pear" in found.failures[0].text
    said = " / ".join(one.reason for one in found.warnings)
    for words in ("NOBODY is neither", "M names GHOST", "__UNUSED is used by no meta", "M has no describe"):
        assert words in said
    assert "SPF_FAIL" not in said
    assert "matches:  apple" in report.explain(ruleset.files, "A")
    assert "used by M" in report.explain(ruleset.files, "A")
    with pytest.raises(KeyError):
        report.explain(ruleset.files, "NOTHING")


def test_firm_hits_are_named(tmp_path: Path) -> None:
    found = load(tmp_path, "score SPF_FAIL 2\ntflags SPF_FAIL firm\nbody A /a/\ntflags A nice\n")
    assert found.firm == {"SPF_FAIL"}
