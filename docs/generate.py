"""Writes docs/configuration.md from the settings' own descriptions, docs/custody.md from the tables that the gateway
answers by, and docs/spoofing.md from the files of its table: python docs/generate.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.config.settings import Settings
from gateway.policy.custody import ANSWERS, NO_ANSWER, TRANSITIONS

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


_CUSTODY_HEAD = """\
# Custody: who is answerable for the message now

250 is said at the end of DATA only after the next hop said 250 to us, or after the quarantine has fsync'd the content
and committed the rows. Until then the client has the message and will send it again. There is no spool.

What follows is written from the tables in `gateway/policy/custody.py`, by which the gateway answers. Each row is for
one recipient: in a state something happens, and then the message is there. No row ends with nobody having it, but for
the two that end what is held: a person's word, and the time that an admin set.

| state | what happens | then it is | the client hears | |
|---|---|---|---|---|
"""
_CUSTODY_ANSWERS = """
"May come twice": the sender's next try (or the next release) can make a second copy. Elsewhere it cannot: SMTP has no
answer to a lost reply (RFC 1047), and everything else is remembered.

DATA has one reply for all recipients; the first row that applies:

| the recipients' states | the client hears | |
|---|---|---|
"""
_CUSTODY_TAIL = """
## Shown by

- `tests/unit/test_service.py`: a client that tries again, over stores in memory that fail and recover, in any order.
- `tests/e2e/test_custody.py`: real mail replayed into a real Postfix, each message in exactly one of next hop,
  quarantine and refused; a listener and a scorer killed with SIGKILL under 200 sessions.
- `tests/contract/test_power_loss.py`: the quarantine and a Maildir on a disk of its own whose power is cut while they
  are written to; what they said is theirs is there afterwards, whole. The same without fsync loses it, so the cut is a
  real one. The disk is ext4, which shuts down without a flush; a device that lies about its flushes is not shown.
- `tests/e2e/test_fire.py`, and for as long as one likes
  `python -m tests.e2e.fire --messages 20000 --faults 300 --out FILE`: clients that try again, and go away in the middle
  or after the dot, by SMTP and, every third message, through a Postfix that asks by milter; with SQLite and with
  PostgreSQL in turn. Meanwhile the gateway's processes are killed and stopped, it is reloaded and restarted, its disk
  is full, read-only or loses its power, its database is locked, killed, cut off or stands still, its DNS silent,
  releases die, the next hops (SMTP, LMTP, Postfix) fail at every step, and the Postfix in front is killed or has a full
  disk. Afterwards each message is looked for in every place: none is lost, none was delivered unjudged or where policy
  holds it, and each second copy has a row above that allows it and a logged event. Through the milter no fault of ours
  is such a row.
- The same run asks at the doors spamd (by `spamc`), `/scan` and `/checkv2` all the time, about messages whose verdict
  was asked before the first fault: an answer is that verdict, or says what could not be looked at and still never calls
  clean what policy holds; else it is an error in time, or a connection cut by a fault that kills.

`python -m tests.e2e.fire --messages 20000 --faults 328 --seed 8 --out FILE`, 2026-11-28, in 13 minutes on two cores
beside other work (`benchmarks/results/fire.json`): 20,100 messages, 13,386 by SMTP and 6,714 through the Postfix that
asks, 10,020 with SQLite and 10,080 with PostgreSQL and Redis, for 29,495 recipients; 336 faults of 41 kinds. Lost: 0;
damaged: 0; bounced by a fault: 0; delivered unjudged or where policy holds: 0. Second copies: 582, all explained: 356
as the client did not wait for the answer, 138 as the next hop's reply was lost or it was killed before it, 57 as who
was served could not be written down, 31 as the gateway or a part of it was killed or its power was cut; at most six
copies of one message and recipient. 22,240 questions at the doors spamd and HTTP: no wrong answer. No traceback in the
logs.
"""
CUSTODY = Path(__file__).parent / "custody.md"


def custody() -> str:
    """The whole page."""
    lines = [_CUSTODY_HEAD.rstrip()]
    for one in TRANSITIONS:
        notes = "; ".join(filter(None, (one.note, "**may come twice**" if one.may_come_twice else "")))
        then = "as it was" if one.then == one.state else one.then
        lines.append(f"| {one.state} | {one.event} | {then} | {one.hears} | {notes} |")
    lines.append(_CUSTODY_ANSWERS.rstrip())
    lines += [f"| {one.of}: {' or '.join(sorted(one.states))} | {one.code} | {one.why} |" for one in ANSWERS]
    lines += [f"| none | {NO_ANSWER.code} | {NO_ANSWER.why} |", _CUSTODY_TAIL.rstrip()]
    return "\n".join(lines) + "\n"


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
        lines += _tables(title, model)
    return "\n".join(lines) + "\n"


def _tables(title: str, model: type[BaseModel]) -> list[str]:
    """A section's options, and those of the sections within it."""
    found = {name: _section(field.annotation) for name, field in model.model_fields.items()}
    own = [(name, field) for name, field in model.model_fields.items() if found[name][0] is None or found[name][1]]
    lines = ["", f"## {title}", "", *_table(own)]
    for name, (inner, is_list) in found.items():
        if inner is not None:
            place = f"{title.strip('[]')}.{name}"
            lines += _tables(f"[[{place}]]" if is_list else f"[{place}]", inner)
    return lines


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
    CUSTODY.write_text(custody(), "utf-8")
