"""web/safe_html.py: nothing in the view runs, loads or leads anywhere."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web import safe_html
from tests.builders import message_bytes

HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<a href='javascript:alert(1)'>x</a>", "<iframe src=//e.example></iframe>",
    "<svg onload=alert(1)>", "<style>@import url(//e.example)</style>", "<div style='background:url(//e.example)'>x</div>",
    "<meta http-equiv=refresh content='0;url=//e.example'>", "<form action=//e.example><input name=p></form>", "<base href=//e.example>",
    "<math><mtext></p><style><img src=x onerror=alert(1)>", "<object data=//e.example></object>", "<link rel=stylesheet href=//e.example>",
    "<img srcset='//e.example 1x'>", "<video poster=//e.example>", "<table background=//e.example><td>x", "<a ping=//e.example href=//e.example>x</a>",
]  # fmt: skip


def harmless(page: str) -> bool:
    inside = page.partition("<body")[2]
    return not re.search(
        r"<(?:script|style|iframe|svg|meta|form|input|base|object|link|video|math)|\bon\w+=|e\.example|style=", inside
    )


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_html(hostile: str) -> None:
    page = safe_html.page(message_bytes(f"<p>seen</p>{hostile}", Content_Type="text/html; charset=utf-8"))
    assert harmless(page)
    assert "seen" in page


def test_plain_text_is_escaped() -> None:
    assert "&lt;b&gt;" in safe_html.page(message_bytes("<b>"))


@given(st.binary(max_size=400))
def test_any_bytes_give_a_page(content: bytes) -> None:
    assert "<script" not in safe_html.page(b"Content-Type: text/html\r\n\r\n" + content).lower().partition("<body")[2]
