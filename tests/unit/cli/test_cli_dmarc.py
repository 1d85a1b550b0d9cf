"""`darban dmarc report`, from messages to the XML at who asked: judged, counted, written, sent over SMTP, read back."""

from __future__ import annotations

import asyncio
import email
import gzip
import json
from collections import Counter
from email.policy import default
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from gateway.actions.hold import Hold
from gateway.actions.relay import Relay
from gateway.app.command_line import open_dmarc_reports
from gateway.auth import dmarc
from gateway.cli import app
from gateway.cli.dmarc import _day_number
from gateway.config.load import load_settings
from gateway.errors import InputError
from gateway.mail import parse
from gateway.policy.domains import ConfiguredDomains
from gateway.reputation import Reputation
from gateway.service import Gateway
from gateway.stores.dmarc_feedback import SqlDmarcFeedback
from gateway.stores.engine import make_engine
from gateway.types import AuthResult, Client, DmarcRow, DomainPolicy
from tests import dmarc_schema
from tests.builders import envelope, message_bytes, verdict
from tests.database import migrated
from tests.dns_server import DnsServer
from tests.fakes import FakeResolver, Zones
from tests.memory import FixedScorer, MemoryCounters, MemoryJournal, MemoryNextHop, MemoryQuarantine
from tests.smtp_sink import sink

DAY, DATE = 20_717, "2026-09-21"  # that of builders.AT
ZONES: Zones = {
    "_dmarc.example.org": {"TXT": ["v=DMARC1; p=reject; t=y; rua=mailto:d@example.org,mailto:x@reports.example"]},
    "_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject; np=reject; sp=none; rua=mailto:d@victim.example"]},
    "_dmarc.silent.example": {"TXT": ["v=DMARC1; p=reject"]},
    "example.org._report._dmarc.reports.example": {"TXT": ["v=DMARC1"]},
}
NS = {"d": "urn:ietf:params:xml:ns:dmarc-2.0"}


async def judged(store: SqlDmarcFeedback) -> None:
    """Some mail, through authentication and the gateway, into the store."""
    policies = ConfiguredDomains([DomainPolicy("darban.test", "smtp://a:25")])
    signed = AuthResult("dkim", "pass", "example.org", selector="s1")
    sent = AuthResult("spf", "pass", "bounce.example.org", identity="mailfrom")
    forged = AuthResult("spf", "fail", "example.org", identity="mailfrom")
    for author, spf, signatures, ip, score in (
        ("a@example.org", sent, [signed], "192.0.2.1", 0.0),
        ("b@example.org", sent, [signed], "192.0.2.1", 0.0),
        ("c@news.example.org", sent, [signed], "192.0.2.1", 0.0),
        ("a@example.org", forged, [], "198.51.100.7", 20.0),
        ("a@example.org", forged, [], "198.51.100.7", 0.0),
        ("ceo@bank.example", forged, [], "198.51.100.7", 9.0),
        ("ceo@nowhere.bank.example", forged, [], "198.51.100.7", 20.0),
        ("a@silent.example", forged, [], "198.51.100.7", 0.0),
        ("a@unpublished.example", forged, [], "198.51.100.7", 0.0),
    ):
        resolver, journal = FakeResolver(ZONES), MemoryJournal()
        found, aligned, policy = await dmarc.evaluate(parse(message_bytes(From=author)), spf, signatures, resolver)
        hop = MemoryNextHop()
        gateway = Gateway(
            policies=policies, scorer=FixedScorer(verdict(score, auth=(found, *aligned, policy))),
            relay=Relay(policies, lambda _, hop=hop: hop), hold=Hold(MemoryQuarantine(), lambda *_: "{}"),
            verifier=None, journal=journal, counters=MemoryCounters(), reports_dmarc=True,
            reputation=Reputation(MemoryCounters(), b"secret"),
        )  # type: ignore[misc, arg-type]  # fmt: skip
        await gateway.receive(envelope(client=Client(ip)), message_bytes(From=author))
        store.add([row for row in journal.rows if isinstance(row, DmarcRow)])


def configuration(folder: Path, dns: str = "", relay: str = "") -> Path:
    path = folder / "darban.toml"
    path.write_text(
        f'hostname = "gw1.darban.test"\n[storage]\ndatabase = "sqlite:///{folder}/darban.db"\n[dmarc]\nreports = true\n'
        f'report_from = "dmarc@mx.darban.test"\nreport_organisation = "Darban"\nreport_relay = "{relay}"\n'
        + (f'[dns]\nnameservers = ["{dns}"]\n' if dns else "")
    )
    return path


@pytest.fixture
async def filled(tmp_path: Path) -> Path:
    """A folder with a database of counted mail."""
    migrated(f"sqlite:///{tmp_path}/darban.db")
    await judged(SqlDmarcFeedback(make_engine(f"sqlite:///{tmp_path}/darban.db")))
    return tmp_path


def counts(xml: bytes) -> Counter[tuple[str, ...]]:
    """(author domain, address, disposition, dkim, spf, reasons) -> messages."""
    found: Counter[tuple[str, ...]] = Counter()
    for record in fromstring(xml).findall("d:record", NS):
        paths = ("identifiers/d:header_from", "row/d:source_ip", "row/d:policy_evaluated/d:disposition",
                 "row/d:policy_evaluated/d:dkim", "row/d:policy_evaluated/d:spf")  # fmt: skip
        key = tuple(record.findtext(f"d:{path}", "", NS) for path in paths)
        reasons = " ".join(one.text or "" for one in record.findall("d:row/d:policy_evaluated/d:reason/d:type", NS))
        found[(*key, reasons)] += int(record.findtext("d:row/d:count", "", NS))
    return found


async def test_from_mail_to_reports_that_are_sent_once(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = filled / "out"
    out.mkdir()
    with DnsServer(ZONES) as dns:
        async with sink() as relay:
            config = configuration(filled, dns.address, f"smtp://127.0.0.1:{relay.port}")
            arguments = [
                "dmarc",
                "report",
                "--day",
                DATE,
                "--out",
                str(out),
                "--send",
                "--json",
                "--config",
                str(config),
            ]
            assert await asyncio.to_thread(app, arguments, standalone_mode=False) == 0
            said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
            assert await asyncio.to_thread(app, arguments, standalone_mode=False) == 0
            again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["domain"], one["messages"], one["day"]) for one in said] == [
        ("bank.example", 2, DATE),
        ("example.org", 5, DATE),
    ]
    assert [(one["address"], one["outcome"]) for one in said[1]["destinations"]] == [
        ("d@example.org", "sent"),
        ("x@reports.example", "sent"),
    ]
    assert [one["outcome"] for one in said[0]["destinations"]] == ["skipped"]  # d@victim.example never agreed
    assert [one["outcome"] for one in again[1]["destinations"]] == ["already", "already"]
    assert len(relay.contents) == 2
    assert not any("victim" in command for command in relay.commands)

    written = gzip.decompress(Path(said[1]["written"]).read_bytes())
    assert dmarc_schema.problems(written) == []
    passed = ("192.0.2.1", "none", "pass", "pass", "")
    assert counts(written) == {
        ("example.org", *passed[:1], "pass", *passed[2:]): 2,
        ("news.example.org", *passed[:1], "pass", *passed[2:]): 1,
        ("example.org", "198.51.100.7", "quarantine", "fail", "fail", "policy_test_mode"): 1,
        ("example.org", "198.51.100.7", "none", "fail", "fail", "policy_test_mode local_policy"): 1,
    }
    bank = gzip.decompress(Path(said[0]["written"]).read_bytes())
    assert dmarc_schema.problems(bank) == []
    assert counts(bank) == {
        ("bank.example", "198.51.100.7", "quarantine", "fail", "fail", "local_policy"): 1,
        ("nowhere.bank.example", "198.51.100.7", "reject", "fail", "fail", ""): 1,
    }
    message = email.message_from_bytes(relay.contents[0], policy=default)
    _, attached = message.iter_parts()
    assert gzip.decompress(attached.get_content()) == written
    assert attached.get_filename() == said[1]["filename"] == Path(said[1]["written"]).name
    assert message["subject"].startswith("Report Domain: example.org Submitter: mx.darban.test Report-ID: <")


async def test_a_relay_that_is_down_is_exit_status_1(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with DnsServer(ZONES) as dns:
        async with sink(script={"greeting": "close"}) as relay:
            config = configuration(filled, dns.address, f"smtp://127.0.0.1:{relay.port}")
            arguments = ["dmarc", "report", "--day", DATE, "--domain", "example.org", "--send", "--config", str(config)]
            assert await asyncio.to_thread(app, arguments, standalone_mode=False) == 1
    said = capsys.readouterr().out
    assert "failed: d@example.org: 451" in said
    assert "1 reports for 2026-09-21" in said
    assert "bank.example" not in said


def test_without_out_and_send_it_only_tells(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app(["dmarc", "report", "--day", DATE, "--config", str(configuration(filled))], standalone_mode=False) == 0
    said = capsys.readouterr().out
    assert "example.org: 5 messages in 4 rows" in said
    assert "2 reports for 2026-09-21" in said
    assert not list(filled.glob("*.gz"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--day", "yesterday"], "write a day as YYYY-MM-DD"),
        (["--day", "2999-01-01"], "that day is not over"),
        (["--send", "--day", DATE], "report_relay is not set"),
        (["--out", "nowhere", "--day", DATE], "there is no such folder"),
    ],
)
def test_what_it_cannot_use(tmp_path: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        app(["dmarc", "report", *arguments, "--config", str(configuration(tmp_path))], standalone_mode=False)


def test_it_needs_an_address_to_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="report_from is not set"):
        app(["dmarc", "report"], standalone_mode=False)


def test_days() -> None:
    from datetime import date

    today = date(2026, 9, 22)
    assert _day_number("", today) == _day_number("2026-09-21", today) == DAY
    for text in ("2026-09-22", "2026-9-1", "x"):
        with pytest.raises(InputError):
            _day_number(text, today)


async def test_settings_reach_the_report(filled: Path) -> None:
    async with open_dmarc_reports(load_settings(configuration(filled)), is_sending=False) as (reports, sender):
        assert sender is None
        assert reports.domains(DAY) == ["bank.example", "example.org"]
        assert (reports.reporter.domain, reports.reporter.host) == ("mx.darban.test", "gw1.darban.test")
