"""actions/annotate.py, relay.py and the release: what leaves is sealed last of all, over what was found when it came."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.actions.annotate import annotate, annotate_release
from gateway.actions.relay import Relay
from gateway.auth import arc
from gateway.auth.seal import Sealer
from gateway.mail import parse
from gateway.mail.edit import to_crlf
from gateway.policy.domains import ConfiguredDomains
from gateway.ports import NextHop
from gateway.scan.explain import auth_from_json, verdict_json
from gateway.types import AuthResult, Disposition, DomainPolicy
from tests.arc_chain import LIST, MAIL, add_set, chain, zones
from tests.builders import envelope, recipient, verdict
from tests.dkim_keys import rsa_key
from tests.fakes import FakeResolver
from tests.memory import MemoryNextHop

SEALER = Sealer("darban.test", "s1", rsa_key(1024))
SPF = AuthResult("spf", "pass", "example.org", identity="mailfrom", reason="192.0.2.1 is permitted (by a)")
DMARC = AuthResult("dmarc", "pass", "example.org", policy="none", reason="sent as example.org")
SEALED = AuthResult("arc", "pass", LIST, reason=f"sealed by {LIST}")
TO = [recipient()]


async def sealers(content: bytes) -> tuple[str, tuple[str, ...]]:
    found = await arc.evaluate(parse(content), "", FakeResolver(zones(LIST, "darban.test")))
    return found.result.result, found.sealers


@pytest.mark.parametrize(
    ("content", "auth", "expected"),
    [
        (MAIL, (SPF, DMARC), ("pass", ("darban.test",))),
        (chain(LIST), (SPF, SEALED, DMARC), ("pass", ("darban.test", LIST))),
        (chain(LIST), (SPF, SEALED._replace(result="temperror"), DMARC), ("pass", (LIST,))),
        (chain(LIST), (), ("pass", (LIST,))),
        (MAIL, (), ("none", ())),
        # forged copies of our own fields are not sealed: they are gone
        (b"X-Spam-Flag: NO\r\nAuthentication-Results: mx.darban.test; dmarc=pass\r\n" + MAIL, (SPF,), ("pass", ("darban.test",))),
        (MAIL.replace(b"\r\n", b"\n"), (SPF,), ("pass", ("darban.test",))),
        (b"From nobody Mon\r\n" + MAIL, (SPF,), ("pass", ("darban.test",))),
    ],
)  # fmt: skip
async def test_what_is_relayed(
    content: bytes, auth: tuple[AuthResult, ...], expected: tuple[str, tuple[str, ...]]
) -> None:
    relayed = annotate(envelope(), content, verdict(1.0, auth=auth), TO, 5.0, SEALER)
    assert await sealers(relayed) == expected
    message = parse(relayed)
    if "darban.test" in expected[1]:
        assert [one.name for one in message.fields[:3]] == [
            "ARC-Seal",
            "ARC-Message-Signature",
            "ARC-Authentication-Results",
        ]
        said, found = message.by_name["arc-authentication-results"][0].text, message.by_name["authentication-results"]
        assert said.partition("; ")[2] == found[0].text
        assert len(found) == 1
    unsealed = annotate(envelope(), to_crlf(content), verdict(1.0, auth=auth), TO, 5.0)
    assert [one.raw for one in message.fields if not one.name.startswith("ARC-")] == [
        one.raw for one in parse(unsealed).fields if not one.name.startswith("ARC-")
    ]
    assert relayed.endswith(b"\r\n\r\nGood morning\r\n")


async def test_the_chain_stands_in_authentication_results() -> None:
    content = chain(LIST)
    found = await arc.evaluate(parse(content), "2001:db8::7", FakeResolver(zones(LIST)))
    relayed = annotate(envelope(), content, verdict(auth=(SPF, found.result)), TO, 5.0)
    text = parse(relayed).by_name["authentication-results"][0].text
    assert text.endswith(
        f'; arc=pass (sealed by {LIST}) smtp.remote-ip="2001:db8::7" header.oldest-pass=0 arc.chain={LIST}'
    )


async def test_what_is_released_is_sealed_with_what_was_found_then() -> None:
    for content, auth in ((MAIL, (SPF, DMARC)), (chain(LIST), (SPF, SEALED, DMARC))):
        kept = auth_from_json(verdict_json(verdict(9.0, auth=auth), Disposition(TO[0], "quarantine", "why", 5.0)))
        released = annotate_release(envelope(), content, kept, TO, SEALER)
        assert (await sealers(released))[1][0] == "darban.test"
    older = auth_from_json('{"authentication": {"spf": {"result": "none"}, "dkim": [], "dmarc": {"result": "none"}}}')
    assert older
    assert await sealers(annotate_release(envelope(), chain(LIST), older, TO, SEALER)) == ("pass", (LIST,))


@pytest.mark.parametrize(("size", "is_elsewhere"), [(1_000, False), (400_000, True)])
async def test_long_messages_are_sealed_beside_the_loop(size: int, is_elsewhere: bool) -> None:
    class Watching(Sealer):
        def seal(self, content: bytes, results: str, chain: str, now: float | None = None) -> bytes:
            threads.append(threading.current_thread())
            return super().seal(content, results, chain, now)

    threads: list[threading.Thread] = []
    hop = MemoryNextHop()

    def next_hop(_: str) -> NextHop:
        return hop

    relay = Relay(
        ConfiguredDomains([DomainPolicy("darban.test", "smtp://a:25")]),
        next_hop,
        Watching("darban.test", "s1", rsa_key(1024)),
    )
    content = MAIL + b"Good morning\r\n" * (size // 14)
    wanted = [Disposition(TO[0], "accept", "", 5.0)]
    (delivery,) = await relay.apply(envelope(), content, verdict(auth=(SPF,)), wanted)
    assert delivery.reply.code == 250
    assert [one is not threading.main_thread() for one in threads] == [is_elsewhere]
    assert await sealers(hop.taken[0][1]) == ("pass", ("darban.test",))
    await asyncio.sleep(0)


async def test_a_set_of_our_own_from_before_is_one_of_the_chain() -> None:
    """A message that comes by twice, as through a list behind us."""
    once = annotate(envelope(), MAIL, verdict(auth=(SPF,)), TO, 5.0, SEALER)
    mailed = add_set(once.replace(b"Subject: Hello", b"Subject: [list] Hello"), LIST)
    again = annotate(envelope(), mailed, verdict(auth=(SPF, SEALED)), TO, 5.0, SEALER)
    assert await sealers(again) == ("pass", ("darban.test", LIST, "darban.test"))
