"""provenance.py: a message is believed to be ours when its fields and the message log agree."""

from __future__ import annotations

import pytest

from gateway.actions.annotate import annotate
from gateway.provenance import trace_back
from gateway.types import LogRow, Summary
from tests.builders import envelope, message_bytes, recipient, verdict

HOST = "mx.darban.test"
DELIVERED = annotate(envelope(), message_bytes(), verdict(1.0), [recipient()], 5.0)


def row(action: str = "accept", message_id: str = "1@example.org", queue_id: str = "TESTQUEUEID1") -> LogRow:
    return LogRow(
        queue_id, 5.0, "192.0.2.1", "mail.example.org", "sara@example.org", "you@darban.test",
        Summary(message_id, "Hello", "Sara", 100), action, "250 2.0.0 ok", 1.0,
    )  # fmt: skip


class Log:
    """ports.MessageLog, as far as it is asked."""

    def __init__(self, *rows: LogRow) -> None:
        self.rows = rows

    def of_message(self, queue_id: str) -> list[LogRow]:
        return [row for row in self.rows if row.queue_id == queue_id]


@pytest.mark.parametrize("action", ["accept", "tag", "quarantine"])
def test_what_we_delivered_is_what_we_judged(action: str) -> None:
    found = trace_back(DELIVERED, Log(row(action)), HOST)
    assert found is not None
    assert found.content == message_bytes()
    assert (found.envelope.reverse_path, found.envelope.client.ip) == ("sara@example.org", "192.0.2.1")
    assert [one.domain for one in found.envelope.recipients] == ["darban.test"]


@pytest.mark.parametrize(
    ("content", "log"),
    [
        (DELIVERED, Log()),
        (DELIVERED, Log(row(queue_id="ANOTHER"))),
        (DELIVERED, Log(row("reject"))),
        (DELIVERED, Log(row("tempfail"))),
        (DELIVERED, Log(row(message_id="2@example.org"))),  # somebody knew the queue id of another message
        (message_bytes(), Log(row())),
        (DELIVERED.replace(b"by mx.darban.test", b"by mx.elsewhere.test"), Log(row())),
    ],
)
def test_what_we_did_not_deliver_is_nothing(content: bytes, log: Log) -> None:
    assert trace_back(content, log, HOST) is None
