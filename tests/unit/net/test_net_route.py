"""Several servers: the next one is asked while nothing was sent, and never after."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator

import pytest

from gateway.net import breaker, smtp_client
from gateway.net.next_hop import NextHops
from gateway.net.route import LOOP, NO_ROUTE, NOT_LOOKED_UP, read_exchanges
from gateway.types import DnsAnswer, Reply
from tests.builders import envelope, recipient
from tests.fakes import FakeResolver
from tests.smtp_sink import Script, Sink, sink

YOU, REZA = recipient("you@darban.test"), recipient("reza@darban.test")
CONTENT = b"Subject: a\r\n\r\nb\r\n"
OUR_NAME = "mx.darban.test"


@contextlib.asynccontextmanager
async def two(
    first: Script, second: Script | None = None, between: str = ""
) -> AsyncIterator[tuple[object, Sink, Sink]]:
    """Two servers in order, or equal ones."""
    async with sink(script=dict(first)) as one, sink(script=dict(second or {})) as other:
        urls = tuple(f"smtp://127.0.0.1:{behind.port}" for behind in (one, other))
        hops = NextHops(OUR_NAME)
        try:
            yield hops.get(between.join(urls) if between else urls), one, other
        finally:
            await hops.close()


@pytest.mark.parametrize(
    "script",
    [
        {"greeting": "close"},
        {"greeting": "421 4.3.2 closing"},
        {"greeting": "554 5.7.1 go away"},
        {"greeting": "garbage"},
        {"EHLO": "close"},
        {"MAIL": "close"},
        {"MAIL": "421 4.3.2 closing"},
        {"MAIL": "452 4.3.1 no space"},
        {"MAIL": "530 5.7.0 Must issue a STARTTLS command first"},
        {"RCPT": "close"},
        {"RCPT": "garbage"},
        {"RCPT": "421 4.3.2 closing"},
        {"DATA": "close"},
        {"DATA": "451 4.3.0 later"},
        {"DATA": "502 5.5.1 not here"},
    ],
    ids=str,
)
async def test_a_server_that_fails_before_content_gives_way(script: Script) -> None:
    async with two(script) as (hop, one, other):
        replies = await hop.deliver(envelope("you@darban.test", "reza@darban.test"), CONTENT, [YOU, REZA])
    assert [reply.code for reply in replies.values()] == [250, 250]
    assert (one.contents, other.contents) == ([], [CONTENT])


@pytest.mark.parametrize(
    ("script", "codes"),
    [
        ({"content": "close"}, [451, 451]),
        ({"dot": "close"}, [451, 451]),
        ({"dot": "421 4.3.2 closing"}, [451, 451]),
        ({"dot": "451 4.3.0 later"}, [451, 451]),
        ({"dot": "550 5.7.1 spam"}, [550, 550]),
        ({"RCPT": "550 5.1.1 no"}, [550, 550]),
        ({"RCPT": "452 4.2.2 over quota"}, [452, 452]),
        ({"RCPT reza@darban.test": "450 4.2.1 greylisted"}, [250, 450]),
        ({"MAIL": "550 5.7.1 not from you"}, [550, 550]),
        ({"DATA": "554 5.5.1 no"}, [554, 554]),
    ],
    ids=str,
)
async def test_an_answer_is_an_answer_and_content_is_sent_once(script: Script, codes: list[int]) -> None:
    async with two(script) as (hop, _, other):
        replies = await hop.deliver(envelope("you@darban.test", "reza@darban.test"), CONTENT, [YOU, REZA])
    assert [replies[one.address].code for one in (YOU, REZA)] == codes
    assert other.connections == 0


async def test_who_was_refused_before_the_server_failed_stays_refused() -> None:
    async with two({"RCPT you@darban.test": "550 5.1.1 no", "DATA": "close"}) as (hop, _, other):
        replies = await hop.deliver(envelope("you@darban.test", "reza@darban.test"), CONTENT, [YOU, REZA])
    assert {address: reply.code for address, reply in replies.items()} == {YOU.address: 550, REZA.address: 250}
    assert [text for text in other.commands if text.startswith("RCPT")] == ["RCPT TO:<reza@darban.test>"]


async def test_the_last_words_are_told_when_nobody_takes_it() -> None:
    async with two({"MAIL": "452 4.3.1 first full"}, {"MAIL": "452 4.3.1 second full"}) as (hop, _, _):
        assert (await hop.deliver(envelope(), CONTENT, [YOU]))[YOU.address].text == "second full"


async def test_equal_ones_share_the_load_and_stand_in_for_each_other() -> None:
    async with two({}, between="|") as (hop, one, other):
        for _ in range(40):
            assert (await hop.deliver(envelope(), CONTENT, [YOU]))[YOU.address].code == 250
        assert min(len(one.contents), len(other.contents)) >= 5
    async with two({"greeting": "close"}, between="|") as (hop, one, other):
        for _ in range(10):
            assert (await hop.deliver(envelope(), CONTENT, [YOU]))[YOU.address].code == 250
        assert len(other.contents) == 10


async def test_verifying_asks_the_next_one_too() -> None:
    async with two({"greeting": "close"}, {"RCPT": "550 5.1.1 no"}) as (hop, _, _):
        assert (await hop.verify(YOU)).code == 550


# --- the breaker, at RCPT ------------------------------------------------------------------------------------------


async def test_one_that_is_down_is_told_at_rcpt_and_not_after_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "PROBE_FIRST_S", 0.2)
    script: Script = {}
    async with sink(script=script) as behind:
        url, hops = f"smtp://127.0.0.1:{behind.port}", NextHops(OUR_NAME)
        assert (await hops.verify(url, YOU)).code == 250
        behind.script["RCPT reza@darban.test"] = "550 5.1.1 no"
        assert (await hops.verify(url, REZA)).code == 550
        behind.script["greeting"] = "close"
        behind.script["MAIL"] = "close"
        for _ in range(3):
            assert (await hops.get(url).deliver(envelope(), CONTENT, [YOU]))[YOU.address].code == 451
        connections = behind.connections
        assert (await hops.verify(url, YOU)) == smtp_client.UNREACHABLE  # though it is known to be there
        assert (await hops.verify(url, REZA)).code == 550  # what does not exist does not exist now either
        assert (await hops.verify(url, recipient("new@darban.test"))) == smtp_client.UNREACHABLE
        assert (await hops.get(url).deliver(envelope(), CONTENT, [YOU]))[YOU.address] == smtp_client.UNREACHABLE
        assert behind.connections == connections
        del behind.script["greeting"], behind.script["MAIL"]
        async with asyncio.timeout(10):
            while (await hops.verify(url, YOU)).code != 250:
                await asyncio.sleep(0.05)
        assert (await hops.verify(url, recipient("new@darban.test"))).code == 250
        await hops.close()


async def test_what_a_server_says_while_it_fails_is_not_believed_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.net.next_hop._TEMPORARY_TTL_S", 0.0)
    async with sink(script={"greeting": ["close", "220 x"], "RCPT": "550 5.1.1 no", "RSET": "close"}) as behind:
        url, hops = f"smtp://127.0.0.1:{behind.port}", NextHops(OUR_NAME)
        assert (await hops.verify(url, YOU)).code == 451
        assert (await hops.verify(url, YOU)).code == 550
        behind.script.clear()
        assert (await hops.verify(url, YOU)).code == 250
        await hops.close()


# --- MX --------------------------------------------------------------------------------------------------------------


def mx(*records: str, status: str = "noerror") -> DnsAnswer:
    return DnsAnswer(status, records)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (mx("20 b.test.", "10 a.test."), ["a.test", "b.test"]),
        (mx("10 A.Test."), ["a.test"]),
        (mx(status="nodata"), ["example.ir"]),
        (mx(status="nxdomain"), NO_ROUTE),
        (mx(status="timeout"), NOT_LOOKED_UP),
        (mx(status="servfail"), NOT_LOOKED_UP),
        (mx("0 ."), NO_ROUTE),
        (mx("0 .", "10 a.test."), ["a.test"]),
        (mx("10 a.test.", "20 mx.darban.test.", "20 b.test.", "30 c.test."), ["a.test"]),
        (mx("10 mx.darban.test."), LOOP),
        (mx("10 MX.darban.test.", "20 a.test."), LOOP),
    ],
)
def test_exchanges(answer: DnsAnswer, expected: list[str] | Reply) -> None:
    assert read_exchanges(answer, "example.ir", OUR_NAME) == expected


def test_equal_exchanges_are_shuffled_and_many_are_cut() -> None:
    answer = mx("10 a.test.", "10 b.test.", "5 first.test.")
    firsts = collections.Counter(tuple(read_exchanges(answer, "x", OUR_NAME)) for _ in range(100))  # type: ignore[arg-type]
    assert {order[0] for order in firsts} == {"first.test"}
    assert len(firsts) == 2
    assert len(read_exchanges(mx(*(f"10 h{n}.test." for n in range(200))), "x", OUR_NAME)) == 20  # type: ignore[arg-type]


async def test_mail_goes_where_the_mx_records_say() -> None:
    async with sink(script={"greeting": ["220 far.test ESMTP", "220 far.test", "220 mx.darban.test ESMTP"]}) as behind:
        zones = {
            "example.ir": {"MX": ["10 dead.test.", "20 far.test."]},
            "dead.test": {"A": ["127.0.0.2"]},
            "far.test": {"A": ["127.0.0.1"]},
            "gone.test": {"MX": ["10 nowhere.test."]},
        }
        hops = NextHops(OUR_NAME, FakeResolver(zones))
        for url, code, enhanced in (
            (f"smtp+mx://example.ir:{behind.port}", 250, "2.0.0"),
            (f"smtp+mx://gone.test:{behind.port}", 451, "4.4.1"),
            (f"smtp+mx://nodomain.test:{behind.port}", 451, "4.4.4"),
        ):
            reply = (await hops.get(url).deliver(envelope(), CONTENT, [YOU]))[YOU.address]
            assert (reply.code, reply.enhanced) == (code, enhanced), url
        assert len(behind.contents) == 1
        await hops.close()
        # whatever the DNS calls it: who greets with our name is us
        behind.script["greeting"] = "220 mx.darban.test ESMTP"
        hops = NextHops(
            OUR_NAME, FakeResolver({"example.ir": {"MX": ["20 far.test."]}, "far.test": {"A": ["127.0.0.1"]}})
        )
        reply = (await hops.get(f"smtp+mx://example.ir:{behind.port}").deliver(envelope(), CONTENT, [YOU]))[YOU.address]
        assert reply.code == 451
        assert len(behind.contents) == 1
        # but one that an admin named may share our name: a Postfix on the same machine does
        named = hops.get(f"smtp://127.0.0.1:{behind.port}")
        assert (await named.deliver(envelope(), CONTENT, [YOU]))[YOU.address].code == 250
        await hops.close()


async def test_a_changed_mx_is_followed() -> None:
    async with sink() as one, sink() as other:
        zones = {"example.ir": {"MX": ["10 a.test."]}, "a.test": {"A": ["127.0.0.1"]}, "b.test": {"A": ["127.0.0.1"]}}
        hops = NextHops(OUR_NAME, FakeResolver(zones))
        hop = hops.get(f"smtp+mx://example.ir:{one.port}")
        assert (await hop.deliver(envelope(), CONTENT, [YOU]))[YOU.address].code == 250
        zones["example.ir"] = {"MX": ["10 b.test."]}
        assert (await hop.deliver(envelope(), CONTENT, [YOU]))[YOU.address].code == 250
        await hops.close()
    assert one.connections == 2
    assert other.connections == 0
