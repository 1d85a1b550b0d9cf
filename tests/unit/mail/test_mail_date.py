from __future__ import annotations

import pytest

from gateway.mail.date import parse_date

AT = 1_790_000_000.0  # 2026-09-21T14:13:20Z


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("Mon, 21 Sep 2026 14:13:20 +0000", AT),
        ("21 Sep 2026 14:13:20 +0000", AT),
        ("Mon, 21 Sep 2026 17:43:20 +0330", AT),
        ("Mon, 21 Sep 2026 09:13:20 -0500", AT),
        ("Mon, 21 Sep 2026 09:13:20 EST", AT),
        ("Mon, 21 Sep 2026 14:13:20 GMT", AT),
        ("Mon, 21 Sep 2026 14:13:20 +0000 (UTC)", AT),
        ("Mon,  21 sep 2026 14:13:20 +0000", AT),
        ("Mon, 21 Sep 26 14:13:20 +0000", AT),
        ("21 Sep 2026 14:13 +0000", AT - 20),
        ("Mon, 21 Sep 2026 14:13:60 +0000", AT + 39),
        ("Thu, 1 Jan 1970 00:00:00 +0000", 0.0),
        ("", None),
        ("yesterday", None),
        ("Mon, 32 Sep 2026 14:13:20 +0000", None),
        ("Mon, 21 Foo 2026 14:13:20 +0000", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("Mon, 21 Sep 2026 14:13:20 +99999999999999999999", None),
    ],
)
def test_parse_date(text: str, at: float | None) -> None:
    assert parse_date(text) == at
