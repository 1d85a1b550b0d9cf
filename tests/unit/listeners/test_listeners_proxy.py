"""Who the client is by PROXY header, XCLIENT and XFORWARD: read strictly, believed of trusted proxies alone."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.listeners import proxy
from gateway.listeners.proxy import NOBODY, Named, ProxyError, parse_header, parse_xclient, parse_xforward
from gateway.net.true_client import proxy_header, xclient, xforward
from gateway.types import Client
from tests.smtp_dialogue import RecordingService, Talker, listening

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n"
V2 = SIGNATURE + b"\x21\x11\0\x0c" + bytes((192, 0, 2, 7, 127, 0, 0, 1)) + b"\x12\x67\0\x19"
SIX = SIGNATURE + b"\x21\x21\0\x24" + ipaddress.ip_address("2001:db8::7").packed + b"\0" * 16 + b"\x12\x67\0\x19"


# --- the header ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (V1, ("192.0.2.7", 4711)),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 25\r\n", ("2001:db8::7", 4711)),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 0 0\r\n", ("192.0.2.7", 0)),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ::1 65535 65535\r\n", None),
        (V2, ("192.0.2.7", 0x1267)),
        (SIX, ("2001:db8::7", 0x1267)),
        (SIGNATURE + b"\x20\x00\0\0", None),  # LOCAL
        (SIGNATURE + b"\x20\x11" + V2[14:], None),
        (SIGNATURE + b"\x21\x00\0\0", None),  # UNSPEC
        (SIGNATURE + b"\x21\x12" + V2[14:], None),  # UDP
        (SIGNATURE + b"\x21\x31\0\xd8" + b"/" * 216, None),  # unix sockets
        (V2[:14] + b"\0\x12" + V2[16:] + b"\x04\0\3abc", ("192.0.2.7", 0x1267)),  # a TLV
    ],
)
def test_headers(header: bytes, expected: proxy.Endpoint | None) -> None:
    assert parse_header(header + b"EHLO x\r\n") == (expected, len(header))
    for end in range(len(header)):
        assert parse_header(header[:end]) is None


@pytest.mark.parametrize(
    "start",
    [
        b"EHLO client.example\r\n",
        b"E",
        b"\r\nQUIT",
        b"\r\n\r\n\0\r\nQUIT\r\n",
        b"PROXX",
        b"proxy TCP4 192.0.2.7 127.0.0.1 4711 25\r\n",
        b"PROXY  TCP4 192.0.2.7 127.0.0.1 4711 25\r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 4711\r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25 \r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 70000 25\r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 1 70000\r\n",
        b"PROXY TCP4 192.0.2.256 127.0.0.1 4711 25\r\n",
        b"PROXY TCP4 2001:db8::1 ::1 4711 25\r\n",
        b"PROXY TCP6 192.0.2.7 127.0.0.1 4711 25\r\n",
        b"PROXY TCP4 192.0.2.7 x 4711 25\r\n",
        b"PROXY UDP4 192.0.2.7 127.0.0.1 4711 25\r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\n" + b"x" * 100,
        b"PROXY " + b"x" * 200,
        b"PROXY UNKNOWN" + b"x" * 200 + b"\r\n",
        SIGNATURE + b"\x11\x11" + V2[14:],  # version 1 in a header of version 2
        SIGNATURE + b"\x22\x11" + V2[14:],
        SIGNATURE + b"\x21\x11\0\x0b" + b"\0" * 11,
        SIGNATURE + b"\x21\x21\0\x0c" + b"\0" * 12,
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
    ids=repr,
)
def test_what_is_no_header_is_refused_at_once(start: bytes) -> None:
    with pytest.raises(ProxyError):
        parse_header(start)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_any_bytes_are_a_header_or_none_and_say_the_same_whole_or_in_pieces(rest: bytes, start: bytes) -> None:
    def outcome(data: bytes) -> object:
        try:
            return parse_header(data)
        except ProxyError:
            return "refused"

    whole = outcome(start + rest)
    seen = next(
        (found for end in range(len(start + rest) + 1) if (found := outcome((start + rest)[:end])) is not None), None
    )
    assert seen == whole or (whole == "refused" and seen == "refused")


IPS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(
    lambda address: str(getattr(address, "ipv4_mapped", None) or address)
)


@given(IPS, IPS, st.integers(0, 65_535), st.integers(1, 65_535), st.sampled_from(["v1", "v2"]))
def test_what_we_write_we_read(source: str, target: str, port: int, to_port: int, version: str) -> None:
    source = source.partition("%")[0]
    own = ("127.0.0.1", 4711)
    written = proxy_header(version, Client(source, port), own, (target, to_port))
    assert parse_header(written) == ((source, port), len(written))
    nobody = proxy_header(version, None, own, (target, to_port))
    assert parse_header(nobody) == (own if version == "v1" else None, len(nobody))


# --- XCLIENT and XFORWARD -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("NAME=a.test ADDR=192.0.2.7", Named("192.0.2.7")),
        ("addr=IPV6:2001:DB8::7 port=25", Named("2001:db8::7", 25)),
        ("ADDR=[UNAVAILABLE] NAME=[TEMPUNAVAIL]", Named("")),
        ("ADDR=192.0.2.7 PORT=[UNAVAILABLE] HELO=a+2Eb PROTO=esmtp", Named("192.0.2.7", 0, "a.b", "ESMTP")),
        ("HELO=[UNAVAILABLE] PROTO=SMTP", Named(None, None, "", "SMTP")),
        ("HELO=+D8+B3.test", Named(helo="س.test")),
        ("HELO=a+20b", Named(helo="")),  # no name of a client
        ("LOGIN=x DESTADDR=127.0.0.1 DESTPORT=25", NOBODY),
    ],
)
def test_attributes(argument: str, expected: Named) -> None:
    assert parse_xclient(argument) == expected


@pytest.mark.parametrize(
    "argument",
    [
        "", "ADDR", "ADDR=", "ADDR=192.0.2.256", "ADDR=2001:db8::7", "ADDR=IPV6:192.0.2.7", "ADDR=IPV6:fe80::1%25eth0",
        "ADDR=192.0.2.7 ADDR=192.0.2.8", "ADDR=192.0.2.7 IDENT=x", "PORT=70000", "PORT=x", "PORT=²5", "HELO=a+0Ab",
        "HELO=a+0", "HELO=a=b", "HELO=+FF", "NAME=" + "x" * 256, "NAME=" + "x" * 800, "ADDR=192.0.2.7,NAME=x",
    ],
)  # fmt: skip
def test_odd_attributes_are_refused(argument: str) -> None:
    assert parse_xclient(argument) is None


def test_xforward_has_attributes_of_its_own() -> None:
    assert parse_xforward("IDENT=4F1 SOURCE=REMOTE ADDR=192.0.2.7") == Named("192.0.2.7", ident="4F1")
    assert parse_xforward("LOGIN=x") is None


@given(IPS, st.integers(1, 65_535), st.text(st.characters(exclude_categories=["C", "Z"]), max_size=300))
def test_what_we_say_of_a_client_we_understand(ip: str, port: int, helo: str) -> None:
    ip = ip.partition("%")[0]
    client = Client(ip, port, helo, "ESMTPS", name=helo)
    offered = "NAME ADDR PORT PROTO HELO IDENT SOURCE"
    commands = [xclient(client, offered), *xforward(client, "4F1", offered)]
    assert all(len(line) <= 510 and line.isascii() for line in commands)
    assert all(proxy._parse(line.partition(" ")[2], (*proxy._XCLIENT, *proxy._XFORWARD)) for line in commands)
    said = parse_xclient(commands[0].partition(" ")[2])
    assert said is not None
    assert (said.ip, said.port, said.protocol) == (ip, port, "ESMTP")
    assert xclient(client, "NAME LOGIN") == ""
    assert xforward(client, "4F1", "LOGIN") == []


@pytest.mark.parametrize(
    ("ip", "is_trusted"),
    [("10.1.2.3", True), ("2001:db8::1", True), ("192.0.2.1", False), ("0.0.0.0", False), ("nonsense", False)],
)
def test_whose_word_is_taken(ip: str, is_trusted: bool) -> None:
    assert (ip in proxy.Proxies(["10.0.0.0/8", "2001:db8::/32"])) is is_trusted
    assert ip not in proxy.Proxies([])


# --- through the listener ---------------------------------------------------------------------------------------------

TRUSTED: dict[str, object] = {"trusted_proxies": ["127.0.0.0/8"]}
PROXIED: dict[str, object] = {**TRUSTED, "proxy_protocol": True}


async def client_of(service: RecordingService, talker: Talker, *commands: str) -> Client:
    """Whom the service saw after these commands and a transaction."""
    for command in (*commands, "MAIL FROM:<sara@example.org>", "RCPT TO:<you@darban.test>"):
        heard = await talker.ask(command)
        assert heard.startswith("2"), (command, heard)
    return service.clients[-1]


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_proxied_client(header: bytes, is_whole: bool) -> None:
    service = RecordingService()
    async with listening(service, **PROXIED) as (_, port):
        talker = await Talker.connect(port)
        for piece in [header] if is_whole else [header[index : index + 1] for index in range(len(header))]:
            await talker.send(piece)
            await asyncio.sleep(0)
        assert (await talker.hear()).startswith("220")
        seen = await client_of(service, talker, "EHLO client.example")
        assert (seen.ip, seen.port, seen.helo) == ("192.0.2.7", 4711, "client.example")
        # the client behind the proxy is not the proxy: it may not name others
        assert not any("XCLIENT" in line for line in talker.last)
        assert (await talker.ask("RSET")).startswith("250")
        assert (await talker.ask("XCLIENT ADDR=198.51.100.1")).startswith("500")
        assert (await talker.ask("XFORWARD ADDR=198.51.100.1")).startswith("500")


async def test_a_header_that_names_nobody_leaves_the_proxy() -> None:
    service = RecordingService()
    async with listening(service, **PROXIED) as (_, port):
        talker = await Talker.connect(port)
        await talker.send(b"PROXY UNKNOWN\r\n")
        await talker.hear()
        assert (await client_of(service, talker, "EHLO client.example")).ip == "127.0.0.1"
        await talker.ask("RSET")
        assert (await talker.ask("XCLIENT ADDR=198.51.100.1")).startswith("500")


@pytest.mark.parametrize("said", [b"EHLO client.example\r\n", b"PROXY " + b"x" * 500, SIGNATURE + b"\x21\x11\xff\xff"])
async def test_without_a_right_header_the_proxy_is_sent_away(said: bytes) -> None:
    async with listening(RecordingService(), **PROXIED) as (server, port):
        talker = await Talker.connect(port)
        await talker.send(said)
        assert await talker.hear() == "closed"
        assert not server.sessions


async def test_a_header_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "HEADER_S", 0.2)
    async with listening(RecordingService(), **PROXIED) as (_, port):
        for said in (b"", V1[:20], V2[:20]):
            talker = await Talker.connect(port)
            await talker.send(said)
            assert await talker.hear() == "closed"
        talker = await Talker.connect(port)
        await talker.send(V1[:20])
        talker.writer.write_eof()
        assert await talker.hear() == "closed"


@pytest.mark.parametrize("settings", [{}, {"trusted_proxies": ["10.0.0.0/8"], "proxy_protocol": True}])
@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_of_others_nothing_is_believed(settings: dict[str, object], header: bytes) -> None:
    service = RecordingService()
    async with listening(service, **settings) as (_, port):
        talker = await Talker.connect(port)
        assert (await talker.hear()).startswith("220")  # no header is waited for
        await talker.send(header + b"\r\nHELP\r\n")
        while not (heard := await talker.hear()).startswith("214"):
            assert heard.startswith("500")
        await talker.ask("EHLO client.example")
        assert not any(word in line for word in ("XCLIENT", "XFORWARD") for line in talker.last)
        for command in ("XCLIENT ADDR=192.0.2.7", "XFORWARD ADDR=192.0.2.7", "PROXY TCP4 192.0.2.7 127.0.0.1 1 2"):
            await talker.say(command)
        await talker.say("MAIL FROM:<sara@example.org>", "RCPT TO:<you@darban.test>", "QUIT")
        while not (heard := await talker.hear()).startswith("221"):
            assert heard != "closed"
    assert service.clients[-1].ip == "127.0.0.1"


async def test_xclient() -> None:
    service = RecordingService()
    async with listening(service, **TRUSTED) as (_, port):
        talker = await Talker.connect(port)
        await talker.hear()
        await talker.ask("EHLO proxy.example")
        assert any(line[4:] == "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT" for line in talker.last)
        assert (await talker.ask("XCLIENT ADDR=192.0.2.7 PORT=4711 NAME=c.example")).startswith("220")
        assert (await talker.ask("MAIL FROM:<sara@example.org>")).startswith("503")  # it begins anew
        seen = await client_of(service, talker, "EHLO client.example")
        assert (seen.ip, seen.port, seen.helo) == ("192.0.2.7", 4711, "client.example")
        assert (await talker.ask("XCLIENT ADDR=192.0.2.8")).startswith("503")  # in the middle of a transaction
        await talker.ask("RSET")
        assert (await talker.ask("XCLIENT ADDR=nonsense")).startswith("501")
        # HELO said in the command stands for one
        seen = await client_of(service, talker, "XCLIENT ADDR=192.0.2.8 HELO=other.example PROTO=ESMTP")
        assert (seen.ip, seen.helo, seen.protocol) == ("192.0.2.8", "other.example", "ESMTP")


async def test_who_xclient_names_is_counted_and_the_proxy_is_not() -> None:
    service = RecordingService()
    async with listening(service, {"connections_per_client": 1, "errors_per_network": 3}, **TRUSTED) as (server, port):

        async def proxied(ip: str) -> tuple[Talker, str]:
            talker = await Talker.connect(port)
            assert (await talker.hear()).startswith("220")
            return talker, await talker.ask(f"XCLIENT ADDR={ip}")

        first, heard = await proxied("192.0.2.7")
        assert heard.startswith("220")
        assert (await proxied("192.0.2.7"))[1].startswith("421 4.7.0")
        assert service.refusals == ["connection limit: client"]
        other, heard = await proxied("198.51.100.1")
        assert heard.startswith("220")
        assert (await first.ask("XCLIENT ADDR=203.0.113.1")).startswith("220")  # the next client of that connection
        assert (await proxied("192.0.2.7"))[1].startswith("220")
        for _ in range(4):  # told apart by who said it
            await other.ask("GARBAGE")
        assert (await other.ask("XCLIENT ADDR=203.0.113.99")).startswith("220")
        assert (await proxied("198.51.100.2"))[1].startswith("421")
        assert (await proxied("203.0.113.2"))[1].startswith("220")
        for talker in (first, other):
            talker.close()
        async with asyncio.timeout(5):
            while server.connections._open.get("203.0.113.1") or server.connections._open.get("203.0.113.99"):
                await asyncio.sleep(0.01)


async def test_xforward_holds_for_one_transaction() -> None:
    service = RecordingService()
    async with listening(service, **TRUSTED) as (_, port):
        talker = await Talker.connect(port)
        await talker.hear()
        forward = (
            "XFORWARD NAME=c.example ADDR=192.0.2.7 PORT=4711",
            "XFORWARD PROTO=SMTP HELO=client.example IDENT=4F1",
        )
        seen = await client_of(service, talker, "EHLO proxy.example", *forward)
        assert (seen.ip, seen.port, seen.helo, seen.protocol) == ("192.0.2.7", 4711, "client.example", "SMTP")
        assert (await talker.ask("DATA")).startswith("354")
        await talker.send(b"a\r\n.\r\n")
        assert (await talker.hear()).startswith("250")
        ((envelope, _),) = service.received
        assert envelope.client.ip == "192.0.2.7"
        seen = await client_of(service, talker)
        assert (seen.ip, seen.helo) == ("127.0.0.1", "proxy.example")
        assert (await talker.ask("XFORWARD ADDR=192.0.2.8")).startswith("503")
        await talker.ask("RSET")
        # of a message of its own the proxy says that there is no client
        seen = await client_of(service, talker, "XFORWARD ADDR=[UNAVAILABLE] HELO=[UNAVAILABLE] SOURCE=LOCAL")
        assert seen.ip == "127.0.0.1"


async def test_a_trusted_proxy_may_stand_behind_a_proxy() -> None:
    """HAProxy before Postfix's postscreen before us: the named client's word is taken when it is a trusted proxy."""
    service = RecordingService()
    async with listening(service, **{**PROXIED, "trusted_proxies": ["127.0.0.0/8", "192.0.2.0/24"]}) as (_, port):
        talker = await Talker.connect(port)
        await talker.send(V1)
        await talker.hear()
        seen = await client_of(service, talker, "EHLO proxy.example", "XFORWARD ADDR=198.51.100.9")
        assert seen.ip == "198.51.100.9"
