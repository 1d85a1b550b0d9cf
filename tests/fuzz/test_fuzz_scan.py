"""Any bytes get a verdict: the whole pipeline, with the shipped rules and model."""

from __future__ import annotations

import asyncio
import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app.pipeline import load_pipeline
from gateway.cli.demo import samples
from gateway.config.load import load_settings
from gateway.scan.pipeline import Pipeline
from gateway.types import Verdict
from tests.builders import envelope
from tests.compiled_rules import COMPILED

ROOT = Path(__file__).parent.parent.parent
SAMPLES = [content for _, content in samples()]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(load_settings(None), COMPILED, offline=True)()


def judged(pipeline: Pipeline, content: bytes) -> Verdict:
    """The verdict; whole but for the DNS, and its score the sum of its hits."""
    verdict = asyncio.run(pipeline.score(envelope(), content))
    assert [what for what in verdict.incomplete if not what.startswith("dns")] == []
    assert math.isclose(verdict.score, sum(hit.score for hit in verdict.hits), abs_tol=0.01)
    return verdict


@given(content=st.binary(max_size=3000))
def test_random_bytes(pipeline: Pipeline, content: bytes) -> None:
    judged(pipeline, content)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_messages(pipeline: Pipeline, seed: int) -> None:
    """Bytes changed, pieces cut, doubled and moved."""
    chooser = random.Random(seed)
    content = bytearray(chooser.choice(SAMPLES))
    for _ in range(chooser.randrange(1, 40)):
        at, length = chooser.randrange(len(content)), chooser.randrange(1, 60)
        act = chooser.randrange(4)
        if act == 0:
            content[at : at + length] = chooser.randbytes(length)
        elif act == 1 and len(content) > 200:
            del content[at : at + length]
        elif act == 2:
            content[at:at] = content[at : at + length] * chooser.randrange(1, 20)
        else:
            content[at:at] = chooser.choice(
                [b"\r\n\r\n", b"--\r\n", b"=?utf-8?B?", b"\0", b"<div>", b"Content-Type: multipart/mixed;"]
            )
    judged(pipeline, bytes(content))


HOSTILE = [
    b"", b"\r\n", b"\0" * 100_000, b"A" * 1_000_000, b"Subject: " + b"=?utf-8?q?=41?= " * 20_000 + b"\r\n\r\n",
    b"From: " + b"<a@b>," * 30_000 + b"\r\n\r\n", b"Content-Type: text/html\r\n\r\n" + b"<div>" * 100_000,
    b"Content-Type: text/html\r\n\r\n" + b"<a href=" * 50_000, b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 20_000,
    b"Received: x\r\n" * 50_000 + b"\r\n", b"\r\n\r\n" + b"http://a.example/ " * 50_000, b"\r\n\r\n" + b"((((" * 100_000,
    b"Content-Type: text/plain; charset=utf-7\r\n\r\n" + b"+ADw-" * 20_000, b"DKIM-Signature: " + b"a=b;" * 50_000 + b"\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_shapes(pipeline: Pipeline, content: bytes) -> None:
    judged(pipeline, content)
