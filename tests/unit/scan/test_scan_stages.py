"""Real scorers in which any stage hangs, eats memory, dies or raises, with other messages in flight: nothing is lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.scan.pipeline import STAGES
from gateway.scan.pool import ScorerPool
from gateway.types import Verdict
from tests.builders import envelope, message_bytes

# A scorer parent in which the message says what happens where: "Subject: <act> <stage>". Its resolver makes every
# message wait, so that messages overlap; what comes behind a wait must still be charged to the right one.
PARENT = """
import asyncio, os, re, signal, sys
from pathlib import Path
from gateway import log
from gateway.scan import pipeline
from gateway.scan.pipeline import Pipeline
from gateway.scan.scorer import ScorerParent, bind
from gateway.types import DnsAnswer, Finding, Hit, Prediction

def act(text, stage):
    if text == f"hang {stage}":
        re.match(r"(a+)+$", "a" * 40 + "b")
    if text == f"eat {stage}":
        list(range(400_000_000))
    if text == f"die {stage}":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == f"raise {stage}":
        raise ZeroDivisionError

def before(name, stage, subject, module=pipeline):
    original = getattr(module, name)
    def acting(*arguments):
        act(subject(*arguments), stage)
        return original(*arguments)
    setattr(module, name, acting)

def subject_of(content):
    found = re.search(rb"Subject: ([a-z ]+)", content)
    return found[1].decode() if found else ""

before("parse", "parse", lambda content: subject_of(content) if b"(body)" in content else "")
before("parse", "header", lambda content: subject_of(content))
before("author_domain", "authenticate", lambda message: message.subject, pipeline.dmarc)
before("summarise", "conclude", lambda message: message.subject)

class Resolver:
    async def query(self, name, rdtype):
        await asyncio.sleep(0.005)
        return DnsAnswer("nxdomain")

class Check:
    name, findings = "check", ("SEEN",)
    def check(self, mail):
        act(mail.message.subject, "checks")
        return (Finding("SEEN"),)

class Asking:
    name, findings = "asking", ("ASKED",)
    async def check(self, mail, resolver):
        await resolver.query("example.org", "MX")
        act(mail.message.subject, "asking")
        return (Finding("ASKED"),)

class Rules:
    id, descriptions, scores = "rules", {}, {"CLASSIFIER": 2.0}
    def match(self, mail, findings, prediction=None):
        act(mail.message.subject, "rules")
        return tuple(Hit(finding.name, 1.0, "") for finding in findings) + (Hit("RULE", 1.0, "matched"),)

class Reading:
    def __init__(self, subject):
        self.subject, self.prediction = subject, Prediction(0.999, "model")
    def explain(self):
        act(self.subject, "explain")
        return ()

class Model:
    model_id = "model"
    def read(self, mail):
        act(mail.message.subject, "classify")
        return Reading(mail.message.subject)

    def refresh(self):
        pass

log.configure()  # as the gateway does: tracebacks in colours cost more than a stage may take here
folder = Path(sys.argv[1])
def make(memory=None):
    return Pipeline(resolver=Resolver(), message_checks=(Check(),), envelope_checks=(Asking(),), rules=Rules(), classifier=Model(), deadline_s=5.0)
parent = ScorerParent(bind(folder / "scorers"), make, folder=folder, stage_cpu_s=0.3, memory=300 << 20)
(folder / "ready").touch()
parent.serve()
"""

WHOLE = ["CLASSIFIER", "ASKED", "RULE", "SEEN"]
LEFT = {  # what is still found when a stage was given up
    "checks": ["CLASSIFIER", "RULE"],
    "asking": ["CLASSIFIER", "RULE"],
    "rules": ["CLASSIFIER"],
    "classify": ["ASKED", "RULE", "SEEN"],
}


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


async def judge_among_others(folder: Path, subject: str, count: int = 1) -> tuple[list[Verdict], list[Verdict]]:
    """Verdicts of the messages in question, and of twelve others that were in flight with them."""
    pool = ScorerPool(folder / "scorers", 2, 60.0)
    await pool.start()
    content = message_bytes("(body)\r\n", Subject=subject)
    around = envelope(reverse_path="")
    try:
        verdicts = await asyncio.gather(
            *(pool.score(around, message_bytes(Subject=f"other {n}")) for n in range(6)),
            *(pool.score(around, content) for _ in range(count)),
            *(pool.score(around, message_bytes(Subject=f"other {n}")) for n in range(6)),
        )
    finally:
        await pool.close()
    return verdicts[6:-6], [*verdicts[:6], *verdicts[-6:]]


def names(verdict: Verdict) -> list[str]:
    return [hit.name for hit in verdict.hits]


@pytest.mark.parametrize(
    "stage", ["parse", "authenticate", "checks", "asking", "rules", "classify", "conclude", "explain"]
)
async def test_only_the_stuck_stage_of_the_stuck_message_is_left_out(folder: Path, stage: str) -> None:
    (verdict,), others = await judge_among_others(folder, f"hang {stage}")
    named = "checks" if stage == "asking" else stage
    assert verdict.incomplete == (f"{named}: gave up on this message",)
    assert names(verdict) == LEFT.get(stage, WHOLE)
    assert bool(verdict.summary.subject) == (stage != "conclude")
    for other in others:
        assert (names(other), other.incomplete) == (WHOLE, ())


async def test_a_header_that_cannot_be_read_either_is_judged_without(folder: Path) -> None:
    (verdict,), others = await judge_among_others(folder, "hang header")
    assert verdict.incomplete == ("parse: gave up on this message", "header: gave up on this message")
    assert names(verdict) == WHOLE
    assert verdict.summary.size_bytes == len(message_bytes("(body)\r\n", Subject="hang header"))
    assert all((names(other), other.incomplete) == (WHOLE, ()) for other in others)


@pytest.mark.parametrize(
    ("act", "stage", "error"),
    [
        ("eat", "parse", "MemoryError"),
        ("eat", "conclude", "MemoryError"),
        *(
            ("raise", stage, "ZeroDivisionError")
            for stage in ("authenticate", "checks", "rules", "classify", "conclude", "explain")
        ),
    ],
)
async def test_a_stage_that_raises_costs_no_scorer(folder: Path, act: str, error: str, stage: str) -> None:
    (verdict,), others = await judge_among_others(folder, f"{act} {stage}")
    what = {
        "authenticate": ("dmarc: ZeroDivisionError", "dns: dmarc could not be looked up"),
        "checks": (f"check check: {error}",),
        "conclude": ("conclude: gave up on this message",),
    }
    assert verdict.incomplete == what.get(stage, (f"{stage}: {error}",))
    assert all((names(other), other.incomplete) == (WHOLE, ()) for other in others)


async def test_many_stuck_messages_among_others(folder: Path) -> None:
    stuck, others = await judge_among_others(folder, "die rules", 8)
    assert [(names(one), one.incomplete) for one in stuck] == [
        (["CLASSIFIER"], ("rules: gave up on this message",))
    ] * 8
    assert all((names(other), other.incomplete) == (WHOLE, ()) for other in others)


def test_every_stage_is_tried_here() -> None:
    assert set(STAGES) == {"parse", "header", "authenticate", "checks", "rules", "classify", "conclude", "explain"}
