"""What a rule file says, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

Network = IPv4Network | IPv6Network

Kind = Literal["header", "body", "rawbody", "uri", "full", "mimeheader", "meta", "eval"]
TextKind = Literal["", "header", "body", "rawbody", "full"]
Severity = Literal["error", "unsupported", "note"]


@dataclass(frozen=True, slots=True)
class Place:
    """File and line."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that is not, or not wholly, obeyed, and why. Nothing is skipped in silence."""

    place: Place
    text: str  # the line, cut
    reason: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class Regex:
    """A Perl pattern: text without delimiters, and its flags."""

    text: str
    flags: str  # of "imsx"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule line."""

    name: str
    kind: Kind
    place: Place
    selector: str = ""  # header, mimeheader: what stands before =~, as written: "Subject", "From:addr", "ALL:raw" ...
    regex: Regex | None = None  # as it is matched: replace_rules applied; None for meta, eval and exists:
    is_negated: bool = False  # header X !~ /.../
    if_unset: str = ""
    is_exists: bool = False
    written: str = ""  # the pattern before replace_rules, "" when nothing was replaced
    expression: str = ""  # meta; rules_matching() is written out
    function: str = ""  # eval: a name in gateway.rules.evals.FUNCTIONS
    arguments: tuple[str, ...] = ()
    text_kind: TextKind = ""  # eval: the directive it was written with


@dataclass(frozen=True, slots=True)
class RuleTest:
    """A `test NAME ok|fail text` line."""

    name: str
    should_hit: bool
    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Networks:
    """Whose relays are believed. The first entry that holds an address decides; (network, False) leaves it out."""

    trusted: tuple[tuple[Network, bool], ...] = ()
    internal: tuple[tuple[Network, bool], ...] = ()
    msa: tuple[tuple[Network, bool], ...] = ()


@dataclass(slots=True)
class Lists:
    """Allow and block lists, and the named lists that eval rules look things up in."""

    addresses: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    # list name ("welcomelist_from", "blocklist_to", "def_welcomelist_auth", an enlist_addrlist's own ...) -> address
    # pattern with * and ?, lower case -> what has to hold besides (a relay's name or [network], a signing domain)
    uri_hosts: dict[str, dict[str, bool]] = field(default_factory=dict)  # list -> host -> False for "!host"
    words: dict[str, set[str]] = field(default_factory=dict)  # freemail_domains, url_shortener, ok_locales ...


@dataclass(slots=True)
class RuleFiles:
    """Everything the files say, later lines over earlier ones."""

    rules: dict[str, Rule] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    translations: dict[str, dict[str, str]] = field(default_factory=dict)  # language -> name -> description
    tflags: dict[str, frozenset[str]] = field(default_factory=dict)  # raw words: "multiple", "maxhits=5", "nosubject"
    priorities: dict[str, int] = field(default_factory=dict)
    tests: list[RuleTest] = field(default_factory=list)
    networks: Networks = field(default_factory=Networks)
    lists: Lists = field(default_factory=Lists)
    redirectors: list[Regex] = field(default_factory=list)  # group 1 is where the redirector leads
    settings: dict[str, str] = field(default_factory=dict)  # what has one value: required_score, time_limit ...
    unsupported: dict[str, str] = field(default_factory=dict)  # rules that are defined but not run -> the reason
    problems: list[Problem] = field(default_factory=list)
    places: dict[tuple[str, str], Place] = field(default_factory=dict)  # (directive, name) -> where it was last set
    digest: str = ""  # sha256 over the files' bytes

    def score(self, name: str) -> float:
        """Its `score` line, else SpamAssassin's default: 1, or 0.01 for T_..., negative with tflags nice.

        Sub-rules (__...) and findings nobody scored count nothing.
        """
        if name in self.scores:
            return self.scores[name]
        if name.startswith("__") or name not in self.rules:
            return 0.0
        score = 0.01 if name.startswith("T_") else 1.0
        return -score if "nice" in self.tflags.get(name, ()) else score
