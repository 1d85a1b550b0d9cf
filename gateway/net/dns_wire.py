"""The DNS on the wire: a question -> its packet, a packet -> its reply (RFC 1035 §4, 6891). No sockets.

`read_reply` is total: any bytes give a Reply, or None for what does not answer this question (wrong id, question or
form); what does and cannot be read is SERVFAIL. Only records that belong to the name asked are taken, aliases
followed (RFC 1034 §3.6.2). Questions are sent with EDNS (1232 bytes, the size that is never fragmented) and the AD
bit, which asks to be told whether the answer was validated (RFC 6840 §5.7).

Cost: 3 µs to write, about 8 µs to read an answer of one record, 2 ms the worst one. Limits: 256 records and 16 KB a
packet, 4096 labels in all its names, 16 aliases a name: who sends more owns the zone and means harm.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from socket import AF_INET6, inet_ntoa, inet_ntop
from typing import NamedTuple

from gateway.types import DnsAnswer, DnsStatus

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "TLSA": 52}
UDP_MAX_BYTES = 1232  # DNS flag day 2020: an IPv6 packet of 1280 bytes less its header fields
MAX_RECORDS = 256  # an honest answer has a few, the largest domains 60 TXT records; TCP holds 4,000
MAX_BYTES = 16_384
_MAX_LABELS = 4096
_MAX_ALIASES = 16
_MAX_NAME = 255  # RFC 1035 §2.3.4
_SOA, _NS, _CNAME, _IN = 6, 2, 5, 1
_HEADER = struct.Struct(">HHHHHH")
_RECORD = struct.Struct(">HHIH")
_OPT = b"\0\0\x29" + struct.pack(">H", UDP_MAX_BYTES) + b"\0\0\0\0\0\0"
_RECURSE, _AUTHENTIC, _TRUNCATED, _IS_REPLY = 0x0100, 0x0020, 0x0200, 0x8000
_AUTHORITATIVE, _RECURSES = 0x0400, 0x0080
_OPCODE = 0x7800
_FORMERR, _SERVFAIL, _NXDOMAIN, _NOTIMP, _REFUSED = 1, 2, 3, 4, 5
# What stands in a name as it is; canonical names have nothing else
NAME_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_*/+=~!#$%&'^`{|}?<>[],:@")
_ESCAPED = {
    byte: chr(byte) if byte in NAME_BYTES else f"\\{chr(byte)}" if 0x20 < byte < 0x7F else f"\\{byte:03d}"
    for byte in range(256)
}


class Reply(NamedTuple):
    """What one nameserver said."""

    answer: DnsAnswer
    is_truncated: bool = False  # ask again over TCP
    is_lame: bool = False  # it knows nothing of the name and does not look either: ask another
    is_unsure_of_edns: bool = False  # FORMERR or NOTIMP: ask again without EDNS (RFC 6891 §7)
    is_alias: bool = False  # the status is that of the alias's target, not of the name asked


def write_query(number: int, name: str, rdtype: str, *, has_edns: bool = True) -> bytes:
    """The packet of a question.

    Args:
        number: 0..65535, the id.
        name: canonical (dns.canonical_name), "" for the root.
        rdtype: one of TYPES.
    """
    flags = _RECURSE | _AUTHENTIC
    head = _HEADER.pack(number, flags, 1, 0, 0, 1 if has_edns else 0)
    return head + _question(name, rdtype) + (_OPT if has_edns else b"")


def read_reply(packet: bytes, number: int, name: str, rdtype: str) -> Reply | None:
    """What the packet says to this question; None when it is none of ours. Never raises."""
    try:
        return _read(packet, number, name, rdtype)
    except (struct.error, IndexError, ValueError):
        return None


def _question(name: str, rdtype: str) -> bytes:
    labels = [label.encode("ascii") for label in name.split(".")] if name else []
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0" + struct.pack(">HH", TYPES[rdtype], _IN)


def _read(packet: bytes, number: int, name: str, rdtype: str) -> Reply | None:
    got, flags, questions, answers, authorities, _ = _HEADER.unpack_from(packet)
    if got != number or not flags & _IS_REPLY or flags & _OPCODE:
        return None
    code = flags & 0xF
    if code in (_FORMERR, _NOTIMP):
        return Reply(DnsAnswer("servfail"), is_unsure_of_edns=True)
    question = _question(name, rdtype)
    end = _HEADER.size + len(question)
    if questions != 1 or packet[_HEADER.size : end].lower() != question.lower():
        return None
    if flags & _TRUNCATED:
        return Reply(DnsAnswer("servfail"), is_truncated=True)
    if code not in (0, _NXDOMAIN) or answers + authorities > MAX_RECORDS or len(packet) > MAX_BYTES:
        return Reply(DnsAnswer("refused" if code == _REFUSED else "servfail"))
    try:
        return _body(_Reader(packet, end), flags, answers, authorities, name, rdtype)
    except (struct.error, IndexError, ValueError):
        return Reply(DnsAnswer("servfail"))


def _body(reader: _Reader, flags: int, answers: int, authorities: int, name: str, rdtype: str) -> Reply:
    """What stands behind the question. Raises for what cannot be read."""
    records, ttl_s, is_alias = _follow(reader, answers, name, TYPES[rdtype])
    is_authentic = bool(flags & _AUTHENTIC)
    if records:
        return Reply(DnsAnswer("noerror", tuple(records), ttl_s, is_authentic), is_alias=is_alias)
    minimum_s, is_referral = _authority(reader, authorities)
    status: DnsStatus = "nxdomain" if flags & 0xF == _NXDOMAIN else "nodata"
    # RFC 2308 §2.2: a referral looks like "no data", from a server that does not recurse for us
    is_lame = is_referral and status == "nodata" and not flags & (_AUTHORITATIVE | _RECURSES)
    if minimum_s is not None and is_alias:
        minimum_s = min(minimum_s, ttl_s)
    return Reply(DnsAnswer(status, (), minimum_s or 0, is_authentic), is_lame=is_lame, is_alias=is_alias)


def _follow(reader: _Reader, count: int, name: str, wanted: int) -> tuple[list[str | bytes], int, bool]:
    """The wanted records at the end of the name's aliases, the least TTL on the way, whether there are aliases."""
    found: dict[str, list[tuple[str | bytes, int]]] = {}
    aliases: dict[str, tuple[str, int]] = {}
    for owner, kind, ttl_s, start, size in reader.records(count):
        if kind == wanted:
            found.setdefault(owner, []).append((reader.data(kind, start, size), ttl_s))
        elif kind == _CNAME:
            aliases[owner] = (reader.name(start)[0], ttl_s)
    target = f"{name}."
    least_s = 0x7FFFFFFF
    for hop in range(_MAX_ALIASES):
        if target in found:
            records = found[target]
            return [data for data, _ in records], min(least_s, *(ttl for _, ttl in records)), hop > 0
        if target not in aliases:
            return [], least_s, hop > 0
        target, ttl_s = aliases[target]
        least_s = min(least_s, ttl_s)
    return [], least_s, True


def _authority(reader: _Reader, count: int) -> tuple[int | None, bool]:
    """How long "no" holds (RFC 2308 §5: the lesser of the SOA's TTL and minimum); whether servers below are named."""
    minimum_s, is_referral = None, False
    for _, kind, ttl_s, start, size in reader.records(count):
        if kind == _SOA:
            minimum_s = min(ttl_s, reader.u32(start + size - 4))
        is_referral = is_referral or kind == _NS
    return minimum_s, is_referral and minimum_s is None


class _Reader:
    """A place in a packet."""

    def __init__(self, packet: bytes, place: int) -> None:
        self._packet = packet
        self._place = place
        self._labels = 0  # read so far: pointers make one long name out of two bytes

    def records(self, count: int) -> Iterator[tuple[str, int, int, int, int]]:
        """(owner, type, TTL, where its data starts, how long they are) of each of class IN."""
        for _ in range(count):
            owner, place = self.name(self._place)
            kind, klass, ttl_s, size = _RECORD.unpack_from(self._packet, place)
            start = place + _RECORD.size
            self._place = start + size
            if self._place > len(self._packet):
                raise ValueError("a record beyond the packet's end")
            if klass == _IN:
                yield owner, kind, ttl_s if ttl_s <= 0x7FFFFFFF else 0, start, size  # RFC 2181 §8

    def data(self, kind: int, start: int, size: int) -> str | bytes:
        """As DnsAnswer.records has them."""
        packet = self._packet
        if kind == TYPES["A"]:
            return inet_ntoa(packet[start : start + size]) if size == 4 else _bad("A")
        if kind == TYPES["AAAA"]:
            return inet_ntop(AF_INET6, packet[start : start + size]) if size == 16 else _bad("AAAA")
        if kind == TYPES["TXT"]:
            return self._strings(start, start + size)
        if kind == TYPES["MX"]:
            return f"{int.from_bytes(packet[start : start + 2], 'big')} {self.name(start + 2)[0]}"
        if kind == TYPES["TLSA"]:
            return packet[start : start + size]
        return self.name(start)[0]

    def u32(self, place: int) -> int:
        """Four bytes as a number."""
        return int.from_bytes(self._packet[place : place + 4], "big")

    def _strings(self, place: int, end: int) -> bytes:
        """Character strings, joined."""
        pieces = []
        while place < end:
            size = self._packet[place]
            pieces.append(self._packet[place + 1 : min(place + 1 + size, end)])
            place += 1 + size
        return b"".join(pieces)

    def name(self, place: int) -> tuple[str, int]:
        """The name there, lower case with its final dot, and where it ends (RFC 1035 §4.1.4)."""
        labels: list[str] = []
        packet, end, length, limit = self._packet, 0, 0, place
        while size := packet[place]:
            if size < 0x40:
                label = packet[place + 1 : place + 1 + size].lower()
                length += size + 1
                self._labels += 1
                if len(label) < size or length > _MAX_NAME or self._labels > _MAX_LABELS:
                    raise ValueError("a name too long, or too many")
                labels.append(label.decode("ascii") if NAME_BYTES.issuperset(label) else _escape(label))
                place += size + 1
            elif size >= 0xC0:
                end = end or place + 2
                self._labels += 1
                if self._labels > _MAX_LABELS:
                    raise ValueError("too many pointers")
                place = (size & 0x3F) << 8 | packet[place + 1]
                if place >= limit:  # only backwards, so that it ends
                    raise ValueError("a pointer that does not lead back")
                limit = place
            else:
                raise ValueError("an unknown kind of label")
        return ".".join(labels) + ".", end or place + 1


def _escape(label: bytes) -> str:
    """RFC 1035 §5.1."""
    return "".join(_ESCAPED[byte] for byte in label)


def _bad(what: str) -> str:
    raise ValueError(f"{what} of a wrong length")
