"""Cases of the checks as data: tests/cases/checks/<check>/<topic>.case, read and judged.

A file is directives, a line "---", and the message as written (UTF-8; line ends become CRLF):

    # why this case is here
    expect: NAME NAME              the exact set of findings of all message checks; empty for none
    expect-some: NAME              instead of it: these, and perhaps others
    not: NAME                      none of these
    evidence NAME: text            a piece of what the finding says
    client: 192.0.2.1 helo=mail.example.org
    manner: SMTP_NUL               how the client spoke, as Envelope.manner has it
    reverse-path: <>               without it the author's own address, as ordinary mail has it
    forward-path: sara@darban.test  may stand again; without it you@darban.test
    own: darban.test                our domain, as [[domain]] names it   may stand again
    partner: supplier.example       as [identity] names it   may stand again
    person: Sara Rahimi <sara@darban.test> also=sara@gmail.com role=finance   may stand again
    auth: spf=pass example.org aligned policy=none override=word reason=words to the end   may stand again; a second spf is HELO's
    auth: dkim=pass example.org policy.key-bits=1024   properties stand before the reason
    history: network=30,1 domain=12,0,0,4 address=9,0,80 known=3.5,2 met=0   what is remembered, as the fields of Past
    history: author=other@example.org  of whom, without it the author in From

In the message "␀" is a NUL octet, and the lines between "%repeat 100" and "%end" stand there so many times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from gateway.auth.identity import Person, make_identity
from gateway.checks import CHECKS, make_checks
from gateway.checks.domain_list import FREEMAIL, SHORTENERS
from gateway.mail import parse
from gateway.mail.author_field import peek_author
from gateway.ports import MessageCheck
from gateway.types import AuthMethod, AuthResult, Client, Finding, History, MailObject, Past
from tests.builders import envelope

FOLDER = Path(__file__).parent / "cases" / "checks"

_DIRECTIVE = re.compile(
    r"(expect|expect-some|not|client|manner|reverse-path|forward-path|own|partner|person|auth|history|"
    r"evidence ([A-Z_]+)): ?(.*)"
)
_REPEAT = re.compile(r"%repeat ([0-9]+)\n(.*?)%end\n", re.DOTALL)
_PERSON = re.compile(r"([^<>]+) <([^<>@\s]+@[^<>@\s]+)>(?: also=(\S+))?(?: role=(\w+))?")
_AUTH = re.compile(
    r"(iprev|spf|dkim|arc|dmarc)=([a-z]+)(?: (?!aligned|policy[=.]|override=|reason=)(\S+))?( aligned)?(?: policy=(\S+))?"
    r"((?: policy\.\S+=\S+)*)(?: override=(\S+))?(?: reason=(.+))?"
)


@dataclass(frozen=True, slots=True)
class Case:
    """What a file says."""

    id: str  # "author/role_freemail"
    expected: frozenset[str]
    is_exact: bool
    unwanted: frozenset[str]
    evidence: tuple[tuple[str, str], ...]  # (finding, a piece of its evidence)
    mail: MailObject
    checks: tuple[MessageCheck, ...] = CHECKS


def load_cases() -> list[Case]:
    """Every file, in order of their names."""
    return [load_case(path) for path in sorted(FOLDER.rglob("*.case"))]


def load_case(path: Path) -> Case:
    """One file. Raises ValueError for what it does not understand, so that no slip of the pen passes for a test."""
    name = path.relative_to(FOLDER).with_suffix("").as_posix()
    head, separator, written = path.read_text(encoding="utf-8").partition("\n---\n")
    if not separator:
        raise ValueError(f"{name}: there is no line ---")
    said: dict[str, list[str]] = {}
    evidence: list[tuple[str, str]] = []
    for line in head.splitlines():
        match = _DIRECTIVE.fullmatch(line)
        if match and match[2]:
            evidence.append((match[2], match[3]))
        elif match:
            said.setdefault(match[1], []).append(match[3])
        elif line and not line.startswith("#"):
            raise ValueError(f"{name}: cannot read {line!r}")
    if ("expect" in said) == ("expect-some" in said):
        raise ValueError(f"{name}: needs either expect or expect-some")
    return Case(
        name,
        _names(said, "expect") | _names(said, "expect-some"),
        "expect" in said,
        _names(said, "not"),
        tuple(evidence),
        _mail(said, _content(written)),
        _checks(said),
    )


def findings_of(mail: MailObject, checks: tuple[MessageCheck, ...] = CHECKS) -> list[Finding]:
    """What all message checks report."""
    return [finding for check in checks for finding in check.check(mail)]


def judge(case: Case) -> Iterator[str]:
    """What is not as the case says, in words; nothing when all is."""
    findings = findings_of(case.mail, case.checks)
    names = {finding.name for finding in findings}
    missing, surplus = case.expected - names, names - case.expected if case.is_exact else names & case.unwanted
    yield from (f"{name} is missing" for name in sorted(missing))
    yield from (f"{finding} was not expected" for finding in findings if finding.name in surplus)
    for name, text in case.evidence:
        said = [words for finding in findings if finding.name == name for words in finding.evidence]
        if not any(text in words for words in said):
            yield f"{name} says {said}, not {text!r}"


def _names(said: dict[str, list[str]], directive: str) -> frozenset[str]:
    return frozenset(" ".join(said.get(directive, ())).split())


def _content(written: str) -> bytes:
    text = _REPEAT.sub(lambda match: match[2] * int(match[1]), written)
    return text.replace("␀", "\0").replace("\n", "\r\n").encode()


def _mail(said: dict[str, list[str]], content: bytes) -> MailObject:
    message = parse(content)
    author = next((box.address for box in message.author if box.address), "")
    reverse_path = said["reverse-path"][-1].strip("<>") if "reverse-path" in said else author
    address, _, helo = said.get("client", ["192.0.2.1 helo=mail.example.org"])[-1].partition(" helo=")
    around = envelope(
        *said.get("forward-path", ()),
        client=Client(address.strip(), helo=helo),
        reverse_path=reverse_path,
        history=_history(said["history"], peek_author(content)) if "history" in said else None,
        manner=tuple(" ".join(said.get("manner", ())).split()),
    )
    auth = [_auth(words) for words in said.get("auth", ())]
    for place in [place for place, one in enumerate(auth) if one.method == "spf"][1:]:
        auth[place] = auth[place]._replace(identity="helo")
    return MailObject(around, message, tuple(auth))


def _history(lines: list[str], author: str) -> History:
    values: dict[str, str] = {"author": author}
    for word in " ".join(lines).split():
        name, _, value = word.partition("=")
        if name not in ("author", "network", "domain", "address", "known", "met"):
            raise ValueError(f"cannot read history: {word!r}")
        values[name] = value

    def numbers(name: str) -> list[float]:
        return [float(one) for one in values.get(name, "").split(",") if one]

    pasts = [Past(*numbers(name)) for name in ("network", "domain", "address")]
    return History(values["author"], *pasts, tuple(numbers("known")), tuple(numbers("met")))


def _checks(said: dict[str, list[str]]) -> tuple[MessageCheck, ...]:
    if not said.keys() & {"own", "partner", "person"}:
        return CHECKS
    identity = make_identity(
        own=said.get("own", ()),
        partners=said.get("partner", ()),
        freemail=FREEMAIL,
        shorteners=SHORTENERS,
        people=[_person(words) for words in said.get("person", ())],
    )
    return make_checks(identity)


def _person(words: str) -> Person:
    match = _PERSON.fullmatch(words)
    if match is None:
        raise ValueError(f"cannot read person: {words!r}")
    return Person(match[1], match[2], tuple((match[3] or "").split(",")) if match[3] else (), match[4] or "")


def _auth(words: str) -> AuthResult:
    match = _AUTH.fullmatch(words)
    if match is None:
        raise ValueError(f"cannot read auth: {words!r}")
    method, result, domain, aligned, policy, noted, override, reason = match.groups()
    return AuthResult(
        cast(AuthMethod, method),
        result,
        domain=domain or "",
        policy=policy or "",
        reason=reason or "",
        is_aligned=bool(aligned),
        override=override or "",
        properties=tuple((name, value) for name, _, value in (pair.partition("=") for pair in noted.split())),
    )
