"""ARC (RFC 8617): who handed the message on, and what each of them had found out about it when it came.

Validation as §5.2: the structure first, without the DNS; then the newest ARC-Message-Signature, then each ARC-Seal from
newest to oldest. The first thing that is wrong ends it. The older message signatures, which tell where the message was
last changed (header.oldest-pass), are looked at when the chain has passed.

Stricter than RFC 8617 where mail programs would mislead, as with DKIM (dkim.reservation): a newest message signature
that leaves part of the body unsigned (l=), has expired or is from the future, and a header with lines that are no
fields, fail. One that does not sign From, or beside whose signed fields a second stands unsigned where one is allowed,
passes, as the RFC has it and ValiMail's test suite asks; but nothing may be concluded from it (Chain.is_binding).

Where §5.2.1 has a silent DNS end the chain for good, the result here is "temperror": it is our DNS that was silent, and
whoever comes behind us may still find the chain whole. Such a message is not sealed (seal.py).

What a pass is worth depends on who sealed (trust.py); a failing chain is as if there were none (§5.2).

Cost: 1 µs without ARC fields; 10 KB with one set 0.2 ms, each further set 0.1 ms (RSA-2048, measured); one TXT look-up
for each key. Limits: 50 sets (§4.2.1), MAX_OLDER older message signatures, 16 KB a field; all seals together hash each
field once.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.auth.canonical import CanonicalMessage, canonical_field
from gateway.auth.dkim import added_field, fetch_key, reservation, verify
from gateway.auth.key import (
    MAX_ARC_FIELD,
    MAX_INSTANCE,
    Conclusion,
    Key,
    Seal,
    Signature,
    parse_instance,
    parse_message_signature,
    parse_seal,
    without_value,
)
from gateway.ports import Resolver
from gateway.types import AuthResult, Message

MAX_OLDER = 10  # older message signatures that are verified; real chains have one to four sets
FIELDS = ("arc-authentication-results", "arc-message-signature", "arc-seal")  # in the order in which seals hash them

_INSTANCE = re.compile(rb"[ \t\r\n]*i[ \t\r\n]*=[ \t\r\n]*([0-9]{1,2})[ \t\r\n]*;")
_NAMES = ("ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal")
_SHOWN_SEALERS = 5


@dataclass(frozen=True, slots=True)
class Chain:
    """What is known of the message's chain. Sealers and assessments are there only when it passes."""

    result: AuthResult
    sealers: tuple[str, ...] = ()  # d= of the ARC-Seal fields, newest first
    assessments: tuple[str, ...] = ()  # values of the ARC-Authentication-Results, behind "i=1;", newest first
    is_binding: bool = False  # the newest message signature covers From, and nothing stands beside what it covers


Raw = tuple[bytes, bytes, bytes]  # assessment, message signature and seal of one set, as they were received


class ArcSet(NamedTuple):
    """One set and what its signatures say."""

    fields: Raw
    signature: Signature | Conclusion
    seal: Seal


NO_CHAIN = Chain(AuthResult("arc", "none", reason="the message carries no ARC set"))


def late() -> Chain:
    """What stands for a chain whose keys did not come in time."""
    return Chain(AuthResult("arc", "temperror", reason="the DNS took too long"))


async def evaluate(message: Message, client_ip: str, resolver: Resolver, now: float | None = None) -> Chain:
    """The chain and whether it holds. Never raises.

    Args:
        client_ip: the SMTP client's address, for smtp.remote-ip.
        now: epoch seconds that expiry is measured against; the time of the call when None.
    """
    by_name = message.by_name
    if not any(name in by_name for name in FIELDS):
        return NO_CHAIN
    sets = collect({name: [one.raw for one in by_name.get(name, ())] for name in FIELDS})
    if isinstance(sets, Conclusion):
        return _failed(sets, "", client_ip)
    validator = _Validator(CanonicalMessage(message), resolver, time.time() if now is None else now)
    problem = await validator.newest(sets[-1]) or await validator.seals(sets)
    if problem:
        return _failed(problem, sets[-1].seal.domain, client_ip)
    newest_first = sets[::-1]
    sealers = tuple([one.seal.domain for one in newest_first])
    properties = (
        ("smtp.remote-ip", client_ip),
        ("header.oldest-pass", str(await validator.oldest_pass(newest_first))),
        ("arc.chain", ":".join(sealers[:_SHOWN_SEALERS])),
    )
    return Chain(
        AuthResult("arc", "pass", sealers[0], reason=_in_words(sealers), properties=properties),
        sealers,
        tuple([_assessment_value(one.fields[0]) for one in newest_first]),
        validator.is_binding(sets[-1]),
    )


def _failed(problem: Conclusion, domain: str, client_ip: str) -> Chain:
    result = "temperror" if problem.result == "temperror" else "fail"  # RFC 8617 §10.1 knows no permerror
    return Chain(AuthResult("arc", result, domain, reason=problem.reason, properties=(("smtp.remote-ip", client_ip),)))


def _in_words(sealers: Sequence[str]) -> str:
    before = list(dict.fromkeys(sealers[1:]))
    shown = ", ".join(before[:_SHOWN_SEALERS]) + (" and others" if len(before) > _SHOWN_SEALERS else "")
    return f"sealed by {sealers[0]}" + (f", before it by {shown}" if before else "")


# --- structure --------------------------------------------------------------------------------------------------------


class _Field(NamedTuple):
    raw: bytes
    instance: int  # 0 where i= is unusable
    parsed: Signature | Seal | Conclusion | None = None


def collect(fields: Mapping[str, Sequence[bytes]]) -> tuple[ArcSet, ...] | Conclusion:
    """The sets, oldest first, or what is wrong with the structure (RFC 8617 §5.2 steps 1 to 3)."""
    assessments, signatures, seals = (fields.get(name, ()) for name in FIELDS)
    if max(len(assessments), len(signatures), len(seals)) > MAX_INSTANCE:
        return Conclusion("fail", f"there are more than {MAX_INSTANCE} ARC sets")
    kinds = (
        [_Field(raw, assessment_instance(raw)) for raw in assessments],
        [_Field(raw, *parse_message_signature(raw)) for raw in signatures],
        [_Field(raw, *parse_seal(raw)) for raw in seals],
    )
    highest = max((one.instance for kind in kinds for one in kind), default=0)
    for one in kinds[2]:
        if one.instance == highest and isinstance(one.parsed, Seal) and one.parsed.status == "fail":
            return Conclusion("fail", f"{one.parsed.domain} found the chain broken (cv=fail)")
    for name, kind in zip(_NAMES, kinds, strict=True):
        problem = _disorder(name, [one.instance for one in kind], highest)
        if problem:
            return Conclusion("fail", problem)
    return _sets(*(sorted(kind, key=lambda one: one.instance) for kind in kinds))


def _disorder(name: str, instances: Sequence[int], highest: int) -> str:
    """Why these are not 1 to `highest`, each once; "" when they are."""
    if 0 in instances:
        return f"an {name} has no instance from 1 to {MAX_INSTANCE}"
    for instance in range(1, highest + 1):
        count = instances.count(instance)
        if count != 1:
            return f"there {'is no' if not count else 'are several'} {name} of instance {instance}"
    return ""


def _sets(
    assessments: Sequence[_Field], signatures: Sequence[_Field], seals: Sequence[_Field]
) -> tuple[ArcSet, ...] | Conclusion:
    """The sets of fields that stand in order, or which seal cannot stand in its place."""
    sets: list[ArcSet] = []
    for assessment, signature, seal in zip(assessments, signatures, seals, strict=True):
        if not isinstance(seal.parsed, Seal):
            reason = seal.parsed.reason if isinstance(seal.parsed, Conclusion) else ""
            return Conclusion("fail", f"instance {seal.instance}: {reason}")
        if seal.parsed.status != ("none" if seal.instance == 1 else "pass"):
            return Conclusion("fail", f"instance {seal.instance} cannot have cv={seal.parsed.status}")
        parsed = signature.parsed
        unusable = Conclusion("fail", "") if parsed is None or isinstance(parsed, Seal) else parsed
        sets.append(ArcSet((assessment.raw, signature.raw, seal.raw), unusable, seal.parsed))
    return tuple(sets)


def assessment_instance(field: bytes) -> int:
    """i= of a whole ARC-Authentication-Results field, which comes first in it (§4.1.1); 0 where it does not."""
    match = _INSTANCE.match(field, field.find(b":") + 1) if len(field) <= MAX_ARC_FIELD else None
    return parse_instance(match[1]) if match else 0


def _assessment_value(field: bytes) -> str:
    match = _INSTANCE.match(field, field.find(b":") + 1)
    return field[match.end() if match else len(field) :].decode("utf-8", "replace")


# --- signatures -------------------------------------------------------------------------------------------------------


class _Validator:
    """The cryptographic part, for one message; each key is looked up once."""

    def __init__(self, canonical: CanonicalMessage, resolver: Resolver, now: float) -> None:
        self._canonical = canonical
        self._resolver = resolver
        self._now = now
        self._keys: dict[tuple[str, str], Key | Conclusion] = {}

    async def newest(self, one: ArcSet) -> Conclusion | None:
        """What is wrong with the newest message signature (§5.2 step 4)."""
        problem = await self._message_signature(one)
        return problem and Conclusion(problem.result, f"the newest ARC-Message-Signature: {problem.reason}")

    async def seals(self, sets: Sequence[ArcSet]) -> Conclusion | None:
        """What is wrong with the seals, newest first (§5.2 step 6)."""
        digests = seal_digests([one.fields for one in sets])
        for one, digest in zip(reversed(sets), reversed(digests), strict=True):
            problem = await self._seal(one.seal, digest)
            if problem:
                return Conclusion(problem.result, f"the seal of {one.seal.domain}: {problem.reason}")
        return None

    async def oldest_pass(self, newest_first: Sequence[ArcSet]) -> int:
        """The oldest message signature that holds; 0 when all do (§5.2 step 5). The newest is known to hold."""
        for index, one in enumerate(newest_first[1 : MAX_OLDER + 1]):
            if await self._message_signature(one):
                return len(newest_first) - index
        return 0 if len(newest_first) <= MAX_OLDER + 1 else len(newest_first) - MAX_OLDER

    def is_binding(self, one: ArcSet) -> bool:
        """Does its message signature cover the author, and what it covers stand alone, as readers need it?"""
        signature = one.signature
        if isinstance(signature, Conclusion) or "from" not in signature.names:
            return False
        return not added_field(self._canonical, signature)

    async def _message_signature(self, one: ArcSet) -> Conclusion | None:
        if isinstance(one.signature, Conclusion):
            return one.signature
        key = await self._key(one.signature.selector, one.signature.domain)
        if isinstance(key, Conclusion):
            return key
        outcome = verify(self._canonical, one.fields[1], one.signature, key)
        return outcome if outcome.result != "pass" else reservation(self._canonical, one.signature, self._now)

    async def _seal(self, seal: Seal, digest: bytes) -> Conclusion | None:
        key = await self._key(seal.selector, seal.domain)
        if isinstance(key, Conclusion):
            return key
        if key.kind != seal.algorithm:
            return Conclusion("fail", f"the key is not one for {seal.algorithm}")
        return (
            None if key.verifies_digest(seal.value, digest) else Conclusion("fail", "it does not match the ARC fields")
        )

    async def _key(self, selector: str, domain: str) -> Key | Conclusion:
        name = (selector, domain)
        if name not in self._keys:
            self._keys[name] = await fetch_key(selector, domain, self._resolver)
        return self._keys[name]


def seal_digests(sets: Sequence[Raw]) -> list[bytes]:
    """SHA-256 of what each seal covers: the sets up to its own, its b= left out (RFC 8617 §5.1.1)."""
    running = hashlib.sha256()
    digests: list[bytes] = []
    for assessment, signature, seal in sets:
        running.update(canonical_field(assessment, "relaxed") + canonical_field(signature, "relaxed"))
        complete = running.copy()
        complete.update(canonical_field(without_value(seal), "relaxed").removesuffix(b"\r\n"))
        digests.append(complete.digest())
        running.update(canonical_field(seal, "relaxed"))
    return digests
