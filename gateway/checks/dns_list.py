"""DNS lists (RFC 5782) of addresses, senders' domains and domains of links, as `[[dns_list]]` names them.

What is never a listing: 127.255.255.0/24 (an error in the lists' own words), 127.0.0.1 (RFC 5782 §5: no list has it),
an answer outside 127/8 (a resolver or registrar that answers for names that are not there), SERVFAIL and silence. The
first three switch the list off at once, the others when SILENT_MESSAGES messages in a row got nothing else.

The test entries, and a name nobody can have listed, are asked for before a list is believed, before a listing when
that was BELIEVED_S ago, every TEST_EVERY_S, and of a list that is off less and less often; one that lists what none
lists, or not what all list, is off until they are as they should be. The state is this process's own: a scorer sees
at first hand what its answers are, shares nothing and waits for nobody; the admin process has another instance, which
only tests, for the metrics.

A list that is off, silent or unasked stands in the verdict, under "dns", so that it does not raise the action: mail
must not be held because a list is away (docs/decisions/0003).

Cost: a look-up for each list and subject, side by side. Limits: five Received fields, sixteen domains of links,
timeout_s for each list.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import structlog

from gateway.auth.organisation import organisational_domain
from gateway.begun import Begun
from gateway.checks.domain_list import COMMON
from gateway.config.dns_lists import DnsListSpec
from gateway.mail.address import domain_of
from gateway.mail.domain import to_a_label
from gateway.mail.link import host_of
from gateway.mail.received import parse_received
from gateway.ports import Resolver
from gateway.types import DnsAnswer, Finding, MailObject, Missing

TEST_EVERY_S = 600.0
BELIEVED_S = 60.0  # a listing is believed for so long after a good test: some lists ended by listing the whole world
TEST_OFF_S = (60.0, 120.0, 300.0, 600.0)
SILENT_MESSAGES = 3
LINKS_MAX = 16
_LINKS_LOOKED_AT = 1000
_RECEIVED_MAX = 5
_EVIDENCE_MAX = 3
# RFC 2606, 6761: nobody's names
_RESERVED = frozenset(("example.com", "example.net", "example.org"))
_RESERVED_LAST = frozenset(("example", "test", "invalid", "localhost", "local", "arpa", "onion"))
_SILENT = "it does not answer"
_WHY_REFUSED = {252: "the zone's name is wrong", 254: "asked through a public resolver", 255: "asked too often"}

log = structlog.get_logger("darban.dns_list")


class Subject(NamedTuple):
    """Something a list is asked about."""

    label: str  # what stands before the zone
    words: str  # "the client 192.0.2.1"


class Reading(NamedTuple):
    """What one answer says."""

    listed: tuple[tuple[str, str], ...] = ()  # (finding, code)
    refusal: str = ""  # why the list cannot be believed
    failure: str = ""  # the status of an answer that did not come


class DnsLists:
    """The check. `resolver` is for the test entries, which are no message's."""

    name = "dns_list"

    def __init__(
        self,
        specs: Sequence[DnsListSpec],
        resolver: Resolver,
        unlisted: Collection[str] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`unlisted`: domains no list is asked about, such as our own."""
        self._lists = [_List(spec, resolver, monotonic) for spec in specs]
        self._unlisted = frozenset(map(organisational_domain, unlisted)) | COMMON
        self.findings = tuple(dict.fromkeys(name for spec in specs for name in spec.findings))

    async def check(self, mail: MailObject, resolver: Resolver) -> Iterable[Finding | Missing]:
        """All lists side by side."""
        wanted = {what for one in self._lists for what in one.spec.asked}
        subjects = {what: [*_SUBJECTS[what](mail)] for what in sorted(wanted)}
        works = []
        for one in self._lists:
            about = _about(one.spec, subjects, self._left_out(mail))
            if about:
                works.append(Begun(one.ask(about, resolver)))
        tasks = [one.task for one in works if one.task is not None]
        if tasks:
            await _wait(tasks)
        return [each for one in works for each in one.result()]

    async def of_client(self, ip: str, resolver: Resolver) -> list[Finding | Missing]:
        """What they say about a client's address alone; within the longest timeout_s."""
        about = [*_address(ip, "the client")]
        works = [
            Begun(one.ask(asked, resolver))
            for one in self._lists
            if "client" in one.spec.asked and (asked := _about(one.spec, {"client": about}, frozenset(), ("client",)))
        ]
        tasks = [one.task for one in works if one.task is not None]
        if tasks:
            await _wait(tasks)
        return [each for one in works for each in one.result()]

    async def test_when_due(self) -> None:
        """Test what is due, for whoever only watches."""
        await asyncio.gather(*(one.test_when_due() for one in self._lists))

    def states(self) -> Mapping[str, str]:
        """List -> why it is off; "" when it is on or not known to be off."""
        return {one.spec.name: one.off for one in self._lists}

    def _left_out(self, mail: MailObject) -> frozenset[str]:
        return self._unlisted.union(organisational_domain(one.domain) for one in mail.envelope.recipients)


# --- one list -------------------------------------------------------------------------------------------------------


class _List:
    """One list and how it fares."""

    def __init__(self, spec: DnsListSpec, resolver: Resolver, monotonic: Callable[[], float]) -> None:
        self.spec = spec
        self.off = ""  # why
        self.off_six = ""  # why its IPv6 half is not believed: many lists have none, and the other half is good
        self._resolver = resolver
        self._monotonic = monotonic
        self._test: asyncio.Task[None] | None = None
        self._test_at = 0.0  # when the next one is due
        self._is_tested = False
        self._passed_at = 0.0
        self._tests_off = 0
        self._silent = 0  # messages in a row

    async def ask(self, about: Sequence[Subject], resolver: Resolver) -> list[Finding | Missing]:
        """What it says about a message; within timeout_s."""
        if self.off:
            self._begin_test()
            return [self._missing(f"switched off: {self.off}")]
        until = self._monotonic() + self.spec.timeout_s
        look_ups = [Begun(resolver.query(f"{one.label}.{self.spec.zone}", "A")) for one in about]
        test = self._begin_test()
        waiting: list[asyncio.Task[Any]] = [one.task for one in look_ups if one.task is not None]
        late: set[asyncio.Task[Any]] = set()
        if test is not None and not self._is_tested:
            late = await _wait(waiting, test, timeout_s=self.spec.timeout_s)
        elif waiting:
            late = await _wait(waiting, timeout_s=self.spec.timeout_s)
        readings = [read_answer(self.spec, _LATE if one.task in late else one.result()) for one in look_ups]
        for task in late - {test}:
            task.cancel()
        if any(reading.listed for reading in readings):
            await self._wait_for_test(until)
        return self._conclude(about, readings)

    async def test_when_due(self) -> None:
        """Wait for the test, if one is due."""
        test = self._begin_test()
        if test is not None:
            await asyncio.wait([test])

    def _conclude(self, about: Sequence[Subject], readings: Sequence[Reading]) -> list[Finding | Missing]:
        refusal = next((reading.refusal for reading in readings if reading.refusal), "")
        if refusal:
            self._switch_off(refusal)
        failures = [reading.failure for reading in readings if reading.failure]
        self._count(failures, len(readings))
        if self.off:
            return [self._missing(f"switched off: {self.off}")]
        is_under_test = self._test is not None and not self._test.done()
        if not self._is_tested or (is_under_test and any(reading.listed for reading in readings)):
            return [self._missing("its test entries did not answer yet")]
        found: dict[str, list[str]] = {}
        seen: list[Finding | Missing] = []
        for subject, reading in zip(about, readings, strict=True):
            if self.off_six and _is_six(subject.label):
                seen.append(self._missing(f"not asked about IPv6: {self.off_six}"))
                continue
            for name, code in reading.listed:
                found.setdefault(name, []).append(f"{subject.words} is on {self.spec.name} ({code})")
        seen += [Finding(name, tuple(words[:_EVIDENCE_MAX])) for name, words in found.items()]
        if failures:
            seen.append(self._missing(f"{len(failures)} of {len(readings)} not answered ({failures[0]})"))
        return seen

    def _count(self, failures: Sequence[str], asked: int) -> None:
        silent = [failure for failure in failures if failure != "limit"]  # which is the message's fault
        self._silent = self._silent + 1 if silent and len(failures) == asked else 0
        if self._silent >= SILENT_MESSAGES:
            self._switch_off(f"{_SILENT} ({silent[0]})")

    def _missing(self, why: str) -> Missing:
        return Missing(f"dns list {self.spec.name}: {why}")

    # --- the test entries

    def _begin_test(self) -> asyncio.Task[None] | None:
        """The test that is under way; a new one when it is due; else None."""
        loop = asyncio.get_running_loop()
        if self._test is not None and (self._test.done() or self._test.get_loop() is not loop):
            self._test = None
        if self._test is None and self._monotonic() >= self._test_at:
            self._test = asyncio.create_task(self._run_test())
        return self._test

    async def _wait_for_test(self, until: float) -> None:
        if self._monotonic() - self._passed_at > BELIEVED_S:
            self._test_at = min(self._test_at, self._monotonic())
        test = self._begin_test()
        if test is not None:
            await asyncio.wait([test], timeout=max(0.0, until - self._monotonic()))

    async def _run_test(self) -> None:
        why, why_six = await asyncio.gather(
            self._look_at(_test_points(self.spec)), self._look_at(_SIX_POINTS if self.spec.has_ipv6 else ())
        )
        self._is_tested = True
        if why_six and why_six != self.off_six and not why:
            log.error("a DNS list is not asked about IPv6", list=self.spec.name, why=why_six)
        self.off_six = why_six
        if why:
            self._switch_off(why)
            return
        self._passed_at = self._monotonic()
        self._test_at = self._passed_at + TEST_EVERY_S
        self._tests_off = self._silent = 0
        if self.off:
            log.warning("a DNS list is asked again", list=self.spec.name, was=self.off)
            self.off = ""

    async def _look_at(self, points: Sequence[tuple[str, bool]]) -> str:
        """Why the first of these that is not as it should be is not; "" when all are."""
        names = [f"{_label(point)}.{self.spec.zone}" for point, _ in points]
        answers = await asyncio.gather(*(self._resolver.query(name, "A") for name in names))
        faults = [_fault(self.spec, *point, answer) for point, answer in zip(points, answers, strict=True)]
        return next(filter(None, faults), "")

    def _switch_off(self, why: str) -> None:
        if self.off != why:
            log.error("a DNS list is switched off", list=self.spec.name, why=why)  # the zone may hold a key
        self.off = why
        self._silent = 0
        is_silent = why.startswith(_SILENT)  # which asks nothing of the list, and may end at any time
        pause_s = TEST_OFF_S[0 if is_silent else min(self._tests_off, len(TEST_OFF_S) - 1)]
        self._test_at = self._monotonic() + pause_s
        self._tests_off += not is_silent


async def _wait(
    mine: Sequence[asyncio.Task[Any]], *shared: asyncio.Task[Any], timeout_s: float | None = None
) -> set[asyncio.Task[Any]]:
    """Those that are late. When the message is given up, what waits for it alone is too."""
    try:
        return (await asyncio.wait([*mine, *shared], timeout=timeout_s))[1]
    except asyncio.CancelledError:
        for task in mine:
            task.cancel()
        raise


_LATE = DnsAnswer("timeout")
_SIX_POINTS = (("::ffff:7f00:2", True), ("::ffff:7f00:1", False))  # RFC 5782 §5


def _test_points(spec: DnsListSpec) -> list[tuple[str, bool]]:
    """(entry, whether it is listed): RFC 5782 §5, and a name no cache can know."""
    return [(spec.test_listed, True), (spec.test_unlisted, False), (f"x{secrets.token_hex(6)}.invalid", False)]


def _fault(spec: DnsListSpec, point: str, is_listed: bool, answer: DnsAnswer) -> str:
    """Why a list that answers so is not believed; "" when it is."""
    reading = read_answer(spec, answer)
    if reading.refusal or reading.failure:
        return reading.refusal or f"{_SILENT} ({reading.failure})"
    if is_listed and answer.status != "noerror":
        return f"its test entry {point} is not listed: the zone is empty, gone or not for us"
    if not is_listed and answer.status == "noerror":
        return f"it lists {point}, which no list has: it says yes to everything"
    return ""


def read_answer(spec: DnsListSpec, answer: DnsAnswer) -> Reading:
    """What an A answer of this list means."""
    if answer.status in ("nxdomain", "nodata", "invalid"):
        return Reading()
    if answer.status != "noerror":
        return Reading(failure=answer.status)
    codes = [tuple(int(part) for part in str(record).split(".")) for record in answer.records]
    for code, record in zip(codes, answer.records, strict=True):
        refusal = _refusal(spec, code, str(record))
        if refusal:
            return Reading(refusal=refusal)
    if not spec.returns:
        return Reading(((spec.finding, str(answer.records[0])),))
    listed = {
        spec.labelled(pattern.label): str(record)
        for code, record in zip(codes, answer.records, strict=True)
        for pattern in spec.returns
        if pattern.fits(code)
    }
    return Reading(tuple(listed.items()))


def _refusal(spec: DnsListSpec, code: tuple[int, ...], record: str) -> str:
    if code[0] != 127:
        return f"it answers {record}, which is no list's answer: somebody answers for names that are not there"
    if code[:3] == (127, 255, 255):
        return f"it refuses: {_WHY_REFUSED.get(code[3], 'an error of the list')} ({record})"
    if code == (127, 0, 0, 1) or any(pattern.fits(code) for pattern in spec.refusals):
        return f"it refuses ({record})"
    return ""


# --- what is asked about --------------------------------------------------------------------------------------------


def _about(
    spec: DnsListSpec, subjects: Mapping[str, list[Subject]], left_out: frozenset[str], of: Sequence[str] = ()
) -> list[Subject]:
    """What this list is asked about, each once; only those `of` names where it names some."""
    found: dict[str, Subject] = {}
    for what in of or spec.asked:
        for one in subjects[what]:
            is_six = _is_six(one.label)
            is_address = is_six or one.label.rpartition(".")[2].isdigit()
            if is_address and (spec.kind == "domain" or (is_six and not spec.has_ipv6)):
                continue
            if one.label not in left_out:
                found.setdefault(one.label, one)
    return [*found.values()]


def _is_six(label: str) -> bool:
    return label.count(".") == 31  # nibbles


def _client(mail: MailObject) -> Iterator[Subject]:
    yield from _address(mail.envelope.client.ip, "the client")


def _received(mail: MailObject) -> Iterator[Subject]:
    for field in mail.message.by_name.get("received", ())[:_RECEIVED_MAX]:
        hop = parse_received(field.text)
        if hop is not None:
            yield from _address(hop.ip, "the hop")


def _helo(mail: MailObject) -> Iterator[Subject]:
    yield from _domain(to_a_label(mail.envelope.client.helo), "the HELO name's domain")


def _reverse_path(mail: MailObject) -> Iterator[Subject]:
    yield from _domain(domain_of(mail.envelope.reverse_path), "the reverse-path's domain")


def _author(mail: MailObject) -> Iterator[Subject]:
    for box in mail.message.author[:2]:
        yield from _domain(box.domain, "the author's domain")


def _link(mail: MailObject) -> Iterator[Subject]:
    """The first and the last ones when there are many: what a spammer hides stands at an end, or is pushed there."""
    found: dict[str, Subject] = {}
    for link in mail.message.links[:_LINKS_LOOKED_AT]:
        host = host_of(link.url)
        for one in (*_domain(host, "the link's domain"), *_address(host.strip("[]"), "the link's host")):
            found.setdefault(one.label, one)
    subjects = [*found.values()]
    half = LINKS_MAX // 2
    yield from subjects if len(subjects) <= LINKS_MAX else (*subjects[:half], *subjects[-half:])


_SUBJECTS: Mapping[str, Callable[[MailObject], Iterator[Subject]]] = {
    "client": _client,
    "received": _received,
    "helo": _helo,
    "reverse_path": _reverse_path,
    "author": _author,
    "link": _link,
}


def _address(text: str, what: str) -> Iterator[Subject]:
    """An address of the public internet."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return
    mapped = address.ipv4_mapped if address.version == 6 else None
    address = mapped or address
    if address.is_global and not address.is_multicast:
        yield Subject(_label(str(address)), f"{what} {address}")


def _domain(name: str, what: str) -> Iterator[Subject]:
    """The organisation's domain: what is listed is what somebody registered (RFC 5782 §3)."""
    if "." not in name or name.startswith("[") or not name.isascii() or name.rpartition(".")[2].isdigit():
        return
    domain = organisational_domain(name)
    if domain in _RESERVED or domain.rpartition(".")[2] in _RESERVED_LAST:
        return
    yield Subject(domain, f"{what} {domain}")


def _label(point: str) -> str:
    """What stands before the zone: an address turned round (RFC 5782 §2.1, 2.4), a domain as it is."""
    try:
        pointer = ipaddress.ip_address(point).reverse_pointer
    except ValueError:
        return point
    return pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
