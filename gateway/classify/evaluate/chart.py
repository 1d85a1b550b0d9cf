"""Line charts as inline SVG, nothing fetched. Colours come from the page's style: a dark page has dark ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

COLOURS = 8  # the page's style has --line-0 to --line-7
_WIDTH, _HEIGHT = 420, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 20, 12, 40

Scale = Literal["log", "logit"]


@dataclass(frozen=True, slots=True)
class Axis:
    """Values outside [low, high] are drawn at the edge."""

    label: str
    scale: Scale
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]  # where, and what is written there

    def place(self, value: float) -> float:
        """0 at low, 1 at high."""
        low, high = self._linear(self.low), self._linear(self.high)
        return (self._linear(min(max(value, self.low), self.high)) - low) / (high - low)

    def _linear(self, value: float) -> float:
        return math.log(value) if self.scale == "log" else math.log(value / (1 - value))


@dataclass(frozen=True, slots=True)
class Line:
    """A named run of points (x, y), in the order they are drawn."""

    name: str
    points: Sequence[tuple[float, float]]


def draw(title: str, x: Axis, y: Axis, lines: Sequence[Line], *, dots: bool = False, diagonal: bool = False) -> str:
    """A figure with its legend; `dots` marks each point, `diagonal` draws where y equals x."""
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">', *_frame(x, y)]
    if diagonal:
        parts.append(f'<path class="even" d="{_path([(x.low, y.low), (x.high, y.high)], x, y)}"/>')
    for number, line in enumerate(lines):
        colour = f'style="--line: var(--line-{number % COLOURS})"'
        parts.append(f'<path class="line" {colour} d="{_path(line.points, x, y)}"/>')
        if dots:
            parts += [
                f'<circle class="dot" {colour} cx="{across:.1f}" cy="{up:.1f}" r="3"/>'
                for across, up in (_spot(point, x, y) for point in line.points)
            ]
    legend = "".join(
        f'<li style="--line: var(--line-{number % COLOURS})">{escape(line.name)}</li>'
        for number, line in enumerate(lines)
    )
    return f"<figure><figcaption>{escape(title)}</figcaption>{''.join(parts)}</svg><ul>{legend}</ul></figure>"


def _frame(x: Axis, y: Axis) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for value, words in x.ticks:
        across, _ = _spot((value, y.low), x, y)
        parts.append(f'<path class="grid" d="M{across:.1f} {_TOP}V{bottom}"/>')
        parts.append(f'<text x="{across:.1f}" y="{bottom + 14}" text-anchor="middle">{escape(words)}</text>')
    for value, words in y.ticks:
        _, up = _spot((x.low, value), x, y)
        parts.append(f'<path class="grid" d="M{_LEFT} {up:.1f}H{right}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{up + 3.5:.1f}" text-anchor="end">{escape(words)}</text>')
    middle = (_LEFT + right) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x.label)}</text>')
    turned = f"translate(11 {(_TOP + bottom) / 2}) rotate(-90)"
    parts.append(f'<text transform="{turned}" text-anchor="middle">{escape(y.label)}</text>')
    return parts


def _path(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    return "M" + "L".join(f"{across:.1f} {up:.1f}" for across, up in (_spot(point, x, y) for point in points))


def _spot(point: tuple[float, float], x: Axis, y: Axis) -> tuple[float, float]:
    across = _LEFT + x.place(point[0]) * (_WIDTH - _LEFT - _RIGHT)
    up = _HEIGHT - _BOTTOM - y.place(point[1]) * (_HEIGHT - _TOP - _BOTTOM)
    return across, up
