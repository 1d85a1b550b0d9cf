"""web/site.py: how texts of strangers stand on a page, and reasons in the reader's words."""

from __future__ import annotations

import pytest

from gateway.web.language import languages
from gateway.web.site import evidence, person, reason, seen

LANGUAGES = languages()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("invoice_\u202efdp.exe", "invoice_[U+202E]fdp.exe"),
        ("\u2067x\u2069", "[U+2067]x[U+2069]"),
        ("a\0b\x1b[2J\n\t", "a[U+0000]b[U+001B][2J\n\t"),
        ("می\u200cخواهم\u200f", "می\u200cخواهم\u200f"),
    ],
)
def test_turned_text_is_seen(text: str, shown: str) -> None:
    assert seen(text) == shown


@pytest.mark.parametrize(
    ("author", "shown"),
    [
        ("بانک <a@bank.example>", '<bdi>بانک</bdi> <bdi class="address" dir="ltr">&lt;a@bank.example&gt;</bdi>'),
        ("a@bank.example", "<bdi>a@bank.example</bdi>"),
        ("<b>x</b> <a@b>", '<bdi>&lt;b&gt;x&lt;/b&gt;</bdi> <bdi class="address" dir="ltr">&lt;a@b&gt;</bdi>'),
        ("x <b", "<bdi>x &lt;b</bdi>"),
    ],
)
def test_an_address_keeps_its_direction_beside_a_persian_name(author: str, shown: str) -> None:
    assert person(author) == shown


def test_reasons_in_the_readers_words() -> None:
    given = "incomplete: check x: timeout; held, as other recipients get it"
    assert reason(LANGUAGES["en"], given) == "incomplete: check <bdi>x</bdi>: timeout; held, as other recipients get it"
    assert reason(LANGUAGES["fa"], given).startswith("بررسی کامل نشد: بررسی <bdi>x</bdi> به‌موقع تمام نشد؛ به‌جای رد")
    assert reason(LANGUAGES["fa"], "rules") == '<bdi lang="en" dir="ltr">rules</bdi>'


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        # a sentence of ours stays one, whatever it quotes and whatever it begins with
        (
            "“سارا رحیمی” is Sara Rahimi, but this comes from x@a.example",
            '<bdi dir="ltr">“<bdi>سارا رحیمی</bdi>” is Sara Rahimi, but this comes from x@a.example</bdi>',
        ),
        ("\u2068word “تومان”\u2069 (+0.2)", '<bdi dir="ltr"><bdi>word “<bdi>تومان</bdi>”</bdi> (+0.2)</bdi>'),
        ("no signature", "<bdi>no signature</bdi>"),
        ("شما برنده شده‌اید", "<bdi>شما برنده شده‌اید</bdi>"),
        ("“<b>” & \u202ex", '<bdi dir="ltr">“<bdi>&lt;b&gt;</bdi>” &amp; [U+202E]x</bdi>'),
        ("a \u2067b\u2069 \u2068c", "<bdi>a [U+2067]b[U+2069] [U+2068]c</bdi>"),
    ],
)
def test_evidence_is_read_in_the_order_it_was_written(line: str, shown: str) -> None:
    assert str(evidence(line)) == shown
