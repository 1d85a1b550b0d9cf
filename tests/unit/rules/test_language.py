"""The language of rule files: each directive, what it does and how it is refused."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.rules import condition, perl
from gateway.rules.plugins import RUN
from gateway.rules.reader import read, read_lines
from gateway.rules.regex import compile_confirming, parse_literal, search
from gateway.rules.rule import RuleFiles
from gateway.rules.setting import parse_network


def files(tmp_path: Path, text: str | bytes, column: int = 3) -> RuleFiles:
    path = tmp_path / "t.cf"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read([path], column)


def reasons(found: RuleFiles) -> str:
    return " / ".join(f"{one.severity} {one.place}: {one.reason}" for one in found.problems)


# --- lines ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("body A /a/", "a"),
        ("  body   A\t/a/  ", "a"),
        ("BODY A /a/", "a"),
        ("body A /a/ # behind it", "a"),
        (r"body A /a\#b/ # behind it", "a#b"),
        ("body A /a/\r", "a"),
        (b"body A /\xe4\xf6/", r"\xe4\xf6"),
        ("body A /ä/", "ä"),
    ],
)
def test_lines(tmp_path: Path, line: str | bytes, pattern: str) -> None:
    found = files(tmp_path, line)
    assert not found.problems
    assert found.rules["A"].regex is not None
    assert found.rules["A"].regex.text == pattern


def test_latin_descriptions_are_read(tmp_path: Path) -> None:
    found = files(tmp_path, b"lang de describe A f\xfcr alle\nbody A /a/\n")
    assert found.translations["de"]["A"] == "für alle"


# --- patterns -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("literal", "hits", "misses"),
    [
        ("/a/i", "A", "b"),
        (r"/a\/b/", "a/b", "ab"),
        ("m{a{2}}", "aa", "a"),
        ("m<a>", "a", "b"),
        ("m(a(b))", "ab", "a"),
        ("m[a[bc]]", "ac", "a"),
        ("m!a/b!", "a/b", "ab"),
        (r"m!a\!b!", "a!b", "ab"),
        (r"m|a\|b|", "a|b", "ab"),
        ("m,a,", "a", "b"),
        ("m~a~i", "A", "b"),
        ("qr/a/", "a", "b"),
        ("/a.b/s", "a\nb", "ab"),
        ("/^b/m", "a\nb", "ab"),
        ("/a b/x", "ab", "a b"),
        ("/a/gou", "a", "b"),
        ("/a/aa", "a", "b"),
        ("/(a)b/n", "ab", "a"),
        (r"/(?<x>a)\k<x>/", "aa", "ab"),
        (r"/(?<x>a)|(?<x>b)/", "b", "c"),
        (r"/(a)\1/", "aa", "ab"),
        (r"/(a|b)\1/", "bb", "ab"),
        (r"/\xA/", "\n", "xA"),
        (r"/[\x{41}-\x{43}]/", "B", "D"),
        (r"/[\x{200b}-\x{200f}]/", "\u200e", "a"),
        (r"/a\x{200e}b/x", "a\u200eb", "ab"),
        (r"/\x{}a/", "\0a", "a"),
        ("/a++b/", "aab", "b"),
        ("/(?>a+)b/", "aab", "b"),
        ("/(?<!x)a/", "ba", "xa"),
        (r"/a\Kb/", "ab", "b"),
        (r"/a\h/", "a\t", "ab"),
        (r"/a\z/", "a", "a\n"),
        (r"/a\Z/", "a\n", "ab"),
        (r"/\x{41}\x42/", "AB", "ab"),
        (r"/\x{200c}/", "a\u200cb", "ab"),
        (r"/\N{U+200C}/", "a\u200cb", "ab"),
        ("/a{,2}b/", "aab", "ac"),
        (r"/[a{,2}]c/", ",c", "dc"),
        ("/[[:alpha:]]1/", "a1", "11"),
        ("/[][]a/", "]a", "ba"),
        (r"/a@b$/", "a@b", "ab"),
        (r"/\@\$/", "@$", "a"),
        (r"/سلام/", "سلام", "خوب"),
    ],
)
def test_patterns(literal: str, hits: str, misses: str) -> None:
    compiled = compile_confirming(parse_literal(literal))
    assert search(compiled, hits.encode()) is not None
    assert search(compiled, misses.encode()) is None


@pytest.mark.parametrize(
    ("literal", "reason"),
    [
        ("a", "slashes"),
        ("ma", "slashes"),
        ("/a", "no end"),
        ("/a/e", "not flags"),
        ("/a/b/", "must be written"),
        ("m!a!b!", "must be written"),
        ("/(/", "parenthesis"),
        ("/(?{1})/", "pattern"),
        (r"/[\d-\w/", "pattern"),
        ("//q", "not flags"),
        (r"/\Ua/", "does not exist"),
        (r"/\x{110000}/", "no character"),
        (r"/\N{U+D800}/", "no character"),
    ],
)
def test_refused_patterns(literal: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        compile_confirming(parse_literal(literal))


@given(st.text(r"ab[]{},\/N+U0:^n()?<>'1", max_size=30))
def test_translation_keeps_what_pcre2_takes(pattern: str) -> None:
    try:
        text, flags = perl.translate(pattern, "i")
    except ValueError:
        return
    assert flags == "i"
    assert perl.translate(text, "")[0] == text  # nothing left to translate


# --- conditions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("(version >= 3.004002)", True),
        ("version < 4.000000", False),
        ("version >= 4.000001 && version < 5", True),
        ("perl_version >= 5.010", True),
        ("plugin(Mail::SpamAssassin::Plugin::DKIM)", True),
        ("plugin ( DKIM )", True),
        ("!plugin(Mail::SpamAssassin::Plugin::DCC)", True),
        ("plugin(Mail::SpamAssassin::Plugin::WhiteListSubject)", True),
        ("can(Mail::SpamAssassin::Conf::feature_bug6558_free)", True),
        ("!(can(Mail::SpamAssassin::Conf::feature_bug6558_free))", False),
        ("has(Mail::SpamAssassin::Conf::feature_nothing)", False),
        ("can(Mail::SpamAssassin::Conf::compat_mine)", True),
        ("(plugin(DCC) || plugin(SPF)) && !(1 > 2)", True),
        ("local_tests_only", False),
        ("1 + 1 == 2", True),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    assert condition.holds(text, RUN, {"mine"}) is holds


@pytest.mark.parametrize("text", ["", "foo", "system('x')", "version >=", "plugin(", "(" * 500])
def test_refused_conditions(text: str) -> None:
    with pytest.raises(ValueError, match="condition"):
        condition.holds(text, RUN)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("if version > 3\nbody A /a/\nelse\nbody B /b/\nendif", "A"),
        ("if version < 3\nbody A /a/\nelse\nbody B /b/\nendif", "B"),
        ("if version < 3\nif version > 3\nbody A /a/\nelse\nbody B /b/\nendif\nelse\nbody C /c/\nendif", "C"),
        ("ifplugin Mail::SpamAssassin::Plugin::SPF\nbody A /a/\nendif\nbody B /b/", "A B"),
        ("ifplugin AnyThing\nbody A /a/\nendif # AnyThing\nbody B /b/", "B"),
        ("enable_compat new_ways\nif can(Mail::SpamAssassin::Conf::compat_new_ways)\nbody A /a/\nendif", "A"),
        ("body A /a/\nrequire_version 3.001000\nbody B /b/", "A"),
        ("require_version 4.000001\nbody B /b/", "B"),
        ("require_version @@VERSION@@\nbody B /b/", "B"),
    ],
)
def test_lines_that_count(tmp_path: Path, text: str, rules: str) -> None:
    assert " ".join(files(tmp_path, text).rules) == rules


def test_includes(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("body B /b/\nbody BAD /(/\nif version > 1\n")
    found = files(tmp_path, "body A /a/\ninclude in.txt\nbody C /c/\ninclude t.cf\ninclude /dev/null\ninclude .\n")
    assert set(found.rules) == {"A", "B", "C"}
    said = reasons(found)
    for words in ("in.txt:2: pattern", "an `if` has no `endif`", "too many files", ". is not there"):
        assert words in said


def test_a_branching_include_ends(tmp_path: Path) -> None:
    assert "too many files" in reasons(files(tmp_path, "include t.cf\n" * 3))


# --- directives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("header A Subject =~ /a/", {"kind": "header", "selector": "Subject", "is_negated": False}),
        ("header A Subject: =~ /a/", {"selector": "Subject"}),
        ("header A Subject=~/a/", {"selector": "Subject"}),
        ("header A From:addr !~ /a/", {"selector": "From:addr", "is_negated": True}),
        ("header A Reply-To:addr:domain =~ /a/", {"selector": "Reply-To:addr:domain"}),
        ("header A ALL:raw =~ /a/", {"selector": "ALL:raw"}),
        ("header A X-Spam-Relays-Untrusted =~ /^\\[ ip=1/", {"selector": "X-Spam-Relays-Untrusted"}),
        ("header A X =~ /a/ [if-unset: no one]", {"if_unset": "no one"}),
        ("header A exists:X-Foo", {"kind": "header", "selector": "X-Foo", "is_exists": True, "regex": None}),
        ("mimeheader A Content-Type:raw =~ /a/", {"kind": "mimeheader", "selector": "Content-Type:raw"}),
        ("rawbody A /a/", {"kind": "rawbody"}),
        ("uri A /a/", {"kind": "uri"}),
        ("full A /a/", {"kind": "full"}),
        ("meta A B && (C > 2)", {"kind": "meta", "expression": "B && (C > 2)"}),
        ("meta A ()", {"expression": "0"}),
        (
            "header A eval:check_for_shifted_date('3', \"6\")",
            {"kind": "eval", "function": "check_for_shifted_date", "arguments": ("3", "6"), "text_kind": "header"},
        ),
        (
            "body A eval:html_tag_exists(center)",
            {"function": "html_tag_exists", "arguments": ("center",), "text_kind": "body"},
        ),
        ("header A eval:check_from_in_whitelist()", {"function": "check_from_in_welcomelist", "arguments": ()}),
        ("full A eval:check_dkim_valid()", {"text_kind": "full"}),
    ],
)
def test_rules(tmp_path: Path, line: str, facts: dict[str, object]) -> None:
    found = files(tmp_path, line)
    assert not found.problems
    assert {name: getattr(found.rules["A"], name) for name in facts} == facts


@pytest.mark.parametrize(
    ("line", "severity", "reason"),
    [
        ("body 1A /a/", "error", "not a rule name"),
        ("body A-B /a/", "error", "not a rule name"),
        (f"body {'A' * 101} /a/", "error", "not a rule name"),
        ("body", "error", "not a rule name"),
        ("header A Subject", "error", "FIELD"),
        ("header A Subject:size =~ /a/", "error", "modifier"),
        ("header A exists:", "error", "FIELD"),
        ("mimeheader A Content-Type:addr =~ /a/", "error", ":raw"),
        ("header A eval:check_rbl('a', 'b.example.')", "unsupported", "DNS list"),
        ("header A rbleval:check_rbl('a', 'b.example.')", "unsupported", "DNS list"),
        ("header A eval:check_my_own()", "unsupported", "no such function"),
        ("body A eval:html_range('beauty', '1', '2')", "unsupported", "beauty"),
        ("header A eval:check_x", "error", "eval:function"),
        ("header A eval:check_dkim_valid('a' 'b')", "error", "argument"),
        ("header A Subject =~ /%{NAME}/", "unsupported", "%{NAME}"),
        ("meta A B ** C", "error", "meta"),
        ("meta A", "error", "missing"),
        ("meta A A || B", "error", "depends on itself"),
        ("askdns A _X_.example TXT /x/", "unsupported", "DNS list"),
        ("urirhssub A multi.example. A 2", "unsupported", "DNS list"),
        ("uri_detail A raw =~ /x/", "unsupported", "uri or rawbody"),
        ("score A", "error", "0 numbers"),
        ("score A 1 2", "error", "2 numbers"),
        ("score A nan", "error", "not one number"),
        ("score A (1)", "error", "none was set"),
        ("score A 1e5", "error", "not one number"),
        ("priority A soon", "error", "not a number"),
        ("test A maybe", "error", "ok or fail"),
        ("trusted_networks 300.1.1.1", "error", "not a network"),
        ("trusted_networks", "error", "network"),
        ("whitelist_from", "error", "address"),
        ("whitelist_from_rcvd a@example.org", "error", "relay"),
        ("enlist_addrlist a@example.org", "error", "parentheses"),
        ("enlist_uri_host (L)", "error", "parentheses"),
        ("replace_tag A", "error", "name, then a pattern"),
        ("required_score five", "error", "not a number"),
        ("enable_compat a b", "error", "one name"),
        ("require_version new", "error", "not a version"),
        ("require_version 3.0", "error", "its rest is left out"),
        ("loadplugin Mail::SpamAssassin::Plugin::TxRep", "unsupported", "TxRep"),
        ("loadplugin My::Own /etc/own.pm", "unsupported", "My::Own"),
        ("loadplugin Mail::SpamAssassin::Plugin::Razor2", "note", "ask a server"),
        ("use_razor2 1", "unsupported", "Razor2"),
        ("bayes_path /x", "note", "no effect"),
        ("report-safe 1", "note", "no effect"),
        ("bayes_stopword_fa (?:x)", "note", "no effect"),
        ("adsp_override example.org", "note", "DMARC"),
        ("lang de report Hallo", "note", "only describe"),
        ("lang de score A 1", "unsupported", "only describe"),
        ("elsif version > 3", "error", "no such directive"),
        ("subject A /a/", "error", "no such directive"),
        ("else", "error", "without"),
    ],
)
def test_every_line_is_obeyed_or_listed(tmp_path: Path, line: str, severity: str, reason: str) -> None:
    found = files(tmp_path, f"# comment\n{line}\n")
    assert any(one.severity == severity and reason in one.reason for one in found.problems), reasons(found)
    assert {str(one.place) for one in found.problems} == {"t.cf:2"}


def test_lines_alike_make_one_note(tmp_path: Path) -> None:
    found = files(tmp_path, "report a\nreport b\nreport c\n")
    assert [(one.place.line, "3 lines" in one.reason) for one in found.problems] == [(1, True)]


@pytest.mark.parametrize(
    ("text", "column", "score"),
    [
        ("body A /a/", 3, 1.0),
        ("body T_A /a/", 3, 0.01),
        ("body A /a/\ntflags A nice", 3, -1.0),
        ("body __A /a/", 3, 0.0),
        ("score A 1\nscore A 2", 3, 2.0),
        ("score A 1 2 3 4", 3, 4.0),
        ("score A 1 2 3 4", 0, 1.0),
        ("score A 1\nscore A (1.5)", 3, 2.5),
        ("score A 1 2 3 4\nscore A (0) (-1) (0) (-1)", 3, 3.0),
        ("score A -.5", 3, -0.5),
    ],
)
def test_scores(tmp_path: Path, text: str, column: int, score: float) -> None:
    name = next(word for word in text.split() if word.endswith("A"))
    assert files(tmp_path, text, column).score(name) == score


def test_flags_and_priorities(tmp_path: Path) -> None:
    found = files(tmp_path, "tflags A multiple maxhits=3\ntflags A net\npriority A -50\nbody B /(?<NAME>a)/\n")
    assert found.tflags["A"] == {"net"}
    assert found.priorities == {"A": -50, "B": -10000}


def test_the_last_definition_holds(tmp_path: Path) -> None:
    found = files(
        tmp_path,
        "body A /a/\nheader A Subject =~ /b/\nbody B eval:check_rbl('x', 'y')\nmeta B 0\nbody C /c/\nbody C /(/\n",
    )
    assert (found.rules["A"].kind, found.rules["B"].kind, found.rules["C"].kind) == ("header", "meta", "body")
    assert not found.unsupported


def test_circles_of_metas_are_broken(tmp_path: Path) -> None:
    found = files(tmp_path, "meta A B\nmeta B A\nmeta C A\nmeta D E\nbody E /e/\n")
    assert set(found.rules) == {"D", "E"}
    assert set(found.unsupported) == {"A", "B", "C"}


def test_metas_nested_too_deep_do_not_run(tmp_path: Path) -> None:
    chain = "".join(f"meta M{number} M{number - 1}\n" for number in range(1, 1500))
    found = files(tmp_path, f"body M0 /a/\n{chain}meta LAST M1499 || M3\n")
    assert set(found.rules) == {f"M{number}" for number in range(51)}
    assert "nested deeper than 50" in found.unsupported["LAST"]


def test_rules_matching_is_written_out(tmp_path: Path) -> None:
    found = files(
        tmp_path, "meta M rules_matching(__F_*) >= 2\nmeta N rules_matching(Q?)\nbody __F_2 /b/\nbody __F_1 /a/\n"
    )
    assert found.rules["M"].expression == "(__F_1 + __F_2) >= 2"
    assert found.rules["N"].expression == "(0)"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("<A>", "(?:a|@)"),
        ("<A><B>", "(?:a|@)[b8]"),
        ("<inter W><A><B>", r"(?:a|@)\W?[b8]"),
        ("<post P><A><B>", "(?:a|@){1,2}[b8]{1,2}"),
        ("<pre Q><A>x", "q(?:a|@)x"),
        ("<AB>", "(?:a|@)[b8]"),
        ("<NONE>(?<!x)", "<NONE>(?<!x)"),
        ("(?<x><A>)", "(?<x>(?:a|@))"),
    ],
)
def test_replace_rules(tmp_path: Path, pattern: str, expected: str) -> None:
    found = files(
        tmp_path,
        f"replace_rules R\nbody R /{pattern}/i\nbody OTHER /<A>/\nreplace_tag A (?:a|@)\nreplace_tag B [b8]\n"
        "replace_tag AB <A><B>\nreplace_inter W \\W?\nreplace_post P {1,2}\nreplace_pre Q q\n",
    )
    rule, other = found.rules["R"].regex, found.rules["OTHER"].regex
    assert rule is not None
    assert other is not None
    assert (rule.text, other.text) == (expected, "<A>")
    assert found.rules["R"].written in (pattern, "")


def test_long_replacements_are_shared(tmp_path: Path) -> None:
    letters = "".join(f"[\\x{code:02x}z]|" for code in range(128, 255))
    found = files(tmp_path, f"replace_rules R\nreplace_tag A (?:{letters}a)\nbody R /{'<A>' * 60}$/\n")
    assert not found.problems
    rule = found.rules["R"].regex
    assert rule is not None
    assert "DEFINE" in rule.text
    assert search(compile_confirming(rule), b"a" * 60) is not None
    assert search(compile_confirming(rule), b"a" * 59 + b"b") is None


def test_other_marks_of_tags(tmp_path: Path) -> None:
    found = files(tmp_path, "replace_start <\nreplace_end >\nreplace_tag A a\nreplace_rules R\nbody R /<A>/\n")
    assert found.rules["R"].regex is not None
    assert found.rules["R"].regex.text == "a"


def test_a_replacement_that_does_not_compile_is_listed(tmp_path: Path) -> None:
    found = files(tmp_path, "replace_tag A (\nreplace_rules R\nbody R /<A>/\n")
    assert "t.cf:3: R, after replace_rules" in reasons(found)


# --- lists and networks ---------------------------------------------------------------------------------------------


def test_lists(tmp_path: Path) -> None:
    found = files(
        tmp_path,
        "whitelist_from A@example.org *@b.example\nwelcomelist_from c@example.org\nunwhitelist_from c@example.org\n"
        "blacklist_from *@spam.example\nblocklist_to x@example.org\ndef_whitelist_auth *@d.example\n"
        "unwhitelist_auth *@d.example\nwhitelist_from_rcvd *@e.example e.example\nwhitelist_from_rcvd *@e.example [192.0.2.0/24]\n"
        "whitelist_from_dkim *@f.example\nwhitelist_from_dkim *@f.example g.example\nunwhitelist_from_dkim *@f.example g.example\n"
        "enlist_addrlist (MINE) m@example.org\nenlist_addrlist (whitelist_to) w@example.org\n"
        "enlist_uri_host (BAD) !ok.bad.example bad.example\nblacklist_uri_host worse.example\ndelist_uri_host (BAD) bad.example\n"
        "freemail_domains a.example *.b.example\nwhitelist_subject [list] news\n",
    )
    assert not found.problems
    addresses = {name: entries for name, entries in found.lists.addresses.items() if entries}
    assert addresses == {
        "welcomelist_from": {"a@example.org": (), "*@b.example": ()},
        "blocklist_from": {"*@spam.example": ()},
        "blocklist_to": {"x@example.org": ()},
        "welcomelist_from_rcvd": {"*@e.example": ("e.example", "[192.0.2.0/24]")},
        "welcomelist_from_dkim": {"*@f.example": ("",)},
        "MINE": {"m@example.org": ()},
        "welcomelist_to": {"w@example.org": ()},
    }
    assert found.lists.uri_hosts == {"BAD": {"ok.bad.example": False}, "BLOCK": {"worse.example": True}}
    assert found.lists.words["freemail_domains"] == {"a.example", "*.b.example"}
    assert found.lists.words["welcomelist_subject"] == {"[list] news"}


@pytest.mark.parametrize(
    ("text", "network", "is_in"),
    [
        ("192.0.2.1", "192.0.2.1/32", True),
        ("192.0.2.0/24", "192.0.2.0/24", True),
        ("192.0.2.", "192.0.2.0/24", True),
        ("192.0", "192.0.0.0/16", True),
        ("10/8", "10.0.0.0/8", True),
        ("!10.1.2.3", "10.1.2.3/32", False),
        ("[2001:db8::]/32", "2001:db8::/32", True),
        ("[2001:db8::1]", "2001:db8::1/128", True),
        ("192.0.2.77/24", "192.0.2.0/24", True),
    ],
)
def test_networks(text: str, network: str, is_in: bool) -> None:
    assert parse_network(text) == (ip_network(network), is_in)


def test_internal_networks_have_to_be_trusted(tmp_path: Path) -> None:
    found = files(
        tmp_path,
        "trusted_networks 10/8\nclear_trusted_networks\ntrusted_networks 192.0.2/24\ninternal_networks 192.0.2.1 10/8\n",
    )
    assert found.networks.trusted == ((ip_network("192.0.2.0/24"), True),)
    assert found.networks.internal == ((ip_network("192.0.2.1"), True),)
    assert "10.0.0.0/8 is left out" in reasons(found)


def test_plugin_files_are_read_first(tmp_path: Path) -> None:
    (tmp_path / "v310.pre").write_text("loadplugin Mail::SpamAssassin::Plugin::DCC\n")
    (tmp_path / "a.cf").write_text("ifplugin Mail::SpamAssassin::Plugin::DCC\nfull D eval:check_dcc()\nendif\n")
    assert set(read([tmp_path]).unsupported) == {"D"}
    (tmp_path / "v310.pre").unlink()
    assert not read([tmp_path]).unsupported


def test_obeyed_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.cf"
    path.write_text(
        "enable_compat x\nloadplugin DKIM\nif version > 3\nscore A 1\nendif\nuse_bayes 1\nwhitelist_from a@example.org\n"
    )
    _, lines = read_lines([path])
    assert [line for _, line in lines] == ["score A 1", "whitelist_from a@example.org"]


# --- hostile files --------------------------------------------------------------------------------------------------

_WORDS = st.sampled_from(
    """header body meta score describe if else endif ifplugin include lang replace_tag replace_rules test tflags
    whitelist_from trusted_networks enlist_uri_host mimeheader eval:html_test('html') /a/ =~ !~ (1) <A> A __B rules_matching(*)
    exists:X m{a{,3}} /(?<A>a)/ 10/8 \\# # [if-unset: version >= plugin( ) ( && || ! 0 1.5 \x00 é \xff""".split()
)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300), st.lists(st.lists(_WORDS, max_size=6).map(" ".join)).map("\n".join).map(str.encode)
    )
)
def test_any_bytes_are_a_rule_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.cf"
    path.write_bytes(content)
    try:
        found = read([path])
    except ConfigError:
        return
    assert isinstance(found, RuleFiles)
    for rule in found.rules.values():
        if rule.regex is not None:
            compile_confirming(rule.regex)


@pytest.mark.parametrize(
    "text",
    [
        "if version\n" * 20_000,
        "body A /" + "(" * 50_000 + "/",
        "body A /" + "(a{1000}){1000}" * 100 + "/",
        "meta A " + "(" * 100_000,
        "meta A " + "!" * 100_000,
        "score A " + "1 " * 100_000,
        "header A eval:html_test(" + "'a'," * 50_000 + ")",
        "trusted_networks " + "10/8 " * 20_000,
        "replace_tag A <B><B><B><B>\nreplace_tag B <A><A><A><A>\nreplace_rules R\nbody R /<A><B>/",
        "body A /%{" + "A" * 100_000 + "/",
        "\n".join(f"meta M{number} M{number + 1}" for number in range(20_000)),
        "meta X rules_matching(" + "*" * 100 + "Z)\nbody " + "A" * 90 + " /a/",
    ],
    ids=range(12),
)
def test_hostile_files_end(tmp_path: Path, text: str) -> None:
    files(tmp_path, text)
