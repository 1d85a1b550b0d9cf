"""What the listener alone takes for a message: SMTP in, the memory, our fields, SMTP out to a sink, log, metrics.

    python -m benchmarks.smtp_listener [--number 2000] [--connections 10] [--passes 3] [--messages FOLDER] [--out FILE]

The gateway as it is, but for the scorers: a verdict that is always the same is there at once: no judging, no
handing over to a scorer. Clients, messages and sink are those of smtp_load. CPU is that of the listener, user
and system; that of the other processes (the message log's above all) is told beside it. The fastest pass counts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.mail import messages
from benchmarks.processes import family, own_cpu_s
from benchmarks.smtp_load import run, sink
from gateway.types import AuthResult, Envelope, Hit, Prediction, Summary, Verdict
from tests.e2e import peers

_WARM_UP = 200
_STAGES = ("parse", "authenticate", "checks", "classify", "rules")
_VERDICT = Verdict(
    queue_id="",
    score=3.1,
    hits=(
        Hit("CLASSIFIER_HAM", -1.9, "Reads like wanted mail", ("probability 0.04",)),
        Hit("RDNS_NONE", 1.2, "The client has no name in the DNS"),
        Hit("SPF_NONE", 0.5, "The sender's domain has no SPF record"),
        Hit("MISSING_DATE", 1.4, "No Date field"),
        Hit("HTML_MESSAGE", 0.1, "A part in HTML"),
        Hit("URL_IN_TEXT", 0.0, "A link", ("www.example.org",)),
        Hit("FIRST_CONTACT", 0.8, "Nothing came from here before"),
        Hit("MIME_QP_LONG_LINE", 1.0, "A long quoted-printable line"),
    ),
    auth=(
        AuthResult("iprev", "temperror", identity="192.0.2.1", reason="the DNS took too long"),
        AuthResult("spf", "none", "example.org", identity="mailfrom", reason="no record"),
        AuthResult("dkim", "none"),
        AuthResult("dmarc", "none", "example.org"),
    ),
    prediction=Prediction(0.04, "fixed", ()),
    incomplete=("dns: iprev could not be looked up",),
    summary=Summary("<1@example.org>", "Minutes of the meeting", "Sara <sara@example.org>", 5000),
    rules_id="fixed",
    seconds=0.001,
    stages=tuple((name, 0.0002) for name in _STAGES),
)


def main() -> None:
    """Print the result, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--messages", default="", help="a folder of .eml files instead of the corpora")
    parser.add_argument("--out", default="", help="write the result as JSON")
    options = parser.parse_args()
    contents = [sample.content for sample in messages(options.number, options.messages)]
    passes = measure(contents, options.connections, options.passes)
    result = {"machine": describe(), "connections": options.connections, **min(passes, key=lambda one: one["cpu_ms"])}
    result["cpu_ms_of_each_pass"] = [one["cpu_ms"] for one in passes]
    print(json.dumps(result, indent=1))
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=1) + "\n")


def measure(contents: Sequence[bytes], connections: int, passes: int) -> list[dict[str, Any]]:
    """The result of each pass."""
    here = [sys.executable, "-m", "benchmarks.smtp_listener", "serve"]
    with (
        sink() as sink_port,
        tempfile.TemporaryDirectory(prefix="darban-listener-") as folder,
        peers.gateway(Path(folder), f"smtp://127.0.0.1:{sink_port}", smtp_extra="workers = 1", prefix=here) as running,
    ):
        run(running.smtp_port, sink_port, contents[:_WARM_UP], connections, 0, [])
        return [one_pass(running, sink_port, contents, connections) for _ in range(passes)]


def one_pass(running: peers.Gateway, sink_port: int, contents: Sequence[bytes], connections: int) -> dict[str, Any]:
    """All messages once."""
    processes = family(running.process.pid)
    before = {pid: own_cpu_s(pid) for pid in processes}
    said = run(running.smtp_port, sink_port, contents, connections, 0, [])
    taken = {pid: own_cpu_s(pid) - before[pid] for pid in processes}
    listener = max(taken.values())
    return {
        "messages": said["messages"],
        "mean_size_bytes": sum(map(len, contents)) // len(contents),
        "replies": said["replies"],
        "messages_per_s": said["messages_per_s"],
        "cpu_ms": round(listener / len(contents) * 1000, 3),
        "others_cpu_ms": round((sum(taken.values()) - listener) / len(contents) * 1000, 3),
    }


class FixedScorer:
    """In the place of ScorerPool."""

    def __init__(self, *_: object) -> None:
        """Nobody is connected to."""

    async def start(self) -> None:
        """It is there."""

    async def close(self) -> None:
        """Nothing was opened."""

    async def score(self, envelope: Envelope, content: bytes) -> Verdict:
        """The same for everybody."""
        return replace(_VERDICT, queue_id=envelope.queue_id)


def serve(config: Path) -> int:
    """`darban run`, with the fixed verdict."""
    from gateway.app.run import run_gateway
    from gateway.scan import pool

    pool.ScorerPool = FixedScorer  # type: ignore[assignment, misc]
    return run_gateway(config)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        sys.exit(serve(Path(sys.argv[-1])))
    main()
