from __future__ import annotations

import pytest

from gateway.mail.style import is_unreadable, parse_color, parse_style


@pytest.mark.parametrize(
    "style",
    [
        "display:none",
        "DISPLAY : None !important",
        "dis/* x */play:none",
        "mso-hide:all",
        "opacity:0",
        "opacity: 0.0",
        "max-height:0;overflow:hidden",
        "width:0px;overflow:hidden",
        "text-indent:-9999px",
        "position:absolute;left:-5000px",
        "position:absolute;top:-200em",
    ],
)
def test_what_hides(style: str) -> None:
    assert parse_style(style).hides


@pytest.mark.parametrize(
    "style",
    ["display:block", "opacity:0.9", "height:0", "overflow:hidden;height:20px", "left:-5000px", "color:red", "", ";;:"],
)
def test_what_does_not_hide(style: str) -> None:
    assert not parse_style(style).hides


@pytest.mark.parametrize(
    ("style", "is_tiny"),
    [
        ("font-size:0", True),
        ("font-size:1px", True),
        ("font-size:.5pt", True),
        ("font-size:1%", True),
        ("font:0px/0 a", True),
        ("font-size:1em", False),
        ("font-size:14px", False),
        ("font-size:10%", False),
        ("font-size:medium", None),
        ("color:red", None),
    ],
)
def test_font_size(style: str, is_tiny: bool | None) -> None:
    assert parse_style(style).is_tiny is is_tiny


@pytest.mark.parametrize(
    ("style", "background"),
    [
        ("background:#FFF", "ffffff"),
        ("background: url(http://x.example/i.png) #fff", ""),
        ("background-image:url(x)", ""),
        ("background:transparent", None),
        ("background-color: rgb(1, 2,3)", "010203"),
        ("color:#000", None),
    ],
)
def test_background(style: str, background: str | None) -> None:
    assert parse_style(style).background == background


def test_urls_and_visibility() -> None:
    style = parse_style("background:url('http://x.example/a b');visibility:hidden")
    assert style.urls == ("http://x.example/a b",)
    assert style.is_invisible


@pytest.mark.parametrize(
    ("written", "color"),
    [
        ("#fff", "ffffff"),
        ("#FFFFFF", "ffffff"),
        ("ffffff", "ffffff"),
        ("White !important", "ffffff"),
        ("rgb(255,255,255)", "ffffff"),
        ("rgba(9,9,9,0)", "transparent"),
        ("rgba(255 255 255 / 0.5)", "ffffff"),
        ("rgb(999,0,0)", "ff0000"),
        ("#ffffff80", "ffffff"),
        ("inherit", None),
        ("#12", None),
        ("", None),
    ],
)
def test_colors(written: str, color: str | None) -> None:
    assert parse_color(written) == color


@pytest.mark.parametrize(
    ("color", "background", "unreadable"),
    [
        ("ffffff", "ffffff", True),
        ("fefefe", "ffffff", True),
        ("eeeeee", "ffffff", False),
        ("transparent", "000000", True),
        ("", "ffffff", False),
        ("ffffff", "", False),
    ],
)
def test_is_unreadable(color: str, background: str, unreadable: bool) -> None:
    assert is_unreadable(color, background) is unreadable
