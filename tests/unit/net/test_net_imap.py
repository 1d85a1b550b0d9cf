"""net/imap.py: what needs no server; the rest is in tests/e2e/test_mailboxes.py."""

from __future__ import annotations

import base64
import imaplib
import re
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MailboxError
from gateway.net import imap


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("INBOX", "INBOX"),
        ("R&D", "R&-D"),
        ("台北", "&U,BTFw-"),  # RFC 3501 §5.1.3
        ("~peter/mail/日本語", "~peter/mail/&ZeVnLIqe-"),
        ("هرزنامه", "&BkcGMQYyBkYGJwZFBkc-"),
        ("", ""),
    ],
)
def test_names_of_folders(name: str, wire: str) -> None:
    assert imap.encode_folder(name) == wire


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_names_come_back(name: str) -> None:
    def shifted(match: re.Match[str]) -> str:
        text = match[1] + "=" * (-len(match[1]) % 4)
        return base64.b64decode(text, b"+,").decode("utf-16-be") if match[1] else "&"

    wire = imap.encode_folder(name)
    assert wire.isascii()
    assert re.sub("&([^-]*)-", shifted, wire) == name


SAID = {
    b"CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n",
    b"EXAMINE": b"* 2 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 9] ok\r\n",
    b"FETCH": (
        b'* 1 FETCH (INTERNALDATE "26-Nov-2026 21:00:00 +0330" RFC822.SIZE 50 BODY[HEADER.FIELDS (X-DARBAN-ID)] {20}\r\n'
        b"X-Darban-Id: QQQ\r\n\r\n UID 5)\r\n* 2 FETCH (FLAGS (\\Seen))\r\n"
    ),
    b"LIST": b'* LIST (\\HasNoChildren \\Trash) "/" Trash\r\n* LIST (\\HasNoChildren \\JUNK) "/" "Sp \\"am\\""\r\n',
}


@pytest.fixture
def server():
    """serve(said) -> a Server that answers commands with these lines."""
    doors = []

    def serve(said: dict[bytes, bytes]) -> imap.Server:
        door = socket.create_server(("127.0.0.1", 0))
        doors.append(door)

        def run() -> None:
            try:
                connection, _ = door.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb", buffering=0) as file:
                file.write(said.get(b"", b"* OK hello\r\n"))
                for line in file:
                    tag, _, command = line.strip().partition(b" ")
                    words = command.removeprefix(b"UID ").split(b" ")
                    if words[0] == b"AUTHENTICATE":
                        file.write(b"+ \r\n")
                        file.readline()
                    answer = said.get(words[0], b"")
                    if answer == b"CLOSE":
                        return
                    file.write(answer if answer.startswith(tag) else answer + tag + b" OK done\r\n")

        threading.Thread(target=run, daemon=True).start()
        return imap.Server("127.0.0.1", door.getsockname()[1], "none", "pässword", timeout_s=5)

    yield serve
    for door in doors:
        door.close()


def test_what_servers_write_otherwise_is_understood(server) -> None:
    with imap.session(server(SAID), "sara") as session:
        assert session.junk_folder() == 'Sp "am"'
        assert session.examine("Junk") == imap.Extent(2, 9, 7)
        assert list(session.newest(2, 2)) == [
            imap.Header(5, time.mktime(imaplib.Internaldate2tuple(b'INTERNALDATE "26-Nov-2026 17:30:00 +0000"')), 50,
                        {"x-darban-id": "QQQ"})
        ]  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        {b"": b"\x00\xff\r\n"},
        {b"": b""},
        {b"CAPABILITY": b"CLOSE"},
        {b"EXAMINE": b"* 2 EXISTS\r\n"},
        {b"EXAMINE": b"* x EXISTS\r\n"},
        {b"EXAMINE": b"CLOSE"},
        {b"FETCH": b"* 1 FETCH (UID x {3}\r\nabc)\r\n"},
        {b"FETCH": b"* 1 FETCH (UID 5 {3}\r\nabc)\r\n"},
        {b"FETCH": b'* 1 FETCH (UID 5 RFC822.SIZE 5 INTERNALDATE "99-Foo-2026 21:00:00 +0330" {3}\r\nabc)\r\n'},
        {b"FETCH": b"* 1 FETCH (UID 5 {99999}\r\nabc)\r\n"},
    ],
)
def test_what_is_no_imap_is_one_fault(server, said: dict[bytes, bytes]) -> None:
    with pytest.raises(MailboxError):
        place = server(SAID | said)
        place = imap.Server(place.host, place.port, "none", "x", timeout_s=0.3)
        with imap.session(place, "sara") as session:
            session.examine("Junk")
            list(session.newest(2, 2))
