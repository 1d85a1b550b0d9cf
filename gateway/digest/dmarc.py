"""The day's DMARC reports: made from what was counted, written to a folder, sent to those who asked, once.

A report that was sent to an address, or refused by it for good, is never sent there again; one that could not be handed
over can be tried again, and then has the same names. Sending claims before and settles after: a run that dies between
leaves a claim that another run takes over an hour later, so that a report comes twice rather than never.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gateway.auth.dmarc import Discovery
from gateway.auth.dmarc_destination import Destination, destinations
from gateway.auth.dmarc_report import Report, Reporter, make_message, make_report
from gateway.ports import DmarcStore, NextHop, Resolver
from gateway.types import Client, DmarcSending, Envelope, Recipient, Reply

_LONGEST_NAME = 255  # of a file, in bytes
_GONE = re.compile(r"5\.(?:1\.(?:1|2|3|6|10)|2\.[0-9]+)")  # RFC 3463 §3.2, §3.3: the address, the mailbox


class Handover(NamedTuple):
    """What became of one report at one address."""

    address: str
    outcome: str  # sent, already, refused, failed, skipped
    detail: str  # in words

    @property
    def is_trouble(self) -> bool:
        """Should somebody look at it, or send again?"""
        return self.outcome in ("refused", "failed")


class DmarcReports:
    """Reports from one store."""

    def __init__(self, store: DmarcStore, reporter: Reporter) -> None:
        self._store = store
        self.reporter = reporter

    def domains(self, day: int) -> list[str]:
        """Whom there is something to tell about this day."""
        return list(self._store.domains(day))

    def report(self, day: int, domain: str) -> Report | None:
        """The report; None when nothing was counted."""
        return make_report(self._store.rows(day, domain), self.reporter)


def write_report(report: Report, folder: Path) -> Path:
    """Write the file, whole or not at all; its path."""
    name = report.filename if len(report.filename) <= _LONGEST_NAME - 4 else f"{report.id}.xml.gz"
    unfinished = folder / f"{name}.new"
    unfinished.write_bytes(report.content)
    return unfinished.rename(folder / name)


def _state(reply: Reply) -> DmarcSending:
    """5xx is final when it is about the address; a relay that is not set up for us refuses all of them."""
    if reply.code // 100 == 2:
        return "sent"
    return "refused" if reply.code // 100 == 5 and _GONE.fullmatch(reply.enhanced) else "failed"


class DmarcSender:
    """Sends reports through one server."""

    def __init__(
        self,
        store: DmarcStore,
        reporter: Reporter,
        resolver: Resolver,
        relay: NextHop,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._reporter = reporter
        self._resolver = resolver
        self._relay = relay
        self._now = now

    async def send(self, report: Report) -> list[Handover]:
        """To every address that wants it and did not get it yet. Raises StoreError."""
        discovery: Discovery = "public_suffix_list" if report.method == "psl" else "tree_walk"
        wanted = await destinations(report.record, report.domain, self._resolver, discovery)
        return [await self._send_to(report, one) for one in wanted]

    async def _send_to(self, report: Report, to: Destination) -> Handover:
        if to.problem:
            return Handover(to.address, "failed" if to.is_temporary else "skipped", to.problem)
        if to.max_bytes is not None and len(report.content) > to.max_bytes:
            return Handover(to.address, "skipped", f"wants no more than {to.max_bytes} bytes")
        key = (report.day, report.domain, to.address)
        if not await asyncio.to_thread(self._store.claim, *key, report.id):
            return Handover(to.address, "already", "was sent or refused before, or is being sent")
        reply = await self._deliver(report, to.address)
        state, note = _state(reply), f"{reply.code} {reply.enhanced} {reply.text}"
        await asyncio.to_thread(self._store.settle, *key, state, note)
        return Handover(to.address, state, note)

    async def _deliver(self, report: Report, address: str) -> Reply:
        recipient = Recipient(address, address.rpartition("@")[2])
        content = make_message(report, self._reporter, address, self._now())
        envelope = Envelope(
            queue_id=report.id,
            client=Client("", helo=self._reporter.host),
            reverse_path=self._reporter.address,
            recipients=(recipient,),
            received_at=self._now(),
            hostname=self._reporter.host,
        )
        replies = await self._relay.deliver(envelope, content, [recipient])
        return replies.get(address, Reply(451, "4.3.0", "the relay said nothing"))
