"""Who asks in the fault test: servers that keep their message, at the doors spamd (the real spamc) and HTTP.

Every question gets an answer or an error, in time; never an answer that is not the message's. What is right was asked
before the first fault, at every door. An answer may differ from it only if it says that something could not be looked
at, and also then it never says that mail is clean which policy holds. A connection that is cut is an error the client
can see; it needs a fault that kills, or it is one of ours.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import json
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from gateway.cli.demo import samples
from tests.e2e.fire_account import Event

DOORS = ("/scan", "/checkv2", "spamc")
RECIPIENTS = ("you@a.test", "you@h.test")  # whose mail policy accepts, whose it holds whatever it is
_ANSWER_S = 40.0
_AT_ONCE = 2  # at each door
_LEARNED = 1.0  # points by which releases may have moved the classifier's hit meanwhile
# faults after which a connection may be cut or not be taken
_KILLS = frozenset((
    "listener killed", "http door killed", "gateway killed", "supervisor killed", "power cut", "restart",
))  # fmt: skip
_SPAMC_FAILED = frozenset((69, 73, 74, 75, 76))  # sysexits; 73 and 74: the connection was refused or cut
_CUT_BY_SPAMC = frozenset((69, 73, 74, 76))


class _Cut(Exception):
    """No connection, or no whole answer."""


@dataclass(frozen=True, slots=True)
class Said:
    """What was found in a message, as a door tells it."""

    score: float
    hits: frozenset[str]
    is_spam: bool
    incomplete: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question and what became of it."""

    door: str
    recipient: str
    begun: float
    ended: float
    outcome: str  # "answer", "incomplete", "error", "cut", "late", or what is wrong with the answer


class Askers:
    """`run` asks until it is told to stop."""

    def __init__(self, http_port: int, spamd_port: int, seed: int) -> None:
        self._http_port, self._spamd_port = http_port, spamd_port
        self._chance = random.Random(f"asked {seed}")
        self._numbers = itertools.count(1)
        self._right: dict[tuple[str, str, str], Said] = {}  # door, sample, recipient
        self._samples = dict(samples())
        self.is_over = False
        self.asked: list[Asked] = []

    async def learn(self) -> None:
        """What is right, while nothing fails. Raises AssertionError where the doors do not agree."""
        for name, content in self._samples.items():
            for recipient in RECIPIENTS:
                for door in DOORS:
                    said = await self._ask(door, _numbered(content, next(self._numbers)), recipient)
                    assert isinstance(said, Said) and not said.incomplete, (door, name, said)
                    self._right[door, name, recipient] = said
                one, *others = (self._right[door, name, recipient] for door in DOORS)
                assert all((one.hits, one.is_spam) == (other.hits, other.is_spam) for other in others), (
                    name,
                    recipient,
                )
                assert one.is_spam == (recipient == "you@h.test")

    async def run(self) -> None:
        """Some at each door."""
        await asyncio.gather(*(self._asker(door) for door in DOORS for _ in range(_AT_ONCE)))

    async def _asker(self, door: str) -> None:
        while not self.is_over:
            name, recipient = self._chance.choice(sorted(self._samples)), self._chance.choice(RECIPIENTS)
            content, begun = _numbered(self._samples[name], next(self._numbers)), time.time()
            try:
                async with asyncio.timeout(_ANSWER_S):
                    said = await self._ask(door, content, recipient)
                outcome = said if isinstance(said, str) else judged(said, self._right[door, name, recipient])
            except TimeoutError:
                outcome = "late"
            except (_Cut, OSError, asyncio.IncompleteReadError):
                outcome = "cut"
            self.asked.append(Asked(door, recipient, begun, time.time(), outcome))
            await asyncio.sleep(self._chance.uniform(0.02, 0.3))

    async def _ask(self, door: str, content: bytes, recipient: str) -> Said | str:
        """What it said, or "error" and the like."""
        if door == "spamc":
            return await self._spamc(content, recipient)
        if door == "/scan":
            return _of_scan(*await self._post(f"/scan?{urlencode({'rcpt_to': recipient})}", content), content)
        return _of_check(*await self._post("/checkv2", content, f"Rcpt: {recipient}\r\n"), content)

    async def _post(self, path: str, content: bytes, fields: str = "") -> tuple[int, dict[str, Any]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._http_port)
        with contextlib.closing(writer):
            head = f"POST {path} HTTP/1.1\r\nHost: door\r\nConnection: close\r\n{fields}Content-Length: {len(content)}\r\n\r\n"
            writer.write(head.encode() + content)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", answer)
            if not length:
                raise _Cut
            return int(answer[9:12]), json.loads(await reader.readexactly(int(length[1])))

    async def _spamc(self, content: bytes, recipient: str) -> Said | str:
        words = f"-x -d 127.0.0.1 -p {self._spamd_port} --connect-retries=1 -n 20 -t 60 -u {recipient}".split()
        process = await asyncio.create_subprocess_exec(
            "spamc", *words,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            answer, _ = await process.communicate(content)
        except asyncio.CancelledError:
            process.kill()
            raise
        if process.returncode in _CUT_BY_SPAMC:
            raise _Cut
        if process.returncode:
            return "error" if process.returncode in _SPAMC_FAILED else f"spamc ended with {process.returncode}"
        return _of_spamc(answer, content)


def _numbered(content: bytes, number: int) -> bytes:
    """Another message with the same verdict."""
    return re.sub(rb"(?im)^(Message-ID: <)[^@>]*", rb"\g<1>%010d" % number, content, count=1)


def _message_id(content: bytes) -> str:
    found = re.search(rb"(?im)^Message-ID: (<[^>]*>)", content)
    return found[1].decode() if found else ""


def _is_about(content: bytes, named: str, incomplete: Sequence[str]) -> bool:
    """Of a message over whose words a scorer was killed the words are left out."""
    is_nameless = named in ("", "undef") and "conclude: gave up on this message" in incomplete
    return is_nameless or named.strip("<>") == _message_id(content).strip("<>")


def _of_scan(status: int, told: dict[str, Any], content: bytes) -> Said | str:
    if status != 200:
        return "error" if status == 503 and told.get("error") else f"status {status}: {told}"
    if not _is_about(content, told["message_id"], told["incomplete"]):
        return f"another message's answer: {told['message_id']}"
    hits = frozenset(hit["name"] for hit in told["hits"])
    if abs(sum(hit["score"] for hit in told["hits"]) - told["score"]) > 0.01:
        return f"hits that do not make up the score: {told}"
    is_spam = told["action"] != "accept" and told["score"] >= told["required_score"]
    return Said(round(told["score"], 3), hits, is_spam, ", ".join(told["incomplete"]))


def _of_check(status: int, told: dict[str, Any], content: bytes) -> Said | str:
    if status != 200:
        is_error = status == 503 and told.get("error") and told.get("action", "soft reject") == "soft reject"
        return "error" if is_error else f"status {status}: {told}"
    if not _is_about(content, told["message-id"], told["darban"]["incomplete"]):
        return f"another message's answer: {told['message-id']}"
    is_spam = told["action"] != "no action" and told["score"] >= told["required_score"]
    return Said(round(told["score"], 3), frozenset(told["symbols"]), is_spam, ", ".join(told["darban"]["incomplete"]))


def _of_spamc(answer: bytes, content: bytes) -> Said | str:
    head, _, _ = answer.partition(content[:40])
    status = re.search(rb"(?ms)^X-Spam-Status: (Yes|No), score=(-?[\d.]+).*?tests=(.*?)\s+autolearn=", head)
    if not status or not answer.endswith(content):
        return f"not judged, or not whole: {answer[:200]!r}"
    incomplete = re.search(rb"(?m)^X-Darban-Incomplete: (.*)$", head)
    names = re.sub(rb"\s", b"", status[3]).decode().split(",")
    what = incomplete[1].decode().strip() if incomplete else ""
    return Said(float(status[2]), frozenset(names) - {"none", ""}, status[1] == b"Yes", what)


def judged(said: Said, right: Said) -> str:
    """ "answer", "incomplete", or what is wrong with it."""
    if right.is_spam and not said.is_spam:
        return f"said to be clean: {said}"
    if said.incomplete:
        return "incomplete"
    is_same = said.hits == right.hits and abs(said.score - right.score) <= _LEARNED
    return "answer" if is_same else f"wrong: {said.score} for {right.score}, {sorted(said.hits ^ right.hits)}"


def account_for(asked: Sequence[Asked], events: Sequence[Event]) -> dict[str, Any]:
    """How often which door said what; "wrong" must be empty."""
    counts = collections.Counter(f"{one.door}: {_word(one)}" for one in asked)
    wrong = [
        f"{one.door}, {one.recipient}: {one.outcome}, {one.begun:.1f}-{one.ended:.1f}"
        for one in asked
        if _is_wrong(one, events)
    ]
    return {"asked": len(asked), "said": dict(sorted(counts.items())), "wrong_answers": wrong}


def _word(one: Asked) -> str:
    return one.outcome if one.outcome in ("answer", "incomplete", "error", "cut", "late") else "wrong"


def _is_wrong(one: Asked, events: Sequence[Event]) -> bool:
    at_once = [event.kind for event in events if event.begun <= one.ended and one.begun <= event.ended]
    if one.outcome in ("answer", "incomplete"):
        return False
    if one.outcome == "cut":
        return not _KILLS & set(at_once)
    return one.outcome != "error" or not at_once
