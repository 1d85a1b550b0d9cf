"""SPF (RFC 7208): may this client speak for the domain of MAIL FROM, and for its HELO name?

Records are evaluated by pyspf, with its DNS replaced: a look-up whose answer is not at hand stops the evaluation, the
answer is awaited, and the evaluation runs again; what was decided before (an include's outcome, a parsed term) is not
decided again. Nothing blocks and nothing global is changed, so many evaluations may interleave in one loop.

Both identities are evaluated (§2.3, §2.4), over the same answers. The main one is MAIL FROM, or HELO where the
reverse-path is null; HELO besides MAIL FROM is a further result, which DMARC does not look at (RFC 7489 §3.1.2).

An explanation (exp=, §6.2) is fetched for "fail" of the main identity alone, after everything else, so that a domain
that is slow about it loses the explanation and not the result. It is the domain's text: ASCII, bounded, and always
quoted as what the domain says.

Corrected around pyspf 2.0.14 (docs/rfc.md names the tests): exceptions on odd names and addresses; single-label
domains; a failing address look-up of a PTR name, which RFC 7208 §5.5 has skipped; expanded names longer than 253, cut
label by label (§7.3); modifier names in capitals (§4.6.1) and unknown ones that stand twice (§6); a redirect= that is
not followed, which is no look-up (§4.6.4); macros that are none (§7.1); explanations cut at their first dot; its clock,
which is not used, as the resolver has one. Not done: the SPF record type; local policy.

Passes the 203 cases of the RFC 7208 test suite (release 2014.04), its explanations included. Cost: 40 µs for one
look-up, 400 µs for eight. Limits: RFC 7208 §4.6.4 (10 terms that look up, 10 names, 2 void look-ups), MAX_RECORD,
MAX_TERM and MAX_EXPLANATION besides.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple, TypeVar, cast

from gateway.auth.iprev import FAILURES, parse_address
from gateway.mail.domain import to_a_label
from gateway.ports import Resolver
from gateway.types import AuthResult, DnsAnswer, Envelope


def _import_pyspf() -> Any:
    """pyspf without dnspython, which it imports for the look-ups replaced here: 200 modules, 140 ms of every start."""
    if "dns" in sys.modules:
        return importlib.import_module("spf")
    stand_ins = {name: ModuleType(name) for name in ("dns", "dns.resolver", "dns.exception")}
    stand_ins["dns"].rdatatype = SimpleNamespace(SPF=99)  # type: ignore[attr-defined]
    sys.modules.update(stand_ins)
    try:
        return importlib.import_module("spf")
    finally:
        for name in stand_ins:
            del sys.modules[name]


pyspf = _import_pyspf()

MAX_RECORD = 16_384  # bytes of one record; RFC 7208 §3.4 recommends less than 512
MAX_TERM = 512  # bytes of one term: a domain-spec names at most 253; pyspf's patterns are quadratic in it
MAX_ROUNDS = 50  # evaluations of one record: 10 terms need two at most, %{p} and validated names some more
# Look-ups of the further identity and of an explanation: both are the client's or a stranger's to make costly, and must
# not use up what the main result may need. A usual HELO record takes two.
MAX_FURTHER = 40
MAX_EXPLANATION = 400  # characters, as one string of a TXT record has 255 and macros make it longer

T = TypeVar("T")

_LITERALS = {"%%": "%", "%_": " ", "%-": "%20"}
_MACRO = re.compile(r"%\{[A-Za-z](?:0*[1-9][0-9]*)?[rR]?[.+,/_=-]*\}")
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f]")  # a quoted local part may have spaces
_REASONS = {
    "pass": "{ip} is permitted by {domain}{term}",
    "fail": "{ip} is not permitted by {domain}{term}",
    "softfail": "{ip} is probably not permitted by {domain}{term}",
    "neutral": "{domain} says nothing about {ip}{term}",
    "none": "{domain} publishes no SPF record",
}


async def evaluate(envelope: Envelope, resolver: Resolver) -> AuthResult:
    """The main identity's result, explained where it is "fail". Never raises."""
    evaluation = Evaluation(envelope, resolver)
    return await evaluation.explain(await evaluation.main())


class Evaluation:
    """Of both identities of one envelope, over the same answers."""

    def __init__(self, envelope: Envelope, resolver: Resolver) -> None:
        self._envelope = envelope
        self._resolver = resolver
        self._answers: dict[tuple[str, str], DnsAnswer] = {}
        self._unexplained: tuple[_Query, _Explanation] | None = None

    async def main(self) -> AuthResult:
        """The result for MAIL FROM, or for HELO when the reverse-path is null (RFC 7208 §2.4). Never raises."""
        identity = "mailfrom" if self._envelope.reverse_path else "helo"
        return await self._evaluate(identity, *_main_identity(self._envelope))

    async def helo(self) -> tuple[AuthResult, ...]:
        """The result for HELO (RFC 7208 §2.3); () where that is the main one, or nothing is known of the client."""
        if not self._envelope.reverse_path or not self._envelope.client.helo or not self._envelope.client.ip:
            return ()
        return (await self._evaluate("helo", "postmaster", _helo(self._envelope)),)

    async def explain(self, result: AuthResult) -> AuthResult:
        """The main result with the domain's own words on why it failed, if it has some (RFC 7208 §6.2)."""
        if result.result != "fail" or self._unexplained is None:
            return result
        query, explanation = self._unexplained
        found = await self._rounds(lambda: query.explain(explanation), MAX_FURTHER)
        words = _one_line(found or "").replace('"', "'")
        if not words:
            return result
        return result._replace(reason=f'{result.reason}; {explanation.domain} says: "{words}"')

    async def _evaluate(self, identity: str, local_part: str, domain: str) -> AuthResult:
        result, reason = await self._conclude(identity, local_part, domain)
        return AuthResult("spf", result, domain, identity=identity, reason=reason)

    async def _conclude(self, identity: str, local_part: str, domain: str) -> tuple[str, str]:
        address = parse_address(self._envelope.client.ip)
        if address is None:
            return "none", "no client address is known"
        if "." not in domain or domain.startswith("[") or _has_odd_label(domain):  # RFC 7208 §4.3
            return "none", "the domain is not one SPF can be asked about"
        record = await self._lookup((domain, "TXT"))
        at_once = _without_record(record, domain)
        if at_once:
            return at_once
        helo = self._envelope.client.helo[:255].encode("ascii", "replace").decode("ascii")  # for %{h}, whatever it is
        query = _Query(str(address), (local_part, domain), helo, self._envelope.hostname, self._answers)
        is_main = identity == "mailfrom" or not self._envelope.reverse_path
        found = await self._rounds(query.conclude, None if is_main else MAX_FURTHER)
        if found is None:
            return "permerror", "the record needs too many look-ups"
        result, reason, explanation = found
        if is_main:
            self._unexplained = (query, explanation) if explanation else None
        return result, reason

    async def _rounds(self, work: Callable[[], T], most: int | None = None) -> T | None:
        """What the work gives once its answers are there; None when it asks for more than `most`, or ever more."""
        asked = 0
        for _ in range(MAX_ROUNDS):
            try:
                return work()
            except _AnswersNeeded as needed:
                asked += len(needed.keys)
                if most is not None and asked > most:
                    return None
                for key in needed.keys:
                    await self._lookup(key)
        return None

    async def _lookup(self, key: tuple[str, str]) -> DnsAnswer:
        if key not in self._answers:
            self._answers[key] = await self._resolver.query(*key)
        return self._answers[key]


def _without_record(answer: DnsAnswer, domain: str) -> tuple[str, str] | None:
    """(result, reason) where there is no record to evaluate."""
    if answer.status in FAILURES:
        return "temperror", _one_line(f"Temporary Error: {_unanswered(answer, domain, 'TXT')}")
    if not any(isinstance(one, bytes) and pyspf.RE_SPF.match(one) for one in answer.records):
        return "none", _REASONS["none"].format(domain=domain)
    return None


def _unanswered(answer: DnsAnswer, name: str, qtype: str) -> str:
    return f"DNS {answer.status} for {name} {qtype}"


def _main_identity(envelope: Envelope) -> tuple[str, str]:
    """Local part and domain that are checked; the domain "" when there is none."""
    if not envelope.reverse_path:
        return "postmaster", _helo(envelope)  # RFC 7208 §2.4
    local_part, at, domain = envelope.reverse_path.rpartition("@")
    if not at:
        return "postmaster", ""
    return _UNUSABLE.sub("", local_part.encode("utf-8", "replace").decode("utf-8")) or "postmaster", to_a_label(domain)


def _helo(envelope: Envelope) -> str:
    return to_a_label(envelope.client.helo[:255])


def _has_odd_label(domain: str) -> bool:
    return any(not 0 < len(label) <= 63 for label in domain.split("."))


class _Explanation(NamedTuple):
    """Where a domain keeps its explanation: the domain-spec of exp=, not yet expanded."""

    domain: str
    spec: str


class _AnswersNeeded(BaseException):
    """Stops an evaluation at a look-up; not an Exception, as pyspf catches those."""

    def __init__(self, keys: Sequence[tuple[str, str]]) -> None:
        super().__init__(keys)
        self.keys = keys


class _Query(pyspf.query):  # type: ignore[misc, name-defined]
    """pyspf's evaluation over answers that are already there."""

    p: str | None  # %{p}; None while it is not known

    def __init__(
        self,
        address: str,
        identity: tuple[str, str],
        helo: str,
        receiver: str,
        answers: dict[tuple[str, str], DnsAnswer],
    ) -> None:
        super().__init__(address, "@".join(identity), helo, receiver=receiver)
        self.l, self.o = identity  # pyspf parts them at the first "@", which may be quoted
        self.d = self.o
        self._answers = answers
        self._parsed: dict[tuple[str, str], Any] = {}
        self._matched: dict[tuple[tuple[str, ...], int], bool] = {}
        self._included: dict[tuple[str, int, int], tuple[Any, int, int]] = {}
        self._prepared: dict[tuple[str, str], tuple[str, str]] = {}
        self._open: list[int] = []  # the depth of each record that is being evaluated, outermost first

    def conclude(self) -> tuple[str, str, _Explanation | None]:
        """(result, reason, where it is explained). Raises _AnswersNeeded."""
        self.exps, self.p = dict(self.defexps), None
        try:
            result, _, explanation = self.check()
        except (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError) as error:
            return "permerror", f"the record of {self.o} could not be evaluated ({type(error).__name__})", None
        if result not in _REASONS:
            return result, _one_line(str(explanation).removeprefix("SPF ")), None
        term = f", by {_one_line(self.mechanism)}" if self.mechanism else ""
        where = explanation if isinstance(explanation, _Explanation) else None
        return result, _REASONS[result].format(ip=self.c, domain=self.o, term=term), where

    def explain(self, explanation: _Explanation) -> str:
        """The text, expanded; "" for none, several, or one that breaks the rules (RFC 7208 §6.2)."""
        self.d, self.p, self.void_lookups = explanation.domain, None, 0
        try:
            texts = self.dns_txt(self.expand_domain(explanation.spec), ignore_void=True)
            return self._expanded(pyspf.to_ascii(texts[0])) if len(texts) == 1 else ""
        except (pyspf.TempError, pyspf.PermError, ValueError, LookupError, TypeError, AttributeError):
            return ""

    def _expanded(self, text: str) -> str:
        """Macro by macro: pyspf cuts what is longer than a domain name at its first dot, and refuses a last "%%"."""
        text = _strict_macros(text[:MAX_EXPLANATION])
        end, pieces = 0, []
        for macro in pyspf.RE_CHAR.finditer(text):
            literal = _LITERALS.get(macro[0])
            pieces += [text[end : macro.start()], literal or self.expand(macro[0], stripdot=False)]
            end = macro.end()
        return "".join((*pieces, text[end:]))[:MAX_EXPLANATION]

    def dns(self, name: str, qtype: str, cnames: object = None, ignore_void: bool = False) -> list[Any]:
        """Records in pyspf's forms; the resolver has followed aliases."""
        name = _asked_name(name)
        if not name:
            return []
        answer = self._answers.get((name, qtype))
        if answer is None:
            raise _AnswersNeeded([(name, qtype)])
        if answer.status in FAILURES:
            raise pyspf.TempError(_unanswered(answer, name, qtype))
        if not answer.records and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > pyspf.MAX_VOID_LOOKUPS:  # RFC 7208 §4.6.4
                raise pyspf.PermError("more than two look-ups found nothing")
        return [_record(record, qtype) for record in answer.records]

    def dns_spf(self, domain: str) -> str | None:
        """The record, its size bounded."""
        record = cast("str | None", super().dns_spf(domain))
        if record and (len(record) > MAX_RECORD or any(len(term) > MAX_TERM for term in record.split(" "))):
            raise pyspf.PermError(f"the record of {domain} is too long")
        return record

    def check0(self, spf: str | None, recursion: int) -> Any:
        """The record without its exp=, whose text only the domain in question has a say in, not an include's."""
        record, spec = self._prepare(spf or "")
        if not recursion:
            self.exps = self.defexps | ({"fail": _Explanation(self.d, spec)} if spec else {})
        # pyspf counts redirect= where it reads it; RFC 7208 §4.6.4 counts what is evaluated, as check1 does
        self.lookups -= record.count(" redirect=")
        self._open.append(recursion)
        try:
            return super().check0(record, recursion)
        finally:
            self._open.pop()

    def _prepare(self, record: str) -> tuple[str, str]:
        """(the record with the modifiers pyspf knows, the domain-spec of exp=), checked once. Raises PermError."""
        key = (record, self.d)
        if key not in self._prepared:
            self._prepared[key] = self._parse_modifiers(record) if "=" in record[6:] else (_strict_macros(record), "")
        return self._prepared[key]

    def _parse_modifiers(self, record: str) -> tuple[str, str]:
        kept, spec = [], ""
        for number, term in enumerate(_strict_macros(record).split(" ")):
            modifier = pyspf.RE_MODIFIER.match(term) if number else None
            name = modifier[1].lower() if modifier else ""
            value = term[len(name) + 1 :]
            if not modifier:
                kept.append(term)
            elif name == "redirect":
                kept.append(f"redirect={value}")
            elif name != "exp":  # RFC 7208 §6: passed over, however often it stands, if it is well-formed
                self._without_lookups(self.expand, value)
            elif spec or not value:
                raise pyspf.PermError("exp= stands twice" if spec else "exp= is empty", term)
            else:
                spec = value
                self._without_lookups(self.expand_domain, value)
        return " ".join(kept), spec

    def _without_lookups(self, check: Callable[[str], object], text: str) -> None:
        """Check a macro string, while %{p}, which costs look-ups, is anything."""
        known, self.p = self.p, "unknown"
        try:
            check(text)
        finally:
            self.p = known

    def validate_mechanism(self, mech: str) -> Any:
        """Parsed once for each domain it stands at; but macros may look up, which is counted each time."""
        if "%" in mech:
            return super().validate_mechanism(mech)
        key = (mech, self.d)
        if key not in self._parsed:
            self._parsed[key] = super().validate_mechanism(mech)
        return self._parsed[key]

    def check1(self, spf: str, domain: str, recursion: int) -> Any:
        """An include's outcome is remembered with what it used up, so that running again costs nothing for it."""
        if self._open and self._open[-1] == recursion:  # an include goes one deeper, a redirect stays
            self.check_lookups()
        key = (domain, self.lookups, recursion)
        if key in self._included:
            outcome, lookups, void_lookups = self._included[key]
            self.lookups += lookups
            self.void_lookups += void_lookups
            return outcome
        before, void_before = self.lookups, self.void_lookups
        outcome = super().check1(spf, domain, recursion)
        self._included[key] = (outcome, self.lookups - before, self.void_lookups - void_before)
        return outcome

    def check_lookups(self) -> None:
        """RFC 7208 §4.6.4: at most 10."""
        self.lookups += 1
        if self.lookups > pyspf.MAX_LOOKUP:
            raise pyspf.PermError("more than 10 terms that look up")

    def cidrmatch(self, ipaddrs: Sequence[str], n: int) -> bool:
        """Compared once for each network."""
        key = (tuple(ipaddrs), n)
        if key not in self._matched:
            self._matched[key] = bool(super().cidrmatch(ipaddrs, n))
        return self._matched[key]

    def dns_mx(self, domainname: str) -> list[str]:
        """Addresses of the exchanges, all of them asked for in one round."""
        names = [exchange for _, exchange in sorted(self.dns(domainname, "MX"))]
        if len(names) > pyspf.MAX_MX:  # RFC 7208 §4.6.4
            raise pyspf.PermError("more than 10 MX records")
        self._need(names)
        return [address for name in names for address in self.dns_a(name, self.A)]

    def validated_ptrs(self) -> list[str]:
        """Names of the client that have its address. RFC 7208 §5.5: failures do not count, nor names after the 10th."""
        try:
            names = self.dns_ptr(self.i)[: pyspf.MAX_PTR]
        except pyspf.TempError:
            return []
        self._need(names)
        return [name for name in names if self._has_address(name)]

    def _need(self, names: Sequence[str]) -> None:
        keys = [(asked, self.A) for name in names if (asked := _asked_name(name))]
        missing = [key for key in dict.fromkeys(keys) if key not in self._answers]
        if missing:
            raise _AnswersNeeded(missing)

    def _has_address(self, name: str) -> bool:
        try:
            return bool(self.cidrmatch(self.dns_a(name, self.A), self.cidrmax))
        except pyspf.TempError:
            return False


def _strict_macros(text: str) -> str:
    """The text, if every "%" begins a macro of RFC 7208 §7.1; pyspf takes some that are none. Raises PermError."""
    if "%" not in text:
        return text
    found = pyspf.RE_CHAR.sub(_strict_macro, text)
    if "%" in pyspf.RE_CHAR.sub("", found):
        raise pyspf.PermError("a percent sign that begins no macro", text[:MAX_TERM])
    return cast(str, found)


def _strict_macro(macro: re.Match[str]) -> str:
    if len(macro[0]) > 2 and not _MACRO.fullmatch(macro[0]):
        raise pyspf.PermError("no macro", macro[0])
    return macro[0][:3] + macro[0][3:].lower()  # pyspf reverses for a small "r" only


def _record(record: str | bytes, qtype: str) -> Any:
    if isinstance(record, bytes):
        return (record,)  # pyspf joins a record's strings
    if qtype == "MX":
        preference, _, exchange = record.partition(" ")
        return int(preference), exchange
    return record.removesuffix(".")


def _asked_name(name: str) -> str:
    """The name as it is asked for, "" when it is none; RFC 7208 §7.3: labels are dropped on the left until it fits."""
    name = name.removesuffix(".").lower()
    while len(name) > 253:
        name = name.partition(".")[2]
    if not name.isascii() or _has_odd_label(name):  # RFC 8616 §4: a local part in UTF-8 never matches
        return ""
    return name


def _one_line(text: str) -> str:
    text = text[:200]
    return text if text.isprintable() else "".join([char if char.isprintable() else "?" for char in text])
