"""The server behind us hears who the client is where it wants to, and takes us for nobody else's client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from gateway.net.next_hop import NextHops
from gateway.net.true_client import proxy_header
from gateway.ports import NextHop
from gateway.types import Client
from tests.builders import envelope, recipient
from tests.smtp_sink import EXTENSIONS, Script, Sink, sink

YOU = recipient("you@darban.test")
CONTENT = b"Subject: a\r\n\r\nb\r\n"
SARA = Client("192.0.2.7", 4711, "sara.example", "ESMTPS", name="mail.sara.example")
REZA = Client("2001:db8::7", 4712, "reza.example", "SMTP")
ALL = "NAME ADDR PORT PROTO HELO LOGIN"


@contextlib.asynccontextmanager
async def hop(options: str = "", **changes: object) -> AsyncIterator[tuple[NextHop, Sink]]:
    async with sink(**changes) as behind:
        hops = NextHops("mx.darban.test")
        try:
            yield hops.get(f"smtp://127.0.0.1:{behind.port}{options}"), behind
        finally:
            await hops.close()


async def deliver(one: NextHop, client: Client) -> int:
    return (await one.deliver(envelope(client=client), CONTENT, [YOU]))[YOU.address].code


@pytest.mark.parametrize("extensions", [EXTENSIONS, EXTENSIONS[1:]], ids=["pipelining", "one by one"])
async def test_xforward_before_each_message(extensions: tuple[str, ...]) -> None:
    async with hop(extensions=(*extensions, f"XFORWARD {ALL} IDENT SOURCE")) as (one, behind):
        assert (await one.verify(YOU)).code == 250  # a question of ours has no client
        assert [await deliver(one, client) for client in (SARA, REZA)] == [250, 250]
    said = [line for line in behind.commands if line.startswith(("XFORWARD", "MAIL"))]
    assert [line.partition(" SIZE")[0] for line in said] == [
        "MAIL FROM:<>",
        "XFORWARD NAME=mail.sara.example ADDR=192.0.2.7 PORT=4711",
        "XFORWARD PROTO=ESMTP HELO=sara.example IDENT=TESTQUEUEID1 SOURCE=REMOTE",
        "MAIL FROM:<sara@example.org>",
        "XFORWARD NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7 PORT=4712",
        "XFORWARD PROTO=SMTP HELO=reza.example IDENT=TESTQUEUEID1 SOURCE=REMOTE",
        "MAIL FROM:<sara@example.org>",
    ]
    assert behind.connections == 1


@pytest.mark.parametrize("extensions", [EXTENSIONS, EXTENSIONS[1:]], ids=["pipelining", "one by one"])
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ({"XFORWARD": "550 5.7.0 not you"}, 250),  # it is for its log only
        ({"XFORWARD": "501 5.5.4 what"}, 250),
        ({"XFORWARD": "close"}, 451),
        ({"XFORWARD": "421 4.3.2 closing"}, 451),
        ({"XFORWARD": "354 what"}, 250),
        ({"MAIL": "550 5.7.1 not from you"}, 550),
        ({"RCPT": "550 5.1.1 no"}, 550),
        ({"DATA": "451 4.3.0 later"}, 451),
        ({"MAIL": "350 what"}, 451),
    ],
    ids=str,
)
async def test_xforward_decides_nothing(extensions: tuple[str, ...], script: Script, code: int) -> None:
    async with hop(extensions=(*extensions, "XFORWARD ADDR HELO"), script=dict(script)) as (one, behind):
        assert await deliver(one, SARA) == code
    assert len(behind.contents) == (code == 250)


async def test_xclient_begins_the_dialogue_anew_in_the_clients_name() -> None:
    script: Script = {"XCLIENT": "220 sink ESMTP"}
    async with hop(extensions=(*EXTENSIONS, f"XCLIENT {ALL}", "XFORWARD ADDR"), script=script) as (one, behind):
        assert [await deliver(one, client) for client in (SARA, SARA, REZA)] == [250, 250, 250]
        assert (await one.verify(YOU)).code == 250
    said = [line for line in behind.commands if line.startswith(("X", "EHLO", "MAIL"))]
    assert [line.partition(" SIZE")[0] for line in said] == [
        "EHLO mx.darban.test",
        "XCLIENT NAME=mail.sara.example ADDR=192.0.2.7 PORT=4711 PROTO=ESMTP HELO=sara.example",
        "EHLO sara.example",
        "MAIL FROM:<sara@example.org>",
        "MAIL FROM:<sara@example.org>",
        "XCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7 PORT=4712 PROTO=SMTP HELO=reza.example",
        "EHLO reza.example",
        "MAIL FROM:<sara@example.org>",
        "EHLO mx.darban.test",  # what is asked for everybody is asked in our own name
        "MAIL FROM:<>",
    ]
    assert behind.connections == 2


async def test_mail_of_our_own_has_no_client() -> None:
    """A server that is told of a client without an address treats it as a stranger's, and lets it do nothing."""
    script: Script = {"XCLIENT": "220 sink ESMTP"}
    async with hop(extensions=(*EXTENSIONS, f"XCLIENT {ALL}"), script=script) as (one, behind):
        assert await deliver(one, SARA) == 250
        assert await deliver(one, Client("", helo="mx.darban.test")) == 250
    assert len([line for line in behind.commands if line.startswith("XCLIENT")]) == 1
    assert behind.connections == 2  # not on the one on which it takes us for sara's


@pytest.mark.parametrize(
    ("script", "code", "contents"),
    [
        ({"XCLIENT": "550 5.7.0 not you"}, 250, 1),  # it offered what it does not do: as if it had not
        ({"XCLIENT": "close"}, 451, 0),
        ({"XCLIENT": "421 4.7.0 too many of that client"}, 451, 0),
        ({"XCLIENT": "220 sink", "EHLO": ["250-sink\r\n250 XCLIENT ADDR", "554 5.7.1 a bad client"]}, 554, 0),
        ({"XCLIENT": "220 sink", "EHLO": ["250-sink\r\n250 XCLIENT ADDR", "502 what"]}, 451, 0),
        ({"XCLIENT": "220 sink", "EHLO": ["250-sink\r\n250 XCLIENT ADDR", "close"]}, 451, 0),
    ],
    ids=str,
)
async def test_a_client_that_the_server_refuses(script: Script, code: int, contents: int) -> None:
    async with hop(extensions=(*EXTENSIONS, "XCLIENT ADDR"), script=dict(script)) as (one, behind):
        assert await deliver(one, SARA) == code
        assert len(behind.contents) == contents
        assert not one.is_down  # type: ignore[attr-defined]


async def test_a_server_that_hears_one_xclient_gets_a_connection_for_each_message() -> None:
    """As Postfix does, where the client that was named may not name another."""
    lists: list[str] = ["250-sink\r\n250 XCLIENT ADDR", "250 sink"] * 4
    script: Script = {"XCLIENT": "220 sink", "EHLO": lists}
    async with hop(script=script) as (one, behind):
        assert [await deliver(one, client) for client in (SARA, REZA, SARA)] == [250, 250, 250]
        assert (await one.verify(YOU)).code == 250
        assert await deliver(one, REZA) == 250
    named = [line for line in behind.commands if line.startswith("XCLIENT")]
    assert named == [f"XCLIENT ADDR={ip}" for ip in ("192.0.2.7", "IPV6:2001:db8::7", "192.0.2.7", "IPV6:2001:db8::7")]
    assert behind.connections == 4  # the one that asked about a recipient is named a client when one comes


@pytest.mark.parametrize("said", ["close", "501 5.5.4 not this address"])
async def test_a_kept_connection_never_speaks_for_the_client_before(said: str) -> None:
    script: Script = {"XCLIENT": ["220 sink", said, said if said != "close" else "220 sink"]}
    async with hop(extensions=(*EXTENSIONS, "XCLIENT ADDR"), script=script) as (one, behind):
        assert [await deliver(one, client) for client in (SARA, REZA)] == [250, 250]
    assert behind.connections == 2


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_proxy_header_begins_each_clients_connection(version: str) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes the header off, then is the sink."""
        if version == "v1":
            heads.append(await reader.readline())
        else:
            head = await reader.readexactly(16)
            heads.append(head + await reader.readexactly(int.from_bytes(head[14:], "big")))
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", behind.port)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while block := await source.read(1 << 16):
                    target.write(block)
            target.close()

        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async with sink() as behind, await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        hops = NextHops("mx.darban.test")
        one = hops.get(f"smtp://127.0.0.1:{port}?proxy={version}")
        assert (await one.verify(YOU)).code == 250
        assert [await deliver(one, client) for client in (SARA, SARA, REZA)] == [250, 250, 250]
        assert (await one.verify(YOU)).code == 250
        await hops.close()
    ends = ("127.0.0.1", 0), ("127.0.0.1", port)
    assert heads[1:] == [proxy_header(version, client, *ends) for client in (SARA, SARA, REZA)]
    assert heads[0].startswith(
        b"PROXY TCP4 127.0.0.1 127.0.0.1 " if version == "v1" else proxy_header(version, None, *ends)
    )
