"""web/site.py: how texts of strangers stand on a page, and reasons in the reader's words."""

from __future__ import annotations

import pytest

from gateway.web.language import languages
from gateway.web.site import person, reason, seen

LANGUAGES = languages()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("invoice_\u202efdp.exe", "invoice_[U+202E]fdp.exe"),
        ("\u2067x\u2069", "[U+2067]x[U+2069]"),
        ("می\u200cخواهم\u200f", "می\u200cخواهم\u200f"),
    ],
)
def test_turned_text_is_seen(text: str, shown: str) -> None:
    assert seen(text) == shown


@pytest.mark.parametrize(
    ("author", "shown"),
    [
        ("بانک <a@bank.example>", '<bdi>بانک</bdi> <bdi dir="ltr">&lt;a@bank.example&gt;</bdi>'),
        ("a@bank.example", "<bdi>a@bank.example</bdi>"),
        ("<b>x</b> <a@b>", '<bdi>&lt;b&gt;x&lt;/b&gt;</bdi> <bdi dir="ltr">&lt;a@b&gt;</bdi>'),
        ("x <b", "<bdi>x &lt;b</bdi>"),
    ],
)
def test_an_address_keeps_its_direction_beside_a_persian_name(author: str, shown: str) -> None:
    assert person(author) == shown


def test_reasons_in_the_readers_words() -> None:
    given = "score 13.6 >= quarantine_at 8.0; held, as other recipients get it"
    assert reason(LANGUAGES["en"], given) == given
    assert reason(LANGUAGES["fa"], given).startswith("امتیاز ۱۳٫۶ به مرز ۸٫۰ رسیده است (quarantine_at);")
    assert reason(LANGUAGES["fa"], "incomplete: rules") == "incomplete: rules"
