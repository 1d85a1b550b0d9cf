"""What eval functions look at: the message, what other stages found out, and the lists of the rule files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from gateway.mail.address import parse_mailboxes
from gateway.mail.header import written_value
from gateway.rules import perl
from gateway.rules.regex import compile_confirming, search
from gateway.rules.rule import Lists, Regex, RuleFiles
from gateway.rules.text import Selectors, Texts, texts_in
from gateway.types import AuthResult, HeaderField, MailObject, Part, Prediction

T = TypeVar("T")
_RELAY = re.compile(r"\[ ip=(\S*) rdns=(\S*) helo=(\S*) by=(\S*) ")
_ANGLE = re.compile(r"<([^<>\s@]{1,320}@[^<>\s@]{1,255})>")
_WITHOUT = Selectors(("",))  # kinds of text that have none
_MAX_ADDRESSES = 256
_MAX_KEPT = 4096  # answers, for domains met again
_MAX_TEXT = 1 << 18
_MAX_FIELD = 1 << 16


class AddressPatterns:
    """One list of addresses with * and ?."""

    def __init__(self, entries: dict[str, tuple[str, ...]]) -> None:
        self._entries = entries
        self._exact = frozenset(entries)
        self._globs = [(one, re.compile(_glob(one))) for one in entries if "*" in one or "?" in one]
        self._any = re.compile("|".join(pattern.pattern for _, pattern in self._globs)) if self._globs else None

    def __bool__(self) -> bool:
        return bool(self._entries)

    def has(self, address: str) -> bool:
        """Whether a pattern covers the whole address."""
        address = address.lower()
        return address in self._exact or (self._any is not None and self._any.match(address) is not None)

    def conditions(self, address: str) -> list[str]:
        """What has to hold besides, for every pattern that covers it."""
        if not self.has(address):
            return []
        address = address.lower()
        found = [*self._entries.get(address, ())]
        for pattern, compiled in self._globs:
            if pattern != address and compiled.match(address):
                found += self._entries[pattern]
        return found


def _glob(pattern: str) -> str:
    """Linear: each star is settled once."""
    return translate(pattern.replace("[", "[[]"))


def _domain_glob(pattern: str) -> str:
    """A star stays within a label."""
    signs = {"*": "[^.]*", "?": "."}
    return "".join(signs.get(char) or re.escape(char) for char in re.sub(r"\*+", "*", pattern))


class Knowledge:
    """The rule files' lists, made ready once for all messages."""

    def __init__(self, files: RuleFiles) -> None:
        self.lists: Lists = files.lists
        self.settings = files.settings
        self._patterns: dict[str, AddressPatterns] = {}
        self._freemail: dict[str, bool] = {}

    def addresses(self, name: str) -> AddressPatterns:
        """The list of this name, empty when there is none."""
        if name not in self._patterns:
            self._patterns[name] = AddressPatterns(self.lists.addresses.get(name, {}))
        return self._patterns[name]

    def is_freemail_domain(self, domain: str) -> bool:
        """Whether freemail_domains holds this domain, in lower case."""
        is_listed = self._freemail.get(domain)
        if is_listed is None:
            domains, globs = self.freemail_domains
            is_listed = domain in domains or (globs is not None and globs.fullmatch(domain) is not None)
            if len(self._freemail) < _MAX_KEPT:
                self._freemail[domain] = is_listed
        return is_listed

    @cached_property
    def freemail_domains(self) -> tuple[frozenset[str], re.Pattern[str] | None]:
        """Domains, and what those with * and ? match; * stays within a label."""
        words = self.lists.words.get("freemail_domains", set())
        globs = [_domain_glob(one) for one in sorted(words) if "*" in one or "?" in one]
        return frozenset(words), re.compile("|".join(globs)) if globs else None


class Relay(NamedTuple):
    """One hop of X-Spam-Relays-*."""

    ip: str
    rdns: str
    helo: str
    by: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything about one message. `relays` gives the text of X-Spam-Relays-Trusted and -Untrusted, "" without any."""

    mail: MailObject
    knowledge: Knowledge
    prediction: Prediction | None = None
    relays: Callable[[str], str] | None = None
    texts: Texts | None = None  # what pattern rules see; made from the message when there is none
    memo: dict[str, Any] = field(default_factory=dict, compare=False)

    def once(self, name: str, make: Callable[[Facts], T]) -> T:
        """What several functions need, made when the first one asks."""
        if name not in self.memo:
            self.memo[name] = make(self)
        found: T = self.memo[name]
        return found

    def fields(self, name: str) -> Sequence[HeaderField]:
        """Every field of this name."""
        return self.mail.message.by_name.get(name.lower(), ())

    def header(self, name: str) -> str:
        """The decoded values of all fields of this name, one a line; "" without any."""
        return "\n".join(one.text[:_MAX_FIELD] for one in self.fields(name))

    def raw_header(self, name: str) -> str:
        """The values as written, without folding."""
        return "\n".join(written_value(one)[:_MAX_FIELD] for one in self.fields(name))

    def raw_bytes(self, name: str) -> bytes:
        """The same as bytes with their folding; ALL for the whole header."""
        if name == "ALL":
            return b"".join(one.raw for one in self.mail.message.fields)
        return b"".join(one.raw.partition(b":")[2] for one in self.fields(name))

    def addresses(self, *names: str) -> list[str]:
        """The addresses in these fields."""
        return self.once(f"addresses {names}", lambda facts: _addresses_in(facts, names))

    def results(self, method: str) -> list[AuthResult]:
        """What authentication said."""
        return [result for result in self.mail.auth if result.method == method]

    @property
    def author(self) -> str:
        """The first address that stands in From, be it in a comment; "" without one."""
        written = next((box.address for box in self.mail.message.author if box.address), "")
        return written or self.once("author in a comment", _author_in_comment)

    def senders(self) -> list[str]:
        """Every address that says whom the message is from, the envelope's included."""
        return self.once("senders", _senders)

    def recipients(self) -> list[str]:
        """Every address the message is for."""
        return self.once("recipients", _recipients)

    def leaves(self) -> list[Part]:
        """Parts that are no containers."""
        return [part for part in self.mail.message.parts if not part.content_type.startswith("multipart/")]

    def paragraphs(self) -> list[bytes]:
        """What `body` rules see: the subject, then the paragraphs of the rendered text, each with a line end."""
        return self.once("paragraphs", lambda facts: facts.seen("body"))

    def uris(self) -> list[bytes]:
        """What `uri` rules see."""
        return self.once("uris", lambda facts: facts.seen("uri", keeps_line_end=False))

    def seen(self, kind: str, *, keeps_line_end: bool = True) -> list[bytes]:
        """The single texts that rules of this kind see."""
        buffers = (self.texts or Texts(self.mail)).buffers(kind, Selectors(("",)))
        return texts_in(buffers[""], keeps_line_end=keeps_line_end) if buffers else []

    def hops(self, which: str) -> Sequence[Relay]:
        """Relays, the last one first; which: Trusted or Untrusted."""
        return self.once(f"hops {which}", lambda facts: _hops(facts, which))


def _author_in_comment(facts: Facts) -> str:
    match = _ANGLE.search(facts.raw_header("From"))
    return match[1] if match else ""


def _addresses_in(facts: Facts, names: Sequence[str]) -> list[str]:
    message = facts.mail.message
    read = {"From": message.author, "Reply-To": message.reply_to}  # those are read already
    boxes = (
        box
        for name in names
        for some in ((read[name],) if name in read else map(parse_mailboxes, facts.fields(name)))
        for box in some
    )
    return list(islice((box.address for box in boxes if box.address), _MAX_ADDRESSES))


def _senders(facts: Facts) -> list[str]:
    resent = facts.addresses("Resent-From")
    if resent:
        return resent
    found = facts.addresses("From", "Envelope-Sender", "Resent-Sender", "X-Envelope-From")
    return _unique([*found, facts.mail.envelope.reverse_path])


def _recipients(facts: Facts) -> list[str]:
    resent = facts.addresses("Resent-To", "Resent-Cc")
    if resent:
        return resent
    named = """To Cc Apparently-To Delivered-To Envelope-Recipients Apparently-Resent-To X-Envelope-To Envelope-To
        X-Delivered-To X-Original-To X-Rcpt-To X-Real-To"""
    return _unique([*(one.address for one in facts.mail.envelope.recipients), *facts.addresses(*named.split())])


def _unique(addresses: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(one for one in addresses if one))


def _hops(facts: Facts, which: str) -> tuple[Relay, ...]:
    text = facts.relays(f"X-Spam-Relays-{which}") if facts.relays is not None else ""
    return tuple([Relay(*hop) for hop in _RELAY.findall(text[:_MAX_TEXT].lower())])


# --- arguments ------------------------------------------------------------------------------------------------------


def number(text: str) -> float:
    """An argument as a number; "undef" and "inf" are no bound. Raises ValueError."""
    return float("inf") if text in ("undef", "inf") else float(text)


def matches(pattern: str, text: str) -> bool:
    """A Perl pattern without delimiters, given as an argument. Raises ValueError, or TimeoutError at its step limit."""
    return search(_compiled(pattern), text.encode("utf-8", "replace")) is not None


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    return compile_confirming(Regex(*perl.translate(pattern, "")))


def is_between(value: float, low: str, high: str = "undef") -> bool:
    """low < value <= high."""
    return (low == "undef" or value > float(low)) and value <= number(high)


def is_from_to(value: float, low: str, high: str = "undef") -> bool:
    """low <= value < high."""
    return (low == "undef" or value >= float(low)) and (value < number(high))


def compares(value: float, text: str) -> bool:
    """An argument such as "!= 0" or "< 384". Raises ValueError."""
    match = re.fullmatch(r"\s*(==|!=|<=|>=|<|>)\s*(-?\d+(?:\.\d+)?)\s*", text)
    if match is None:
        raise ValueError(f"{text!r} compares nothing")
    other = float(match[2])
    return {
        "==": value == other,
        "!=": value != other,
        "<=": value <= other,
        ">=": value >= other,
        "<": value < other,
        ">": value > other,
    }[match[1]]
