"""A running gateway counts for DMARC reports what it judged: door, scorer, DNS, journal, admin process, database."""

from __future__ import annotations

import smtplib
import time
from pathlib import Path

from gateway.stores.dmarc_feedback import SqlDmarcFeedback
from gateway.stores.engine import make_engine
from gateway.types import DmarcRow
from tests.builders import message_bytes
from tests.dns_server import DnsServer
from tests.e2e import peers

RECORD = "v=DMARC1; p=none; rua=mailto:d@example.org"
ZONES = {
    "_dmarc.example.org": {"TXT": [RECORD]},
    "bounce.example.org": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]},
    "_dmarc.silent.example": {"TXT": ["v=DMARC1; p=none"]},
}


def test_what_a_running_gateway_judged_is_counted(tmp_path: Path) -> None:
    settings = '[dmarc]\nreports = true\nreport_from = "dmarc@darban.test"\n'
    with (
        DnsServer(ZONES) as dns,
        peers.gateway(tmp_path, f"maildir:{tmp_path}/mail", extra=settings, nameserver=dns.address) as door,
    ):
        started = time.time()
        with smtplib.SMTP("127.0.0.1", door.smtp_port) as client:
            for author in ("a@example.org", "a@news.example.org", "b@example.org", "a@silent.example"):
                client.sendmail("x@bounce.example.org", ["you@darban.test"], message_bytes(From=author))
        store = SqlDmarcFeedback(make_engine(f"sqlite:///{tmp_path}/var/darban.db"))
        rows: list[DmarcRow] = []
        while sum(row.count for row in rows) < 3 and time.time() - started < 20:
            time.sleep(0.1)
            days = {int(started // 86_400), int(time.time() // 86_400)}
            rows = [row for day in days for domain in store.domains(day) for row in store.rows(day, domain)]
        assert {(row.domain, row.header_from, row.count) for row in rows} == {
            ("example.org", "example.org", 2),
            ("example.org", "news.example.org", 1),
        }
        assert {(row.is_spf_aligned, row.disposition, row.published, row.spf) for row in rows} == {
            (True, "none", f"treewalk {RECORD}", ("bounce.example.org", "pass"))
        }
        said = door.cli("dmarc", "report")
        assert (said.returncode, said.stderr) == (0, "")
