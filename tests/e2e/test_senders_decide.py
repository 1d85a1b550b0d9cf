"""Allowed and blocked senders over real SMTP, with two listeners: an entry counts within seconds and until it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from gateway.stores.accounts import SqlAccounts
from gateway.stores.engine import make_engine
from gateway.types import Account
from tests.builders import message_bytes
from tests.dns_server import DnsServer
from tests.e2e import peers
from tests.e2e.test_gateway import eventually

pytestmark = pytest.mark.e2e
ZONES = {
    "proven.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"], "MX": ["10 mx.proven.example"], "A": ["192.0.2.1"]},
    "other.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"], "MX": ["10 mx.other.example"], "A": ["192.0.2.1"]},
    "strict.test": {"TXT": ["v=spf1 ip4:192.0.2.9 -all"], "MX": ["10 mx.strict.test"], "A": ["192.0.2.9"]},
    "_dmarc.proven.example": {"TXT": ["v=DMARC1; p=none"]},
}
FOLLOWS_S = 3  # every listener asks what changed every two seconds


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Gateway]:
    """A gateway that holds everything for strict.test."""
    folder = tmp_path_factory.mktemp("senders")
    extra = f"""
[[domain]]
name = "strict.test"
next_hop = "maildir:{folder}/strict"
tag_at = -98.0
quarantine_at = -97.0
reject_at = 99.0
"""
    with (
        DnsServer(ZONES) as dns,
        peers.gateway(
            folder, f"maildir:{folder}/mail", nameserver=dns.address, extra=extra, smtp_extra="workers = 2"
        ) as running,
    ):
        yield running


def delivered(gateway: peers.Gateway, name: str) -> int:
    return len(list((gateway.folder / name / "new").glob("*")))


def send(
    gateway: peers.Gateway,
    subject: str,
    mail_from: str = "sara@proven.example",
    author: str = "",
    to: str = "you@strict.test",
) -> dict:
    """The row of the message log."""
    content = message_bytes(Subject=subject, From=author or mail_from)
    assert peers.send(gateway.smtp_port, content, mail_from=mail_from, rcpt_to=[to])[0] == 250
    found: list[dict] = []

    def is_there() -> bool:
        found[:] = [json.loads(line) for line in gateway.cli("trace", subject, "--json").stdout.splitlines()]
        return bool(found)

    eventually(is_there)
    return found[0]


def senders(gateway: peers.Gateway, *arguments: str) -> str:
    answer = gateway.cli("senders", *arguments)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def why_held(gateway: peers.Gateway, subject: str) -> dict:
    """What the REST API says would have had a held message delivered."""
    accounts = SqlAccounts(make_engine(f"sqlite:///{gateway.folder}/var/darban.db"))
    if accounts.record("siem") is None:
        accounts.add(Account("siem", "owner"))
    secret = gateway.cli("token", "create", "siem", "--name", "why", "--act", "list", "--act", "read").stdout.strip()
    with httpx.Client(
        base_url=f"http://127.0.0.1:{gateway.web_port}/api/v1",
        headers={"Authorization": f"Bearer {secret}"},
        timeout=60,
    ) as client:
        (held,) = client.get("/held", params={"q": subject}).json()["items"]
        answer: dict = client.get(f"/held/{held['id']}/why").json()
        return answer


def test_a_held_sender_is_allowed_and_held_again_when_the_entry_ends(strict: peers.Gateway) -> None:
    assert send(strict, "before the entry")["action"] == "quarantine"
    told = senders(strict, "add", "allow", "sara@proven.example", "--recipient", "you@strict.test", "--dry-run")
    assert "would have delivered 1 that were held in the last 30 days, 0 of them judged phishing" in told
    assert "nothing was saved" in told
    assert senders(strict, "list") == ""
    ends = time.time() + 30  # on a busy machine the messages below take their time
    file = strict.folder / "senders.csv"
    file.write_text(
        "act,pattern,recipient,expires,note\n"
        f"allow,sara@proven.example,you@strict.test,{datetime.fromtimestamp(ends, UTC).isoformat()},for a moment\n"
    )
    assert senders(strict, "import", str(file)) == "1 taken\n"
    time.sleep(FOLLOWS_S)
    row = send(strict, "while it counts")
    assert row["action"] == "accept"
    assert "'s entry until " in row["reason"] and row["reason"].endswith("(spf=proven.example)")
    assert delivered(strict, "strict") == 1
    assert b"X-Spam-Flag: NO" in next((strict.folder / "strict" / "new").glob("*")).read_bytes()
    assert send(strict, "to a colleague meanwhile", to="me@strict.test")["action"] == "quarantine"
    forged = send(strict, "forged meanwhile", "evil@other.example", "sara@proven.example")
    assert forged["action"] == "quarantine"
    assert forged["reason"].endswith("'s entry does not count: the author is not proven")
    time.sleep(max(0.0, ends + 0.5 - time.time()))
    assert send(strict, "after its end")["action"] == "quarantine"
    assert delivered(strict, "strict") == 1
    eventually(lambda: json.loads(senders(strict, "list", "--ended", "--json"))["hits"] == 1)


def test_an_allow_of_our_own_director_lets_no_forgery_in(strict: peers.Gateway) -> None:
    senders(strict, "add", "allow", "ceo@strict.test", "--days", "7")
    time.sleep(FOLLOWS_S)
    row = send(strict, "forged director", "evil@other.example", "ceo@strict.test")
    assert row["action"] == "quarantine"
    assert "does not count: the author is not proven" in row["reason"]


def test_a_blocked_sender_is_held_until_the_entry_is_removed(strict: peers.Gateway) -> None:
    you = "you@darban.test"
    assert send(strict, "clean before", "reza@other.example", to=you)["action"] == "accept"
    told = senders(strict, "add", "block", ".other.example", "--recipient", you)
    assert "would have held 1 that were delivered in the last 30 days" in told
    number = told.splitlines()[-1].split()[0]
    time.sleep(FOLLOWS_S)
    rows = [send(strict, f"blocked now {count}", "reza@other.example", to=you) for count in range(4)]
    assert {row["action"] for row in rows} == {"quarantine"}  # both listeners know
    assert rows[0]["reason"].endswith("'s entry without an end")
    held = strict.cli("quarantine", "list", "--search", "blocked now").stdout
    assert held.count("blocked now") == 4
    why = why_held(strict, "blocked now 1")
    assert [(one["kind"], one["value"].split(" ")[0]) for one in why["changes"]] == [("block", ".other.example")]
    assert (why["was"], why["action"], why["is_needed"]) == ("quarantine", "accept", True)
    assert senders(strict, "remove", number) == f"{number} removed\n"
    time.sleep(FOLLOWS_S)
    assert not why_held(strict, "blocked now 1")["is_needed"], "judged again it is not blocked any more"
    assert send(strict, "clean again", "reza@other.example", to=you)["action"] == "accept"


def test_what_is_wrong_is_said_in_one_line(strict: peers.Gateway, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("act,pattern\nallow,nobody\nblock,com\n")
    for arguments, words in (
        (("add", "trust", "a@example.org"), "Write allow or block."),
        (("add", "allow", "co.uk"), "suffix"),
        (("add", "allow", "a@example.org", "--days", "soon"), "--days soon"),
        (("import", str(bad)), "line 2: Write the sender"),
        (("import", str(tmp_path / "none.csv")), "No such file"),
    ):
        answer = strict.cli("senders", *arguments)
        assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1), answer.stderr
        assert words in answer.stderr
    assert strict.cli("senders", "remove", "999999").returncode == 1
