"""Rspamd's words: request fields, and the objects its clients read."""

from __future__ import annotations

import json

import pytest

from gateway.errors import InputError
from gateway.listeners import rspamd
from gateway.scanning import Scanned
from gateway.types import Disposition, DomainPolicy, Recipient
from tests.builders import envelope, message_bytes, verdict

POLICY = DomainPolicy("darban.test", "smtp://a:25")


def scanned(score: float = 6.0, action: str = "tag", **changes: object) -> Scanned:
    wanted = Disposition(Recipient("you@darban.test", "darban.test"), action, "a reason", 5.0)
    return Scanned(envelope(), verdict(score, **changes), wanted, POLICY)


@pytest.mark.parametrize(
    ("fields", "client_ip", "reverse_path", "recipients"),
    [
        ([], "127.0.0.1", "", []),
        ([("ip", "192.0.2.7"), ("from", "<sara@example.org>")], "192.0.2.7", "sara@example.org", []),
        ([("ip", "::ffff:192.0.2.7"), ("from", "<>")], "192.0.2.7", "", []),
        ([("ip", "[2001:db8::7]")], "2001:db8::7", "", []),
        ([("rcpt", "<a@X.example>"), ("rcpt", "b@x.example")], "127.0.0.1", "", ["a@x.example", "b@x.example"]),
        ([("rcpt", "a@x.example, b@x.example,a@x.example")], "127.0.0.1", "", ["a@x.example", "b@x.example"]),
        ([("rcpt", "nobody"), ("rcpt", "a@دربان.ir")], "127.0.0.1", "", ["a@xn--mgbbui1i.ir"]),
        ([("deliver-to", "a@x.example")], "127.0.0.1", "", ["a@x.example"]),
        ([("rcpt", "a@x.example"), ("deliver-to", "b@x.example")], "127.0.0.1", "", ["a@x.example"]),
    ],
)
def test_envelopes(fields: rspamd.Fields, client_ip: str, reverse_path: str, recipients: list[str]) -> None:
    found = rspamd.read_envelope(fields, "mx.darban.test")
    assert (found.client.ip, found.reverse_path) == (client_ip, reverse_path)
    assert [one.address for one in found.recipients] == recipients


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(InputError, match="'here' is not an IP address"):
        rspamd.read_envelope([("ip", "here")], "mx.darban.test")


def test_tls_and_helo() -> None:
    fields = [("helo", "mail.example.org"), ("tls-version", "TLSv1.3"), ("tls-cipher", "TLS_AES_256_GCM_SHA384")]
    client = rspamd.read_envelope(fields, "mx").client
    assert (client.helo, client.tls, client.protocol) == (
        "mail.example.org",
        "TLSv1.3 TLS_AES_256_GCM_SHA384",
        "ESMTPS",
    )


@pytest.mark.parametrize(
    ("fields", "is_logged"), [([], True), ([("flags", "groups,no_log")], False), ([("log", "no")], False)]
)
def test_who_wants_no_log(fields: rspamd.Fields, is_logged: bool) -> None:
    assert rspamd.is_logged(fields) is is_logged


@pytest.mark.parametrize(
    ("action", "said"),
    [("accept", "no action"), ("tag", "add header"), ("quarantine", "add header"), ("reject", "reject")],
)
def test_actions(action: str, said: str) -> None:
    found = rspamd.check(scanned(action=action), message_bytes())
    assert (found["action"], found["darban"]["action"]) == (said, action)
    assert ("smtp_message" in found["messages"]) == (action == "reject")


def test_the_object_of_checkv2() -> None:
    found = rspamd.check(scanned(), message_bytes())
    assert (found["score"], found["required_score"], found["is_skipped"]) == (6.0, 5.0, False)
    assert found["thresholds"] == {"add header": 5.0, "quarantine": 8.0, "reject": 15.0}
    assert found["symbols"]["TEST_HIT"]["options"] == ["evidence"]
    assert found["symbols"]["TEST_HIT"]["name"] == "TEST_HIT"
    assert found["message-id"] == "id@example.org"
    assert found["milter"]["add_headers"]["X-Spam-Flag"] == {"value": "YES", "order": 1}
    assert found["milter"]["add_headers"]["Authentication-Results"]["value"].startswith("mx.darban.test")
    json.dumps(found)


def test_fields_are_folded_as_the_message_is() -> None:
    for newline in ("\r\n", "\n"):
        content = message_bytes().replace(b"\r\n", newline.encode())
        value = rspamd.check(scanned(), content)["milter"]["add_headers"]["X-Spam-Status"]["value"]
        assert f"{newline} " in value
        assert ("\r" in value) == (newline == "\r\n")


@pytest.mark.parametrize(
    ("fields", "removed"),
    [
        (b"", {}),
        (b"X-Spam-Flag: NO\r\nx-spam-flag: NO\r\n", {"X-Spam-Flag": 0}),
        (b"Authentication-Results: mx.darban.test; spf=pass\r\n", {"Authentication-Results": 0}),
        (
            b"Authentication-Results: else.example; spf=pass\r\nAuthentication-Results: mx.darban.test; spf=pass\r\n",
            {"Authentication-Results": 2},
        ),
        (
            b"Authentication-Results: mx.darban.test; spf=pass\r\nAuthentication-Results: else.example; spf=pass\r\n"
            b"Authentication-Results: mx.darban.test; dkim=pass\r\n",
            {"Authentication-Results": [1, 3]},
        ),
    ],
)
def test_what_pretends_to_be_ours_is_removed(fields: bytes, removed: dict) -> None:
    assert rspamd.check(scanned(), fields + message_bytes())["milter"]["remove_headers"] == removed


def test_the_older_object() -> None:
    found = rspamd.check_legacy(scanned(), message_bytes())
    assert found["default"]["is_spam"] is True
    assert found["default"]["action"] == "add header"
    assert found["default"]["TEST_HIT"]["score"] == 6.0
    assert "symbols" not in found and "score" not in found


def test_rspamc_is_what_exim_looks_for() -> None:
    told = rspamd.rspamc(scanned()).decode().split("\r\n")
    assert told[:4] == [
        "RSPAMD/1.3 0 EX_OK",
        "Metric: default; True; 6.0 / 5.0 / 15.0",
        "Action: add header",
        "Symbol: TEST_HIT(6.00)",
    ]


def test_no_verdict_says_come_again() -> None:
    found = rspamd.no_verdict("why")
    assert (found["action"], found["error"], found["symbols"]) == ("soft reject", "why", {})
