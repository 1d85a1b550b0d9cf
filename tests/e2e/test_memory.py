"""Memory under large mail: bounded, nothing lost, and small mail goes on. A longer run: python -m tests.e2e.flood."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import message_bytes
from tests.e2e import flood, peers

pytestmark = pytest.mark.e2e
CLIENTS, SIZE, MEMORY = 40, 4 << 20, 16 << 20
_SAID = f"""workers = 1
memory = {MEMORY}
[defence]
connections_per_client = 0
connects_per_client = 0
connects_per_network = 0
[limits]
scorers = 1
"""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Gateway]:
    folder = tmp_path_factory.mktemp("memory")
    with peers.gateway(folder, f"maildir:{folder}/mail", smtp_extra=_SAID) as running:
        yield running


def delivered(running: peers.Gateway) -> list[Path]:
    return [file for file in (running.folder / "mail").rglob("new/*") if file.is_file()]


def large(running: peers.Gateway) -> list[Path]:
    return [file for file in delivered(running) if file.stat().st_size > SIZE * 0.99]


def metric(running: peers.Gateway, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{running.metrics_port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().split("\n")
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


async def test_what_is_announced_too_large_for_now_is_deferred_at_once(door: peers.Gateway) -> None:
    """RFC 1870: who says SIZE does not send in vain."""
    flooding = asyncio.create_task(flood.flood(door, CLIENTS, SIZE))
    while await asyncio.to_thread(metric, door, "darban_large_bytes") == 0:
        await asyncio.sleep(0.05)
    answers = []
    while not flooding.done():
        answers.append(await flood.send(door.smtp_port, flood.large_head(0), b"x\r\n", announced=SIZE))
    await flooding
    assert "452 4.3.1 No room for this message now, please try again later\r\n" in answers


async def test_large_messages_at_once_take_no_more_than_was_said(door: peers.Gateway) -> None:
    before, had = len(delivered(door)), len(large(door))
    flooding = asyncio.create_task(flood.flood(door, CLIENTS, SIZE))
    small = 0
    while not flooding.done():
        with contextlib.suppress(smtplib.SMTPException):  # 421 now and then: it is a flood
            code, _ = await asyncio.to_thread(peers.send, door.smtp_port, message_bytes("small"))
            small += code == 250
    result = await flooding
    replies = result["replies"]
    taken = replies.get("250 2.0.0", 0)
    assert set(replies) <= {"250 2.0.0", "452 4.3.1", "421 4.3.1"}, result
    assert taken >= CLIENTS // 4, result
    assert len(large(door)) - had == taken
    assert small >= 3  # none waited for the large ones
    assert len(delivered(door)) - before == taken + small
    # its memory, one large message in excess, and what each connection's buffers hold
    allowed = (MEMORY + 4 * SIZE + CLIENTS * (512 << 10)) >> 20
    assert result["grown_mib"]["listener"] <= allowed, result
    assert await asyncio.to_thread(metric, door, "darban_spool_bytes") == 0
    assert await asyncio.to_thread(metric, door, "darban_large_bytes") == 0
    assert list((door.folder / "var/spool").iterdir()) == []


async def test_the_largest_message_goes_through_alone(door: peers.Gateway) -> None:
    """max_message_size is what was promised, however little memory may be taken."""
    before = len(delivered(door))
    result = await flood.flood(door, 1, 49 << 20)
    assert result["replies"] == {"250 2.0.0": 1}
    assert len(delivered(door)) == before + 1
    assert result["grown_mib"]["listener"] < 4 * 50, result
    assert result["grown_mib"]["scorer"] < 4 * 50, result


async def test_clients_that_go_away_leave_nothing_behind(door: peers.Gateway) -> None:
    body = flood.large_body(1 << 20)
    await asyncio.gather(
        *(flood.send(door.smtp_port, flood.large_head(number), body, hangs_up=True) for number in range(10))
    )
    for _ in range(100):
        if await asyncio.to_thread(metric, door, "darban_smtp_open_connections") == 0:
            break
        await asyncio.sleep(0.1)
    assert await asyncio.to_thread(metric, door, "darban_spool_bytes") == 0
