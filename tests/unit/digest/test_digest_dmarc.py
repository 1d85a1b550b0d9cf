"""gateway.digest.dmarc: reports go once, to who asked and agreed; the relay is a real SMTP dialogue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.auth.dmarc_report import Report, Reporter
from gateway.digest import dmarc
from gateway.digest.dmarc import DmarcReports, DmarcSender, write_report
from gateway.net.next_hop import make_next_hop
from gateway.ports import NextHop
from gateway.stores.dmarc_feedback import SqlDmarcFeedback
from gateway.stores.engine import make_engine
from gateway.types import DmarcRow
from tests.database import migrated
from tests.fakes import FakeResolver, Zones
from tests.smtp_sink import Script, sink

DAY = 20_783
REPORTER = Reporter("dmarc@mx.darban.test", "Darban", "", "gw1.darban.test", "Darban 1")
AGREED: Zones = {"example.org._report._dmarc.reports.example": {"TXT": ["v=DMARC1"]}}


def row(rua: str = "mailto:d@example.org", method: str = "treewalk", domain: str = "example.org") -> DmarcRow:
    return DmarcRow(
        DAY * 86_400.0, domain, f"{method} v=DMARC1; p=none; rua={rua}", "192.0.2.1", domain, domain, "darban.test",
        "none", True, True, (), (), (domain, "pass"),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> SqlDmarcFeedback:
    migrated(f"sqlite:///{tmp_path}/darban.db")
    return SqlDmarcFeedback(make_engine(f"sqlite:///{tmp_path}/darban.db"))


@pytest.fixture
async def hops() -> AsyncIterator[list[NextHop]]:
    made: list[NextHop] = []
    yield made
    for hop in made:
        await hop.close()


def report_of(store: SqlDmarcFeedback, one: DmarcRow) -> Report:
    store.add([one])
    report = DmarcReports(store, REPORTER).report(DAY, one.domain)
    assert report is not None
    return report


async def outcomes(
    store: SqlDmarcFeedback, one: DmarcRow, script: Script, hops: list[NextHop], zones: Zones | None = None
) -> tuple[list[list[tuple[str, str]]], list[str]]:
    """What became of it, at the first try and at the second; and what the relay heard."""
    report = report_of(store, one)
    tries = []
    async with sink(script=script) as relay:
        hops.append(make_next_hop(f"smtp://127.0.0.1:{relay.port}", "gw1.darban.test"))
        sender = DmarcSender(store, REPORTER, FakeResolver(zones or {}), hops[0])
        for _ in range(2):
            tries.append([(found.address, found.outcome) for found in await sender.send(report)])
    return tries, [command for command in relay.commands if command.startswith(("MAIL", "RCPT"))]


@pytest.mark.parametrize(
    ("script", "first", "second"),
    [
        ({}, "sent", "already"),
        ({"RCPT": "550 5.1.1 no such user"}, "refused", "already"),
        ({"dot": "552 5.2.2 mailbox full"}, "refused", "already"),
        ({"RCPT": "554 5.7.1 relay access denied"}, "failed", "failed"),
        ({"MAIL": "550 5.1.8 we do not know you"}, "failed", "failed"),
        ({"RCPT": "550 no"}, "failed", "failed"),
        ({"RCPT": "451 4.7.1 later"}, "failed", "failed"),
        ({"dot": ["451 4.3.0 full", "250 2.0.0 ok"]}, "failed", "sent"),
        ({"greeting": "close"}, "failed", "failed"),
        ({"MAIL": "530 5.7.0 sign in"}, "failed", "failed"),
    ],
    ids=[
        "taken",
        "refused",
        "full",
        "not set up",
        "not known",
        "no reason",
        "deferred",
        "taken later",
        "down",
        "relay wants a password",
    ],
)
async def test_a_report_goes_once(
    store: SqlDmarcFeedback, hops: list[NextHop], script: Script, first: str, second: str
) -> None:
    tries, _ = await outcomes(store, row(), script, hops)
    assert tries == [[("d@example.org", first)], [("d@example.org", second)]]


async def test_each_address_has_its_own_fate(store: SqlDmarcFeedback, hops: list[NextHop]) -> None:
    rua = (
        "mailto:a@example.org,mailto:b@example.org,mailto:x@reports.example,mailto:v@victim.example,https://x.example/"
    )
    script: Script = {"RCPT b@example.org": ["450 4.2.1 later", "250 2.1.5 ok"]}
    tries, heard = await outcomes(store, row(rua), script, hops, AGREED)
    assert tries[0] == [
        ("a@example.org", "sent"),
        ("b@example.org", "failed"),
        ("x@reports.example", "sent"),
        ("v@victim.example", "skipped"),
        ("", "skipped"),
    ]
    assert tries[1][:3] == [("a@example.org", "already"), ("b@example.org", "sent"), ("x@reports.example", "already")]
    assert not any("victim" in command for command in heard)
    assert all("<dmarc@mx.darban.test>" in command for command in heard if command.startswith("MAIL"))


async def test_what_cannot_be_looked_up_is_tried_again(store: SqlDmarcFeedback, hops: list[NextHop]) -> None:
    zones: Zones = {"example.org._report._dmarc.reports.example": "timeout"}
    tries, heard = await outcomes(store, row("mailto:x@reports.example"), {}, hops, zones)
    assert tries == [[("x@reports.example", "failed")]] * 2
    assert heard == []


@pytest.mark.parametrize(("method", "outcome"), [("psl", "skipped"), ("treewalk", "sent")])
async def test_a_size_limit_is_kept_in_the_old_mode(
    store: SqlDmarcFeedback, hops: list[NextHop], method: str, outcome: str
) -> None:
    tries, _ = await outcomes(store, row("mailto:d@example.org!100", method), {}, hops)
    assert tries[0] == [("d@example.org", outcome)]


def test_a_name_too_long_for_a_file(store: SqlDmarcFeedback, tmp_path: Path) -> None:
    report = report_of(store, row(domain=".".join(["x" * 60] * 4)))
    assert len(report.filename) > 255
    path = write_report(report, tmp_path)
    assert path.read_bytes() == report.content
    assert path.name == f"{report.id}.xml.gz"
    assert write_report(report, tmp_path) == path
    assert not list(tmp_path.glob("*.new"))
    assert dmarc._LONGEST_NAME <= 255
