"""The milter protocol, versions 2 to 6, without sockets: bytes of an MTA -> events; answers -> bytes.

No RFC: what Sendmail's libmilter and the MTAs speak. A packet is four bytes of length, one of command, and its data;
text in it ends with NUL. An MTA opens with Negotiate, sends Macros before the event they belong to, and waits for an
answer to each event for which none was negotiated away.

The Decoder holds one packet at most (MAX_PACKET). What makes no sense raises ProtocolError: an MTA that is
misunderstood once is not listened to any more. Which events may follow which is the listener's business.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from enum import IntFlag
from typing import NamedTuple

VERSION = 6
MIN_VERSION = 2
MAX_PACKET = 1 << 20  # bytes; bodies come in 65,535, a whole field in one packet (Postfix: header_size_limit, 102,400)
_LENGTH = struct.Struct(">I")
_MAX_PARAMETERS = 100  # of one MAIL or RCPT
_MAX_MACROS = 200  # of one event


class ProtocolError(ValueError):
    """What was read is no milter protocol."""


class Action(IntFlag):
    """What a filter may do to a message (SMFIF_*)."""

    ADD_HEADER = 0x01
    CHANGE_BODY = 0x02
    ADD_RECIPIENT = 0x04
    DELETE_RECIPIENT = 0x08
    CHANGE_HEADER = 0x10
    QUARANTINE = 0x20


class Step(IntFlag):
    """What is not sent (NO_), not answered (NR_), or sent otherwise (SMFIP_*)."""

    NO_CONNECT = 0x01
    NO_HELO = 0x02
    NO_MAIL = 0x04
    NO_RCPT = 0x08
    NO_BODY = 0x10
    NO_HEADER = 0x20
    NO_END_OF_HEADER = 0x40
    NR_HEADER = 0x80
    NO_UNKNOWN = 0x100
    NO_DATA = 0x200
    SKIP = 0x400
    REJECTED_RCPT = 0x800
    NR_CONNECT = 0x1000
    NR_HELO = 0x2000
    NR_MAIL = 0x4000
    NR_RCPT = 0x8000
    NR_DATA = 0x10000
    NR_UNKNOWN = 0x20000
    NR_END_OF_HEADER = 0x40000
    NR_BODY = 0x80000
    LEADING_SPACE = 0x100000  # a field's value comes, and goes, with the space behind its colon


# --- events -----------------------------------------------------------------------------------------------------------


class Negotiate(NamedTuple):
    """What the MTA speaks and offers."""

    version: int
    actions: Action
    steps: Step


class Macros(NamedTuple):
    """Facts that belong to the event with this command; names without braces."""

    command: str
    values: Mapping[str, str]


class Connect(NamedTuple):
    """A client of the MTA."""

    name: str  # by the MTA's look-up, or its address in brackets
    is_local: bool  # a program of the MTA's own machine, without a network
    ip: str  # without brackets and IPv6: prefix; "" for a local or unknown client
    port: int


class Helo(NamedTuple):
    """HELO or EHLO, which the protocol does not tell apart."""

    name: str


class Mail(NamedTuple):
    """MAIL FROM: the path with its brackets, and parameters."""

    path: str
    parameters: tuple[str, ...]


class Rcpt(NamedTuple):
    """RCPT TO."""

    path: str
    parameters: tuple[str, ...]
    raw: bytes  # the path in the MTA's own bytes: the name of this recipient when it is to be deleted


class Data(NamedTuple):
    """DATA, after the last RCPT."""


class Header(NamedTuple):
    """One field. The value has LF for the line ends inside, and the leading space only where that was negotiated."""

    name: bytes
    value: bytes


class EndOfHeader(NamedTuple):
    """The empty line."""


class Body(NamedTuple):
    """A piece of the body, anywhere cut."""

    chunk: bytes


class EndOfMessage(NamedTuple):
    """The last piece, which may be empty. Its answer decides."""

    chunk: bytes


class Abort(NamedTuple):
    """The message is given up; the connection is not."""


class Quit(NamedTuple):
    """The MTA closes the connection."""


class QuitNewConnection(NamedTuple):
    """Another client of the MTA follows on this connection."""


class Unknown(NamedTuple):
    """A command that the MTA did not understand."""

    command: str


Event = (
    Negotiate | Macros | Connect | Helo | Mail | Rcpt | Data | Header | EndOfHeader | Body | EndOfMessage | Abort | Quit
    | QuitNewConnection | Unknown
)  # fmt: skip


class Decoder:
    """Bytes in, however they are cut; events out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def is_within_packet(self) -> bool:
        """Whether more has to come before there is an event."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that are now whole. Raises ProtocolError, after which nothing more is read."""
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= 4:
                (length,) = _LENGTH.unpack_from(buffer, start)
                if not 0 < length <= MAX_PACKET:
                    raise ProtocolError(f"a packet of {length} bytes")
                if len(buffer) - start - 4 < length:
                    break
                command, end = buffer[start + 4], start + 4 + length
                data = bytes(memoryview(buffer)[start + 5 : end])
                start = end
                yield _event(command, data)
        finally:
            del buffer[:start]


def _event(command: int, data: bytes) -> Event:
    read = _READERS.get(command)
    if read is None:
        raise ProtocolError(f"command {chr(command)!r}")
    return read(data)


def _negotiate(data: bytes) -> Negotiate:
    if len(data) < 12:
        raise ProtocolError("a short negotiation")
    version, actions, steps = struct.unpack_from(">III", data)
    # bits that are not known are not used; what stands behind them (macro lists) was not asked for
    return Negotiate(version, Action(actions & _ALL_ACTIONS), Step(steps & _ALL_STEPS))


def _macros(data: bytes) -> Macros:
    words = _texts(data[1:], 2 * _MAX_MACROS)
    if not data or len(words) % 2:
        raise ProtocolError("macros that are no pairs")
    names = (name[1:-1] if name[:1] == "{" and name[-1:] == "}" else name for name in words[::2])
    return Macros(chr(data[0]), dict(zip(names, words[1::2], strict=True)))


def _connect(data: bytes) -> Connect:
    name, found, rest = data.partition(b"\0")
    family = rest[:1]
    if not found or family not in (b"U", b"L", b"4", b"6"):
        raise ProtocolError("a client of an unknown family")
    if family in (b"U", b"L"):
        return Connect(_text(name), family == b"L", "", 0)
    address, found, _ = rest[3:].partition(b"\0")
    if len(rest) < 4 or not found:
        raise ProtocolError("a client without an address")
    ip = _text(address).strip("[]")
    return Connect(_text(name), False, ip[5:] if ip[:5].lower() == "ipv6:" else ip, int.from_bytes(rest[1:3], "big"))


def _mail(data: bytes) -> Mail:
    path, *parameters = _texts(data, _MAX_PARAMETERS) or ("",)
    return Mail(path, tuple(parameters))


def _rcpt(data: bytes) -> Rcpt:
    path, *parameters = _texts(data, _MAX_PARAMETERS) or ("",)
    return Rcpt(path, tuple(parameters), data.partition(b"\0")[0])


def _header(data: bytes) -> Header:
    name, found, value = data.partition(b"\0")
    value, ended, rest = value.partition(b"\0")
    if not found or not ended or rest:
        raise ProtocolError("a field that is none")
    return Header(name, value)


def _texts(data: bytes, limit: int) -> list[str]:
    """Texts that each end with NUL."""
    if not data:
        return []
    if not data.endswith(b"\0"):
        raise ProtocolError("a text without an end")
    words = data[:-1].split(b"\0", limit)
    if len(words) > limit:
        raise ProtocolError("too many words")
    return [_text(word) for word in words]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _only(data: bytes) -> str:
    return _text(data.partition(b"\0")[0])


_ALL_ACTIONS = sum(Action)
_ALL_STEPS = sum(Step)
_READERS: Mapping[int, Callable[[bytes], Event]] = {
    ord("O"): _negotiate,
    ord("D"): _macros,
    ord("C"): _connect,
    ord("H"): lambda data: Helo(_only(data)),
    ord("M"): _mail,
    ord("R"): _rcpt,
    ord("T"): lambda _: Data(),
    ord("L"): _header,
    ord("N"): lambda _: EndOfHeader(),
    ord("B"): Body,
    ord("E"): EndOfMessage,
    ord("A"): lambda _: Abort(),
    ord("Q"): lambda _: Quit(),
    ord("K"): lambda _: QuitNewConnection(),
    ord("U"): lambda data: Unknown(_only(data)),
}


# --- answers ----------------------------------------------------------------------------------------------------------


def packet(command: bytes, data: bytes = b"") -> bytes:
    """One packet, in either direction."""
    return (len(data) + 1).to_bytes(4, "big") + command + data


CONTINUE = packet(b"c")
ACCEPT = packet(b"a")
DISCARD = packet(b"d")
TEMPFAIL = packet(b"t")
PROGRESS = packet(b"p")


def negotiated(version: int, actions: Action, steps: Step) -> bytes:
    """What this filter does and does not want; each a part of what was offered."""
    return packet(b"O", struct.pack(">III", version, actions, steps))


def reply_code(line: bytes) -> bytes:
    """An SMTP reply of 4xx or 5xx for the client, with or without its line end."""
    # both MTAs take the text for a format
    return packet(b"y", line.rstrip(b"\r\n").replace(b"\0", b"?").replace(b"%", b"%%") + b"\0")


def insert_field(index: int, name: bytes, value: bytes) -> bytes:
    """Put a field in front of the one at this place; 0: on top of all, the MTA's own Received too."""
    return packet(b"i", index.to_bytes(4, "big") + name + b"\0" + value + b"\0")


def delete_field(occurrence: int, name: bytes) -> bytes:
    """Take out a field: the first with this name is 1."""
    return packet(b"m", occurrence.to_bytes(4, "big") + name + b"\0\0")


def delete_recipient(raw: bytes) -> bytes:
    """Take out a recipient, named as Rcpt named it."""
    return packet(b"-", raw + b"\0")


def quarantine(reason: str) -> bytes:
    """Let the MTA hold the message."""
    text = "".join(char if " " <= char <= "~" else "?" for char in reason)[:200]
    return packet(b"q", text.encode("ascii") + b"\0")
