"""What spamc and Rspamd's clients teach: in whose name, of which content, and how it is taken back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import StoreError
from gateway.learning import Teacher
from gateway.listeners import spamd_codec as codec
from gateway.listeners.spamd_codec import Request
from gateway.listeners.teaching import Teaching, as_it_came
from gateway.stores.engine import make_engine, migrate
from gateway.stores.ledger import SqlLedger
from gateway.types import Lessons
from tests.builders import message_bytes

CAME = message_bytes("Cheap pills\r\n")
TRACE = b"Return-Path: <sara@example.org>\r\nReceived: from a.example (x [192.0.2.7]) by mx with ESMTP id 1; date\r\n"
OURS = b"X-Spam-Flag: NO\r\nX-Darban-Id: 1\r\nAuthentication-Results: mx.darban.test; spf=pass\r\n"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    url = f"sqlite:///{tmp_path}/darban.db"
    migrate(url)
    engine = make_engine(url)
    yield SqlLedger(engine)
    engine.dispose()


def teaching(ledger: SqlLedger, trainer: str = "", limit: int = 5) -> Teaching:
    return Teaching(Teacher(ledger, limit), ledger, "mx.darban.test", trainer, "spamd")


def tell(content: bytes = CAME, **fields: str) -> Request:
    said = {"user": "reza"} | {name.replace("_", "-"): value for name, value in fields.items()}
    return Request("TELL", fields=tuple(said.items()), content=content)


async def test_set_and_remove(ledger: SqlLedger) -> None:
    one = teaching(ledger)
    for fields, done in (
        ({"message_class": "spam", "set": "local, remote"}, {"DidSet": "local"}),
        ({"message_class": "spam", "set": "local"}, {}),  # known
        ({"message_class": "ham", "set": "local", "remove": "remote"}, {"DidSet": "local"}),
        ({"remove": "local"}, {"DidRemove": "local"}),
        ({"remove": "local"}, {}),
        ({"message_class": "spam", "set": "remote"}, {}),
    ):
        assert await one.tell(tell(**fields)) == codec.told(done)


async def test_a_class_that_is_none_is_told(ledger: SqlLedger) -> None:
    assert (await teaching(ledger).tell(tell(set="local"))).startswith(b"SPAMD/1.0 76 ")


@pytest.mark.parametrize(
    ("trainer", "user", "name"),
    [("", "reza", "reza"), ("spamd", "reza", "spamd"), ("", "", "unknown (spamd)"), ("", "\0رضا\n", "رضا")],
)
async def test_in_whose_name(ledger: SqlLedger, trainer: str, user: str, name: str) -> None:
    await teaching(ledger, trainer).teach(user, True, CAME)
    (lesson,), _ = ledger.list(Lessons())
    assert (lesson.trainer, lesson.via, lesson.is_spam) == (name, "spamd", True)


async def test_the_days_limit_holds(ledger: SqlLedger) -> None:
    one = teaching(ledger, limit=1)
    said = [await one.teach("reza", True, message_bytes(f"{number}\r\n")) for number in range(2)]
    assert [taught.what for taught in said] == ["learned", "limited"]


@pytest.mark.parametrize(
    "content",
    [CAME, TRACE + CAME, OURS + TRACE + CAME, TRACE + OURS + CAME, (OURS + TRACE + CAME).replace(b"\r\n", b"\n")],
)
async def test_the_same_message_from_wherever_it_is_taken(ledger: SqlLedger, content: bytes) -> None:
    await teaching(ledger).teach("reza", True, content)
    (lesson,), _ = ledger.list(Lessons())
    assert lesson.content_hash == hashlib.sha256(CAME).hexdigest()


def test_the_envelope_is_what_stands_above() -> None:
    envelope, content = as_it_came(OURS + TRACE + CAME, "mx.darban.test")
    assert (envelope.client.ip, envelope.reverse_path, content) == ("192.0.2.7", "sara@example.org", CAME)


async def test_a_ledger_that_is_down_is_a_temporary_fault(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(ledger, "add", fail)
    assert (await teaching(ledger).tell(tell(message_class="spam", set="local"))).startswith(b"SPAMD/1.0 75 ")
