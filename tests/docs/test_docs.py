"""The documents say what holds: generated ones are fresh, names of files and commands exist, examples are accepted."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from gateway.cli import app
from gateway.config.settings import Settings

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMED = re.compile(r"`((?:gateway|rules|tests|models|grafana|deploy|docs|benchmarks)/[\w./*-]*)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_files_links_and_commands_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    missing = [name for name in NAMED.findall(text) if not list(ROOT.glob(name.rstrip("/")))]
    missing += [link for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text) if not (page.parent / link).exists()]
    commands = get_command(app).commands  # type: ignore[attr-defined]
    missing += [verb for verb in re.findall(r"`darban ([a-z]+)", text) if verb not in commands]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    missing += [target for target in re.findall(r"`make ([a-z-]+)", text) if target not in targets]
    assert missing == []


def test_named_tests_exist() -> None:
    text = (ROOT / "docs" / "rfc.md").read_text("utf-8")
    written = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", text))
    assert named
    assert [name for name in sorted(named) if f"def {name}(" not in written] == []


@pytest.mark.parametrize("page", ["configuration", "custody", "spoofing"])
def test_the_reference_is_fresh(page: str) -> None:
    generated = runpy.run_path(str(ROOT / "docs" / "generate.py"))[page]()
    assert (ROOT / "docs" / f"{page}.md").read_text("utf-8") == generated, "run: python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_configuration_examples_are_accepted(page: Path) -> None:
    for example in re.findall(r"```toml\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        Settings.model_validate(tomllib.loads(example))
