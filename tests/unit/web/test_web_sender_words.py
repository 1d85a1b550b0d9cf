"""web/sender_words.py: reasons in both languages, and what nobody of ours wrote stays."""

from __future__ import annotations

import pytest

from gateway.web.language import languages
from gateway.web.sender_words import entry_reason

CASES = [
    ("allowed by sara's entry until 2027-01-03 (dkim=example.org)", "مجاز به دستور sara تا ۱۴۰۵/۱۰/۱۳ (dkim=example.org)"),
    ("blocked by o'neil's entry without an end", "مسدود به دستور بی‌پایان o'neil"),
    ("score 9.0 >= quarantine_at 8.0; sara's entry does not count: the author is not proven",
     "score 9.0 >= quarantine_at 8.0; دستور sara به کار نیامد: نویسنده اصالت‌سنجی نشد"),
    ("sara's entry lets no malware in", "دستور sara بدافزار را راه نمی‌دهد"),
    ("sara's entry counts below 25.0", "دستور sara تنها زیر امتیاز ۲۵٫۰ به کار می‌آید"),
    ("incomplete: check x", "incomplete: check x"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "persian"), CASES)
def test_reasons(text: str, persian: str) -> None:
    known = languages()
    assert entry_reason(known["en"], text) == text
    assert entry_reason(known["fa"], text) == persian
