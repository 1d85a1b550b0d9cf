"""One post: which addresses are reached at all, and what comes of servers that are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.net.webhook import Answer, WebhookClient
from gateway.types import DnsAnswer


class Names:
    """A resolver with these addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        found = tuple(one for one in self.addresses if (":" in one) == (rdtype == "AAAA"))
        return DnsAnswer("noerror" if found else "nodata", found)


@asynccontextmanager
async def server(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(reader, writer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield listening.sockets[0].getsockname()[1]
    listening.close()


async def post(url: str, *addresses: str, allow_private: bool = False, timeout_s: float = 5.0) -> Answer:
    client = WebhookClient(Names(*addresses))
    fields = {"webhook-id": "evt_1"}
    return await client.post(url, b"{}", fields, allow_private=allow_private, timeout_s=timeout_s)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255",
        "224.0.0.1", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1",
        "64:ff9b::a00:1", "2002:a00:1::", "198.18.0.1", "192.0.2.1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_named", [False, True])
async def test_private_addresses_are_not_reached(address: str, is_named: bool) -> None:
    literal = f"[{address}]" if ":" in address else address
    told = await post(f"https://{'hook.example' if is_named else literal}/", address)
    assert told.status == 0 and "private network" in told.told, told


async def test_one_private_address_spoils_a_name() -> None:
    told = await post("https://hook.example/", "8.8.8.8", "10.0.0.1")
    assert "private network" in told.told
    assert "no address" in (await post("https://hook.example/")).told


@pytest.mark.parametrize("host", ["0177.0.0.1", "2130706433", "0x7f.1", "127.1", "localhost"])
async def test_other_spellings_of_this_host_are_names(host: str) -> None:
    """They are never given to the system's resolver, which reads them as addresses."""
    assert (await post(f"https://{host}/", timeout_s=1.0)).status == 0


async def test_what_is_sent_and_answered() -> None:
    got = bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.extend(await reader.readuntil(b"{}"))
        writer.write(b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 202 Taken\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with server(answer) as port:
        told = await post(f"http://hook.example:{port}/a?b=c", "127.0.0.1", allow_private=True)
    assert told == Answer(202, "answered 202") and told.is_taken
    lines = bytes(got).split(b"\r\n")
    assert lines[0] == b"POST /a?b=c HTTP/1.1"
    assert f"Host: hook.example:{port}".encode() in lines and b"webhook-id: evt_1" in lines


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\n\r\n", 302, "302"),
        (b"HTTP/1.1 500 Oh\r\n\r\n", 500, "500"),
        (b"220 mail.example ESMTP\r\n\r\n", 0, "not HTTP"),
        (b"", 0, ""),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000, 0, ""),
        (b"HTTP/1.1 100 Go on\r\n\r\n" * 100_000, 0, ""),
    ],
)
async def test_bad_answers_are_no_answers(said: bytes, status: int, words: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        try:
            await writer.drain()
        except OSError:
            return

    async with server(answer) as port:
        told = await post(f"http://127.0.0.1:{port}/", allow_private=True)
    assert told.status == status and words in told.told and not told.is_taken


async def test_a_server_that_says_when_is_heard() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 429 Slow\r\nRetry-After: 90\r\n\r\n")
        await writer.drain()

    async with server(answer) as port:
        assert (await post(f"http://127.0.0.1:{port}/", allow_private=True)).retry_after_s == 90.0


async def test_a_slow_server_has_one_deadline() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(50):
            writer.write(b"H")
            await asyncio.sleep(0.1)

    async with server(answer) as port:
        began = asyncio.get_running_loop().time()
        told = await post(f"http://127.0.0.1:{port}/", allow_private=True, timeout_s=0.5)
    assert told.status == 0 and "within 0.5 s" in told.told
    assert asyncio.get_running_loop().time() - began < 2.0


async def test_what_is_not_tls_is_told() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()

    async with server(answer) as port:
        told = await post(f"https://127.0.0.1:{port}/", allow_private=True)
    assert told.status == 0 and "TLS" in told.told
