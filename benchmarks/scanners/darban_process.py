"""The process that is measured: python -m benchmarks.scanners.darban_process pool|in-process FD FOLDER RULES...

Says "+" on FD when rules and model are loaded. `pool` is the scorers' parent as the gateway runs it (gateway/scan/
scorer.py), `in-process` judges the blocks of messages that come in at FD.
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.scanners import Mail
from benchmarks.scanners.darban import CACHE, envelope, judged, receive, send
from gateway.app.pipeline import load_pipeline
from gateway.config.settings import Rules, Settings
from gateway.scan.pipeline import Pipeline
from gateway.scan.scorer import ScorerParent, bind


def main() -> None:
    kind, descriptor, folder, *rules = sys.argv[1:]
    channel = socket.socket(fileno=int(descriptor))
    settings = Settings(rules=Rules(paths=tuple(rules)))
    make_pipeline = load_pipeline(settings, CACHE, offline=True)
    if kind == "pool":
        limits = settings.limits
        door = bind(Path(folder) / "scorers.sock")
        parent = ScorerParent(
            door,
            make_pipeline,
            folder=Path(folder),
            stage_cpu_s=limits.stage_cpu_s,
            memory=limits.scorer_memory,
        )
        channel.sendall(b"+")
        parent.serve()
    else:
        gc.collect()
        gc.freeze()  # as the scorers' parent does
        channel.sendall(b"+")
        _serve_blocks(channel, make_pipeline)


def _serve_blocks(channel: socket.socket, make_pipeline: Callable[[], Pipeline]) -> None:
    with asyncio.Runner() as runner:
        pipeline = runner.run(_make(make_pipeline))
        while True:
            block = []
            while payload := receive(channel):
                head, _, content = payload.partition(b"\0")
                number, client_ip, helo, mail_from = json.loads(head)
                block.append(Mail(number, content, client_ip, helo, mail_from, False, Path()))
            send(channel, json.dumps(runner.run(_judge(pipeline, block))).encode())


async def _make(make_pipeline: Callable[[], Pipeline]) -> Pipeline:
    return make_pipeline()


async def _judge(pipeline: Pipeline, block: list[Mail]) -> list[tuple[float, tuple[str, ...], float]]:
    answers = []
    for mail in block:
        began = time.perf_counter()
        answer = judged(await pipeline.score(envelope(mail), mail.content))
        answers.append((answer.score, answer.symbols, time.perf_counter() - began))
    return answers


if __name__ == "__main__":
    main()
