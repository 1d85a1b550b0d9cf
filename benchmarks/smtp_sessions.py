"""What a connection costs in memory: many idle ones, and some that send, held open at the same time.

    python -m benchmarks.smtp_sessions [--idle 1000] [--active 200] [--out FILE]

PSS of all the gateway's processes before, with the idle ones, and at the most while the active ones send a message of
5 KB after another for ten seconds. Loopback is trusted, or a client could not have so many.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.processes import family, memory_mib
from benchmarks.smtp_load import sink
from tests.e2e import peers

_SECONDS = 10.0
_CONTENT = (
    b"From: Sara <sara@example.org>\r\nTo: you@darban.test\r\nSubject: measured\r\n"
    b"Date: Mon, 21 Sep 2026 13:33:20 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n"
    + b"The minutes of the meeting are below, ask when something is missing.\r\n" * 70
    + b".\r\n"
)
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def main() -> None:
    """Print the result, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--active", type=int, default=200)
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    smtp = f"max_connections = {options.idle + options.active + 10}"
    with (
        sink() as port,
        tempfile.TemporaryDirectory() as folder,
        peers.gateway(Path(folder), f"smtp://127.0.0.1:{port}", smtp_extra=smtp) as running,
    ):
        result = asyncio.run(measure(running, options.idle, options.active))
    print(json.dumps(result, indent=1))
    if options.out:
        Path(options.out).write_text(json.dumps({"machine": describe(), **result}, indent=1) + "\n")


async def measure(running: peers.Gateway, idle: int, active: int) -> dict[str, Any]:
    """Sizes in MiB, of a connection in KiB."""
    warm = await opened(running.smtp_port, 1)
    await send(warm[0], time.monotonic() + 1)
    await asyncio.sleep(5)  # what starting took is given back
    before = pss(running)
    silent = await opened(running.smtp_port, idle)
    with_idle = pss(running)
    busy = await opened(running.smtp_port, active)
    until = time.monotonic() + _SECONDS
    sending = asyncio.gather(*(send(one, until) for one in busy))
    most = 0.0
    while not sending.done():
        most = max(most, await asyncio.to_thread(pss, running))
        await asyncio.sleep(0.5)
    sent = sum(await sending)
    for _, writer in (*warm, *silent, *busy):
        writer.close()
    return {
        "idle": idle,
        "active": active,
        "before_mib": round(before, 1),
        "with_idle_mib": round(with_idle, 1),
        "most_mib": round(most, 1),
        "idle_connection_kib": round((with_idle - before) * 1024 / idle, 1),
        "messages": sent,
    }


def pss(running: peers.Gateway) -> float:
    """MiB of the supervisor and all below it."""
    return sum(memory_mib(pid)["pss_mib"] for pid in family(running.process.pid))


async def opened(port: int, number: int) -> list[Connection]:
    """Greeted, and after EHLO."""
    found = []
    for start in range(0, number, 50):
        found += await asyncio.gather(*(opened_one(port) for _ in range(min(50, number - start))))
    return found


async def opened_one(port: int) -> Connection:
    """One."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await hear(reader)
    writer.write(b"EHLO client.example.org\r\n")
    await hear(reader)
    return reader, writer


async def hear(reader: asyncio.StreamReader) -> bytes:
    """The last line of a reply."""
    while (line := await reader.readline())[3:4] == b"-":
        pass
    return line


async def send(connection: Connection, until: float) -> int:
    """Messages one after another; how many were taken."""
    reader, writer = connection
    taken = 0
    while time.monotonic() < until:
        writer.write(b"MAIL FROM:<sara@example.org>\r\nRCPT TO:<you@darban.test>\r\nDATA\r\n")
        for _ in range(3):
            await hear(reader)
        writer.write(_CONTENT)
        taken += (await hear(reader)).startswith(b"250")
    return taken


if __name__ == "__main__":
    main()
