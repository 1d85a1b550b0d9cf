"""IMAP (RFC 9051) as far as looking at folders takes it: how far one goes, its newest messages' headers, one message.

On the standard library's imaplib: four commands need no more, and it waits for nobody else's release. Blocking; a
session is for one look at one mailbox and is closed behind it, so there is nothing to reconnect. Read-only: folders are
examined and messages peeked at, no flag changes. Whatever a server says or fails to say becomes a MailboxError.
"""

from __future__ import annotations

import base64
import contextlib
import imaplib
import re
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway.errors import MailboxError
from gateway.mail.header import read_header

_HEADERS = 200  # asked for at once
_ASKED = "(UID INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (X-DARBAN-ID X-SPAM-FLAG)])"
_NUMBER = {name: re.compile(rf"\b{name} (\d+)".encode(), re.IGNORECASE) for name in
           ("UID", "RFC822.SIZE")}  # fmt: skip
_LISTED = re.compile(rb'\(([^)]*)\) (?:"(?:[^"\\]|\\.)*"|NIL) (.+)', re.IGNORECASE)
_ENCODED = re.compile("[^\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class Server:
    """Where mailboxes are, and who may look into them."""

    host: str
    port: int
    tls: Literal["tls", "starttls", "none"]
    password: str
    master: str = ""  # a user who may act for others; "" when each mailbox has this password
    ca: str = ""  # PEM file; the system's when empty
    timeout_s: float = 20.0  # of one answer


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a folder goes."""

    messages: int
    uid_next: int
    uid_validity: int


@dataclass(frozen=True, slots=True)
class Header:
    """What is asked of a message at first."""

    uid: int
    at: float  # INTERNALDATE
    size_bytes: int
    fields: dict[str, str]  # lower-case name -> the first such field's text


class Session:
    """A mailbox that is open. Made by `session`."""

    def __init__(self, connection: imaplib.IMAP4) -> None:
        self._connection = connection

    def junk_folder(self) -> str:
        """The folder marked as \\Junk (RFC 6154), as it is written on the wire; "" when there is none."""
        for line in self._do(self._connection.list, '""', '"*"'):
            listed = _LISTED.match(line) if isinstance(line, bytes) else None
            if listed and b"\\junk" in listed[1].lower().split():
                name = listed[2].decode("ascii", "replace").strip()
                return re.sub(r"\\(.)", r"\1", name[1:-1]) if name.startswith('"') else name
        return ""

    def examine(self, folder: str) -> Extent:
        """Open the folder for reading. Raises MailboxError for one that is not there."""
        said = self._do(self._connection.select, _quoted(folder), True)
        with _faults():
            told = {name: self._connection.response(name)[1][0] for name in ("UIDNEXT", "UIDVALIDITY")}
            return Extent(int(said[0]), int(told["UIDNEXT"]), int(told["UIDVALIDITY"]))

    def newest(self, messages: int, number: int) -> Iterator[Header]:
        """Headers of the last `number` of the first so many messages of the examined folder, oldest first."""
        first = max(1, messages - number + 1)
        for start in range(first, messages + 1, _HEADERS):
            span = f"{start}:{min(messages, start + _HEADERS - 1)}"
            for told, literal in _fetched(self._do(self._connection.fetch, span, _ASKED)):
                yield _header(told, literal)

    def content(self, uid: int) -> bytes | None:
        """The message; None when it is not there any more."""
        said = self._do(self._connection.uid, "FETCH", str(uid), "(UID BODY.PEEK[])")
        found = [literal for told, literal in _fetched(said) if _number("UID", told) == uid]
        return found[0] if found else None

    @staticmethod
    def _do(command: Any, *arguments: object) -> Sequence[Any]:
        """The answer's data. Raises MailboxError."""
        with _faults():
            kind, said = command(*arguments)
            if kind != "OK":
                raise MailboxError(_words(said))
            return [one for one in said if one is not None]


@contextlib.contextmanager
def session(server: Server, user: str) -> Iterator[Session]:
    """The user's mailbox, closed behind it. Raises MailboxError."""
    with _faults():
        connection = _connect(server)
    try:
        with _faults():
            _sign_in(connection, server, user)
        yield Session(connection)
    finally:
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            connection.logout()


def encode_folder(name: str) -> str:
    """A folder's name in modified UTF-7 (RFC 3501 §5.1.3)."""

    def shifted(match: re.Match[str]) -> str:
        return "&" + base64.b64encode(match[0].encode("utf-16-be"), b"+,").decode("ascii").rstrip("=") + "-"

    return _ENCODED.sub(shifted, name.replace("&", "&-"))


def _connect(server: Server) -> imaplib.IMAP4:
    if server.tls == "tls":
        return imaplib.IMAP4_SSL(server.host, server.port, ssl_context=_context(server), timeout=server.timeout_s)
    connection = imaplib.IMAP4(server.host, server.port, timeout=server.timeout_s)
    if server.tls == "starttls":
        try:
            connection.starttls(_context(server))
        except BaseException:
            with contextlib.suppress(OSError):
                connection.shutdown()
            raise
    return connection


def _context(server: Server) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=server.ca or None)


def _sign_in(connection: imaplib.IMAP4, server: Server, user: str) -> None:
    """SASL PLAIN (RFC 4616), in which a master names whose mailbox it wants; LOGIN for servers without it."""
    if "AUTH=PLAIN" in connection.capabilities or server.master:
        said = f"{user if server.master else ''}\0{server.master or user}\0{server.password}".encode()
        connection.authenticate("PLAIN", lambda _: said)
    else:
        connection.login(user, server.password)


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except imaplib.IMAP4.error as error:
        raise MailboxError(_words(error.args)) from None
    except ssl.SSLCertVerificationError as error:
        raise MailboxError(f"its certificate is not trusted: {error.verify_message}; set ca") from None
    except (OSError, EOFError) as error:
        raise MailboxError(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None
    except (ValueError, IndexError, TypeError) as error:
        raise MailboxError(f"it does not speak IMAP as we know it: {type(error).__name__}") from None


def _fetched(said: Sequence[Any]) -> Iterator[tuple[bytes, bytes]]:
    """(what stands around the literal, the literal) of each FETCH response. imaplib gives pairs, and what follows."""
    for place, one in enumerate(said):
        if isinstance(one, tuple):
            after = said[place + 1] if place + 1 < len(said) and isinstance(said[place + 1], bytes) else b""
            yield one[0] + b" " + after, one[1]


def _header(told: bytes, literal: bytes) -> Header:
    fields: dict[str, str] = {}
    for one in read_header(literal)[1]:
        fields.setdefault(one.name.lower(), one.text)
    return Header(_number("UID", told), _internal_date(told), _number("RFC822.SIZE", told), fields)


def _internal_date(told: bytes) -> float:
    """Epoch seconds. Raises MailboxError."""
    local = imaplib.Internaldate2tuple(told)
    if local is None:
        raise MailboxError("it names no INTERNALDATE")
    return time.mktime(local)


def _number(name: str, told: bytes) -> int:
    found = _NUMBER[name].search(told)
    if found is None:
        raise MailboxError(f"it names no {name}")
    return int(found[1])


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _words(said: Sequence[object]) -> str:
    text = said[0] if said else "no reason given"
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return " ".join(words.split())[:200]
