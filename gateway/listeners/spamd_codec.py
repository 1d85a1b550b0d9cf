"""The spamd protocol, without sockets: bytes -> one Request and its content, what was found -> bytes.

By SpamAssassin's spamd/PROTOCOL, versions 1.0 to 1.5, and what Debian's spamc and Exim really send; and by the words
RSPAMC of Rspamd before its HTTP, which Exim speaks still (`variant=rspamd`): the same form, envelope in fields. One
request a connection; it ends with Content-length bytes, or where the client stops sending. Unknown fields are kept and
mean nothing. Bounded: 64 KiB of head, 255 fields, and a message of the size given to the Reader, also when inflated;
its content is handed on as it comes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gateway.listeners.inflate import Inflater, make_inflater

# sysexits.h, and spamc's own word for a time-out
EX_OK, EX_DATAERR, EX_UNAVAILABLE, EX_TEMPFAIL, EX_PROTOCOL, EX_TIMEOUT = 0, 65, 69, 75, 76, 79
COMMANDS = frozenset("CHECK SYMBOLS REPORT REPORT_IFSPAM PROCESS HEADERS TELL PING SKIP".split())
_BODILESS = ("PING", "SKIP")
_MAX_LINE = 8192  # what spamc has room for
_MAX_HEAD = 1 << 16
_MAX_FIELDS = 255
_FIRST_LINE = re.compile(rb"\s*([A-Za-z_]{2,16})\s+(R?SPAMC)/([0-9]{1,3})\.([0-9]{1,3})\s*")
_HEAD_END = re.compile(rb"\n\r?\n")
_UNSAFE = re.compile(r"[^ -~]+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


class ProtocolError(Exception):
    """A request that cannot be answered; `code` as in sysexits.h, `text` for the client."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks."""

    command: str  # one of COMMANDS
    is_rspamc: bool = False
    version: tuple[int, int] = (1, 5)
    fields: tuple[tuple[str, str], ...] = ()  # names lower-case, in order
    content: bytes = b""  # the message

    def field(self, name: str) -> str:
        """The last value of this name, "" for none."""
        return dict(self.fields).get(name, "")


class _Head(NamedTuple):
    request: Request
    length: int | None
    inflater: Inflater | None


class Reader:
    """Bytes as they come in -> one Request, and its content in pieces, which are not kept."""

    def __init__(self, max_content: int) -> None:
        self.is_whole = False
        self._max_content = max_content
        self._buffer = bytearray()  # of the head
        self._head: _Head | None = None
        self._searched = 0  # so far no end of the head was found
        self._seen = 0  # bytes of content as they were sent

    @property
    def size_bytes(self) -> int:
        """What is kept of what came in."""
        return len(self._buffer)

    @property
    def request(self) -> Request:
        """What is asked, without its content, once that begins."""
        assert self._head is not None
        return self._head.request

    @property
    def announced(self) -> int:
        """Bytes of content that the client says it sends; 0 when it does not say."""
        return (self._head.length or 0) if self._head is not None else 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The content in it, inflated; what stands behind it is read over. To be taken to the end.

        Raises ProtocolError; then nothing more may be fed.
        """
        if self.is_whole:
            return
        head = self._head
        if head is None:
            self._buffer += data
            head = self._read_head()
            if head is None:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        length = head.length
        if length is not None:
            data = data[: length - self._seen]
        self._seen += len(data)
        over = self._seen - self._max_content
        yield from self._inflated(data[:-over] if over > 0 else data)
        if over > 0:
            raise self._too_large()
        if self._seen == length:
            self._end()

    def finish(self) -> None:
        """The client stops sending. Raises ProtocolError when the request is not whole."""
        if self._head is None:
            command = _read_first_line(bytes(self._buffer[: _MAX_LINE + 1]).partition(b"\n")[0])
            if command.command not in _BODILESS or len(self._buffer) >= _MAX_LINE:
                raise ProtocolError(EX_PROTOCOL, "Bad header line: (EOF during headers)")
            self._head = _Head(command, None, None)
        length = self._head.length
        if length is not None and not self.is_whole:
            raise ProtocolError(
                EX_PROTOCOL,
                f"Bad header line: (Content-Length mismatch: Expected {length} bytes, got {self._seen} bytes)",
            )
        self._end()

    def _read_head(self) -> _Head | None:
        """Take it off the buffer; None where it goes on, or nothing follows it."""
        first, newline, _ = self._buffer[: _MAX_LINE + 1].partition(b"\n")
        if not newline:
            if len(first) > _MAX_LINE:
                raise ProtocolError(EX_PROTOCOL, "Bad header line: (line too long)")
            return None
        request = _read_first_line(bytes(first))
        # before 1.5 nothing follows a PING
        if request.command in _BODILESS and request.version < (1, 5):
            self._head, self.is_whole = _Head(request, None, None), True
            return None
        end = _HEAD_END.search(self._buffer, max(0, self._searched - 2), _MAX_HEAD)
        self._searched = len(self._buffer)
        if end is None:
            if len(self._buffer) > _MAX_HEAD:
                raise ProtocolError(EX_PROTOCOL, "Bad header line: (too many headers)")
            return None
        head = bytes(self._buffer[: end.start()])
        del self._buffer[: end.end()]
        self._head = _read_fields(request, head.split(b"\n")[1:], self._max_content)
        self.is_whole = request.command in _BODILESS
        if self.is_whole:
            return None
        if self.announced > self._max_content:
            raise self._too_large()
        return self._head

    def _inflated(self, data: bytes) -> Iterator[bytes]:
        assert self._head is not None
        if self._head.inflater is None:
            if data:
                yield data
            return
        try:
            for piece in self._head.inflater.feed(data):
                if self._head.inflater.size > self._max_content:
                    raise self._too_large()
                yield piece
        except ValueError:
            raise ProtocolError(EX_DATAERR, "Service Unavailable: zlib: not a zlib stream") from None

    def _end(self) -> None:
        self.is_whole = True
        inflater = self._head.inflater if self._head is not None else None
        if inflater is not None and not inflater.is_whole:
            raise ProtocolError(EX_DATAERR, "Service Unavailable: zlib: failed to find end of zlib stream")

    def _too_large(self) -> ProtocolError:
        return ProtocolError(EX_DATAERR, f"Message larger than {self._max_content} bytes")


def _read_first_line(line: bytes) -> Request:
    match = _FIRST_LINE.fullmatch(line.rstrip(b"\r"))
    if match is None:
        raise ProtocolError(EX_PROTOCOL, "Bad header line: (no command of this protocol)")
    command = match[1].decode("ascii").upper()
    if command not in COMMANDS:
        raise ProtocolError(EX_PROTOCOL, f"Bad header line: (unknown command {command})")
    return Request(command, match[2] == b"RSPAMC", (int(match[3]), int(match[4])))


def _read_fields(request: Request, lines: list[bytes], limit: int) -> _Head:
    if len(lines) > _MAX_FIELDS:
        raise ProtocolError(EX_PROTOCOL, "Bad header line: (too many headers)")
    fields = []
    for line in lines:
        name, colon, value = line.rstrip(b"\r").partition(b":")
        if not colon:
            raise ProtocolError(EX_PROTOCOL, "Bad header line: (header not in 'Name: value' format)")
        fields.append((name.decode("utf-8", "replace").strip().lower(), value.decode("utf-8", "replace").strip()))
    one = Request(request.command, request.is_rspamc, request.version, tuple(fields))
    length, compress = one.field("content-length"), one.field("compress")
    if length and not (length.isascii() and length.isdecimal() and len(length) < 19):
        raise ProtocolError(EX_PROTOCOL, "Bad header line: (Content-Length contains non-numeric bytes)")
    if compress and "zlib" not in compress.lower():
        raise ProtocolError(EX_PROTOCOL, "Bad header line: (compression type not supported)")
    return _Head(one, int(length) if length else None, make_inflater("zlib", limit) if compress else None)


# --- answers ----------------------------------------------------------------------------------------------------------


def pack_request(request: Request) -> bytes:
    """The request as a client writes it, not compressed."""
    said = [(name, value) for name, value in request.fields if name not in ("content-length", "compress")]
    lines = [f"{name}: {_CONTROLS.sub(' ', value)}" for name, value in said]
    word, (major, minor) = "RSPAMC" if request.is_rspamc else "SPAMC", request.version
    head = [f"{request.command} {word}/{major}.{minor}", *lines, f"Content-length: {len(request.content)}", "", ""]
    return "\r\n".join(head).encode("utf-8", "replace") + request.content


def pong(request: Request) -> bytes:
    """The answer to PING."""
    return b"RSPAMD/1.3 0 EX_OK\r\n\r\n" if request.is_rspamc else b"SPAMD/1.5 0 PONG\r\n"


def failure(code: int, text: str, *, is_rspamc: bool = False) -> bytes:
    """The answer to what cannot be done."""
    word = "RSPAMD/1.3" if is_rspamc else "SPAMD/1.0"
    return f"{word} {code} {_UNSAFE.sub('?', text)[:400]}\r\n".encode("ascii")


def told(done: Mapping[str, str]) -> bytes:
    """The answer to TELL: DidSet and DidRemove, as far as they happened."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in done.items())
    return f"SPAMD/1.1 0 EX_OK\r\n{fields}\r\n\r\n".encode("ascii")


def answer(request: Request, score: float, required: float, body: bytes) -> bytes:
    """The answer to what asks for a verdict; `body` is what the command gives besides it (b"" for CHECK)."""
    spam = f"Spam: {score >= required} ; {shown_score(score, required)} / {shown_number(required)}\r\n"
    length = f"Content-length: {len(body)}\r\n"
    first, multi, single = "SPAMD/1.1 0 EX_OK\r\n", request.version >= (1, 3), request.version >= (1, 2)
    if request.command == "CHECK":
        head = f"{first}{spam}\r\n"
    elif multi:
        head = f"{first}{length}{spam}\r\n"
    elif request.command not in ("PROCESS", "HEADERS"):
        head = f"{first}{spam}\r\n"
    else:
        head = f"{first}{length}\r\n" if single else "SPAMD/1.0 0 EX_OK\r\n"
    return head.encode("ascii") + body


def shown_score(score: float, required: float) -> str:
    """The score with one decimal, or with as many as it takes not to look as if it were on the threshold's other side:
    clients compare what they read.
    """
    limit = float(shown_number(required))
    shorter = (f"{score:.{digits}f}" for digits in (1, 2, 3, 6))
    return next((text for text in shorter if (float(text) >= limit) == (score >= required)), repr(score))


def shown_number(number: float) -> str:
    """With one decimal where that is the whole of it."""
    text = f"{number:.1f}"
    return text if float(text) == number else repr(number)
