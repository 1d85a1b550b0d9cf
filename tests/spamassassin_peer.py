"""SpamAssassin itself and Darban over the same messages with the same rules: which names hit in each.

    python -m tests.spamassassin_peer [--number 1000] [--show 40] [--cache FOLDER]

prints how far they agree by kind of rule, and the rules that differ most. Exit status 1 when, of the rules that are no
eval rules, one agrees in less than LEAST and is not among the EXCEPTIONS, or is and agrees. What SpamAssassin found
(minutes of CPU) is kept in the cache folder for the next time. Both get the same bytes: the message, and on
top the two fields a border server writes, Return-Path and Received; Darban's client is a loopback address, so that both
know of relays what the Received fields say. Local tests only, no classifier, scores of column 0.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.mail import parse
from gateway.rules import expression
from gateway.rules.reader import read
from gateway.rules.ruleset import Rules
from gateway.types import Client, Envelope, MailObject

RULES = Path("/usr/share/spamassassin")
PRE = Path("/etc/spamassassin")  # Debian's *.pre: which plugins are loaded
SCRIPT = Path(__file__).with_suffix(".pl")
LEAST = 0.995  # of the hits of either
_CUT = "SpamAssassin's freemail plugin cuts addresses out of the text that the rules after it see"
_NO_SCHEME = "a link to //host is http://host here too, as a reader opens it; there it is http:////host"
_COLOURS = "html_test of this kind is not supported: colours are judged as readers see them"
_UNCLOSED = "a comment that never ends hides all that follows, as in browsers; there it ends at the first >"
_LOST = "text with bytes that are none of its charset (iso-2022-jp) is shown, its bad bytes as U+FFFD; there all of it is lost"
EXCEPTIONS: Mapping[str, str] = {
    "__HAS_ANY_EMAIL": _CUT,
    "HOSTED_IMG_MULTI_PUB_01": _NO_SCHEME,
    "__IMGUR_IMG": _NO_SCHEME,
    "__IMGUR_IMG_2": _NO_SCHEME,
    "T_KAM_HTML_FONT_INVALID": _COLOURS,
    "LONGLN_LOW_CONTRAST": _COLOURS,
    "__LONGLN_LOW_CONTRAST": _COLOURS,
    "__HIGHBITS": f"entities of an ASCII page are Latin-1 bytes there, UTF-8 here as in every other page; and {_LOST}",
    "__HOURS_DEADLINE": _LOST,
    "__BODY_SINGLE_WORD": _LOST,
    "__SINGLE_WORD_LINE": f"{_LOST}; a forwarded message of one line and no header is text here, a header there",
    "EMPTY_MESSAGE": f"{_UNCLOSED}; {_LOST}",
    "__EMPTY_BODY": f"{_UNCLOSED}; {_LOST}",
    "NORMAL_HTTP_TO_IP": _UNCLOSED,
    "TRACKER_ID": _UNCLOSED,
    "__CLICK_HERE": _UNCLOSED,
    "__FB_NUM_PERCNT": _UNCLOSED,
    "__HUSH_HUSH": _UNCLOSED,
    "__FROM_ENDS_IN_NUMS": 'of "name"<>123<address> the last address is read here, none there',
    "__PDS_HTML_LENGTH_2048": "a page without a charset is decoded by another guess",
    "__UNSUB_LINK": "blanks inside a link are dropped here",
}
_RECEIVED_ON = "Mon, 2 Mar 2026 10:00:00 +0000"
Counts = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Case:
    """One message as it came to the border; content with LF line ends."""

    name: str
    content: bytes
    mail_from: str = "sara@example.org"
    client_ip: str = "192.0.2.1"
    helo: str = "mail.example.org"

    def received(self) -> bytes:
        """With what the border server wrote on top."""
        head = (
            f"Return-Path: <{self.mail_from}>\nReceived: from {self.helo} ({self.helo} [{self.client_ip}])\n"
            f"\tby mx.darban.test (Postfix) with ESMTP id PEER00\n\tfor <you@darban.test>; {_RECEIVED_ON}\n"
        )
        return head.encode("utf-8", "replace") + self.content


def missing() -> str:
    """Why there is no SpamAssassin to compare with, "" when there is."""
    if not (RULES / "72_active.cf").exists() or shutil.which("perl") is None:
        return "Debian's package spamassassin is not installed"
    return ""


def spamassassin(cases: Sequence[Case], folder: Path) -> list[Counts]:
    """What hit in each message, sub-rules included. Raises CalledProcessError when SpamAssassin fails."""
    pre, state = folder / "pre", folder / "state"
    for one in (pre, state):
        one.mkdir(parents=True, exist_ok=True)
    for path in PRE.glob("*.pre"):
        shutil.copy(path, pre)
    (state / "user_prefs").touch()
    paths = []
    for number, case in enumerate(cases):
        paths.append(folder / f"{number}.eml")
        paths[-1].write_bytes(case.received())
    command = ["perl", str(SCRIPT), str(RULES), str(pre), str(state)]
    listing = "".join(f"{path}\n" for path in paths)
    done = subprocess.run(command, input=listing, capture_output=True, text=True, check=True, timeout=3600)
    return [_counts(line.partition("\t")[2]) for line in done.stdout.splitlines()]


def spamassassin_kept(cases: Sequence[Case], cache_dir: Path) -> list[Counts]:
    """The same, from the cache when it ran over these messages with this script before."""
    key = hashlib.sha256(SCRIPT.read_bytes() + b"\0".join(case.received() for case in cases)).hexdigest()[:32]
    path = cache_dir / f"spamassassin-{key}.json"
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            found = spamassassin(cases, Path(folder))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
    kept: list[Counts] = json.loads(path.read_text())
    return kept


def _counts(text: str) -> Counts:
    return {name: float(count) for name, _, count in (pair.partition("=") for pair in text.split())}


def darban_rules(cache_dir: Path) -> Rules:
    """Debian's rules as Darban reads them; compiling takes a minute when the cache is empty."""
    return Rules(read([RULES], column=0), cache_dir, everything=True)


def darban(rules: Rules, cases: Iterable[Case]) -> list[Counts]:
    """What hit in each message."""
    return [rules.counts(_mail(case)) for case in cases]


def _mail(case: Case) -> MailObject:
    envelope = Envelope("PEER00", Client("127.0.0.1"), case.mail_from, (), 0.0, "mx.darban.test")
    return MailObject(envelope, parse(case.received().replace(b"\n", b"\r\n")))


@dataclass(slots=True)
class Difference:
    """One rule over all messages."""

    name: str
    kind: str  # of gateway.rules.rule.Kind, "unsupported" or "unknown"
    both: int = 0
    only_darban: list[str] = field(default_factory=list)  # names of messages
    only_spamassassin: list[str] = field(default_factory=list)

    @property
    def is_eval(self) -> bool:
        """Whether it is no pattern and no meta."""
        return self.kind in ("eval", "unsupported", "unknown")

    @property
    def hits(self) -> int:
        """Of either."""
        return self.both + self.differing

    @property
    def differing(self) -> int:
        """Of one alone."""
        return len(self.only_darban) + len(self.only_spamassassin)


def compared(rules: Rules, cases: Sequence[Case], ours: Sequence[Counts], theirs: Sequence[Counts]) -> list[Difference]:
    """Every rule that hit in either, most different first."""
    found: dict[str, Difference] = {}
    for case, our, their in zip(cases, ours, theirs, strict=True):
        for name in {*(one for one, count in our.items() if count), *their}:
            one = found.setdefault(name, Difference(name, _kind(rules, name)))
            if our.get(name) and name in their:
                one.both += 1
            else:
                (one.only_darban if our.get(name) else one.only_spamassassin).append(case.name)
    return sorted(found.values(), key=lambda one: (-one.differing, one.name))


def _kind(rules: Rules, name: str) -> str:
    rule = rules.files.rules.get(name)
    if rule is not None:
        return rule.kind
    return "unsupported" if name in rules.files.unsupported else "unknown"


def leaning(rules: Rules) -> frozenset[str]:
    """Metas whose value hangs on a rule that is no pattern: an eval, a network rule, one that is not supported."""
    metas = [rule for rule in rules.files.rules.values() if rule.kind == "meta"]
    names = {rule.name: expression.names(expression.parse(rule.expression)) for rule in metas}
    found = {name for name, rule in rules.files.rules.items() if rule.kind == "eval"} | set(rules.files.unsupported)
    grown = True
    while grown:
        more = {name for name, named in names.items() if name not in found and not found.isdisjoint(named)}
        found |= more
        grown = bool(more)
    return frozenset(name for name in found if name in names)


def agreement(differences: Iterable[Difference]) -> float:
    """The share of hits that both have; 1.0 for none."""
    both = hits = 0
    for one in differences:
        both, hits = both + one.both, hits + one.hits
    return both / hits if hits else 1.0


def below(differences: Iterable[Difference]) -> dict[str, Difference]:
    """The rules that agree too little, without eval rules."""
    return {one.name: one for one in differences if not one.is_eval and agreement([one]) < LEAST}


def corpus_cases(number: int) -> list[Case]:
    """The fixed messages of the benchmarks, evenly from each corpus."""
    from benchmarks.mail import messages

    return [
        Case(
            f"{sample.source}/{sample.path}",
            sample.content.replace(b"\r\n", b"\n"),
            sample.mail_from,
            sample.client_ip or "192.0.2.1",
            sample.helo or "mail.example.org",
        )
        for sample in messages(number)
    ]


def main() -> None:
    """Print the comparison."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--number", type=int, default=1000)
    options.add_argument("--show", type=int, default=40)
    options.add_argument("--cache", type=Path, default=Path("var/cache"))
    chosen = options.parse_args()
    if reason := missing():
        raise SystemExit(reason)
    cases = corpus_cases(chosen.number)
    rules = darban_rules(chosen.cache)
    found = compared(rules, cases, darban(rules, cases), spamassassin_kept(cases, chosen.cache))
    _print(found, leaning(rules), chosen.show)
    unlisted, done = below(found).keys() - EXCEPTIONS, EXCEPTIONS.keys() - below(found)
    print(f"not among the exceptions: {sorted(unlisted)}; exceptions that agree: {sorted(done)}")
    raise SystemExit(bool(unlisted or done))


def _print(found: Sequence[Difference], metas: frozenset[str], show: int) -> None:
    kinds: dict[str, list[Difference]] = defaultdict(list)
    for one in found:
        kinds["meta over evals" if one.name in metas else one.kind].append(one)
    for kind, those in sorted(kinds.items()):
        total = Counter(both=sum(one.both for one in those), hits=sum(one.hits for one in those))
        print(f"{kind:16} {total['both']:7} of {total['hits']:7} hits agree: {100 * agreement(those):.3f} %")
    others = [one for one in found if not one.is_eval]
    print(f"non-eval {100 * agreement(others):.3f} %; {len(below(found))} of {len(others)} such rules agree in less "
          f"than {100 * LEAST} %")  # fmt: skip
    for one in found[:show]:
        if one.differing:
            where = " ".join((*one.only_darban[:2], *one.only_spamassassin[:2]))
            print(f"{one.name} ({one.kind}): both {one.both}, Darban alone {len(one.only_darban)}, "
                  f"SpamAssassin alone {len(one.only_spamassassin)}; {where}")  # fmt: skip


if __name__ == "__main__":
    main()
