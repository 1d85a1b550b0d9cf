"""loosen: whatever a pattern matches, the looser one matches; and the pass misses nothing that PCRE2 finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.loosen import MAX_WEIGHT, Loosened, loosen
from gateway.rules.matcher import Matcher
from gateway.rules.regex import compile_confirming, search
from gateway.rules.rule import Regex
from gateway.rules.text import SEPARATOR

LETTER = r"(?:[aA4@]|\\xc3\\xa4|&auml;)"


@pytest.mark.parametrize(
    ("pattern", "looser"),
    [
        ("plain", "plain"),
        (r"(?!price)pr[i1]ce(?=s)", "pr[i1]ce"),
        (r"(?<!no )free(?<=e)", "free"),
        (r"\Aabc\z", "^abc$"),
        (r"a{0,2048}b{3,}c{2,100}", "a*b{3,}c{2,}"),
        (r"(?>a|b)c++d?+", "(?:a|b)c+d?"),
        (r"a|b(?=c)", "a|b"),
        (r"a\s$|b\s*$|(?:c|\W)$", r"a\s|b\s*$|(?:c|\W)"),  # behind a text's line end no line ends in the buffer
        (r"[^]a(]b", "[^]a(]b"),
        (r"a\(b(?!\))", r"a\(b"),
        (r"(?&T0)x(?&T1){2}(?(DEFINE)(?<T0>a|b)(?<T1>[cd]))", "(?:a|b)x(?:[cd]){2}"),
        (r"((unbalanced", "((unbalanced"),
        (r"\Qa(b\E", r"\Qa(b\E"),
    ],
)
def test_looser(pattern: str, looser: str) -> None:
    assert loosen(pattern) == Loosened((looser,), is_looser=looser != pattern)


@pytest.mark.parametrize(
    ("pattern", "in_ascii"),
    [
        (r"p(?:[i1\xec-\xef]|\xc3[\x8c-\x8f])ll", ["p(?:[i1])ll"]),
        (r"[\xe9]?a\xc3{0,2}b[\xe9a-c]+", ["ab[a-c]+"]),
        (r"caf(?:\xe9|\xc3\xa9)", []),
        (r"caf(?:\xe9|\xc3\xa9)?s", ["cafs"]),
        (r"[\xff^a][a\x{1F600}]\x{17f}", [r"[\^a][a]\x{17f}"]),
        (r"[^\xff]|\x{200b}", [r"[^\xff]"]),
        (r"(?&T0)x(?&T1)?(?(DEFINE)(?<T0>a|\xe9)(?<T1>\xe9))", ["(?:a)x"]),
        (r"(?&T1)x(?(DEFINE)(?<T0>a)(?<T1>\xe9))", []),
    ],
)
def test_text_in_ascii_needs_less(pattern: str, in_ascii: list[str]) -> None:
    assert list(loosen(pattern, is_ascii=True).expressions) == in_ascii


def test_anchors_can_go() -> None:
    assert loosen(r"^a:.*^b$", keeps_anchors=False) == Loosened(("a:.*b",))


def test_a_heavy_pattern_keeps_its_most_telling_stretch() -> None:
    wide = r"[^\n]{0,60}" * 20
    (looser,) = loosen(f"{wide}account number{wide}").expressions
    assert "account number" in looser
    assert looser.count("{0,60}") * 60 <= MAX_WEIGHT


def test_a_heavy_alternative_keeps_a_stretch_of_each() -> None:
    wide = r"\W{0,60}" * 20
    looser = " ".join(loosen(f"(?:{wide}transfer|{wide}inheritance)").expressions)
    assert "transfer" in looser
    assert "inheritance" in looser


def test_a_heavy_repeat_is_counted() -> None:
    fields = "|".join(
        f"{word} (?:holder )?number" for word in ("account", "card", "passport", "licence", "telephone") * 2
    )
    loosened = loosen(f"(?:(?:your )?(?:{fields})[:. ]{{0,9}}){{5}}")
    assert loosened.times == 5
    regex = Regex(f"(?:(?:your )?(?:{fields})[:. ]{{0,9}}){{5}}", "")
    matcher = Matcher([regex, Regex("zzz", ""), Regex("yyy", ""), Regex("xxx", "")], None)
    assert (
        0 in matcher.candidates(b"account number: card number: passport number: licence number telephone number").ends
    )
    assert 0 not in matcher.candidates(b"account number: card number: passport number: licence number").ends


PIECES = st.sampled_from(
    ["a", "b", "ab", "[ab]", "[^a]", ".", r"\s", r"\S", r"\W", r"\b", "^", "$", "(?=a)", "(?!b)", "(?<=a)", "(?<!b)", r"\A", r"\z", " ", r"[b\xc3-\xc5]", r"(?:b|\xc3\xa9)", r"\xa9", r"[\xa9^a]"]
)  # fmt: skip
REPEATS = st.sampled_from(["", "", "", "?", "*", "+", "{0,70}", "{2}", "??", "++"])
ATOMS = st.builds(
    lambda piece, repeat: piece if piece[0] in "^$" or piece[:2] in ("(?", r"\b", r"\A", r"\z") else piece + repeat,
    PIECES,
    REPEATS,
)
SEQUENCES = st.lists(ATOMS, min_size=1, max_size=5).map("".join)
PATTERNS = st.recursive(
    SEQUENCES,
    lambda inner: (
        st.builds(lambda a, b, repeat: f"(?:{a}|{b}){repeat}", inner, inner, st.sampled_from(["", "?", "{1,2}"]))
        | st.builds(lambda a, b: a + b, inner, inner)
    ),
    max_leaves=4,
)
TEXTS = st.lists(st.text("ab \n.éK", max_size=12), min_size=1, max_size=4)


@given(PATTERNS, TEXTS, st.sampled_from(["", "i", "s", "is"]))
def test_the_pass_misses_nothing(pattern: str, texts: list[str], flags: str) -> None:
    """A pattern that matches a text alone is a candidate in the buffer; and `exact` ones are right."""
    regex = Regex(pattern, flags)
    matcher = Matcher([regex, Regex("zzz", ""), Regex("yyy", ""), Regex("xxx", "")], None)
    alone = [f"{text}\n".encode() for text in texts]
    matches = any(search(compile_confirming(regex), text) is not None for text in alone)
    candidates = matcher.candidates(SEPARATOR.join(alone)).ends
    assert 0 in candidates or not matches
    if 0 in matcher.exact:
        assert (0 in candidates) == matches
    if 0 in matcher.wholesale and matches:
        assert matcher.find_line(0, SEPARATOR.join(alone)) is not None


@given(st.text(r"ab(|)[]?*+{}\\^$.!=<>:,1&", max_size=30))
def test_any_text_gives_a_pattern(text: str) -> None:
    loosened = loosen(text)
    assert loosened.is_looser or loosened.expressions == (text,)
