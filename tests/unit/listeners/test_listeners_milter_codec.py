"""Packets of the milter protocol: read however they are cut, written as MTAs read them, refused when they are none."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.listeners import milter_codec as codec
from gateway.listeners.milter_codec import (
    Abort,
    Action,
    Body,
    Connect,
    Data,
    Decoder,
    EndOfHeader,
    EndOfMessage,
    Event,
    Header,
    Helo,
    Macros,
    Mail,
    Negotiate,
    ProtocolError,
    Quit,
    QuitNewConnection,
    Rcpt,
    Step,
    Unknown,
)
from tests import milter_mta as mta

SESSION = [
    (mta.negotiate(), Negotiate(6, Action(sum(Action)), Step(sum(Step)))),
    (mta.macros("C", j="mail.darban.test", daemon_name="smtpd"), Macros("C", {"j": "mail.darban.test", "daemon_name": "smtpd"})),
    (mta.connect(), Connect("client.example.org", False, "192.0.2.1", 40_000)),
    (mta.helo(), Helo("client.example.org")),
    (mta.mail("<sara@example.org>", "SIZE=10", "BODY=8BITMIME"), Mail("<sara@example.org>", ("SIZE=10", "BODY=8BITMIME"))),
    (mta.rcpt("<you@darban.test>"), Rcpt("<you@darban.test>", (), b"<you@darban.test>")),
    (mta.DATA, Data()),
    (mta.header("Subject", " a\n b"), Header(b"Subject", b" a\n b")),
    (mta.END_OF_HEADER, EndOfHeader()),
    (mta.body(b"a\0\r\n"), Body(b"a\0\r\n")),
    (mta.end(b"b\r\n"), EndOfMessage(b"b\r\n")),
    (mta.ABORT, Abort()),
    (mta.NEW_CONNECTION, QuitNewConnection()),
    (mta.QUIT, Quit()),
]  # fmt: skip
OTHERS = [
    (mta.negotiate(2, 0x1F, 0x7F), Negotiate(2, Action(0x1F), Step(0x7F))),
    (codec.packet(b"O", struct.pack(">III", 6, 1, 1) + mta.words("and macros")), Negotiate(6, Action(1), Step(1))),
    (mta.macros("E"), Macros("E", {})),
    (mta.connect("2001:db8::1"), Connect("client.example.org", False, "2001:db8::1", 40_000)),
    (mta.connect("IPv6:2001:db8::1"), Connect("client.example.org", False, "2001:db8::1", 40_000)),
    (mta.local_client(), Connect("localhost", True, "", 0)),
    (codec.packet(b"C", mta.words("unknown") + b"U"), Connect("unknown", False, "", 0)),
    (mta.mail("<>"), Mail("<>", ())),
    (codec.packet(b"M"), Mail("", ())),
    (mta.rcpt("<سارا@darban.test>"), Rcpt("<سارا@darban.test>", (), "<سارا@darban.test>".encode())),
    (codec.packet(b"R", b"<\xff@darban.test>\0"), Rcpt("<\ufffd@darban.test>", (), b"<\xff@darban.test>")),
    (mta.header("X", ""), Header(b"X", b"")),
    (codec.packet(b"U", mta.words("WIZ")), Unknown("WIZ")),
    (mta.end(), EndOfMessage(b"")),
]  # fmt: skip


def decoded(raw: bytes) -> list[Event]:
    return list(Decoder().feed(raw))


@pytest.mark.parametrize(("raw", "event"), [*SESSION, *OTHERS], ids=lambda one: type(one).__name__)
def test_events(raw: bytes, event: Event) -> None:
    assert decoded(raw) == [event]


@given(st.lists(st.integers(0, sum(len(raw) for raw, _ in SESSION)), max_size=20))
def test_however_the_bytes_are_cut_the_events_are_the_same(cuts: list[int]) -> None:
    raw = b"".join(one for one, _ in SESSION)
    decoder, found = Decoder(), []
    places = [0, *sorted(cuts), len(raw)]
    for start, stop in itertools.pairwise(places):
        found += decoder.feed(raw[start:stop])
    assert found == [event for _, event in SESSION]
    assert not decoder.is_within_packet


def test_a_byte_at_a_time() -> None:
    decoder = Decoder()
    raw = b"".join(one for one, _ in SESSION)
    assert [one for at in range(len(raw)) for one in decoder.feed(raw[at : at + 1])] == [one for _, one in SESSION]


@pytest.mark.parametrize(
    "raw",
    [
        b"\0\0\0\0",
        b"\xff\xff\xff\xffB",
        (codec.MAX_PACKET + 1).to_bytes(4, "big"),
        codec.packet(b"?"),
        codec.packet(b"\0"),
        codec.packet(b"O", b"\0\0\0\6"),
        codec.packet(b"D"),
        codec.packet(b"D", b"C" + mta.words("j")),
        codec.packet(b"D", b"Cj\0mail"),
        codec.packet(b"D", b"C" + mta.words(*"j" * 402)),
        codec.packet(b"C", b"name"),
        codec.packet(b"C", mta.words("name") + b"9\0\1" + mta.words("192.0.2.1")),
        codec.packet(b"C", mta.words("name") + b"4"),
        codec.packet(b"C", mta.words("name") + b"4\0\1192.0.2.1"),
        codec.packet(b"M", b"<a@example.org>"),
        codec.packet(b"M", mta.words("<a@example.org>", *["X=1"] * 100)),
        codec.packet(b"L", b"Subject"),
        codec.packet(b"L", b"Subject\0 a"),
        codec.packet(b"L", b"Subject\0 a\0more"),
    ],
)
def test_what_is_no_milter_protocol_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        decoded(raw)


def test_a_length_that_is_a_lie_is_refused_before_anything_is_kept() -> None:
    decoder = Decoder()
    with pytest.raises(ProtocolError):
        list(decoder.feed(b"\x7f\xff\xff\xff"))
    decoder = Decoder()
    assert list(decoder.feed(codec.MAX_PACKET.to_bytes(4, "big") + b"B" + bytes(100))) == []
    assert decoder.is_within_packet


@given(st.binary(max_size=300))
def test_any_bytes_give_events_or_a_protocol_error(raw: bytes) -> None:
    decoder, whole = Decoder(), []
    try:
        whole += decoder.feed(raw)
    except ProtocolError:
        whole.append(None)
    decoder, cut = Decoder(), []
    try:
        for at in range(len(raw)):
            cut += decoder.feed(raw[at : at + 1])
    except ProtocolError:
        cut.append(None)
    assert whole == cut


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (codec.CONTINUE, ("c", b"")),
        (codec.ACCEPT, ("a", b"")),
        (codec.DISCARD, ("d", b"")),
        (codec.TEMPFAIL, ("t", b"")),
        (codec.PROGRESS, ("p", b"")),
        (codec.negotiated(6, Action.ADD_HEADER, Step.NO_BODY), ("O", struct.pack(">III", 6, 1, 0x10))),
        (codec.reply_code(b"550 5.7.1 100% no\r\n"), ("y", b"550 5.7.1 100%% no\0")),
        (codec.reply_code(b"451 4.3.0 a\0b"), ("y", b"451 4.3.0 a?b\0")),
        (codec.insert_field(0, b"X-A", b" b\n c"), ("i", b"\0\0\0\0X-A\0 b\n c\0")),
        (codec.delete_field(2, b"X-A"), ("m", b"\0\0\0\2X-A\0\0")),
        (codec.delete_recipient(b"<you@darban.test>"), ("-", b"<you@darban.test>\0")),
        (codec.quarantine("score 9\n\0é"), ("q", b"score 9???\0")),
    ],
)
def test_answers(answer: bytes, said: tuple[str, bytes]) -> None:
    assert mta.answers(answer) == [said]
