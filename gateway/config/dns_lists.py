"""DNS lists (RFC 5782): the `[[dns_list]]` tables and the presets that ship -> what is asked, and what an answer means.

A preset is a name, no more: none is on until a table names it, and most want a contract, a key or little traffic
(docs/dns.md). What a table says overrides its preset.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.config.settings import DnsList
from gateway.errors import ConfigError
from gateway.mail.domain import to_a_label

_LABEL = re.compile(r"[A-Z0-9]+(?:_[A-Z0-9]+)*")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_OCTET = re.compile(r"(\*)|&([0-9]{1,3})|([0-9]{1,3})(?:-([0-9]{1,3}))?")
_ASKED = {
    "ip": ("client",),
    "allow": ("client",),
    "domain": ("author", "reverse_path", "helo"),
    "url": ("link",),
}
_ADDRESSES = frozenset(("client", "received"))


class AnswerPattern(NamedTuple):
    """127.0.0.2, 127.0.0.4-7, 127.0.*.3 or 127.0.0.&8 (that bit is set)."""

    text: str
    octets: tuple[tuple[int, int, int], ...]  # (least, most, bits of which one is set; 0 for none asked)
    label: str  # "" for the list's own finding

    def fits(self, answer: tuple[int, ...]) -> bool:
        """Whether an address is one of these."""
        return all(
            least <= octet <= most and (not bits or octet & bits)
            for octet, (least, most, bits) in zip(answer, self.octets, strict=True)
        )


@dataclass(frozen=True, slots=True)
class DnsListSpec:
    """One list that is asked."""

    name: str
    zone: str
    kind: str  # ip, domain, url, allow
    asked: tuple[str, ...]  # client, received, helo, reverse_path, author, link
    returns: tuple[AnswerPattern, ...]  # () when every answer in 127/8 is a listing
    refusals: tuple[AnswerPattern, ...]  # answers that are none, besides those of every list
    has_ipv6: bool
    test_listed: str  # what every list of its kind lists; an address or a domain
    test_unlisted: str
    timeout_s: float
    at_rcpt: str  # what a listed client hears at RCPT: refuse, defer; "" for nothing

    @property
    def finding(self) -> str:
        """The name of its findings, without a label."""
        return f"{'DNSWL' if self.kind == 'allow' else 'DNSBL'}_{self.name.upper().replace('-', '_')}"

    @property
    def findings(self) -> tuple[str, ...]:
        """Every name it may report."""
        labels = dict.fromkeys(pattern.label for pattern in self.returns) or {"": None}
        return tuple(self.labelled(label) for label in labels)

    def labelled(self, label: str) -> str:
        """The finding of one label."""
        return f"{self.finding}_{label}" if label else self.finding


_ZEN = {
    "127.0.0.2": "SBL",
    "127.0.0.3": "CSS",
    "127.0.0.4-7": "XBL",
    "127.0.0.9": "DROP",
    "127.0.0.10-11": "PBL",
}
_DBL = {
    "127.0.1.2": "SPAM",
    "127.0.1.4": "PHISH",
    "127.0.1.5": "MALWARE",
    "127.0.1.6": "BOTNET",
    "127.0.1.102-106": "ABUSED",
}
# Answers as the lists' own pages have them, November 2026
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "spamhaus-zen": {"zone": "zen.spamhaus.org", "kind": "ip", "returns": _ZEN, "has_ipv6": True},
    "spamhaus-dbl": {
        "zone": "dbl.spamhaus.org",
        "kind": "domain",
        "asked": ("author", "reverse_path", "helo", "link"),
        "returns": _DBL,
        "refusals": ("127.0.1.255",),
        "test_listed": "dbltest.com",
    },
    "spamcop": {"zone": "bl.spamcop.net", "kind": "ip", "returns": {"127.0.0.2": ""}},
    "barracuda": {"zone": "b.barracudacentral.org", "kind": "ip", "returns": {"127.0.0.2": ""}},
    "psbl": {"zone": "psbl.surriel.com", "kind": "ip", "returns": {"127.0.0.2": ""}},
    "mailspike": {
        "zone": "bl.mailspike.net",
        "kind": "ip",
        "returns": {"127.0.0.2": "WAVE", "127.0.0.10": "WORST", "127.0.0.11": "VERY_BAD", "127.0.0.12": "BAD"},
    },
    "surbl": {
        "zone": "multi.surbl.org",
        "kind": "url",
        "returns": {"127.*.*.&8": "PHISH", "127.*.*.&16": "MALWARE", "127.*.*.&64": "ABUSE", "127.*.*.&128": "CRACKED"},
        "test_listed": "test.surbl.org",
    },
    "uribl": {
        "zone": "multi.uribl.com",
        "kind": "url",
        "returns": {"127.0.0.&2": "BLACK", "127.0.0.&4": "GREY", "127.0.0.&8": "RED"},
        "test_listed": "test.uribl.com",
    },
    "dnswl-org": {
        "zone": "list.dnswl.org",
        "kind": "allow",
        "returns": {"127.0.*.1": "LOW", "127.0.*.2": "MEDIUM", "127.0.*.3": "HIGH"},
        "refusals": ("127.0.0.255",),
        "has_ipv6": True,
    },
}


def dns_lists(tables: Sequence[DnsList]) -> tuple[DnsListSpec, ...]:
    """What the tables ask for. Raises ConfigError, one line with the table's name."""
    specs = tuple(_spec(table) for table in tables)
    seen: dict[str, str] = {}
    for spec in specs:
        for finding in spec.findings:
            if seen.setdefault(finding, spec.name) != spec.name:
                raise ConfigError(f"[[dns_list]] {spec.name}: {finding} is {seen[finding]}'s too; give it another name")
    if len({spec.name for spec in specs}) != len(specs):
        raise ConfigError("[[dns_list]]: two tables have the same name; give one another")
    return specs


def preset_findings() -> tuple[str, ...]:
    """What the presets may report: their scores ship in rules/."""
    return tuple(name for preset in PRESETS for name in _spec(DnsList(preset=preset)).findings)


def _spec(table: DnsList) -> DnsListSpec:
    if table.preset and table.preset not in PRESETS:
        raise ConfigError(f"[[dns_list]] preset: {table.preset!r} is none of {', '.join(PRESETS)}")
    said: dict[str, Any] = dict(PRESETS.get(table.preset, {}))
    said |= {name: getattr(table, name) for name in table.model_fields_set}
    name = said.get("name") or table.preset
    where = f"[[dns_list]] {name or '?'}"
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: name: write letters, digits and hyphens, such as zen")
    kind = str(said.get("kind", table.kind))
    zone = to_a_label(str(said.get("zone", "")))
    if not zone or zone.startswith("["):
        raise ConfigError(f"{where}: zone: {said.get('zone', '')!r} is no domain name")
    asked = tuple(said.get("asked") or _ASKED[kind])
    is_of_addresses = kind in ("ip", "allow")
    wrong = [what for what in asked if (what in _ADDRESSES) != is_of_addresses]
    if wrong:
        raise ConfigError(f"{where}: asked: {wrong[0]} is nothing a list of kind {kind} knows")
    if table.at_rcpt and (kind != "ip" or "client" not in asked):
        raise ConfigError(f"{where}: at_rcpt: only for a list of kind ip that is asked about the client")
    listed, unlisted = ("127.0.0.2", "127.0.0.1") if is_of_addresses else ("test", "invalid")  # RFC 5782 §5
    return DnsListSpec(
        name=name,
        zone=zone,
        kind=kind,
        asked=asked,
        returns=tuple(_pattern(where, text, label) for text, label in dict(said.get("returns", {})).items()),
        refusals=tuple(_pattern(where, text, "") for text in said.get("refusals", ())),
        has_ipv6=bool(said.get("has_ipv6", table.has_ipv6)),
        test_listed=str(said.get("test_listed") or listed),
        test_unlisted=str(said.get("test_unlisted") or unlisted),
        timeout_s=float(said.get("timeout_s", table.timeout_s)),
        at_rcpt=table.at_rcpt,
    )


def _pattern(where: str, text: str, label: str) -> AnswerPattern:
    octets = [_octet(part) for part in text.split(".")]
    if len(octets) != 4 or None in octets or octets[0] != (127, 127, 0):
        raise ConfigError(f"{where}: {text!r}: write 127.0.0.2, 127.0.0.4-7, 127.0.*.3 or 127.0.0.&8 (a bit)")
    if label and not _LABEL.fullmatch(label):
        raise ConfigError(f"{where}: {label!r}: a label has capitals, digits and underlines, such as XBL")
    return AnswerPattern(text, tuple(one for one in octets if one), label)


def _octet(text: str) -> tuple[int, int, int] | None:
    match = _OCTET.fullmatch(text)
    if match is None:
        return None
    if match[1]:
        return 0, 255, 0
    if match[2]:
        return (0, 255, int(match[2])) if 0 < int(match[2]) < 256 else None
    least, most = int(match[3]), int(match[4] or match[3])
    return (least, most, 0) if least <= most < 256 else None
