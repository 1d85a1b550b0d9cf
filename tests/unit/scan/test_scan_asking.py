"""scan/asking.py, scorer.py and pool.py together: real children ask a listener's memory which domains are new."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ports import DomainMemory
from gateway.scan.asking import ListenersMemory
from gateway.scan.frames import ASK, HELLO, pack, pack_domains, unpack_domains
from gateway.scan.pool import ScorerPool
from gateway.types import Verdict
from tests.builders import envelope, message_bytes

PARENT = """
import sys
from pathlib import Path
from gateway.checks.new_domain import NewDomain
from gateway.net.dns import OfflineResolver
from gateway.scan.pipeline import Pipeline
from gateway.scan.scorer import ScorerParent, bind
from gateway.types import Hit

class Rules:
    id, descriptions, scores, firm = "rules", {}, {}, frozenset()
    def match(self, mail, findings, prediction=None):
        return tuple(Hit(one.name, 0.3, "", one.evidence) for one in findings)

folder = Path(sys.argv[1])
def make(memory=None):
    checks = (NewDomain(memory),)
    return Pipeline(resolver=OfflineResolver(), message_checks=(), envelope_checks=checks, rules=Rules(), classifier=None, deadline_s=5.0)
parent = ScorerParent(bind(folder / "scorers"), make, folder=folder, stage_cpu_s=0.4, memory=300 << 20)
(folder / "ready").touch()
parent.serve()
"""


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


class Memory:
    """ports.DomainMemory: names with "new" in them are; an answer takes as long as is said."""

    def __init__(self, seconds: float = 0.0, *, can_tell: bool = True) -> None:
        self.seconds = seconds
        self.can_tell = can_tell
        self.asked: list[list[str]] = []

    async def lookup_new(self, domains: Sequence[str]) -> frozenset[str] | None:
        self.asked.append([*domains])
        if self.seconds:
            await asyncio.sleep(self.seconds)
        return frozenset(one for one in domains if "new" in one) if self.can_tell else None


async def judge(folder: Path, memory: DomainMemory | None, *bodies: str) -> list[Verdict]:
    pool = ScorerPool(folder / "scorers", 1, 20.0, memory)
    await pool.start()
    try:
        return list(await asyncio.gather(*(pool.score(envelope(), message_bytes(f"{one}\r\n")) for one in bodies)))
    finally:
        await pool.close()


def told(verdict: Verdict) -> list[str]:
    assert [one for one in verdict.incomplete if not one.startswith("dns: ")] == []
    return [line.split(",")[0] for hit in verdict.hits for line in hit.evidence]


@pytest.mark.parametrize("seconds", [0.0, 0.05])
async def test_each_message_hears_of_its_own_domains(folder: Path, seconds: float) -> None:
    memory = Memory(seconds)
    bodies = [f"http://new{number}.example/ http://old{number}.example/" for number in range(30)]
    verdicts = await judge(folder, memory, *bodies, "no link")
    assert [told(one) for one in verdicts] == [*([f"link to new{number}.example"] for number in range(30)), []]
    assert len(memory.asked) == 30, "one question a message, none without a link"


@pytest.mark.parametrize("memory", [None, Memory(can_tell=False)], ids=["no memory", "cannot tell"])
async def test_without_an_answer_nothing_is_said(folder: Path, memory: DomainMemory | None) -> None:
    (verdict,) = await judge(folder, memory, "http://new.example/")
    assert told(verdict) == []


async def test_a_memory_that_does_not_answer_is_not_waited_for_long(folder: Path) -> None:
    began = time.monotonic()
    (verdict,) = await judge(folder, Memory(30.0), "http://new.example/")
    assert told(verdict) == []
    assert time.monotonic() - began < 5


async def test_an_answer_nobody_waits_for_is_dropped() -> None:
    memory = ListenersMemory()
    assert await memory.lookup_new(["a.example"]) is None  # not connected
    memory.take(7, pack_domains(["a.example"]))
    memory.connect(lambda number, domains: memory.take(number, pack_domains(domains)))
    assert await memory.lookup_new(["a.example"]) == {"a.example"}
    assert memory._waiting == {}


@given(st.none() | st.lists(st.from_regex(r"[a-z0-9.-]{1,253}", fullmatch=True), max_size=8))
def test_domains_come_out_as_they_went_in(domains: list[str] | None) -> None:
    assert unpack_domains(pack_domains(domains)) == (None if domains is None else tuple(domains))


@pytest.mark.parametrize(
    "head", [b"", b"5", b"{}", b'"a.example"', b"[5]", b'["\xc3\xa9"]', b'["a"' + b',"a"' * 8 + b"]"]
)
def test_what_is_no_list_of_domains_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a|Expecting|EOF|expected"):
        unpack_domains(head)


async def test_a_scorer_that_asks_nonsense_is_left(tmp_path: Path) -> None:
    """What a scorer says is data: such a child is ended, and what it held is judged by another."""
    memory, connections = Memory(), []

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        writer.write(pack(HELLO, 0, b'{"pid": 1}')[0] + pack(ASK, 1, b"[" + b'"a",' * 100 + b'"a"]')[0])
        assert await reader.read() == b""
        writer.close()

    server = await asyncio.start_unix_server(say, str(tmp_path / "scorers"))
    async with server:
        pool = ScorerPool(tmp_path / "scorers", 1, 20.0, memory)
        keeping = asyncio.create_task(pool.start())
        async with asyncio.timeout(10):
            while len(connections) < 2:
                await asyncio.sleep(0.01)
        keeping.cancel()
        await pool.close()
    assert memory.asked == []
