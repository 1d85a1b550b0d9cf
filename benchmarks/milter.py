"""What the milter door itself costs a listener: packets in, content put together, fields written, answers out.

The service behind it accepts at once with a verdict that was made before, so judging, the memory of senders and the
log are left out. The MTA is played by this process over loopback, with Postfix's packets; CPU is the listener's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import uvloop

from benchmarks.machine import ROOT, describe
from benchmarks.mail import messages
from benchmarks.scorers import cpu_s
from gateway.config.settings import Milter, Smtp
from gateway.listeners import milter
from gateway.listeners.budget import make_budget
from gateway.mail.edit import to_crlf
from gateway.types import AuthResult, Client, Delivery, Envelope, Filtered, Hit, Mta, Outcome, Reply, Summary, Verdict
from tests import milter_mta

_OK = Reply(250, "2.0.0", "OK")
_VERDICT = Verdict(
    "", 1.2, tuple(Hit(f"TEST_HIT_{number}", 0.1, "A hit") for number in range(12)),
    (AuthResult("spf", "pass", "example.org"), AuthResult("dkim", "pass", "example.org", "s1"),
     AuthResult("dmarc", "pass", "example.org", policy="reject")),
    None, (), Summary(),
)  # fmt: skip


class _Accepting:
    def is_ours(self, domain: str) -> bool:
        return True

    def admit(self, client: Client, reverse_path: str) -> Reply | None:
        return None

    def count_recipient(self, client: Client) -> Reply | None:
        return None

    async def filter(self, envelope: Envelope, content: bytes, mta: Mta) -> Filtered:
        deliveries = tuple(Delivery(one, "accept", _OK, "") for one in envelope.recipients)
        return Filtered(Outcome(envelope.queue_id, _OK, deliveries, _VERDICT), 5.0)


async def serve() -> None:
    """The listener: what `python -m benchmarks.milter --serve` runs. Prints its port, ends with its parent's pipe."""
    door = socket.create_server(("127.0.0.1", 0))
    server = await milter.serve(Milter(), 50 << 20, "mx.example.org", _Accepting(), [door], make_budget(Smtp()))
    print(door.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(1.0)


async def play(port: int, contents: list[bytes], connections: int, each: int) -> float:
    """Wall seconds for all of them, `each` on a connection."""
    batches = iter([contents[at : at + each] for at in range(0, len(contents), each)])

    async def worker() -> None:
        for batch in batches:
            talker = await milter_mta.Mta.connect(port)
            await talker.greet()
            for content in batch:
                await talker.envelope()
                await talker.say(*milter_mta.content(content))
                assert (await talker.hear_all())[-1] == ("c", b"")
            await talker.say(milter_mta.QUIT)
            talker.close()

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(connections)))
    return time.perf_counter() - began


def measure(number: int, connections: int, folder: str) -> dict[str, object]:
    """The figures."""
    contents = [to_crlf(one.content) for one in messages(number, folder)]
    found: dict[str, object] = {"messages": number, "bytes": sum(map(len, contents)) // number}
    listener = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.milter", "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert listener.stdout is not None
    try:
        port = int(listener.stdout.readline())
        uvloop.run(play(port, contents[:200], connections, 1))
        for each in (1, 10):
            before = cpu_s(listener.pid)
            wall_s = uvloop.run(play(port, contents, connections, each))
            found[f"{each} a connection"] = {
                "cpu_us": round((cpu_s(listener.pid) - before) / number * 1e6),
                "messages_per_s": round(number / wall_s),
            }
    finally:
        listener.communicate()
    return found


def main() -> None:
    """Print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--messages", default="", help="a folder of .eml files in place of the corpora")
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(serve())
        return
    found = {"machine": describe(), **measure(arguments.number, arguments.connections, arguments.messages)}
    print(json.dumps(found, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
