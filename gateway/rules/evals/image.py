"""Pictures by the sizes in their first bytes (Plugin::ImageInfo); nothing is decoded."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import error, unpack_from

from gateway.rules.evals.facts import Facts, matches
from gateway.types import Part

Function = Callable[..., bool]
_MAX_ENCODED = 200_000  # of a picture: a JPEG says its size behind its notes
_MAX_IMAGES = 200
_DELIMITED = re.compile(r"/(.*)/")
_TYPES = {"image/gif": "gif", "image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg"}
_FRAME_MARKS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class Image:
    """One picture; 0 x 0 when its bytes do not say."""

    kind: str
    name: str
    height: int
    width: int


def images(facts: Facts, kind: str) -> list[Image]:
    """The pictures sent in base64; kind: gif, png, jpeg or all."""
    every = facts.once("images", lambda one: [_image(part) for part in _parts(one)])
    return [image for image in every if kind in ("all", image.kind)]


def _parts(facts: Facts) -> list[Part]:
    return [one for one in facts.leaves() if one.content_type in _TYPES and one.encoding == "base64"][:_MAX_IMAGES]


def _image(part: Part) -> Image:
    kind = _TYPES[part.content_type]
    encoded = b"".join(part.raw[:_MAX_ENCODED].split())
    try:
        head = binascii.a2b_base64(encoded[: len(encoded) // 4 * 4])
        width, height = _SIZES[kind](head)
    except (binascii.Error, error):
        width = height = 0
    return Image(kind, part.filename, height, width)


def _gif(head: bytes) -> tuple[int, int]:
    width, height = unpack_from("<HH", head, 6)
    return (width, height) if head.startswith((b"GIF87a", b"GIF89a")) else (0, 0)


def _png(head: bytes) -> tuple[int, int]:
    width, height = unpack_from(">II", head, 16)
    return (width, height) if head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR" else (0, 0)


def _jpeg(head: bytes) -> tuple[int, int]:
    position = 2 if head.startswith(b"\xff\xd8") else len(head)
    while position + 9 <= len(head):
        sign, mark, length = unpack_from(">BBH", head, position)
        if sign != 0xFF or mark in (0xDA, 0xD9) or length < 2:
            break
        if mark in _FRAME_MARKS:
            height, width = unpack_from(">HH", head, position + 5)
            return width, height
        position += 2 + length
    return 0, 0


_SIZES: Mapping[str, Callable[[bytes], tuple[int, int]]] = {"gif": _gif, "png": _png, "jpeg": _jpeg}


def count(facts: Facts, kind: str, low: str, high: str = "inf") -> bool:
    """How many."""
    return float(low) <= len(images(facts, kind)) <= float(high)


def coverage(facts: Facts, kind: str, low: str, high: str = "inf") -> bool:
    """Their pixels together."""
    return float(low) <= _pixels(facts, kind) <= float(high)


def _pixels(facts: Facts, kind: str) -> int:
    return sum(image.height * image.width for image in images(facts, kind))


def text_ratio(facts: Facts, kind: str, low: str, high: str) -> bool:
    """Characters of text by pixels: low <= ratio < high."""
    pixels, text = _pixels(facts, kind), sum(map(len, facts.paragraphs()))
    return bool(pixels and text) and float(low) <= text / pixels < float(high)


def has_size(facts: Facts, kind: str, height: str, width: str) -> bool:
    """One is exactly so big."""
    return any((image.height, image.width) == (int(height), int(width)) for image in images(facts, kind))


def in_size(facts: Facts, kind: str, height: str, width: str, max_height: str = "inf", max_width: str = "inf") -> bool:
    """One is within these bounds."""
    return any(
        float(height) <= image.height <= float(max_height) and float(width) <= image.width <= float(max_width)
        for image in images(facts, kind)
        if image.height and image.width
    )


def named(facts: Facts, name: str) -> bool:
    """One has this file name."""
    return any(image.name == name for image in images(facts, "all") if image.name)


def name_matches(facts: Facts, pattern: str) -> bool:
    """One has a file name that matches."""
    delimited = _DELIMITED.fullmatch(pattern)
    inner = delimited[1] if delimited else pattern
    return any(matches(inner, image.name) for image in images(facts, "all") if image.name)


FUNCTIONS: Mapping[str, Function] = {
    "image_count": count,
    "pixel_coverage": coverage,
    "image_to_text_ratio": text_ratio,
    "image_size_exact": has_size,
    "image_size_range": in_size,
    "image_named": named,
    "image_name_regex": name_matches,
}
