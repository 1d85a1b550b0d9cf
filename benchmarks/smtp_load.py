"""What the gateway carries: SMTP in at its door, judged, SMTP out to a sink.

    python -m benchmarks.smtp_load [--number 2000] [--connections 16] [--messages FOLDER] [--out FILE]

The same clients are first pointed straight at the sink: what the load itself costs. CPU is that of all the gateway's
processes. Every reply is counted, and what the sink took.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import signal
import smtplib
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, describe, percentile
from benchmarks.mail import messages
from benchmarks.processes import cpu_s
from tests.e2e import peers

_CLIENT_PROCESSES = 2
Result = list[tuple[int, float]]


def main() -> None:
    """Print the result, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--messages", default="", help="a folder of .eml files instead of the corpora")
    parser.add_argument("--out", default="", help="write the result as JSON")
    options = parser.parse_args()
    chosen = [sample.content for sample in messages(options.number, options.messages)]
    # made distinct: the same message twice is held once
    contents = [b"X-Benchmark: %d\r\n%b" % (number, content) for number, content in enumerate(chosen)]
    with sink() as straight:
        baseline = load(straight[0], contents, options.connections)
    with sink() as (port, taken), tempfile.TemporaryDirectory() as folder:
        with peers.gateway(Path(folder), f"smtp://127.0.0.1:{port}") as running:
            warm_up = [b"X-Warm-Up: yes\r\n" + content for content in contents[:100]]  # first use of everything
            warmed = load(running.smtp_port, warm_up, options.connections)
            before = cpu_s([running.process.pid])
            result = load(running.smtp_port, contents, options.connections)
            used = cpu_s([running.process.pid]) - before
            held = held_now(running.metrics_port)
        sent = len(warm_up) + len(contents)
        result |= {
            "cpu_ms_per_message": round(used / len(contents) * 1000, 3),
            "warm_up": len(warm_up),
            "held": held,
            "relayed": taken(),
        }
    if result["held"] + result["relayed"] + refused(result) + refused(warmed) != sent:
        print(f"{sent} sent, but not all are accounted for", file=sys.stderr)
    text = json.dumps(
        {"machine": describe(), "connections": options.connections, "gateway": result, "straight_to_sink": baseline},
        indent=1,
    )
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n")


def load(port: int, contents: list[bytes], connections: int) -> dict[str, Any]:
    """Send everything, each connection its share; the figures."""
    each = max(1, connections // _CLIENT_PROCESSES)
    began = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(_CLIENT_PROCESSES) as pool:
        shares = [contents[number::_CLIENT_PROCESSES] for number in range(_CLIENT_PROCESSES)]
        answers = [one for part in pool.starmap(clients, [(port, share, each) for share in shares]) for one in part]
    wall = time.perf_counter() - began
    if len(answers) != len(contents):
        raise SystemExit(f"{len(contents)} sent, {len(answers)} answered")
    times = [seconds for _, seconds in answers]
    return {
        "messages": len(answers),
        "replies": dict(Counter(str(code) for code, _ in answers)),
        "messages_per_s": round(len(answers) / wall, 1),
        "data_ms": {name: round(percentile(times, share) * 1000, 2) for name, share in (("p50", 0.5), ("p99", 0.99))},
    }


def clients(port: int, contents: list[bytes], connections: int) -> Result:
    """One process's connections."""
    with ThreadPoolExecutor(connections) as pool:
        parts = pool.map(lambda number: one_connection(port, contents[number::connections]), range(connections))
        return [one for part in parts for one in part]


def one_connection(port: int, contents: list[bytes]) -> Result:
    """(code, seconds from DATA to the reply) of each message."""
    answers = []
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.org", timeout=120) as client:
        client.ehlo()
        for content in contents:
            client.mail("sara@example.org", ["BODY=8BITMIME"])
            client.rcpt("you@darban.test")
            start = time.perf_counter()
            try:
                code = client.data(content)[0]
            except smtplib.SMTPDataError as error:
                code = error.smtp_code
            answers.append((code, time.perf_counter() - start))
    return answers


def refused(result: dict[str, Any]) -> int:
    """Messages answered otherwise than with 250."""
    return sum(count for code, count in result["replies"].items() if code != "250")


def held_now(metrics_port: int) -> int:
    """What the quarantine says it holds."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics") as answer:
        text = answer.read().decode()
    return int(float(re.findall(r'darban_quarantine_messages\{state="held"\} (\S+)', text)[0]))


@contextmanager
def sink() -> Iterator[tuple[int, Callable[[], int]]]:
    """(port, function that stops it and says how many messages it took)."""
    port = peers.free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.sink", str(port)], stdout=subprocess.PIPE, cwd=ROOT)
    peers.wait_for_port(port, 30, process)

    def taken() -> int:
        process.send_signal(signal.SIGTERM)
        return int(process.communicate(timeout=30)[0])

    try:
        yield port, taken
    finally:
        process.kill()


if __name__ == "__main__":
    main()
