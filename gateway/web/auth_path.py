"""Authentication as the way a message came: who handed it over, who vouches for it, and whether it is its author's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from gateway.types import AuthResult, HeldMessage, Message

Tone = Literal["good", "bad", "unknown"]
_BAD = frozenset(("fail", "softfail", "permerror", "policy"))
_MAX_SIGNERS = _MAX_SEALS = 8
_INSTANCE, _DOMAIN = re.compile(r"(?:^|;)\s*i\s*=\s*([0-9]{1,2})"), re.compile(r"(?:^|;)\s*d\s*=\s*([^;\s]{1,253})")


class Step(NamedTuple):
    """One station of the way; the page has the words for role and result."""

    role: Literal["client", "spf", "helo", "dkim", "arc", "dmarc"]
    name: str  # address or domain; "" where there is none
    result: str  # RFC 8601's word; "" where it was not looked at
    tone: Tone
    is_aligned: bool = False  # of the author's own organisation
    policy: str = ""  # dmarc: what the domain asks for


def path(held: HeldMessage, auth: Sequence[AuthResult], message: Message | None) -> list[Step]:
    """From the client to the author; [] where authentication was not looked at."""
    if not auth:
        return []
    iprev = next((one.result for one in auth if one.method == "iprev"), "")
    steps = [Step("client", held.client_ip, iprev, _tone(iprev))]
    for one in auth:
        if one.method == "spf":
            role: Literal["helo", "spf"] = "helo" if one.identity == "helo" else "spf"
            steps.append(Step(role, one.domain, one.result, _tone(one.result), one.is_aligned))
    signers = [one for one in auth if one.method == "dkim"][:_MAX_SIGNERS]
    steps += [Step("dkim", one.domain, one.result, _tone(one.result), one.is_aligned) for one in signers]
    chain = next((one.result for one in auth if one.method == "arc"), "none")
    steps += [Step("arc", domain, chain, _tone(chain)) for domain in _sealers(message)]
    steps += [
        Step("dmarc", one.domain or _author(message), one.result, _tone(one.result), policy=one.policy)
        for one in auth
        if one.method == "dmarc"
    ]
    return steps


def _tone(result: str) -> Tone:
    return "good" if result == "pass" else "bad" if result in _BAD else "unknown"


def _author(message: Message | None) -> str:
    return next((box.domain for box in message.author if box.domain), "") if message else ""


def _sealers(message: Message | None) -> Iterator[str]:
    """Who says that it sealed the message, first to last; the chain's result says whether that holds."""
    seals = []
    for field in (message.by_name.get("arc-seal", ()) if message else ())[:_MAX_SEALS]:
        instance, domain = _INSTANCE.search(field.text), _DOMAIN.search(field.text)
        if instance and domain:
            seals.append((int(instance[1]), domain[1].lower()))
    yield from (domain for _, domain in sorted(seals))
