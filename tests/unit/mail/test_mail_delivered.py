"""mail/delivered.py: what annotate puts on top comes off again, and only that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.actions.annotate import annotate, annotate_release, fields_on_top
from gateway.mail.delivered import read_delivered
from gateway.mail.edit import to_crlf
from gateway.types import AuthResult, Mta
from tests.builders import envelope, message_bytes, recipient, verdict

HOST = "mx.darban.test"
AUTH = (
    AuthResult("iprev", "pass", "", identity="192.0.2.1"),
    AuthResult("spf", "pass", "example.org", identity="mailfrom"),
    AuthResult("spf", "fail", "mx.example.net", identity="helo"),
    AuthResult("dkim", "pass", "example.org", "s1", "@example.org"),
    AuthResult("dmarc", "fail", "example.org"),
)
BEHIND = b"Return-Path: <sara@example.org>\r\nReceived: from mx.darban.test by behind.test with LMTP id 1; now\r\n"
FORGED = (
    b"Received: from a (b [192.0.2.1]) by mx.darban.test with ESMTP id FORGED; now\r\nX-Spam-Flag: YES\r\n"
    b"Authentication-Results: mx.darban.test; dmarc=pass\r\n"
)


def relayed(content: bytes, score: float = 1.0) -> bytes:
    return BEHIND + annotate(envelope(), content, verdict(score, auth=AUTH), [recipient()], 5.0)


@pytest.mark.parametrize(("score", "is_flagged"), [(1.0, False), (6.0, True)])
def test_it_is_the_message_that_was_judged(score: float, is_flagged: bool) -> None:
    found = read_delivered(relayed(message_bytes(), score), HOST)
    assert found is not None
    assert (found.queue_id, found.content, found.is_flagged) == ("TESTQUEUEID1", message_bytes(), is_flagged)
    assert found.auth == AUTH


def test_a_release_is_no_longer_flagged() -> None:
    found = read_delivered(annotate_release(envelope(), message_bytes(), AUTH, [recipient()]), HOST)
    assert found is not None
    assert (found.content, found.is_flagged, found.auth) == (message_bytes(), False, AUTH)


def by_mta(
    content: bytes, trace: bytes = b"by mail.darban.test (Postfix) with ESMTP id 4XyZ\r\n\tfor <you@darban.test>"
) -> bytes:
    """What an MTA relays that only asked us: our fields, its own trace field, the message."""
    on_top = fields_on_top(envelope(), content, verdict(6.0, auth=AUTH), 5.0, Mta("mail.darban.test", "4XyZ"))
    return BEHIND + b"".join(on_top) + b"Received: from a (b [192.0.2.1])\r\n\t" + trace + b"; now\r\n" + content


def test_what_an_mta_relayed_is_the_message_that_was_judged() -> None:
    found = read_delivered(by_mta(message_bytes()), HOST)
    assert found is not None
    assert (found.queue_id, found.content, found.is_flagged, found.auth) == (
        "TESTQUEUEID1",
        message_bytes(),
        True,
        AUTH,
    )


@pytest.mark.parametrize(
    "trace", [b"by other.test (Postfix) with ESMTP id 4XyZ", b"by mail.darban.test with ESMTP id 5"]
)
def test_another_servers_trace_is_not_the_mtas(trace: bytes) -> None:
    assert read_delivered(by_mta(message_bytes(), trace), HOST) is None


def test_a_message_below_cannot_name_another_mta() -> None:
    """Inbound copies of the field are taken out; where they were not, what stands first counts."""
    forged = b"X-Darban-Mta: evil.test 1\r\nReceived: from x by evil.test id 1; now\r\n" + message_bytes()
    found = read_delivered(by_mta(forged), HOST)
    assert found is not None
    assert found.content == forged


def test_what_pretended_to_be_ours_stays_out() -> None:
    found = read_delivered(relayed(FORGED + message_bytes()), HOST)
    assert found is not None
    assert found.auth == AUTH
    assert found.content == FORGED.split(b"X-Spam")[0] + message_bytes()


def test_results_below_our_trace_are_not_ours() -> None:
    """Nothing takes them out of a message that another way brought in."""
    content = relayed(message_bytes())
    place = content.index(b"From: Sara")
    found = read_delivered(content[:place] + FORGED[FORGED.index(b"Auth") :] + content[place:], HOST)
    assert found is not None
    assert found.auth == AUTH


@pytest.mark.parametrize(
    "content",
    [
        b"",
        message_bytes(),
        message_bytes(X_Darban_Id="TESTQUEUEID1"),  # no trace below it
        relayed(message_bytes()).replace(b"by mx.darban.test", b"by mx.elsewhere.test"),
        relayed(message_bytes()).replace(b"X-Darban-Id: TESTQUEUEID1", b"X-Darban-Id: OTHERQUEUEID"),
        relayed(message_bytes()).replace(b"X-Darban-Id: TESTQUEUEID1", b"X-Darban-Id:"),
        FORGED.replace(b"FORGED", b"TESTQUEUEID1") + message_bytes(X_Darban_Id="TESTQUEUEID1"),  # no trace below it
    ],
)
def test_what_did_not_come_through_us_is_nothing(content: bytes) -> None:
    assert read_delivered(content, HOST) is None


@given(st.binary(max_size=300))
def test_annotating_and_taking_off_is_nothing(body: bytes) -> None:
    content = to_crlf(message_bytes() + body)
    found = read_delivered(relayed(content), HOST)
    assert found is not None
    assert found.content == content


@given(st.binary(max_size=300), st.integers(0, 900))
def test_any_bytes_give_an_answer(noise: bytes, place: int) -> None:
    content = relayed(message_bytes())
    read_delivered(content[:place] + noise + content[place:], HOST)
