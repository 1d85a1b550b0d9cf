"""Charts: well-formed, inside their frame, and nothing in them is anybody's markup."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from gateway.classify.evaluate.chart import Axis, Line, draw

X = Axis("ham flagged", "log", 1e-4, 1.0, ((1e-4, "0.01 %"), (1.0, "100 %")))
Y = Axis("spam caught", "logit", 0.05, 0.9995, ((0.5, "50 %"),))


@pytest.mark.parametrize(
    ("axis", "value", "place"),
    [(X, 1e-4, 0), (X, 1e-2, 0.5), (X, 1.0, 1), (X, 0.0, 0), (X, 7.0, 1), (Y, 0.0, 0), (Y, 1.0, 1), (Y, 0.5, 0.279)],
)
def test_a_value_has_its_place(axis: Axis, value: float, place: float) -> None:
    assert axis.place(value) == pytest.approx(place, abs=1e-3)


def test_what_is_drawn_stays_inside() -> None:
    lines = [Line(f"line {number}", [(0.0, 0.0), (1e-3, 0.5), (5.0, 1.0)]) for number in range(10)]
    figure = ElementTree.fromstring(draw("ROC", X, Y, lines, dots=True, diagonal=True))
    svg = figure.find("svg")
    assert svg is not None
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    paths = [path.attrib["d"] for path in svg.findall("path") if path.get("class") in ("line", "even")]
    assert len(paths) == 11
    for spot in re.findall(r"([-\d.]+) ([-\d.]+)", " ".join(paths)):
        assert 0 <= float(spot[0]) <= width and 0 <= float(spot[1]) <= height
    assert len(svg.findall("circle")) == 30
    assert [item.text for item in figure.iter("li")] == [line.name for line in lines]


def test_names_are_text() -> None:
    drawn = draw("<b>&", X, Y, [Line("<script>", [(0.1, 0.5)])])
    assert "<script>" not in drawn and "<b>" not in drawn
    ElementTree.fromstring(drawn)
