"""Mailboxes of a real Dovecot are watched: people's moves teach, rules' do not."""

from __future__ import annotations

import hashlib
import imaplib
import itertools
import json
import os
import pwd
import re
import shutil
import smtplib
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.actions.annotate import annotate
from gateway.errors import MailboxError
from gateway.mail.delivered import read_delivered
from gateway.mailboxes import MailboxWatch, Watched, load
from gateway.net import imap
from gateway.policy.moves import MAX_KEPT
from tests.builders import envelope, message_bytes, recipient, verdict
from tests.e2e import peers
from tests.e2e.test_gateway import eventually

pytestmark = pytest.mark.e2e
USER = "you@darban.test"
# what many put behind a filter that tags, and one's own rule
SIEVE = """require ["fileinto"];
if anyof (header :is "X-Spam-Flag" "YES", header :contains "Subject" "newsletter") { fileinto "Spam"; }
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def mail() -> Iterator[peers.Dovecot]:
    with peers.dovecot(sieve=SIEVE) as running:
        yield running


class Person:
    """Somebody with a mailbox, which is watched by a clock that can be turned."""

    def __init__(self, mail: peers.Dovecot, folder: Path, **changes: object) -> None:
        self.mail, self.folder, self.taught, self.ahead = mail, folder, [], 0.0
        server = imap.Server("127.0.0.1", mail.imap_port, "none", peers.PASSWORD)
        values: dict = {
            "server": server, "users": (USER,), "junk": "", "folders": ("INBOX",), "trainer": "", "every_s": 60.0,
            "max_size": 1 << 20,
        }  # fmt: skip
        self.watched = Watched(**(values | changes))
        self.restart()

    def restart(self) -> None:
        self.watch = MailboxWatch(self.watched, self.folder, self._learn, lambda: time.time() + self.ahead)

    def _learn(self, who: str, is_spam: bool, content: bytes) -> None:
        self.taught.append((who, is_spam, content.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode()))

    def look(self) -> list[tuple[str, bool, str]]:
        """What a look ten seconds after the last one teaches; the first one is now."""
        self.taught.clear()
        self.watch.look(USER)
        self.ahead += 10
        return list(self.taught)

    def get(self, subject: str, score: float = 1.0) -> None:
        """Mail comes through the gateway."""
        content = annotate(
            envelope(queue_id=f"QUEUE{next(_numbers)}"),
            message_bytes(Subject=subject),
            verdict(score),
            [recipient()],
            5.0,
        )
        with smtplib.LMTP(str(self.mail.socket)) as client:
            client.sendmail("sara@example.org", [USER], content)

    def move(self, subject: str, source: str, target: str) -> None:
        with self.mail.reader(USER) as reader:
            reader.select(source)
            found = reader.uid("SEARCH", "SUBJECT", f'"{subject}"')[1][0].decode()
            assert found, f"{subject} is not in {source}"
            assert reader.uid("MOVE", found, target)[0] == "OK"


@pytest.fixture
def person(mail: peers.Dovecot, tmp_path: Path) -> Iterator[Person]:
    one = Person(mail, tmp_path / "mailboxes")
    yield one
    with mail.reader(USER) as reader:
        for folder in ("INBOX", "Spam", "Archive"):
            if int(reader.select(folder)[1][0]):
                reader.store("1:*", "+FLAGS", "\\Deleted")
                reader.expunge()


def test_into_junk_and_out_again(person: Person) -> None:
    assert person.look() == []
    person.get("offer")
    assert person.look() == []
    person.move("offer", "INBOX", "Spam")
    assert person.look() == [(USER, True, "offer")]
    assert person.look() == []
    person.move("offer", "Spam", "INBOX")
    assert person.look() == [(USER, False, "offer")]
    person.move("offer", "INBOX", "Archive")
    person.move("offer", "Archive", "INBOX")
    assert person.look() == [(USER, False, "offer")], "it was in Junk; the ledger knows it said so already"


def test_our_own_tag_does_not_teach_itself(person: Person) -> None:
    person.look()
    person.get("tagged", 6.0)  # the server's rule files it
    person.get("by hand", 6.0)
    person.move("by hand", "Spam", "INBOX")
    assert person.look() == []
    person.move("by hand", "INBOX", "Spam")  # or by a mail program's rule
    assert person.look() == []
    person.move("tagged", "Spam", "INBOX")
    assert person.look() == [(USER, False, "tagged")]
    person.move("tagged", "INBOX", "Spam")
    assert person.look() == [(USER, True, "tagged")], "a changed mind"


def test_a_persons_rule_does_not_teach(person: Person) -> None:
    person.look()
    person.get("newsletter")
    assert person.look() == []
    assert person.look() == []


def test_what_was_there_at_first_teaches_only_when_it_leaves(person: Person) -> None:
    person.get("old spam", 6.0)
    person.get("old mail")
    person.move("old mail", "INBOX", "Spam")
    person.ahead = 10.0
    assert person.look() == []
    person.move("old spam", "Spam", "INBOX")
    assert person.look() == [(USER, False, "old spam")]


def test_a_restart_misses_nothing_and_repeats_nothing(person: Person) -> None:
    person.look()
    person.get("before the restart")
    person.look()
    person.move("before the restart", "INBOX", "Spam")
    person.restart()
    assert person.look() == [(USER, True, "before the restart")]
    person.restart()
    assert person.look() == []


def test_other_uids_teach_nothing(person: Person) -> None:
    """A folder that was made anew: what is in it was not moved there by anybody that we know of."""
    person.watched = Watched(person.watched.server, (USER,), "Werbung für", ("INBOX",), "team", 60.0, 1 << 20)
    person.restart()
    folder = f'"{imap.encode_folder("Werbung für")}"'
    with person.mail.reader(USER) as reader:
        reader.create(folder)
        person.look()
        for subject in ("first", "second"):
            person.get(subject)
        person.look()
        person.move("first", "INBOX", folder)
        assert person.look() == [("team", True, "first")]
        reader.delete(folder)
        time.sleep(1.1)  # UIDVALIDITY counts seconds
        reader.create(folder)
        person.move("second", "INBOX", folder)
        assert person.look() == []
        reader.delete(folder)


def test_a_huge_folder_is_looked_at_in_part(person: Person) -> None:
    place, nobody = person.mail.folder / "mail" / USER / ".Spam" / "cur", pwd.getpwnam("nobody")
    for number in range(MAX_KEPT + 500):
        file = place / f"1700000000.{number:06}.host:2,S"
        file.write_text(f"X-Darban-Id: OLD{number:06}\r\nSubject: old\r\n\r\n")
        os.chown(file, nobody.pw_uid, nobody.pw_gid)
    assert person.look() == []
    memory = load(next(person.folder.iterdir()))
    assert len(memory.junk) == MAX_KEPT
    assert memory.junk[-1] == f"OLD{MAX_KEPT + 499:06}"
    assert person.look() == []


def test_a_server_that_is_away_is_left_alone_for_longer_and_longer(mail: peers.Dovecot, tmp_path: Path) -> None:
    server = imap.Server("127.0.0.1", peers.free_port(), "none", "x")
    person = Person(mail, tmp_path, server=server, every_s=10.0)
    with pytest.raises(MailboxError, match="refused"):
        person.look()
    asked = []
    person.watch.look = lambda user: asked.append(person.ahead) or (_ for _ in ()).throw(MailboxError("away"))
    for second in range(100):
        person.ahead = float(second)
        person.watch.look_at_all()
    assert [round(at) for at in asked] == [0, 10, 30, 70]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, ""),
        ({"master": peers.MASTER, "password": peers.MASTER_PASSWORD}, ""),
        ({"tls": "starttls", "host": "localhost", "ca": "ca"}, ""),
        ({"tls": "starttls", "host": "localhost"}, "certificate is not trusted"),
        ({"tls": "starttls", "ca": "ca"}, "certificate is not trusted"),  # of another name
        ({"tls": "tls"}, "SSL"),
        ({"password": "wrong"}, "AUTHENTICATIONFAILED"),
    ],
)
def test_signing_in(mail: peers.Dovecot, changes: dict, fault: str) -> None:
    values = {"host": "127.0.0.1", "port": mail.imap_port, "tls": "none", "password": peers.PASSWORD} | changes
    values |= {"ca": str(mail.ca)} if "ca" in changes else {}
    if fault:
        with pytest.raises(MailboxError, match=fault), imap.session(imap.Server(**values), USER):
            pass
    else:
        with imap.session(imap.Server(**values), USER) as session:
            assert session.junk_folder() == "Spam"
            assert session.examine("INBOX").uid_validity > 0
            with pytest.raises(MailboxError, match="doesn't exist"):
                session.examine("Nowhere")


def test_looking_changes_nothing(person: Person) -> None:
    person.look()
    person.get("unread")
    person.look()
    person.move("unread", "INBOX", "Spam")
    assert len(person.look()) == 1
    with person.mail.reader(USER) as reader:
        reader.select("Spam", readonly=True)
        _, said = reader.fetch("1", "(FLAGS)")
    assert imaplib.ParseFlags(said[0]) in ((), (b"\\Recent",))


# --- the whole gateway --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def door(mail: peers.Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Gateway]:
    """A gateway in front of the mailboxes, which watches them once a second."""
    folder = tmp_path_factory.mktemp("gateway")
    password = folder / "imap-password"
    password.write_text(peers.MASTER_PASSWORD + "\n")
    password.chmod(0o600)
    watched = f"""[[learning.imap]]
server = "localhost:{mail.imap_port}"
tls = "starttls"
ca = "{mail.ca}"
users = ["{USER}"]
master = "{peers.MASTER}"
password_file = "imap-password"
every_s = 1
"""
    with peers.gateway(folder, f"lmtp+unix:{mail.socket}", extra=watched) as running:
        yield running


def lessons(door: peers.Gateway) -> list[dict]:
    return [json.loads(line) for line in door.cli("learn", "list", "--json").stdout.splitlines()]


def test_a_move_becomes_a_lesson(door: peers.Gateway, person: Person) -> None:
    content = message_bytes("Shall we meet on Monday to talk about the plan?\r\n", Subject="The plan")
    assert peers.send(door.smtp_port, content)[0] == 250
    queue_id = re.findall(r'"queue_id": "(\w+)"', door.log())[-1]
    time.sleep(4)
    person.move("The plan", "INBOX", "Spam")
    eventually(lambda: len(lessons(door)) == 1, 20)
    (lesson,) = lessons(door)
    assert (lesson["trainer"], lesson["label"], lesson["via"]) == (USER, "spam", "imap")
    assert lesson["content_hash"] == hashlib.sha256(content).hexdigest(), "as it was judged, our fields taken off"
    time.sleep(4)
    person.move("The plan", "Spam", "INBOX")
    eventually(lambda: [one["label"] for one in lessons(door)] == ["ham", "spam"], 20)

    # somebody knows the queue id, and brings a message of his own past the gateway
    forged = annotate(
        envelope(queue_id=queue_id),
        message_bytes(Subject="Forged", Message_ID="<x@x.test>"),
        verdict(1.0),
        [recipient()],
        5.0,
    )
    with smtplib.LMTP(str(person.mail.socket)) as client:
        client.sendmail("x@x.test", [USER], forged)
    time.sleep(4)
    person.move("Forged", "INBOX", "Spam")
    eventually(lambda: "moved message is not ours" in door.log(), 20)
    assert len(lessons(door)) == 2
    with urllib.request.urlopen(f"http://127.0.0.1:{door.metrics_port}/metrics") as answer:
        assert b"darban_mailbox_foreign_total 1.0" in answer.read()


def test_a_password_that_others_may_read_is_refused(door: peers.Gateway) -> None:
    password = door.folder / "imap-password"
    password.chmod(0o644)
    said = door.cli("config", "check")
    password.chmod(0o600)
    assert said.returncode == 2
    assert "[[learning.imap]] password_file" in said.stderr
    assert "chmod 600" in said.stderr


# --- Dovecot tells us ---------------------------------------------------------------------------------------------------


@pytest.fixture
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[peers.Dovecot, Path]]:
    """A Dovecot with deploy/dovecot/imapsieve.conf, and where its darban-learn writes what it was given."""
    place, deploy = Path(tempfile.mkdtemp(prefix="darban-sieve-")), peers.ROOT / "deploy" / "dovecot"
    for folder in (place, place / "bin", place / "said"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    for script in deploy.glob("*.sieve"):
        shutil.copy(script, place)
    program = place / "bin" / "darban-learn"
    program.write_text(f'#!/bin/sh\ncat > "{place}/said/$1 $2"\n')
    program.chmod(0o755)
    text = (deploy / "imapsieve.conf").read_text()
    text = (
        text.replace("/etc/dovecot/sieve", str(place)).replace("/usr/local/bin", f"{place}/bin").replace("Junk", "Spam")
    )
    with peers.dovecot(extra=text) as running:
        yield running, place / "said"
    shutil.rmtree(place)


def test_dovecot_pipes_what_is_moved(told: tuple[peers.Dovecot, Path], tmp_path: Path) -> None:
    mail, said = told
    person = Person(mail, tmp_path)
    ours = annotate(envelope(), message_bytes(Subject="mine"), verdict(1.0), [recipient()], 5.0)
    tagged = annotate(envelope(), message_bytes(Subject="flagged"), verdict(6.0), [recipient()], 5.0)
    with smtplib.LMTP(str(mail.socket)) as client:
        for content in (ours, tagged):
            client.sendmail("sara@example.org", [USER], content)
    person.move("flagged", "INBOX", "Spam")  # as a mail program's rule would
    person.move("mine", "INBOX", "Spam")
    piped = (said / f"spam {USER}", said / f"ham {USER}")
    eventually(lambda: piped[0].exists() and piped[0].read_bytes().endswith(b"Hello\r\n"), 10)
    found = read_delivered(piped[0].read_bytes(), "mx.darban.test")
    assert found is not None
    assert found.content == message_bytes(Subject="mine")
    person.move("flagged", "Spam", "INBOX")
    eventually(lambda: piped[1].exists() and b"Subject: flagged" in piped[1].read_bytes(), 10)
    assert len(list(said.iterdir())) == 2
