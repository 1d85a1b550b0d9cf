"""Text as the model sees it: what folds together, what stays apart, and that any text is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.classify.normalise import MAX_CHARACTERS, WORD, Text, normalise, without_addresses, word_edges


def words(text: str) -> list[str]:
    folded = normalise(text)
    return [folded.shown(start, end) for start, end in _bounds(folded)]


def _bounds(text: Text) -> list[tuple[int, int]]:
    edges = (word_edges(text.codes) + 1).tolist()
    return list(zip(edges[0::2], edges[1::2], strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, WORLD", ["hello", "world"]),
        ("at 12.95 in 2026", ["at", "00", "00", "in", "0000"]),
        ("Don’t re-open", ["don't", "re-open"]),
        ("", []),
        ("!?", []),
        # Persian and Arabic: one spelling
        ("كتاب علي", ["کتاب", "علی"]),
        ("می‌شود", ["میشود"]),
        ("ســــلام", ["سلام"]),
        ("سَلام", ["سلام"]),
        ("۱۴۰۵ ٢٠٢٦", ["0000", "0000"]),
        ("خانۀ خانهٔ خانهء", ["خانه", "خانه", "خانهء"]),
        ("آب ا\u0653ب مسأله مساله مسئله", ["اب", "اب", "مساله", "مساله", "مسیله"]),
        ("رأی مؤثر مو\u0654ثر إعلام", ["رای", "موثر", "موثر", "اعلام"]),
        ("ﻭﺍﻡ ﻓﻮﺭﯼ ﷲ", ["وام", "فوری", "الله"]),  # forms for display
        (
            "ڪارت ہمراہ ھمراه بانکۍ",
            ["کارت", "همراه", "همراه", "بانکی"],
        ),  # letters of other languages that look the same
        ("\u202bوام\u202c \u2067فو\u2068ر\u2069ی\u2069", ["وام", "فوری"]),
        ("کا\u200dرت ک\u061cارت", ["کارت", "کارت"]),
        ("وِیژِه تَخفیفِ", ["ویژه", "تخفیف"]),
        ("نرم‌افزار نرم\u200bافزار", ["نرمافزار", "نرمافزار"]),
        ("PDF‌های Wi‑Fi", ["pdfهای", "wi-fi"]),
        # other dress of the same letters
        ("Vi\u200bag\u00adra", ["viagra"]),
        ("Víágrà", ["viagra"]),
        ("𝐁𝐨𝐥𝐝 Ｆｕｌｌ", ["bold", "full"]),
        ("ﬁnancial ﬂow", ["financial", "flow"]),
        ("pаypаl", ["paypal"]),  # Cyrillic а
        ("ΡayΡal", ["paypal"]),  # Greek Ρ
        ("vi\u202eagra", ["viagra"]),
        ("vi\u3164ag\u115fr\u17b4a", ["viagra"]),  # letters without a form
        ("vi\u034fag\ufe0fra", ["viagra"]),
        ("ᴠɪᴀɢʀᴀ ᴄʀʏᴘᴛᴏ ᴅᴇsᴋ", ["viagra", "crypto", "desk"]),  # small capitals
        ("Ⓥⓘⓐ 🅥🅘🅐 🅵🆁🅴🅴 🄵", ["via", "via", "free", "f"]),
        ("vıagra ɡood ɑnd", ["viagra", "good", "and"]),
        ("ﬀ Ⅷ ㎏", ["ff", "viii", "kg"]),
        ("c̶a̶s̶i̶n̶o", ["casino"]),
        # words of other scripts stay theirs
        ("привет", ["привет"]),
        ("αγορα", ["αγορα"]),
        ("ёж йод", ["еж", "иод"]),
        ("日本語 한국어", ["日本語", "한국어"]),
        ("हिन्दी"[:1], ["ह"]),
        ("a\u00a0b\tc\r\nd", ["a", "b", "c", "d"]),
        ("good 😀 day…now", ["good", "day", "now"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://shop.example/a?b=c, now", "see  , now".replace(" ,", "")),
        ("see http://[2001:db8::1]/x now", "see   now"),
        ("www.shop.example now", "  now"),
        ("FTP://old.example", " "),
        ("write to ali.reza+x@mail.example.org.", "write to  ."),
        ("awww.example no host", "awww.example no host"),
        ("3 @ 2 and a@b", "3 @ 2 and a@b"),
        ("odd://x", "odd://x"),
        ("://", "://"),
        ("plain", "plain"),
    ],
)
def test_addresses_go(text: str, expected: str) -> None:
    assert without_addresses(text).split() == expected.split()


def test_words_between_at_signs_are_not_hidden() -> None:
    assert words("cheap@pills@now") == ["cheap", "pills", "now"]


@pytest.mark.parametrize(
    ("text", "invisible", "twins"),
    [
        ("plain", 0, 0),
        ("vi\u200bag\u200dra", 2, 0),
        ("می‌شود و نمی‌شود", 0, 0),
        ("a \u200b b", 0, 0),
        ("pаypаl привет", 0, 2),
        ("привет paypal", 0, 0),
        ("cafe\u0301s nai\u0308ve", 0, 0),  # accents as characters of their own, as macOS writes them
        ("vi\u3164ag\u2063ra", 2, 0),
        ("خو\u200bش", 0, 0),
        ("ΡayΡal αβ", 0, 2),
        ("Windows‌ها و PDF‌های", 0, 0),
    ],
)
def test_what_stood_there_is_counted(text: str, invisible: int, twins: int) -> None:
    found = normalise(text)
    assert (found.invisible, found.twins) == (invisible, twins)


def test_ascii_takes_no_other_way_than_the_rest() -> None:
    """The short way gives what the long one gives."""
    text = "".join(map(chr, range(128))) + " Mixed 12 words, and http://x.example/ gone"
    ascii_only, longer = normalise(text), normalise(f"{text} é")
    assert longer.codes[: len(ascii_only.codes)].tolist() == ascii_only.codes.tolist()


@given(st.text(max_size=300))
def test_total(text: str) -> None:
    found = normalise(text)
    assert isinstance(found, Text)
    assert found.codes[0] == found.codes[-1] == ord(" ")
    assert all((found.codes[start:end] & WORD).all() for start, end in _bounds(found))


@pytest.mark.parametrize("unit", ["a", "@", "a@b.c ", "://", "http://x ", "www.", "ﷺ", "ﬁ ", "\u0301\u0323", "а a"])
def test_long_texts_are_cut(unit: str) -> None:
    assert len(normalise(unit * 100_000).codes) <= MAX_CHARACTERS + 2


def test_idempotent_on_words() -> None:
    once = words("Ｖｉａｇｒａ café كتاب 𝐁𝐨𝐥𝐝 12")
    assert words(" ".join(once)) == once


def with_digits(text: str, number: int = 1000) -> str:
    found = normalise(text)
    return Text(found.with_digits(number), 0, 0, "").shown(0, 1000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "  "),
        ("Pay 12.95 in 2026", " pay 12.95 in 2026 "),
        ("café 12", " cafe 12 "),  # wider codes
        ("می‌شود 17", " میشود 17 "),  # what fell out before it moves no digit
        ("v\u200bi\u00ada 12\u200b34", " via 1234 "),
        ("ﬁ ﷲ 56", " fi الله 56 "),  # what became longer
        ("½ 7 ℃ 8", " 1 7 °c 8 "),
        ("pаypаl 99", " paypal 99 "),
        ("۱۴۰۵/۰۶/۳۰ ٢٠٢٦", " 1405/06/30 2026 "),  # one spelling: Persian, Arabic
        ("１２ 𝟏𝟐 २०२६", " 12 12 2026 "),  # wide, bold, Devanagari
        ("ki\u0307lo²", " kilo2 "),
    ],
)
def test_digits_are_themselves_where_they_are_asked_for(text: str, expected: str) -> None:
    assert with_digits(text) == expected


@given(st.text("ab1 7-۷٣यé\u200cﬁ½", max_size=30), st.integers(0, 40))
def test_but_for_digits_the_codes_are_the_same(text: str, number: int) -> None:
    found = normalise(text)
    shown = found.with_digits(number)
    assert (len(shown), shown.dtype) == (min(number, len(found.codes)), found.codes.dtype)
    other = shown != found.codes[:number]
    assert {*found.codes[:number][other].tolist()} <= {WORD + ord("0")}
    assert {*shown[other].tolist()} <= {*range(WORD + ord("0"), WORD + ord("9") + 1)}


def test_with_digits_ascii_takes_no_other_way_than_the_rest() -> None:
    text = "".join(map(chr, range(128))) + " 0123456789 12,500"
    ascii_only, longer = normalise(text).with_digits(1000), normalise(f"{text} é").with_digits(1000)
    assert longer[: len(ascii_only)].tolist() == ascii_only.tolist()
