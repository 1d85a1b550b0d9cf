"""Inline CSS and the old presentation attributes, read as far as they make text invisible (CSS 2.2, HTML §15.3).

What hides for good: display:none, mso-hide, opacity:0, a box of no size that cuts its content, text pushed off the
page. What children inherit and may undo: visibility, font size, colour, background. <style> sheets are not applied.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

MAX_STYLE = 4096
SHORT_STYLE = 512  # characters that are worth remembering, so that the cache is bounded in bytes too
_MAX_COLOR = 64
_NEAR = 8  # of 255 a channel: no eye tells such colours apart
_TINY_PX = 1.0
_OFF_PAGE_PX = -100.0
_HIDING = frozenset(("display", "mso-hide", "opacity", "overflow", "text-indent", "position"))
_OFFSETS = ("text-indent", "left", "top", "margin-left", "margin-top")
_PX = {
    "": 1.0,
    "px": 1.0,
    "pt": 4 / 3,
    "em": 16.0,
    "rem": 16.0,
    "%": 0.16,
    "ex": 8.0,
    "in": 96.0,
    "cm": 37.8,
    "mm": 3.8,
}
_COLORS = {
    "white": "ffffff", "black": "000000", "red": "ff0000", "lime": "00ff00", "blue": "0000ff", "yellow": "ffff00",
    "snow": "fffafa", "ivory": "fffff0", "ghostwhite": "f8f8ff", "whitesmoke": "f5f5f5", "floralwhite": "fffaf0",
    "mintcream": "f5fffa", "azure": "f0ffff", "seashell": "fff5ee", "gray": "808080", "grey": "808080",
    "silver": "c0c0c0", "lightgray": "d3d3d3", "lightgrey": "d3d3d3", "gainsboro": "dcdcdc", "navy": "000080",
    "green": "008000", "maroon": "800000", "purple": "800080", "orange": "ffa500", "transparent": "transparent",
}  # fmt: skip

_DECLARATION = re.compile(r"([a-z-]{1,40})\s*+:\s*+([^;]*+)")
_COMMENT = re.compile(r"/\*[^*]*+(?>(?:\*(?!/)[^*]*+)*)\*/")
_LENGTH = re.compile(r"(-?(?:[0-9]{1,6}(?:\.[0-9]{0,6})?|\.[0-9]{1,6}))\s?(px|pt|em|rem|ex|in|cm|mm|%|)(?![a-z0-9])")
_FONT_SIZE = re.compile(r"(?:^|\s)([0-9.]{1,8}(?:px|pt|em|rem|%))")
_URL = re.compile(r"url\(\s*+['\"]?([^'\")]{4,2000})", re.IGNORECASE)
_COLOR_WORD = re.compile(r"#[0-9a-f]{3,8}|rgba?\([^)]{1,40}\)|[a-z]+")
_RGB = re.compile(r"rgba?\(\s*([0-9]{1,3})[\s,]+([0-9]{1,3})[\s,]+([0-9]{1,3})(?:[\s,/]+([0-9.]{1,6}%?))?\s*\)")
_HEX = re.compile(r"#?([0-9a-f]{3}|[0-9a-f]{6})(?:[0-9a-f]{2})?")


class Style(NamedTuple):
    """What one style attribute says. None: it says nothing of that."""

    hides: bool = False
    is_invisible: bool | None = None
    is_tiny: bool | None = None
    color: str | None = None  # see parse_color
    background: str | None = None  # "" for a picture, whose colour nobody knows
    urls: tuple[str, ...] = ()


def parse_style(style: str) -> Style:
    """Read a style attribute's first MAX_STYLE characters. Never raises."""
    return _short_style(style) if len(style) <= SHORT_STYLE else _read_style(style[:MAX_STYLE])


def _read_style(style: str) -> Style:
    text = _COMMENT.sub("", style) if "/*" in style else style
    lower = text.lower()
    values = dict(_DECLARATION.findall(lower))
    visibility = values.get("visibility")
    return Style(
        not _HIDING.isdisjoint(values) and _hides(values),
        visibility.startswith(("hidden", "collapse")) if visibility else None,
        _is_tiny(values) if "font" in lower else None,
        parse_color(values["color"]) if "color" in values else None,
        _background(values) if "background" in lower else None,
        tuple(_URL.findall(text)) if "url(" in lower else (),
    )


_short_style = lru_cache(maxsize=4096)(_read_style)


def _hides(values: dict[str, str]) -> bool:
    if values.get("display", "").startswith("none") or values.get("mso-hide", "").startswith("all"):
        return True
    opacity = _number(values, "opacity")
    if opacity is not None and opacity <= 0.02:
        return True
    if "overflow" in values and values["overflow"].startswith(("hidden", "clip")) and _has_no_size(values):
        return True
    names = _OFFSETS if "position" in values else ("text-indent",)
    return any((_number(values, name) or 0.0) <= _OFF_PAGE_PX for name in names if name in values)


def _has_no_size(values: dict[str, str]) -> bool:
    sizes = (_number(values, name) for name in ("height", "width", "max-height", "max-width"))
    return any(size is not None and size <= _TINY_PX for size in sizes)


def _number(values: dict[str, str], name: str) -> float | None:
    """A length in CSS pixels (1em taken as 16), or a plain number."""
    match = _LENGTH.match(values[name]) if name in values else None
    return float(match[1]) * _PX[match[2]] if match else None


def _is_tiny(values: dict[str, str]) -> bool | None:
    size = _number(values, "font-size")
    if size is None and "font" in values:
        match = _FONT_SIZE.search(values["font"])
        size = _number({"font-size": match[1]}, "font-size") if match else None
    return None if size is None else size <= _TINY_PX * _PX["pt"]


def _background(values: dict[str, str]) -> str | None:
    if "url(" in values.get("background-image", "") or "url(" in values.get("background", ""):
        return ""
    named = values.get("background-color") or values.get("background")
    if not named:
        return None
    for word in _COLOR_WORD.findall(named):
        color = parse_color(word)
        if color:
            return None if color == "transparent" else color
    return None


def parse_color(value: str) -> str | None:
    """Six lower-case hex digits, "transparent", or None for what is not understood."""
    return _read_color(value) if len(value) <= _MAX_COLOR else None


@lru_cache(maxsize=2048)
def _read_color(value: str) -> str | None:
    value = value.replace("!important", "").strip().lower()
    match = _RGB.fullmatch(value)
    if match:
        if match[4] and not match[4].strip("0.%"):
            return "transparent"
        return "".join(f"{min(int(number), 255):02x}" for number in match.group(1, 2, 3))
    hexadecimal = _HEX.fullmatch(value)
    if hexadecimal:
        digits = hexadecimal[1]
        return digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)
    return _COLORS.get(value)


@lru_cache(maxsize=4096)
def is_unreadable(color: str, background: str) -> bool:
    """No eye tells text of this colour from its background. Unknown colours ("") are readable."""
    if color == "transparent":
        return True
    if not color or not background:
        return False
    return all(abs(int(color[i : i + 2], 16) - int(background[i : i + 2], 16)) <= _NEAR for i in (0, 2, 4))
