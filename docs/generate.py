"""Writes docs/configuration.md from the settings' own descriptions: python docs/generate.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.config.settings import Settings

_HEAD = (
    "# Configuration",
    "",
    "`darban run --config FILE` reads one TOML file; every option has a default. Unknown names are refused.",
    "`darban config check` names the first fault, `darban config show` prints what is in force.",
    "",
)
TARGET = Path(__file__).parent / "configuration.md"


def configuration() -> str:
    """The whole page."""
    plain, sections = [], []
    for name, field in Settings.model_fields.items():
        model, is_list = _section(field.annotation)
        if model is None:
            plain.append((name, field))
        else:
            sections.append((f"[[{name}]]" if is_list else f"[{name}]", model))
    lines = [*_HEAD, *_table(plain)]
    for title, model in sections:
        lines += ["", f"## {title}", "", *_table(list(model.model_fields.items()))]
        for name, field in model.model_fields.items():
            inner, is_list = _section(field.annotation)
            if inner is not None and is_list:
                place = f"[[{title.strip('[]')}.{name}]]"
                lines += ["", f"## {place}", "", *_table(list(inner.model_fields.items()))]
    return "\n".join(lines) + "\n"


def _section(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    inner = [one for one in get_args(annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
    return (inner[0], True) if inner else (None, False)


def _table(fields: list[tuple[str, FieldInfo]]) -> list[str]:
    rows = [f"| `{name}` | {_default(field)} | {field.description or ''} |" for name, field in fields]
    return ["| option | default | meaning |", "|---|---|---|", *rows]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""
    try:
        return f"`{json.dumps(value, ensure_ascii=False)}`"
    except TypeError:
        return ""


if __name__ == "__main__":
    TARGET.write_text(configuration())
