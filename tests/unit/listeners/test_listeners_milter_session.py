"""An MTA's connection without sockets: what is negotiated, answered, judged, and what the MTA is told to do."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.settings import Milter, Smtp
from gateway.listeners.budget import Budget, make_budget
from gateway.listeners.milter_codec import Action, Decoder, ProtocolError, Step
from gateway.listeners.milter_session import Judge, Leave, Session, read_ip, read_path
from gateway.types import Client, Delivery, Envelope, Filtered, Mta, Outcome, Recipient, Reply
from tests import milter_mta as mta
from tests.builders import message_bytes, verdict
from tests.milter_mta import END_OF_HEADER, answers, header, mail, negotiate, rcpt

HELD = Reply(250, "2.0.0", "held")
ON_TOP = (b"X-Spam-Flag: NO\r\n", b"Authentication-Results: mx.darban.test;\r\n spf=pass\r\n")


@dataclass
class Desk:
    """Ours is darban.test; `deferred` says who is over a limit."""

    deferred: dict[str, Reply] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def is_ours(self, domain: str) -> bool:
        return domain in ("darban.test", "strict.test", "")

    def admit(self, client: Client, reverse_path: str) -> Reply | None:
        self.asked.append(f"admit {client.ip} {reverse_path}")
        return self.deferred.get("admit")

    def count_recipient(self, client: Client) -> Reply | None:
        self.asked.append(f"recipient {client.ip}")
        return self.deferred.get("recipient")


class Judged(NamedTuple):
    """A Judge with its content read."""

    envelope: Envelope
    content: bytes | None
    mta: Mta


class Talk:
    """A session and what came of the packets."""

    def __init__(
        self, desk: Desk | None = None, max_size: int = 1 << 20, budget: Budget | None = None, **settings: Any
    ) -> None:
        self.budget = budget or make_budget(Smtp())
        self.session = Session(Milter(**settings), max_size, "mx.darban.test", desk or Desk(), self.budget)
        self.decoder = Decoder()
        self.judged: list[Judged] = []

    def say(self, *packets: bytes) -> list[tuple[str, bytes]]:
        said = b""
        for event in self.decoder.feed(b"".join(packets)):
            answer = self.session.take(event)
            if isinstance(answer, bytes):
                said += answer
            else:
                self.judged.append(Judged(answer.envelope, asyncio.run(answer.content.whole()), answer.mta))
                answer.content.close()
        return answers(said)

    def begin(self, *packets: bytes) -> Talk:
        self.say(negotiate(), mta.macros("C", j="mail.darban.test"), mta.connect(), mta.helo(), *packets)
        return self

    def message(self, content: bytes | None = None, *recipients: str) -> Judged:
        """A whole one, to be judged."""
        packets = [
            mta.macros("M", i="4XyZ"),
            mail(),
            *(rcpt(one) for one in recipients or ("<you@darban.test>",)),
            mta.DATA,
        ]
        self.say(*packets, *mta.content(content or message_bytes()))
        return self.judged[-1]


def filtered(*deliveries: tuple[str, str], reply: Reply = HELD, hold: str = "") -> Filtered:
    made = tuple(Delivery(Recipient(one, one.rpartition("@")[2]), action, HELD, "") for one, action in deliveries)
    return Filtered(Outcome("ID", reply, made, verdict(1.0)), 5.0, hold)


# --- negotiation ------------------------------------------------------------------------------------------------------

POSTFIX = (6, 0x1FF, 0x1FFFFF)
SENDMAIL_8_13 = (2, 0x3F, 0x7F)


@pytest.mark.parametrize(
    ("offered", "quarantine", "version", "actions", "steps"),
    [
        (POSTFIX, "darban", 6, 0x19, 0x1E7180),
        (POSTFIX, "mta", 6, 0x31, None),
        ((7, 0x1FF, 0x7FFFFFFF), "darban", 6, 0x19, None),
        (SENDMAIL_8_13, "darban", 2, 0x19, 0),
        ((4, 0x3F, 0x3FF), "darban", 4, 0x19, 0x180),
    ],
)
def test_negotiation_takes_what_is_needed_of_what_is_offered(
    offered: tuple[int, int, int], quarantine: str, version: int, actions: int, steps: int | None
) -> None:
    ((command, data),) = Talk(quarantine=quarantine).say(negotiate(*offered))
    said = struct.unpack(">III", data)
    assert (command, *said[:2]) == ("O", version, actions)
    assert not said[1] & ~offered[1] and not said[2] & ~offered[2]
    assert not said[2] & (Step.NO_CONNECT | Step.NO_HEADER | Step.NO_BODY | Step.NR_RCPT | Step.NR_DATA)
    if steps is not None:
        assert said[2] == steps


@pytest.mark.parametrize(
    ("offered", "quarantine"),
    [
        ((1, 0x3F, 0x7F), "darban"),
        ((6, 0x3F & ~Action.DELETE_RECIPIENT, 0x1FFFFF), "darban"),
        ((6, 0x3F & ~Action.CHANGE_HEADER, 0x1FFFFF), "darban"),
        ((6, 0x3F & ~Action.QUARANTINE, 0x1FFFFF), "mta"),
    ],
)
def test_an_mta_that_cannot_do_what_is_needed_is_left(offered: tuple[int, int, int], quarantine: str) -> None:
    with pytest.raises(Leave):
        Talk(quarantine=quarantine).say(negotiate(*offered))


def test_an_old_mta_hears_an_answer_to_everything() -> None:
    talk = Talk()
    talk.say(negotiate(*SENDMAIL_8_13))
    heard = talk.say(
        mta.macros("C", j="a"), mta.connect(), mta.helo(), mail(), rcpt(),
        *mta.content(message_bytes("x" * 10), has_space=False, chunk=4),
    )  # fmt: skip
    assert [command for command, _ in heard] == ["c"] * (4 + 5 + 1 + 2)
    assert talk.judged[0].content == message_bytes("x" * 10)


def test_a_new_one_only_to_what_can_be_decided() -> None:
    talk = Talk().begin()
    assert talk.say(mail()) == []
    assert talk.say(rcpt(), mta.DATA) == [("c", b"")] * 2
    assert talk.say(*mta.content(message_bytes("x" * 200_000))) == []
    assert len(talk.judged) == 1


# --- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packets",
    [
        [mta.connect()],
        [mta.macros("C", j="a")],
        [mta.QUIT],
        [negotiate(), rcpt()],
        [negotiate(), mta.DATA],
        [negotiate(), header("A", "b")],
        [negotiate(), mta.body(b"a")],
        [negotiate(), mta.end()],
        [negotiate(), mail(), negotiate()],
        [negotiate(), mail(), rcpt(), END_OF_HEADER, header("A", "b")],
        [negotiate(), mail(), rcpt(), header("A", "b"), rcpt()],
        [negotiate(), mail(), rcpt(), END_OF_HEADER, mta.DATA],
        [negotiate(), mail(), rcpt(), mta.ABORT, mta.end()],
        [negotiate(), mail(), rcpt(), mta.helo(), mta.end()],
    ],
)
def test_what_comes_out_of_order_ends_the_connection(packets: Sequence[bytes]) -> None:
    with pytest.raises(ProtocolError):
        Talk().say(*packets)


def test_several_messages_of_several_clients_on_one_connection() -> None:
    talk = Talk().begin()
    talk.message()
    talk.session.answer(filtered(("you@darban.test", "accept")), ON_TOP)
    talk.say(mail("<half@example.org>"), rcpt(), header("A", "b"), mta.ABORT)
    talk.say(mta.macros("M", i="5"), mail("<>"), rcpt("<reza@darban.test>"), *mta.content(message_bytes(Subject="2")))
    talk.session.answer(filtered(("reza@darban.test", "accept")), ON_TOP)
    talk.say(
        mta.NEW_CONNECTION, mta.macros("C", j="other.test"), mta.connect("2001:db8::7", 7), mta.helo("seven.example")
    )
    talk.message(None, "<you@darban.test>")
    found = [
        (one.envelope.reverse_path, one.envelope.client.ip, one.envelope.client.helo, one.mta.queue_id)
        for one in talk.judged
    ]
    assert found == [
        ("sara@example.org", "192.0.2.1", "client.example.org", "4XyZ"),
        ("", "192.0.2.1", "client.example.org", "5"),
        ("sara@example.org", "2001:db8::7", "seven.example", "4XyZ"),
    ]  # fmt: skip
    assert [one.mta.name for one in talk.judged] == ["mail.darban.test", "mail.darban.test", "other.test"]
    talk.session.forget()
    assert talk.budget.held == 0


def test_the_envelope_is_what_the_client_said() -> None:
    talk = Talk().begin(
        mta.macros("H", tls_version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384"), mta.helo("tls.example")
    )
    talk.say(mail("<sara@EXAMPLE.org>", "SIZE=100", "body=8bitmime", "SMTPUTF8"), rcpt(), rcpt("<you@darban.test>"))
    talk.say(mta.macros("E", i="4XyZ"), *mta.content(message_bytes()))
    judged = talk.judged[0]
    assert judged.mta == Mta("mail.darban.test", "4XyZ")
    assert judged.envelope.client == Client(
        "192.0.2.1", 40_000, "tls.example", "ESMTPS", "TLSv1.3 TLS_AES_256_GCM_SHA384"
    )
    assert judged.envelope.reverse_path == "sara@example.org"
    assert judged.envelope.recipients == (Recipient("you@darban.test", "darban.test"),)
    assert (judged.envelope.is_8bitmime, judged.envelope.is_smtputf8) == (True, True)
    assert judged.envelope.hostname == "mx.darban.test"


def test_what_is_known_of_a_client_or_message_ends_with_it() -> None:
    talk = Talk().begin(mta.macros("H", tls_version="TLSv1.3"), mta.helo())
    talk.message()
    talk.session.answer(filtered(("you@darban.test", "accept")), ())
    talk.say(mta.connect("192.0.2.9"), mail(), rcpt(), *mta.content(message_bytes()))
    assert talk.judged[1].envelope.client == Client("192.0.2.9", 40_000)
    assert talk.judged[1].mta.queue_id == ""


# --- whose mail is judged -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "auth", "recipients", "judged", "has_others"),
    [
        ("192.0.2.1", "", "<you@darban.test>", "you@darban.test", False),
        ("192.0.2.1", "", "<you@elsewhere.example>", "you@elsewhere.example", False),  # a domain nobody named to us
        ("192.0.2.1", "", "<you> <Postmaster>", "you postmaster", False),
        ("192.0.2.1", "", "<a b@darban.test>", "a b@darban.test", False),
        ("192.0.2.1", "sara", "<you@darban.test>", "", True),
        ("127.0.0.1", "", "<you@elsewhere.example>", "", True),
        ("::1", "", "<you@elsewhere.example>", "", True),
        ("::ffff:127.0.0.1", "", "<you@elsewhere.example>", "", True),
        ("127.0.0.1", "", "<you@darban.test>", "you@darban.test", False),
        ("127.0.0.1", "", "<you@darban.test> <x@elsewhere.example>", "you@darban.test", True),
        ("local", "", "<x@elsewhere.example>", "", True),
        ("local", "", "<you@darban.test>", "you@darban.test", False),
        ("nonsense", "", "<you@darban.test> <x@elsewhere.example>", "you@darban.test x@elsewhere.example", False),
    ],
)
def test_who_is_judged_for(client: str, auth: str, recipients: str, judged: str, has_others: bool) -> None:
    talk = Talk().begin(mta.local_client() if client == "local" else mta.connect(client))
    talk.say(mta.macros("M", **({"auth_authen": auth} if auth else {})), mail())
    paths = recipients.replace("> <", ">\n<").split("\n")
    assert talk.say(*(rcpt(one) for one in paths)) == [("c", b"")] * len(paths)
    assert talk.say(mta.DATA) == [("c", b"") if judged else ("a", b"")]
    if judged:
        talk.say(*mta.content(message_bytes()))
        (found,) = talk.judged
        assert " ".join(one.address for one in found.envelope.recipients) == judged
        assert found.mta.has_others is has_others
    else:
        assert talk.session.is_idle
        assert talk.say(mail()) == []


def test_an_mta_without_data_hears_it_later() -> None:
    talk = Talk()
    talk.say(negotiate(*SENDMAIL_8_13), mta.connect("127.0.0.1"), mail(), rcpt("<x@elsewhere.example>"))
    assert talk.say(header("A", "b"), END_OF_HEADER) == [("c", b""), ("a", b"")]
    talk = Talk()
    talk.say(negotiate(6, 0x1FF, sum(Step)), mta.connect("127.0.0.1"), mail(), rcpt("<x@elsewhere.example>"))
    assert talk.say(header("A", "b"), END_OF_HEADER, mta.end()) == [("a", b"")]


def test_rates_are_asked_once_for_the_message_and_for_each_recipient() -> None:
    desk = Desk()
    Talk(desk).begin().message(None, "<you@darban.test>", "<reza@darban.test>")
    assert desk.asked == ["admit 192.0.2.1 sara@example.org", "recipient 192.0.2.1", "recipient 192.0.2.1"]
    desk = Desk({"admit": Reply(450, "4.7.1", "too much")})
    talk = Talk(desk).begin(mail())
    assert talk.say(rcpt()) == [("y", b"450 4.7.1 too much\0")]
    desk.deferred = {"recipient": Reply(450, "4.7.1", "too many")}
    assert talk.say(rcpt()) == [("y", b"450 4.7.1 too many\0")]
    desk.deferred = {}
    assert talk.say(rcpt()) == [("c", b"")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<you@darban.test>", ("you@darban.test", "darban.test")),
        ("<You@DARBAN.test>", ("You@darban.test", "darban.test")),
        ("you@darban.test", ("you@darban.test", "darban.test")),
        ("<postmaster>", ("postmaster", "")),
        ("<a b@darban.test>", ("a b@darban.test", "darban.test")),
        ("<a@b@darban.test>", ("a@b@darban.test", "darban.test")),
        ("<a\r\n@darban.test>", ("a@darban.test", "darban.test")),
        ("<you>", ("you", "")),
        ("", ("", "")),
        ("<@>", ("@", "")),
    ],
)
def test_paths_are_read_as_far_as_they_go(text: str, found: tuple[str, str]) -> None:
    assert read_path(text, "TO") == found


@given(st.text(max_size=1200))
def test_any_path_is_an_address(text: str) -> None:
    for keyword in ("TO", "FROM"):
        address, domain = read_path(text, keyword)
        assert address.endswith(domain)
        assert address.isprintable()
    read_ip(text)


# --- content ------------------------------------------------------------------------------------------------------------

_LINES = st.text(st.sampled_from("ab:\t .é\0"), max_size=20).map(lambda one: one.replace("\0", "") or "x")
_FIELDS = st.lists(
    st.tuples(st.sampled_from(["Subject", "X-a", "DKIM-Signature"]), st.lists(_LINES, min_size=1, max_size=3)), min_size=1, max_size=5
)  # fmt: skip


@given(_FIELDS, st.binary(max_size=400), st.integers(1, 100))
def test_the_content_is_the_bytes_the_mta_has(fields: list[tuple[str, list[str]]], rest: bytes, chunk: int) -> None:
    head = "".join(f"{name}:" + "\r\n ".join(lines) + "\r\n" for name, lines in fields).encode()
    content = head + b"\r\n" + rest
    talk = Talk().begin()
    assert talk.message(content).content == content
    talk = Talk().begin(mail(), rcpt(), *mta.content(content, chunk=chunk))
    assert talk.judged[0].content == content


def test_a_message_without_body_or_header() -> None:
    assert Talk().begin(mail(), rcpt(), header("A", " b"), mta.end()).judged[0].content == b"A: b\r\n\r\n"
    assert Talk().begin(mail(), rcpt(), mta.body(b"a\r\n"), mta.end()).judged[0].content == b"\r\na\r\n"
    assert Talk().begin(mail(), rcpt(), mta.end(b"a\r\n")).judged[0].content == b"\r\na\r\n"
    assert Talk().begin(mail(), rcpt(), mta.end()).judged[0].content == b"\r\n"


def test_too_large_is_refused_at_the_end_and_not_kept() -> None:
    talk = Talk(max_size=1000).begin(mail(), rcpt())
    talk.say(header("A", " b"), END_OF_HEADER, mta.body(b"x" * 600), mta.body(b"x" * 600))
    assert talk.budget.held == 0
    assert talk.say(mta.body(b"x" * 600), mta.end()) == [("y", b"552 5.3.4 Message exceeds the size limit\0")]
    assert talk.judged == []
    assert talk.say(mail(), rcpt()) == [("c", b"")]


NO_ROOM = ("y", b"452 4.3.1 No room for this message now, please try again later\0")


@pytest.mark.parametrize(
    ("held", "said", "heard"),
    [
        (0, mail(), "c"),
        (400, mail(), "c"),
        (500, mail(), "y"),
        (0, mail("<sara@example.org>", "SIZE=500"), "c"),
        (0, mail("<sara@example.org>", "SIZE=5000"), "y"),
        (0, mail("<sara@example.org>", "SIZE=many"), "c"),
    ],
)
def test_no_message_is_begun_for_which_there_is_no_room(held: int, said: bytes, heard: str) -> None:
    budget = Budget(1000, 2000, 500, None)
    other = budget.begin()
    other.add(b"x" * held)
    talk = Talk(budget=budget).begin(said)
    assert talk.say(rcpt()) == [NO_ROOM if heard == "y" else ("c", b"")]
    other.close()
    talk.say(mta.ABORT, mail())
    assert talk.say(rcpt()) == [("c", b"")]


async def test_content_goes_to_disk_and_is_all_there(tmp_path: Path) -> None:
    budget, decoder = Budget(4000, 1 << 20, 500, tmp_path), Decoder()
    session = Session(Milter(), 1 << 20, "mx.darban.test", Desk(), budget)
    packets = [negotiate(), mta.connect(), mta.helo(), mail(), rcpt(), mta.DATA]
    judge = None
    for event in decoder.feed(b"".join((*packets, *mta.content(message_bytes("x" * 5000 + "\r\n"), chunk=700)))):
        judge = session.take(event)
        await session.flush()
        assert budget.held <= 500
    assert isinstance(judge, Judge)
    assert budget.spooled > 5000
    assert await judge.content.whole() == message_bytes("x" * 5000 + "\r\n")
    judge.content.close()
    session.forget()
    assert (budget.held, budget.spooled) == (0, 0)


def test_fields_of_ours_beyond_counting_are_refused() -> None:
    talk = Talk().begin(mail(), rcpt(), *(header("X-Spam-A", " b") for _ in range(1001)))
    assert talk.say(mta.end()) == [("y", b"550 5.6.0 Too many fields that only this server may write\0")]


# --- what the MTA is told -----------------------------------------------------------------------------------------------


def test_forged_fields_go_from_the_bottom_and_ours_come_on_top() -> None:
    forged = (
        b"X-Spam-Flag: NO\r\nAuthentication-Results: elsewhere.example; spf=pass\r\n"
        b"authentication-results: mx.darban.test; dmarc=pass\r\nX-SPAM-FLAG: NO\r\nX-Darban-Id: FORGED\r\n"
    )
    talk = Talk().begin()
    assert talk.message(forged + message_bytes()).content == forged + message_bytes()
    assert answers(talk.session.answer(filtered(("you@darban.test", "tag")), ON_TOP)) == [
        ("m", b"\0\0\0\1X-Darban-Id\0\0"),
        ("m", b"\0\0\0\2X-SPAM-FLAG\0\0"),
        ("m", b"\0\0\0\2authentication-results\0\0"),
        ("m", b"\0\0\0\1X-Spam-Flag\0\0"),
        ("i", b"\0\0\0\0Authentication-Results\0 mx.darban.test;\n spf=pass\0"),
        ("i", b"\0\0\0\0X-Spam-Flag\0 NO\0"),
        ("c", b""),
    ]
    assert talk.session.is_idle


def test_an_old_mta_puts_the_space_in_itself() -> None:
    talk = Talk()
    talk.say(negotiate(*SENDMAIL_8_13), mta.connect(), mail(), rcpt(), mta.end())
    assert answers(talk.session.answer(filtered(("you@darban.test", "accept")), ON_TOP))[1] == ("i", b"\0\0\0\0X-Spam-Flag\0NO\0")  # fmt: skip


A, B = "a@darban.test", "b@darban.test"


@pytest.mark.parametrize(
    ("judged", "others", "said"),
    [
        (filtered((A, "accept"), (B, "tag")), False, [("c", b"")]),
        (filtered((A, "quarantine"), (B, "tag")), False, [("-", b"<a@darban.test>\0"), ("c", b"")]),
        (filtered((A, "quarantine"), (B, "quarantine")), False, [("d", b"")]),
        (filtered((A, "quarantine"), (B, "quarantine")), True, [("-", b"<a@darban.test>\0"), ("-", b"<b@darban.test>\0"), ("c", b"")]),
        (filtered((A, "quarantine"), (B, "quarantine"), hold="score 9"), False, [("q", b"score 9\0"), ("c", b"")]),
        (filtered((A, "reject"), (B, "reject"), reply=Reply(550, "5.7.1", "no")), False, [("y", b"550 5.7.1 no\0")]),
        (filtered((A, "quarantine"), reply=Reply(451, "4.3.0", "later")), False, [("y", b"451 4.3.0 later\0")]),
        (Filtered(Outcome("ID", Reply(451, "4.3.0", "later"), (), None)), False, [("y", b"451 4.3.0 later\0")]),
    ],
)  # fmt: skip
def test_what_became_of_it(judged: Filtered, others: bool, said: list[tuple[str, bytes]]) -> None:
    talk = Talk().begin(mta.connect("127.0.0.1"))
    talk.message(None, f"<{A}>", f"<{B}>", *(["<x@elsewhere.example>"] if others else []))
    assert answers(talk.session.answer(judged, ())) == said
    assert talk.say(mail(), rcpt()) == [("c", b"")]


def test_a_recipient_goes_by_every_name_it_had() -> None:
    talk = Talk().begin()
    talk.message(None, "<a@darban.test>", "<a@DARBAN.test>", "<b@darban.test>")
    said = answers(talk.session.answer(filtered((A, "quarantine"), (B, "accept")), ()))
    assert said == [("-", b"<a@darban.test>\0"), ("-", b"<a@DARBAN.test>\0"), ("c", b"")]
