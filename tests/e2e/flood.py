"""Many clients that send large messages at once: what becomes of each, and the most memory a process had.

python -m tests.e2e.flood [--clients 200] [--mib 20] [--memory "64 MiB"]
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import os
import tempfile
from pathlib import Path

from tests.builders import message_bytes
from tests.e2e import peers

_BLOCK = 1 << 18


def large_head(number: int) -> bytes:
    return message_bytes(
        "", Subject=f"large {number}", Content_Type='application/octet-stream; name="a.bin"',
        Content_Transfer_Encoding="base64", Message_ID=f"<large-{number}@example.org>",
    )  # fmt: skip


def large_body(size: int) -> bytes:
    """Base64, as large mail is."""
    line = b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM\r\n"
    return line * (size // len(line))


class _Refused(Exception):
    pass


async def _said(reader: asyncio.StreamReader) -> str:
    text = b""
    while True:
        line = await reader.readline()
        text += line
        if line[3:4] != b"-":
            return text.decode() or "closed"


async def send(port: int, head: bytes, body: bytes, announced: int = 0, *, hangs_up: bool = False) -> str:
    """The last reply, or "closed"; a client that hangs up does so before the dot."""
    with contextlib.suppress(ConnectionError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            size = f" SIZE={announced}" if announced else ""
            for command, wanted in (
                (b"", "220"), (b"EHLO client.example.org", "250"), (b"MAIL FROM:<sara@example.org>" + size.encode(), "250"),
                (b"RCPT TO:<you@darban.test>", "250"), (b"DATA", "354"),
            ):  # fmt: skip
                if command:
                    writer.write(command + b"\r\n")
                answer = await _said(reader)
                if answer[:3] != wanted:
                    return answer
            writer.write(head)
            for start in range(0, len(body), _BLOCK):
                writer.write(body[start : start + _BLOCK])
                await writer.drain()
            if hangs_up:
                writer.transport.abort()
                return "closed"
            writer.write(b".\r\n")
            return await _said(reader)
        finally:
            writer.close()
    return "closed"


def peak_mib(pid: int) -> float:
    """The most that was resident since forget_peak()."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def forget_peak(pid: int) -> float:
    """What is resident now, MiB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_mib(pid)


def scorer_children(running: peers.Gateway) -> list[int]:
    parent = running.processes()["scorers"]
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


async def flood(running: peers.Gateway, clients: int, size: int, announced: int = 0) -> dict[str, object]:
    """Each client sends one message, all at once."""
    processes = {f"listener {pid}": pid for name, pid in running.processes().items() if name.startswith("listener")}
    processes |= {f"scorer {pid}": pid for pid in scorer_children(running)}
    before = {name: forget_peak(pid) for name, pid in processes.items()}
    body = large_body(size)
    replies = await asyncio.gather(
        *(send(running.smtp_port, large_head(number), body, announced) for number in range(clients))
    )
    grown = {}
    for name, pid in processes.items():
        with contextlib.suppress(OSError):
            grown[name.split()[0]] = max(grown.get(name.split()[0], 0.0), round(peak_mib(pid) - before[name], 1))
    after = {name: peak_mib(pid) for name, pid in processes.items() if forget_peak(pid)}
    print({"at_rest_mib": {"before": before, "after": after}})
    return {"replies": dict(collections.Counter(one[:9] for one in replies)), "grown_mib": grown}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--mib", type=int, default=20)
    parser.add_argument("--memory", default="64 MiB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="darban-flood-", dir=os.environ.get("TMPDIR")) as name:
        said = f'workers = 1\nmemory = "{options.memory}"\n[defence]\nconnections_per_client = 0'
        hop = f"maildir:{name}/mail"
        with peers.gateway(Path(name) / "g", hop, smtp_extra=said) as running:
            print(asyncio.run(flood(running, options.clients, options.mib << 20)))
            files = [file for file in Path(f"{name}/mail").rglob("new/*") if file.is_file()]
            print({"delivered": len(files), "whole": sum(file.stat().st_size > options.mib << 20 for file in files)})


if __name__ == "__main__":
    main()
