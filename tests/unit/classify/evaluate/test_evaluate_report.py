"""The report: one page that fetches nothing, and JSON as its page of the documentation says."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gateway.classify.evaluate.cases import Kind
from gateway.classify.evaluate.report import HTML, JSON, SCHEMA, Evaluation, write
from gateway.classify.evaluate.stream import streams
from gateway.classify.evaluate.trial import trials
from gateway.errors import InputError
from tests.unit.classify.evaluate.matrices import every_source

DOCUMENTED = Path(__file__).parents[4] / "docs" / "evaluation.md"
_EMPTY = ("meta", "path", "circle")


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    matrix = every_source()
    return Evaluation(
        "0.1.0",
        "all",
        ({"name": "own", "ham": 60, "spam": 60, "terms": "<own> & others'"},),
        tuple(trials(matrix)),
        tuple(streams(matrix)),
        (Kind("qr", True, 2, {"classifier": 1, "gateway": 2}, {"classifier": ("qr/<b>",), "gateway": ()}),),
    )


class Page(HTMLParser):
    """Tags that are open, and all attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_fetches_nothing_and_closes_what_it_opens(evaluation: Evaluation, tmp_path: Path) -> None:
    write(tmp_path / "report", evaluation)
    content = (tmp_path / "report" / HTML).read_text()
    page = Page()
    page.feed(content)
    assert page.open == []
    assert not {"script", "link", "img", "iframe", "b", "own"} & {tag for tag, _ in page.seen}
    assert not any(name in attributes for _, attributes in page.seen for name in ("src", "href", "onload"))
    assert not re.search(r"url\(|@import|https?://", content)
    assert "qr/<b>" in page.text and "<own> & others'" in page.text
    for words in ("half", "across", "time", "online", "hard cases"):
        assert ("h2", {}) in page.seen and words in page.text
    assert sum(tag == "svg" for tag, _ in page.seen) == 2 * 8 + 8


def test_every_row_has_a_cell_for_every_column(evaluation: Evaluation, tmp_path: Path) -> None:
    write(tmp_path, evaluation)
    for table in re.findall(r"<table>.*?</table>", (tmp_path / HTML).read_text(), re.DOTALL):
        head = re.findall(r"<th>(.*?)</th>", table)
        rows = re.findall(r"<tr>(<td.*?)</tr>", table)
        assert rows
        for row in rows:
            assert re.findall(r'data-is="(.*?)"', row) == head


def test_the_same_evaluation_gives_the_same_bytes(evaluation: Evaluation, tmp_path: Path) -> None:
    for name in ("1", "2"):
        write(tmp_path / name, evaluation)
    for name in (HTML, JSON):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_json_holds_everything_and_is_documented(evaluation: Evaluation, tmp_path: Path) -> None:
    write(tmp_path, evaluation)
    content = json.loads((tmp_path / JSON).read_text())
    assert content["schema"] == SCHEMA
    assert content["trials"][0] == json.loads(json.dumps(dataclasses.asdict(evaluation.trials[0])))
    documented = set(re.findall(r"`([a-z_]+)`", DOCUMENTED.read_text()))
    assert keys(content) - documented == set()


def keys(value: Any) -> set[str]:
    """Of all objects but those whose keys are judges' names."""
    if isinstance(value, list):
        return {key for one in value for key in keys(one)}
    if not isinstance(value, dict):
        return set()
    return set(value) | {key for name, one in value.items() if name not in ("right", "wrong") for key in keys(one)}


def test_a_report_that_cannot_be_written_says_where(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: the report cannot be written"):
        write(tmp_path / "file", evaluation)
