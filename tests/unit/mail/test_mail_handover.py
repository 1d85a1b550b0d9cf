"""What stands above a message, by the servers that wrote it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.handover import NOBODY, Handover, read_handover, without_handover
from tests.builders import message_bytes

CAME = message_bytes()
POSTFIX = (
    b"Return-Path: <sara@example.org>\r\nX-Original-To: you@darban.test\r\nDelivered-To: you@darban.test\r\n"
    b"Received: from mail.example.org (mail.example.org [192.0.2.7])\r\n\tby mx.darban.test (Postfix) with ESMTPS id 4A\r\n"
    b"\tfor <alias@darban.test>; Fri, 27 Nov 2026 08:00:00 +0000 (UTC)\r\n"
)
EXIM = (
    b"From sara@example.org Fri Nov 27 08:00:00 2026\nX-Envelope-From: <sara@example.org>\n"
    b"X-Envelope-To: you@darban.test, reza@darban.test\nReceived: from [192.0.2.7] (helo=mail.example.org)\n"
    b"\tby mx.darban.test with esmtp (Exim 4.96)\n\t(envelope-from <sara@example.org>)\n\tid 1abc-0000-AA\n"
    b"\tfor you@darban.test;\n\tFri, 27 Nov 2026 08:00:00 +0000\n"
)
SENDMAIL = (
    b"Received: from mail.example.org (mail.example.org [IPv6:2001:db8::7])\r\n\tby mx.darban.test (8.17.1/8.17.1) with ESMTP"
    b" id 4A1B2C\r\n\tfor <you@darban.test>; Fri, 27 Nov 2026 08:00:00 GMT\r\n"
)
INSIDE = (
    b"Received: from amavis (localhost [127.0.0.1]) by mx (Postfix) with ESMTP id 1; Fri, 27 Nov 2026 08:00:01 +0000\r\n"
    b"Received: from edge (edge.lan [10.0.0.3]) by store (Postfix) with ESMTP id 2; Fri, 27 Nov 2026 08:00:01 +0000\r\n"
)
LOCAL = b"Received: by mx.darban.test (Postfix, from userid 1000) id 3; Fri, 27 Nov 2026 08:00:00 +0000\r\n"
FORGED = b"Received: from bank.example (bank.example [198.51.100.9]) by mail.example.org; Fri, 27 Nov 2026 08:00:00 +0000\r\n"
YOU, SARA = ("you@darban.test",), "sara@example.org"


@pytest.mark.parametrize(
    ("above", "wanted"),
    [
        (POSTFIX, Handover(CAME, "192.0.2.7", "mail.example.org", SARA, YOU)),
        (EXIM, Handover(CAME, "192.0.2.7", "mail.example.org", SARA, (*YOU, "reza@darban.test"))),
        (SENDMAIL, Handover(CAME, "2001:db8::7", "mail.example.org", "", YOU)),
        (INSIDE + POSTFIX, Handover(CAME, "192.0.2.7", "mail.example.org", SARA, YOU)),
        (POSTFIX + FORGED, Handover(FORGED + CAME, "192.0.2.7", "mail.example.org", SARA, YOU)),
        (b"Return-Path: <>\r\n" + SENDMAIL, Handover(CAME, "2001:db8::7", "mail.example.org", "", YOU)),
        (b"X-Spam-Flag: NO\r\n" + POSTFIX, Handover(CAME, "192.0.2.7", "mail.example.org", SARA, YOU)),
        (b"", Handover(CAME)),
        (INSIDE, Handover(INSIDE + CAME)),
        (b"Return-Path: <sara@example.org>\r\n" + LOCAL, Handover(b"Return-Path: <sara@example.org>\r\n" + LOCAL + CAME, NOBODY, "", SARA)),
    ],
)  # fmt: skip
def test_what_servers_write(above: bytes, wanted: Handover) -> None:
    assert read_handover(above + CAME) == wanted


def test_what_came_in_says_nothing_of_the_envelope() -> None:
    forged = SENDMAIL + b"Return-Path: <ceo@darban.test>\r\nX-Envelope-To: all@darban.test\r\n" + CAME
    assert read_handover(forged)[3:] == ("", YOU)


@pytest.mark.parametrize(
    ("content", "client_ip", "wanted"),
    [
        (POSTFIX + CAME, "192.0.2.7", CAME),
        (POSTFIX + CAME, "192.0.2.8", POSTFIX + CAME),
        (INSIDE + CAME, "127.0.0.1", INSIDE.split(b"\r\n", 1)[1] + CAME),
        (LOCAL + CAME, "127.0.0.1", LOCAL + CAME),
        (POSTFIX + FORGED + CAME, "198.51.100.9", POSTFIX + FORGED + CAME),  # not the topmost
        (CAME, "192.0.2.7", CAME),
    ],
)
def test_a_servers_own_field_is_taken_off(content: bytes, client_ip: str, wanted: bytes) -> None:
    assert without_handover(content, client_ip) == wanted


@given(st.binary(max_size=400), st.sampled_from([b"", POSTFIX, EXIM, SENDMAIL, INSIDE, LOCAL]), st.binary(max_size=200))
def test_any_bytes_give_a_handover_and_the_end_of_the_content(start: bytes, middle: bytes, end: bytes) -> None:
    content = start + middle + end
    assert content.endswith(read_handover(content).content)
    assert content.endswith(without_handover(content, "192.0.2.7"))
