"""What a door carries: SMTP in, judged, SMTP out to a sink; Darban beside Postfix, and Postfix and Haraka with Rspamd.

    python -m benchmarks.smtp_load [--number 2000] [--connections 10 100] [--doors darban,postfix,...] [--idle 0]
                                   [--messages FOLDER] [--out FILE]

Every door relays every message. The clients speak as a mail server does, MAIL, RCPT and DATA in one write where
PIPELINING is offered, and send one message after the other on each connection. CPU is that of all the door's
processes, and messages a second are counted, until the sink has taken every message. `--idle` holds so many
connections open beside that say nothing more; memory is that of all processes (PSS) with all of them open. The same
clients are first pointed straight at the sink: what the load itself costs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import smtplib
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.doors import Door
from benchmarks.doors.darban import Darban
from benchmarks.doors.haraka import HarakaRspamd
from benchmarks.doors.postfix import Postfix, PostfixRspamd
from benchmarks.machine import ROOT, describe, percentile
from benchmarks.mail import messages
from benchmarks.processes import cpu_s, family, memory_mib
from gateway.net.dialogue import Dialogue
from tests.e2e import peers

DOORS: tuple[Door, ...] = (Darban(), Postfix(), PostfixRspamd(), HarakaRspamd())
_WITHIN_S = 300.0
_WARM_UP = 200
Answers = list[tuple[int, float]]


def main() -> None:
    """Print the result, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--connections", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--doors", default=",".join(one.name for one in DOORS))
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--messages", default="", help="a folder of .eml files instead of the corpora")
    parser.add_argument("--out", default="", help="write the result as JSON")
    options = parser.parse_args()
    chosen = [sample.content for sample in messages(options.number, options.messages)]
    asked = [one for one in DOORS if one.name in options.doors.split(",")]
    absent = {one.name: one.missing() for one in asked if one.missing()}
    result: dict[str, Any] = {"machine": describe(), "absent": absent, "idle": options.idle, "doors": {}}
    with sink() as port:
        result["straight_to_sink"] = run(port, port, chosen, options.connections[0], 0, [])
    for door in asked:
        if door.name not in absent:
            result["doors"][door.name] = door.facts() | {
                str(connections): _measure(door, chosen, connections, options.idle)
                for connections in options.connections
            }
    print(json.dumps(result, indent=1))
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=1) + "\n")


def _measure(door: Door, contents: Sequence[bytes], connections: int, idle: int) -> dict[str, Any]:
    with sink() as sink_port, tempfile.TemporaryDirectory(prefix="darban-door-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the peers' users must come in
        with door.open(folder, sink_port, connections + idle) as standing:
            warm_up = list(contents[:_WARM_UP])  # first use of everything
            run(standing.port, sink_port, warm_up, min(connections, 10), 0, [])
            return run(standing.port, sink_port, contents, connections, idle, standing.roots)


def run(
    port: int, sink_port: int, contents: Sequence[bytes], connections: int, idle: int, roots: Sequence[int]
) -> dict[str, Any]:
    """Send them all, and wait until the sink has them; CPU and memory are those of `roots`."""
    before, had = cpu_s(roots), taken(sink_port)
    began = time.perf_counter()
    answers, memory = uvloop.run(load(port, contents, connections, idle, roots))
    passed = sum(code == 250 for code, _ in answers)
    while taken(sink_port) - had < passed:
        if time.perf_counter() - began > _WITHIN_S:
            raise SystemExit(f"{passed} messages were accepted, {taken(sink_port) - had} came out")
        time.sleep(0.02)
    wall = time.perf_counter() - began
    times = [seconds for _, seconds in answers]
    return {
        "messages": len(answers),
        "replies": dict(Counter(str(code) for code, _ in answers)),
        "messages_per_s": round(passed / wall, 1),
        "data_ms": {name: round(percentile(times, share) * 1000, 2) for name, share in (("p50", 0.5), ("p99", 0.99))},
        "cpu_ms": round((cpu_s(roots) - before) / max(1, passed) * 1000, 3),
        "memory_mib": memory,
    }


async def load(
    port: int, contents: Sequence[bytes], connections: int, idle: int, roots: Sequence[int]
) -> tuple[Answers, float]:
    """Each connection sends its share; the answers to DATA, and the memory with everything open."""
    loop = asyncio.get_running_loop()

    async def connect() -> Dialogue:
        _, dialogue = await loop.create_connection(Dialogue, "127.0.0.1", port)
        if not await dialogue.begin("EHLO", "client.example.org", 60.0):
            raise SystemExit(f"a connection was not served: {dialogue.fault}")
        return dialogue

    open_ones = [await connect() for _ in range(idle + connections)]
    waiting, answers = iter(contents), Answers()

    async def client(dialogue: Dialogue) -> None:
        for content in waiting:
            commands = ["MAIL FROM:<sara@example.org> BODY=8BITMIME", "RCPT TO:<you@darban.test>", "DATA"]
            began = time.perf_counter()
            replies = await dialogue.commands(commands, 120.0, lambda said: said[-1].code < 400)
            if [one.code for one in replies] != [250, 250, 354]:
                raise SystemExit(f"not taken: {replies} {dialogue.fault}")
            said = await dialogue.send(content, 1, 120.0)
            answers.append((said[0].code if said else 0, time.perf_counter() - began))

    await asyncio.gather(*(client(dialogue) for dialogue in open_ones[idle:]))
    memory = 0.0
    for pid in (pid for root in roots for pid in family(root)):
        with contextlib.suppress(OSError, KeyError):  # it has ended meanwhile
            memory += memory_mib(pid)["pss_mib"]
    for dialogue in open_ones:
        dialogue.end("")
    return answers, round(memory, 1)


def taken(sink_port: int) -> int:
    """How many messages the sink has."""
    with smtplib.SMTP("127.0.0.1", sink_port, timeout=30) as client:
        return int(client.noop()[1])


@contextlib.contextmanager
def sink() -> Iterator[int]:
    """A sink's port."""
    port = peers.free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.sink", str(port)], cwd=ROOT)
    peers.wait_for_port(port, 30)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
