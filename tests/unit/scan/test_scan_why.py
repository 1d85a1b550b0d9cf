"""scan/why.py and a real scorer: the answer, and what happens to hostile mail, to mail meanwhile, and to nonsense."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import ScorerError
from gateway.policy.senders import Said
from gateway.scan.explain import verdict_json
from gateway.scan.frames import FAULT, FLIP, HELLO, pack
from gateway.scan.pool import ScorerPool
from gateway.scan.why import Why
from gateway.types import Disposition, DomainPolicy, SenderEntry
from tests.builders import envelope, message_bytes, recipient, verdict

# a scorer parent whose one rule minds a Reply-To, and does to the scorer what the subject says
PARENT = """
import os, re, signal, sys
from pathlib import Path
from gateway.scan.pipeline import Pipeline
from gateway.scan.scorer import ScorerParent, bind
from gateway.types import Hit
from gateway.net.dns import OfflineResolver

class Rules:
    id, descriptions, scores, firm = "rules", {}, {}, frozenset()
    def match(self, mail, findings, prediction=None):
        text = mail.message.subject
        if text == "hang":
            re.match(r"(a+)+$", "a" * 40 + "b")
        if text == "eat":
            list(range(400_000_000))
        if text == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return (Hit("ANSWERS", 9.0, "answers"),) if mail.message.reply_to else ()

folder = Path(sys.argv[1])
def make(memory=None):
    return Pipeline(resolver=OfflineResolver(), message_checks=(), envelope_checks=(), rules=Rules(), classifier=None, deadline_s=5.0)
parent = ScorerParent(bind(folder / "scorers"), make, folder=folder, stage_cpu_s=0.4, memory=300 << 20)
(folder / "ready").touch()
parent.serve()
"""
POLICY = DomainPolicy("darban.test", "")
KEPT = verdict_json(verdict(9.0), Disposition(recipient(), "quarantine", "score", 5.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("scorers")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(path)], stdout=subprocess.DEVNULL)
    while not (path / "ready").exists():
        assert parent.poll() is None
        time.sleep(0.02)
    yield path
    parent.terminate()
    parent.wait(10)


async def ask(folder: Path, subject: str, kept: str = KEPT) -> dict:
    content = message_bytes(Subject=subject, Reply_To="a@elsewhere.example")
    return await Why(folder / "scorers", 20.0).ask(envelope(), content, kept, POLICY)


async def test_what_would_have_been_enough(folder: Path) -> None:
    found = await ask(folder, "Hello")
    assert found["text"] == "It would have been delivered with answers going to its author."
    assert [(one["kind"], one["value"]) for one in found["changes"]] == [("reply_to", "")]
    assert (found["was"], found["action"], found["score"], found["signs"], found["is_needed"]) == (
        "quarantine",
        "accept",
        0.0,
        1,
        True,
    )


async def test_a_block_is_taken_back_first(folder: Path) -> None:
    block = SenderEntry("block", "example.org", "", None, "mina", 1.0, number=3)
    content = message_bytes(Subject="Hello")
    found = await Why(folder / "scorers", 20.0).ask(envelope(), content, KEPT, POLICY, Said((block,)))
    assert found["text"] == "It would have been delivered without the block of example.org by mina."
    assert (found["was"], found["action"], found["entry"]) == ("quarantine", "accept", "")


@pytest.mark.parametrize("subject", ["hang", "die", "eat"])
async def test_hostile_mail_ends_its_own_child_and_no_other(folder: Path, subject: str) -> None:
    pool = ScorerPool(folder / "scorers", 1, 20.0)
    await pool.start()
    try:
        asked = asyncio.create_task(ask(folder, subject))
        await asyncio.sleep(0.1)
        meanwhile = await pool.score(envelope(), message_bytes(Reply_To="a@elsewhere.example"))
        with pytest.raises(ScorerError, match="not judged again"):
            await asked
    finally:
        await pool.close()
    assert [hit.name for hit in meanwhile.hits] == ["ANSWERS"]
    assert (await ask(folder, "Hello"))["action"] == "accept"


@pytest.mark.parametrize("kept", ["", "{}", "[]", '{"hits": 5}', "null"])
async def test_a_verdict_that_is_none(folder: Path, kept: str) -> None:
    with pytest.raises(ScorerError):
        await ask(folder, "Hello", kept)


async def test_no_scorer(tmp_path: Path) -> None:
    with pytest.raises(ScorerError):
        await ask(tmp_path, "Hello")


GOOD = {
    "text": "x", "was": "tag", "action": "accept", "changes": [], "score": 1, "judged": 1, "signs": 1, "is_needed": True, "entry": "", "other": "<b>"
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "is_good"),
    [
        (pack(FLIP, 1, json.dumps(GOOD).encode())[0], True),
        (pack(HELLO, 0, b"{}")[0] + pack(FLIP, 1, json.dumps(GOOD).encode())[0], True),
        (pack(FLIP, 1, json.dumps(GOOD | {"signs": "many"}).encode())[0], False),
        (pack(FLIP, 1, json.dumps(GOOD | {"changes": [5]}).encode())[0], False),
        (pack(FLIP, 1, b"[]")[0], False),
        (pack(FLIP, 1, b"\xff")[0], False),
        (pack(FAULT, 1, b"why")[0], False),
        (b"\xff" * 40, False),
        (b"", False),
    ],
)
async def test_what_a_scorer_says_is_data(tmp_path: Path, answer: bytes, is_good: bool) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(say, str(tmp_path / "scorers"))
    async with server:
        if is_good:
            assert "other" not in await ask(tmp_path, "Hello")
        else:
            with pytest.raises(ScorerError):
                await ask(tmp_path, "Hello")


async def test_only_so_many_at_once_and_not_for_ever(tmp_path: Path) -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)
        writer.close()

    server = await asyncio.start_unix_server(wait, str(tmp_path / "scorers"))
    asking = Why(tmp_path / "scorers", 0.2)
    async with server:
        with pytest.raises(ScorerError):
            await asking.ask(envelope(), b"", KEPT, POLICY)
