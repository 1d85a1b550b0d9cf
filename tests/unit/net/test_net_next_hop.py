"""Handing over by SMTP and LMTP: what the next hop says is what each recipient gets, and every fault is a 451."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.net import smtp_client
from gateway.net.dialogue import Answer
from gateway.net.maildir import MaildirNextHop
from gateway.net.next_hop import NextHops, make_next_hop
from gateway.net.route import Route
from gateway.net.smtp_client import as_reply
from gateway.ports import NextHop
from tests.builders import envelope, recipient
from tests.smtp_sink import EXTENSIONS, Script, Sink, sink

YOU, REZA = recipient("you@darban.test"), recipient("reza@darban.test")
CONTENT = b"Subject: a\r\n\r\n.dot\r\nb\r\n"


@contextlib.asynccontextmanager
async def hop(scheme: str, **changes: object) -> AsyncIterator[tuple[NextHop, Sink]]:
    async with sink(is_lmtp=scheme == "lmtp", **changes) as behind:
        one = make_next_hop(f"{scheme}://127.0.0.1:{behind.port}", "mx.darban.test")
        try:
            yield one, behind
        finally:
            await one.close()


def codes(replies: object) -> list[str]:
    assert isinstance(replies, dict)
    return [f"{replies[one.address].code} {replies[one.address].enhanced}" for one in (YOU, REZA)]


# --- the handing over -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["smtp", "lmtp"])
async def test_content_and_envelope_arrive_as_they_are(scheme: str) -> None:
    async with hop(scheme) as (one, behind):
        replies = await one.deliver(
            envelope("you@darban.test", "reza@darban.test", is_8bitmime=True), CONTENT, [YOU, REZA]
        )
    assert codes(replies) == ["250 2.0.0", "250 2.0.0"]
    assert behind.contents == [b"Subject: a\r\n\r\n..dot\r\nb\r\n"]
    greeting = "EHLO" if scheme == "smtp" else "LHLO"
    assert behind.commands[:5] == [
        f"{greeting} mx.darban.test",
        f"MAIL FROM:<sara@example.org> SIZE={len(CONTENT)} BODY=8BITMIME",
        "RCPT TO:<you@darban.test>",
        "RCPT TO:<reza@darban.test>",
        "DATA",
    ]


@pytest.mark.parametrize("scheme", ["smtp", "lmtp"])
@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (b"", b"\r\n"),
        (b"a", b"a\r\n"),
        (b".\r\n", b"..\r\n"),
        (b"a\r\n.\r\nMAIL FROM:<>\r\n", b"a\r\n..\r\nMAIL FROM:<>\r\n"),
        (b"a\n.\nb\r.\rc", b"a\r\n..\r\nb\r\n..\r\nc\r\n"),
        (b"\xff\x00\xfe\r\n", b"\xff\x00\xfe\r\n"),
        (b"x" * 200_000 + b"\r\n", b"x" * 200_000 + b"\r\n"),
    ],
    ids=["empty", "no line end", "dot first", "look-alike end", "bare line ends", "any octets", "long line"],
)
async def test_no_content_ends_early_or_smuggles(scheme: str, content: bytes, sent: bytes) -> None:
    async with hop(scheme) as (one, behind):
        replies = await one.deliver(envelope(), content, [YOU])
    assert replies["you@darban.test"].code == 250
    assert behind.contents == [sent]


@pytest.mark.parametrize("scheme", ["smtp", "lmtp"])
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ({"RCPT you@darban.test": "550 5.1.1 no such user"}, ["550 5.1.1", "250 2.0.0"]),
        ({"RCPT you@darban.test": "452 4.2.2 over quota"}, ["452 4.2.2", "250 2.0.0"]),
        ({"RCPT": "550 no enhanced code"}, ["550 5.0.0", "550 5.0.0"]),
        ({"MAIL": "550 5.7.1 not from you"}, ["550 5.7.1", "550 5.7.1"]),
        ({"MAIL": "451 4.3.0 later"}, ["451 4.3.0", "451 4.3.0"]),
        ({"DATA": "451 4.3.0 later"}, ["451 4.3.0", "451 4.3.0"]),
        ({"DATA": "554 5.5.1 no"}, ["554 5.5.1", "554 5.5.1"]),
        ({"greeting": "421 4.3.2 closing"}, ["451 ", "451 "]),
        ({"greeting": "554 5.7.1 go away"}, ["451 ", "451 "]),
        ({"greeting": "close"}, ["451 ", "451 "]),
        ({"greeting": "garbage"}, ["451 ", "451 "]),
        ({"EHLO": "close"}, ["451 ", "451 "]),
        ({"MAIL": "close"}, ["451 ", "451 "]),
        ({"MAIL": "421 4.3.2 closing"}, ["4", "4"]),
        ({"RCPT": "close"}, ["451 ", "451 "]),
        ({"RCPT reza@darban.test": "close"}, ["451 ", "451 "]),
        ({"RCPT": "garbage"}, ["451 ", "451 "]),
        ({"DATA": "close"}, ["451 ", "451 "]),
        ({"DATA": "garbage"}, ["451 ", "451 "]),
        ({"content": "close"}, ["451 ", "451 "]),
        ({"dot": "close"}, ["451 ", "451 "]),
        ({"dot": "garbage"}, ["451 ", "451 "]),
        ({"RCPT": "550 5.1.1 no", "RSET": "close"}, ["550 5.1.1", "550 5.1.1"]),
        # a dialogue out of step: nobody has said that he has the message
        ({"DATA": "250 2.0.0 ok"}, ["451 4.4.2", "451 4.4.2"]),
        ({"MAIL": "350 what"}, ["451 ", "451 "]),
        # faults of the dialogue are no judgement on the message: the client keeps it
        ({"MAIL": "530 5.7.0 Must issue a STARTTLS command first"}, ["451 4.3.5", "451 4.3.5"]),
        ({"MAIL": "503 5.5.1 bad sequence"}, ["451 4.3.5", "451 4.3.5"]),
        ({"RCPT": "500 5.5.2 what"}, ["451 4.3.5", "451 4.3.5"]),
        ({"DATA": "502 5.5.1 not here"}, ["451 4.3.5", "451 4.3.5"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("extensions", [EXTENSIONS, EXTENSIONS[1:]], ids=["pipelining", "one by one"])
async def test_every_step_may_fail(
    extensions: tuple[str, ...], scheme: str, script: Script, expected: list[str]
) -> None:
    async with hop(scheme, script=dict(script), extensions=extensions) as (one, behind):
        replies = await one.deliver(envelope("you@darban.test", "reza@darban.test"), CONTENT, [YOU, REZA])
    assert len(replies) == 2
    for code, start in zip(codes(replies), expected, strict=True):
        assert code.startswith(start), replies
    assert len(behind.contents) <= 1  # what may have been taken is never sent again


@pytest.mark.parametrize(
    ("said", "expected"),
    [("451 4.3.0 later", "451 4.3.0"), ("552 5.3.4 too big", "552 5.3.4"), ("550 5.7.1 spam", "550 5.7.1")],
)
async def test_the_answer_to_the_dot_holds_for_all(said: str, expected: str) -> None:
    async with hop("smtp", script={"dot": said}) as (one, _):
        replies = await one.deliver(envelope("you@darban.test", "reza@darban.test"), CONTENT, [YOU, REZA])
    assert codes(replies) == [expected, expected]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ({"dot": "552 5.2.2 over quota"}, ["552 5.2.2", "250 2.0.0"]),
        ({"dot 2": "451 4.2.0 mailbox is locked"}, ["250 2.0.0", "451 4.2.0"]),
        ({"dot 2": "close"}, ["250 2.0.0", "451 4.4.2"]),
        ({"dot": "close"}, ["451 4.4.2", "451 4.4.2"]),
    ],
)
async def test_lmtp_answers_each_recipient(script: Script, expected: list[str]) -> None:
    async with hop("lmtp", script=dict(script)) as (one, _):
        replies = await one.deliver(envelope("you@darban.test", "reza@darban.test"), CONTENT, [YOU, REZA])
    assert codes(replies) == expected


@pytest.mark.parametrize("scheme", ["smtp", "lmtp"])
async def test_nobody_there(scheme: str) -> None:
    async with sink() as gone:
        port = gone.port
    one = make_next_hop(f"{scheme}://127.0.0.1:{port}", "mx.darban.test")
    for reply in (await one.verify(YOU), (await one.deliver(envelope(), CONTENT, [YOU]))["you@darban.test"]):
        assert (reply.code, reply.enhanced) == (451, "4.4.1")


@pytest.mark.parametrize("scheme", ["smtp", "lmtp"])
@pytest.mark.parametrize("step", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "dot"])
async def test_one_that_says_nothing_any_more(scheme: str, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_CONNECT_S", "_COMMAND_S", "_DATA_S"):
        monkeypatch.setattr(smtp_client, name, 0.3)
    async with hop(scheme, script={step: "hang"}) as (one, behind):
        async with asyncio.timeout(10):
            replies = await one.deliver(envelope(), CONTENT, [YOU])
    assert replies["you@darban.test"].code == 451
    assert len(behind.contents) == (1 if step == "dot" else 0)


@pytest.mark.parametrize("scheme", ["smtp", "lmtp"])
async def test_one_that_reads_no_more(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_client, "_DATA_S", 0.3)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in ("220 stuck", "250 stuck", "250 ok", "250 ok", "354 go"):
            writer.write(f"{reply}\r\n".encode())
            if reply[:3] != "354":
                await reader.readline()
        await asyncio.sleep(3600)

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1024)
    with contextlib.closing(server):  # it does not wait for those it keeps
        one = make_next_hop(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}", "mx.darban.test")
        async with asyncio.timeout(10):
            replies = await one.deliver(envelope(), b"x" * (20 << 20), [YOU])
    assert replies["you@darban.test"].code == 451


# --- kept connections ------------------------------------------------------------------------------------------------


async def test_a_connection_is_used_again() -> None:
    async with hop("smtp") as (one, behind):
        for _ in range(3):
            assert (await one.deliver(envelope(), CONTENT, [YOU]))["you@darban.test"].code == 250
        assert (await one.verify(YOU)).code == 250
    assert behind.connections == 1
    assert len(behind.contents) == 3


@pytest.mark.parametrize("step", ["close", "421 4.3.2 idle too long"])
async def test_a_kept_connection_that_ended_is_replaced(step: str) -> None:
    async with hop("smtp", script={"MAIL": ["250 2.1.0 ok", step, "250 2.1.0 ok"]}) as (one, behind):
        for _ in range(2):
            assert (await one.deliver(envelope(), CONTENT, [YOU]))["you@darban.test"].code == 250
    assert behind.connections == 2
    assert len(behind.contents) == 2


async def test_nothing_is_repeated_once_content_was_sent() -> None:
    async with hop("smtp", script={"dot": ["250 2.0.0 ok", "close"]}) as (one, behind):
        assert (await one.deliver(envelope(), CONTENT, [YOU]))["you@darban.test"].code == 250
        assert (await one.deliver(envelope(), CONTENT, [YOU]))["you@darban.test"].code == 451
    assert len(behind.contents) == 2


async def test_refusals_leave_the_connection_in_use() -> None:
    script: Script = {"RCPT": ["550 5.1.1 no", "250 2.1.5 ok"], "MAIL": ["250 ok", "550 5.7.1 no", "250 ok"]}
    async with hop("smtp", script=script) as (one, behind):
        codes_heard = [(await one.deliver(envelope(), CONTENT, [YOU]))["you@darban.test"].code for _ in range(3)]
    assert codes_heard == [550, 550, 250]
    assert behind.connections == 1
    assert "RSET" in behind.commands


async def test_many_at_once() -> None:
    async with hop("smtp") as (one, behind):
        replies = await asyncio.gather(*(one.deliver(envelope(), b"%d\r\n" % number, [YOU]) for number in range(50)))
    assert all(reply["you@darban.test"].code == 250 for reply in replies)
    assert sorted(behind.contents) == sorted(b"%d\r\n" % number for number in range(50))


# --- extensions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["smtp", "lmtp"])
async def test_only_what_the_next_hop_offers_is_asked_for(scheme: str) -> None:
    async with hop(scheme, extensions=()) as (one, behind):
        replies = await one.deliver(envelope(is_8bitmime=True, is_smtputf8=True), CONTENT, [YOU])
    assert replies["you@darban.test"].code == 250
    assert "MAIL FROM:<sara@example.org>" in behind.commands


@pytest.mark.parametrize("scheme", ["smtp", "lmtp"])
async def test_internationalized_addresses(scheme: str) -> None:
    persian = recipient("شما@darban.test")
    spoken = envelope("شما@darban.test", reverse_path="سارا@example.org", is_smtputf8=True)
    async with hop(scheme) as (one, behind):
        assert (await one.deliver(spoken, CONTENT, [persian]))["شما@darban.test"].code == 250
    assert any(text.startswith("MAIL FROM:<سارا@example.org>") and "SMTPUTF8" in text for text in behind.commands)
    assert "RCPT TO:<شما@darban.test>" in behind.commands
    async with hop(scheme, extensions=("8BITMIME",)) as (one, behind):
        reply = (await one.deliver(spoken, CONTENT, [persian]))["شما@darban.test"]
        assert (reply.code, reply.enhanced) == (550, "5.6.7")
        ascii_sender = envelope("شما@darban.test", "you@darban.test", is_smtputf8=True)
        replies = await one.deliver(ascii_sender, CONTENT, [persian, YOU])
        assert [reply.code for reply in replies.values()] == [550, 250]


@pytest.mark.parametrize("scheme", ["smtp", "lmtp"])
async def test_an_internationalized_recipient_is_asked_for_in_a_transaction_that_allows_him(scheme: str) -> None:
    async with hop(scheme) as (one, behind):
        assert (await one.verify(recipient("شما@darban.test"))).code == 250
        assert (await one.verify(YOU)).code == 250
    assert [text for text in behind.commands if text.startswith("MAIL")] == ["MAIL FROM:<> SMTPUTF8", "MAIL FROM:<>"]


@pytest.mark.parametrize("scheme", ["smtp", "lmtp"])
async def test_an_internationalized_sender_is_not_sent_where_it_is_not_taken(scheme: str) -> None:
    spoken = envelope(reverse_path="سارا@example.org", is_smtputf8=True)
    async with hop(scheme, extensions=()) as (one, behind):
        for _ in range(2):
            assert (await one.deliver(spoken, CONTENT, [YOU]))["you@darban.test"].enhanced == "5.6.7"
        assert (await one.deliver(envelope(), CONTENT, [YOU]))["you@darban.test"].code == 250
        assert (await one.deliver(spoken, CONTENT, [YOU]))["you@darban.test"].enhanced == "5.6.7"
        assert (await one.deliver(envelope(), CONTENT, [YOU]))["you@darban.test"].code == 250
    assert behind.connections == 1  # the one that was kept stays


# --- recipients verified ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["smtp", "lmtp"])
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ({}, 250),
        ({"RCPT": "550 5.1.1 no such user"}, 550),
        ({"RCPT": "550 5.1.1 no such user", "RSET": "close", "QUIT": "close"}, 550),
        ({"RCPT": "452 4.2.2 over quota"}, 452),
        ({"RCPT": "close"}, 451),
        ({"RCPT": "530 5.7.0 authentication required"}, 451),
        ({"greeting": "554 no"}, 451),
        ({"MAIL": "451 4.3.0 later"}, 451),
        # one that dislikes the null reverse-path says nothing about the recipient: the message itself will tell
        ({"MAIL": "550 5.7.1 no null sender"}, 250),
    ],
    ids=str,
)
async def test_verify(scheme: str, script: Script, code: int) -> None:
    async with hop(scheme, script=dict(script)) as (one, behind):
        assert (await one.verify(YOU)).code == code
    assert not behind.contents
    assert "DATA" not in behind.commands


async def test_what_was_said_about_a_recipient_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    async with sink(script={"RCPT reza@darban.test": "550 5.1.1 no", "RCPT late@darban.test": "451 4.3.0 x"}) as behind:
        hops = NextHops("mx.darban.test")
        url = f"smtp://127.0.0.1:{behind.port}"

        def asked() -> int:
            return sum(text.startswith("RCPT") for text in behind.commands)

        heard = await asyncio.gather(*(hops.verify(url, YOU) for _ in range(20)))
        assert {reply.code for reply in heard} == {250}
        assert asked() == 1
        for _ in range(3):
            assert (await hops.verify(url, REZA)).code == 550
            assert (await hops.verify(url, recipient("late@darban.test"))).code == 451
        assert asked() == 3
        now = asyncio.get_running_loop().time() + 301.0
        monkeypatch.setattr("gateway.net.next_hop.time.monotonic", lambda: now)
        await hops.verify(url, YOU)
        assert asked() == 3
        await hops.verify(url, REZA)
        assert asked() == 4
        monkeypatch.undo()
        await hops.close()


async def test_memory_of_recipients_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("gateway.net.next_hop._MAX_REMEMBERED", 10)
    hops = NextHops("mx.darban.test")
    for number in range(50):
        await hops.verify(f"maildir:{tmp_path}", recipient(f"r{number}@darban.test"))
    assert len(hops._known) == 10


# --- URLs, unix sockets, words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("smtp://127.0.0.1:25", Route),
        ("smtp://[::1]:25", Route),
        ("smtp://mail.example.org:2525/", Route),
        ("lmtp://127.0.0.1:24", Route),
        ("lmtp+unix:/run/dovecot/lmtp", Route),
        ("maildir:/var/mail/all", MaildirNextHop),
    ],
)
def test_urls(url: str, kind: type) -> None:
    assert isinstance(make_next_hop(url, "mx"), kind)


@pytest.mark.parametrize(
    "url", ["", "smtp://", "smtp://host", "smtp:host:25", "imap://host:1", "maildir:", "lmtp+unix:"]
)
def test_other_urls_are_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(ConfigError, match="write smtp://host:port"):
        make_next_hop(url, "mx")


async def test_lmtp_by_a_unix_socket(tmp_path: Path) -> None:
    async with sink(path=tmp_path / "lmtp", is_lmtp=True) as behind:
        one = make_next_hop(f"lmtp+unix:{tmp_path / 'lmtp'}", "mx")
        assert (await one.deliver(envelope(), CONTENT, [YOU]))["you@darban.test"].code == 250
        assert behind.contents == [b"Subject: a\r\n\r\n..dot\r\nb\r\n"]
    missing = await make_next_hop(f"lmtp+unix:{tmp_path / 'none'}", "mx").verify(YOU)
    assert (missing.code, missing.enhanced) == (451, "4.4.1")


@pytest.mark.parametrize(
    ("code", "message", "reply"),
    [
        (250, "2.0.0 Ok: queued as 4F1", (250, "2.0.0", "Ok: queued as 4F1")),
        (250, "ok", (250, "2.0.0", "ok")),
        (550, "5.1.1 <a@b>: no\n5.1.1 such user", (550, "5.1.1", "<a@b>: no 5.1.1 such user")),
        (451, "", (451, "4.0.0", "")),
        (550, "1.2.3.4 is listed", (550, "5.0.0", "1.2.3.4 is listed")),
        (503, "5.5.1 nested MAIL", (451, "4.3.5", "next hop: 503 5.5.1 nested MAIL")),
        (538, "encryption required", (451, "4.3.5", "next hop: 538 encryption required")),
        (199, "?", (451, "4.3.5", "next hop: 199 ?")),
    ],
)
def test_words_of_the_next_hop(code: int, message: str, reply: tuple[int, str, str]) -> None:
    said = as_reply(Answer(code, tuple(message.split("\n"))))
    assert (said.code, said.enhanced, said.text) == reply


# --- 8BITMIME and SMTPUTF8 --------------------------------------------------------------------------------------------

EIGHT = "Subject: a\r\n\r\nسلام\r\n".encode()
SEVEN = (
    b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\nSubject: a\r\n\r\n"
    b"=D8=B3=D9=84=D8=A7=D9=85\r\n"
)
UTF8 = "Subject: سلام\r\n\r\nb\r\n".encode()


@pytest.mark.parametrize(
    ("content", "offers", "flags", "code", "arrived", "said"),
    [
        (CONTENT, "", {}, 250, b"Subject: a\r\n\r\n..dot\r\nb\r\n", ""),
        (CONTENT, "", {"is_8bitmime": True}, 250, b"Subject: a\r\n\r\n..dot\r\nb\r\n", ""),
        (EIGHT, "8BITMIME SMTPUTF8", {"is_8bitmime": True}, 250, EIGHT, " BODY=8BITMIME"),
        (EIGHT, "8BITMIME", {}, 250, EIGHT, " BODY=8BITMIME"),  # it is, whatever the client said
        (EIGHT, "", {"is_8bitmime": True}, 250, SEVEN, ""),
        (EIGHT, "", {}, 250, SEVEN, ""),
        (EIGHT, "SMTPUTF8", {"is_smtputf8": True}, 250, SEVEN, " SMTPUTF8"),
        (UTF8, "8BITMIME SMTPUTF8", {"is_smtputf8": True}, 250, UTF8, " BODY=8BITMIME SMTPUTF8"),
        (UTF8, "8BITMIME", {}, 250, UTF8, " BODY=8BITMIME"),  # never said to be SMTPUTF8: as it came
        (
            UTF8,
            "8BITMIME",
            {"is_smtputf8": True},
            250,
            b"Subject: =?utf-8?b?2LPZhNin2YU=?=\r\n\r\nb\r\n",
            " BODY=8BITMIME",
        ),
        (UTF8, "", {"is_smtputf8": True}, 250, b"Subject: =?utf-8?b?2LPZhNin2YU=?=\r\n\r\nb\r\n", ""),
        ("From: سارا@x.test\r\n\r\nb\r\n".encode(), "8BITMIME", {"is_smtputf8": True}, 550, None, ""),
        ("Content-Type: multipart/x\r\n\r\nسلام\r\n".encode(), "", {}, 554, None, ""),
    ],
)
async def test_a_server_that_lacks_8bitmime_or_smtputf8(
    content: bytes, offers: str, flags: dict[str, bool], code: int, arrived: bytes | None, said: str
) -> None:
    async with hop("smtp", extensions=("PIPELINING", *offers.split())) as (one, behind):
        reply = (await one.deliver(envelope(**flags), content, [YOU]))["you@darban.test"]
    assert reply.code == code, reply
    assert behind.contents == ([arrived] if arrived is not None else [])
    assert [line for line in behind.commands if line.startswith("MAIL")] == (
        [f"MAIL FROM:<sara@example.org>{said}"] if arrived is not None else []
    )
