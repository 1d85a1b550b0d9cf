"""Writes docs/configuration.md from the settings' own descriptions, and docs/spoofing.md from the files of its table:
python docs/generate.py.
"""

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

_SPOOFING_HEAD = """\
# Forged authors

What a forger does so that a reader sees somebody else's address, and what stops it. Each row is a file below
`tests/cases/spoofing/`; `tests/unit/scan/test_spoofing.py` takes it through the whole pipeline with the rules and the
model that ship, and demands that

- DMARC never passes for the domain that is forged,
- the message reaches the action in the last column by its form alone, whatever its words; with its words it is never
  accepted,
- honest mail (the last table) passes DMARC and is accepted.

The forger of the table has a domain, server, SPF record and key of his own, all in order; the victim publishes
`p=reject` where the row does not say otherwise.

What no honest program writes (two From fields, a From that readers part differently) is held, not only tagged: large
receivers refuse it, DMARC (RFC 7489 §6.6.1, RFC 9989) can say nothing about it, and in 9,867 honest messages of public
corpora it stands nowhere. A finding of a forged author is `firm`: text that reads like honest mail takes nothing away
(`docs/decisions/0013-harmless-text-does-not-excuse-a-forged-author.md`).

## What is not stopped here

- A domain that publishes no policy, or `p=none`, asks for nothing: mail in its name is scored, not held for that alone.
- Who may send for a domain may lie for it: another customer of a mail service that the victim's SPF record lets in, or
  a signed message of the victim's sent on as it was. DMARC passes, as it should.
- A field that the victim's signature does not cover, such as Reply-To, may be added to a message that is sent on.
- A Sender or Reply-To of another domain beside a proven author is scored, not held: lists and services write so.
- A name that goes on behind an address ("b@bank.example via Talk") is scored, not held, for the same reason.
- A name that belongs to nobody in particular ("Accounts"), and look-alikes in the same alphabet (rn for m) of a domain
  that is neither ours nor a partner's ([impostors](identity.md)).
- Where the DNS does not answer for the victim's domain the verdict says so, and mail flows (`docs/fail-modes.md`).

## Sources

Chen, Paxson, Jiang, "Composition Kills" (USENIX Security 2020); Shen and others, "Weak Links in Authentication Chains"
(USENIX Security 2021); Haddouche, Mailsploit (2017); Liu and others, "Forward Pass" (EuroS&P 2023); RFC 5322 §4 and
appendix A; RFC 6376 §8; RFC 7208 §11; RFC 7489 §12; RFC 8617 §9. The messages are ours.
"""
SPOOFING = Path(__file__).parent / "spoofing.md"
_ROWS = Path(__file__).parent.parent / "tests" / "cases" / "spoofing"


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


def spoofing() -> str:
    """The whole page."""
    rows = [(path.parent.name, _said(path)) for path in sorted(_ROWS.rglob("*.case"))]
    lines = [_SPOOFING_HEAD.rstrip()]
    kinds = sorted({kind for kind, _ in rows}, key=lambda kind: (kind == "honest", kind))
    for kind in kinds:
        chosen = [said for one, said in rows if one == kind]
        lines += ["", f"## {kind.replace('_', ' ').capitalize()} ({len(chosen)})", ""]
        if "control" in chosen[0]:
            lines += ["| passes DMARC and is accepted |", "|---|", *(f"| {said['control']} |" for said in chosen)]
        else:
            lines += ["| attack | what stops it | at least |", "|---|---|---|"]
            lines += [f"| {said['attack']} | {said['stop']} | {said.get('action', 'tag')} |" for said in chosen]
    return "\n".join(lines) + "\n"


def _said(path: Path) -> dict[str, str]:
    head = path.read_text("utf-8").partition("\n---\n")[0].replace("|", "\\|")
    return {line.partition(": ")[0]: line.partition(": ")[2] for line in head.splitlines() if not line.startswith("#")}


if __name__ == "__main__":
    TARGET.write_text(configuration(), "utf-8")
    SPOOFING.write_text(spoofing(), "utf-8")
