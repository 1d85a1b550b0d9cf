"""gateway.auth.dkim: messages signed by dkimpy, by hand and by RFC 8463's author; and all that must not pass."""

from __future__ import annotations

import time

import pytest

from gateway.auth import dkim
from gateway.auth.canonical import CanonicalMessage
from gateway.mail import parse
from gateway.types import AuthResult
from tests.builders import message_bytes
from tests.dkim_keys import ed25519_record, rsa_record, sign, sign_by_hand
from tests.fakes import FakeResolver, Zones

KEY = "s1._domainkey.example.org"
NOW = float(int(time.time()))  # dkimpy signs with the time of the run
TAGS = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s1; h=from:to:subject; bh={bh}"

RFC8463 = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""
RFC8463_ZONES: Zones = {
    "brisbane._domainkey.football.example.com": {
        "TXT": ["v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]
    },
    "test._domainkey.football.example.com": {
        "TXT": [
            "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/b"
            "yYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
        ]
    },
}


# RFC 6376 appendix A.2 with its key of A.3; the spaces are those of the errata 3192 and 4926
RFC6376 = b"""\
DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
"""
RFC6376_ZONES: Zones = {
    "brisbane._domainkey.example.com": {
        "TXT": [
            "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ij"
            "Ssq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
        ]
    },
}


async def verify(content: bytes, record: object = None, now: float = NOW) -> tuple[AuthResult, ...]:
    zones: Zones = {KEY: {"TXT": [record or rsa_record()]}}
    return await dkim.evaluate(parse(content), FakeResolver(zones), now)


async def one(content: bytes, record: object = None) -> AuthResult:
    (result,) = await verify(content, record)
    return result


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
async def test_rfc_8463_appendix_a(line_end: bytes) -> None:
    results = await dkim.evaluate(parse(RFC8463.replace(b"\n", line_end)), FakeResolver(RFC8463_ZONES))
    assert [(r.result, r.domain, r.selector) for r in results] == [
        ("pass", "football.example.com", "brisbane"),
        ("pass", "football.example.com", "test"),
    ]
    assert [dict(r.properties)["header.a"] for r in results] == ["ed25519-sha256", "rsa-sha256"]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
async def test_rfc_6376_appendix_a(line_end: bytes) -> None:
    (found,) = await dkim.evaluate(parse(RFC6376.replace(b"\n", line_end)), FakeResolver(RFC6376_ZONES))
    assert (found.result, found.identity) == ("pass", "joe@football.example.com")
    assert dict(found.properties)["policy.key-bits"] == "1024"


@pytest.mark.parametrize("fields", [b"simple", b"relaxed"])
@pytest.mark.parametrize("body", [b"simple", b"relaxed"])
async def test_forms(fields: bytes, body: bytes) -> None:
    found = await one(sign(message_bytes("Hello  \r\n\tworld\r\n\r\n\r\n"), canonicalize=(fields, body)))
    assert (found.method, found.result, found.domain, found.selector, found.identity) == (
        "dkim",
        "pass",
        "example.org",
        "s1",
        "@example.org",
    )
    assert "1024 bits" in found.reason


async def test_ed25519() -> None:
    content = sign_by_hand(message_bytes(), TAGS.replace("rsa-", "ed25519-"), ed=True)
    assert (await one(content, ed25519_record())).result == "pass"
    assert (await one(content, rsa_record())).result == "permerror"


async def test_a_message_without_a_signature() -> None:
    assert await verify(message_bytes()) == ()


@pytest.mark.parametrize(
    ("before", "after", "result"),
    [
        (b"Hello\r\n", b"Hullo\r\n", "fail"),
        (b"Hello\r\n", b"Hello\r\nSee more at ...\r\n", "fail"),
        (b"Subject: Hello", b"Subject: Bye", "fail"),
        (b"From: Sara", b"From: Sarah", "fail"),
        (b"From: Sara", b"From: Eve <eve@example.net>\r\nFrom: Sara", "fail"),  # h= names From twice
        (b"From: Sara", b"X-New: 1\r\nFrom: Sara", "pass"),
        (b"Subject: Hello", b"SUBJECT:\r\n Hello ", "pass"),
        (b"d=example.org", b"d=example.net", "permerror"),
        (b"v=1", b"v=2", "permerror"),
        (b"a=rsa-sha256", b"a=rsa-sha1", "policy"),
    ],
)
async def test_changes_after_signing(before: bytes, after: bytes, result: str) -> None:
    content = sign(message_bytes())
    assert before in content
    assert (await one(content.replace(before, after))).result == result


@pytest.mark.parametrize(
    ("answer", "result", "word"),
    [
        ("timeout", "temperror", "timeout"),
        ("servfail", "temperror", "servfail"),
        ("refused", "temperror", "refused"),
        ("nxdomain", "permerror", "no key"),
        ({"TXT": ["v=DKIM1; p="]}, "permerror", "revoked"),
        ({"TXT": ["hello"]}, "permerror", "malformed"),
        ({"TXT": ["hello", rsa_record()]}, "pass", "signed by"),
        ({"TXT": [rsa_record(2048)]}, "fail", "does not match"),
        ({"TXT": [rsa_record(tags="t=y")]}, "pass", "key in test"),
        ({"TXT": [rsa_record(2048, tags="t=y")]}, "neutral", "key in test"),
    ],
)
async def test_keys(answer: object, result: str, word: str) -> None:
    (found,) = await dkim.evaluate(parse(sign(message_bytes())), FakeResolver({KEY: answer}), NOW)
    assert (found.result, found.domain) == (result, "example.org")
    assert word in found.reason


async def test_a_key_for_the_domain_alone() -> None:
    content = sign(message_bytes(), identity=b"news@sub.example.org")
    assert (await one(content)).identity == "news@sub.example.org"
    assert (await one(content)).result == "pass"
    assert (await one(content, rsa_record(tags="t=s"))).result == "permerror"
    assert (await one(sign(message_bytes()), rsa_record(tags="t=s"))).result == "pass"


async def test_part_of_the_body() -> None:
    content = sign(message_bytes(), length=True)
    whole, longer, shorter = await one(content), await one(content + b"Buy this\r\n"), await one(content[:-4] + b"\r\n")
    assert (whole.result, longer.result, shorter.result) == ("pass", "policy", "fail")
    assert "not signed" in longer.reason
    assert dict(longer.properties)["policy.body-length"] == "7"


async def test_an_unsigned_second_author() -> None:
    content = sign(message_bytes(), include_headers=[b"from", b"to"])
    assert (await one(content)).result == "pass"
    found = await one(b"From: Eve <eve@example.net>\r\n" + content)
    assert (found.result, "From" in found.reason) == ("policy", True)
    assert (await one(b"X-First: 1\r\nFrom : Eve <eve@example.net>\r\n" + content)).result == "policy"


ADDED = "Subject To From Cc Reply-To Date Message-ID MIME-Version Content-Type Content-Transfer-Encoding Sender".split()


def replayable(**fields: str) -> bytes:
    """A message that signs each of its fields once, and nothing twice."""
    content = message_bytes(
        **{
            "Cc": "team@example.org",
            "Reply_To": "sara@example.org",
            "Sender": "sara@example.org",
            "MIME_Version": "1.0",
            "Content_Type": "text/plain",
            "Content_Transfer_Encoding": "7bit",
        }
        | fields
    )
    return sign(content, include_headers=[name.lower().encode() for name in ADDED])


@pytest.mark.parametrize("name", ADDED)
async def test_a_replayed_message_with_a_field_added_is_not_clean(name: str) -> None:
    signed = replayable()
    assert (await one(signed)).result == "pass"
    for field in (f"{name}: eve@evil.example\r\n", f"{name.upper()} :\r\n eve\r\n"):
        on_top = await one(field.encode() + signed)
        assert on_top.result == "policy" and f"a {name.title()} field is not signed" in on_top.reason
        below = signed.replace(b"\r\n\r\n", b"\r\n" + field.encode() + b"\r\n", 1)
        assert (await one(below)).result in (
            "fail",
            "policy",
        )  # the signed place is the lowest: another text stands there


@pytest.mark.parametrize("name", ["X-Mailer", "List-Unsubscribe", "Resent-From"])
async def test_fields_that_may_stand_again_do_no_harm(name: str) -> None:
    signed = sign(f"{name}: one\r\n".encode() + message_bytes(), include_headers=[b"from", name.lower().encode()])
    assert (await one(f"{name}: two\r\n".encode() + signed)).result == "pass"


async def test_a_message_that_came_with_two_of_them_is_the_signers_affair() -> None:
    twice = b"To: a@example.net\r\n" + message_bytes()
    assert (await one(sign(twice, include_headers=[b"from", b"to", b"to"]))).result == "pass"
    assert (await one(sign(twice, include_headers=[b"from", b"subject"]))).result == "pass"  # noted as unsigned
    assert (await one(sign(twice, include_headers=[b"from", b"to"]))).result == "policy"


async def test_two_fields_that_say_how_the_body_is_read_are_nobodys_affair() -> None:
    signed = sign(message_bytes(Content_Type="text/plain"), include_headers=[b"from", b"subject"])
    assert (await one(signed)).result == "pass"
    assert (await one(b"Content-Type: text/html\r\n" + signed)).result == "policy"


@pytest.mark.parametrize(
    ("names", "unsigned"),
    [
        ([b"from"], "subject,date,to"),
        ([b"from", b"subject", b"date"], "to"),
        ([b"from", b"subject", b"date", b"to"], None),
        ([b"from", b"from", b"subject", b"subject", b"date", b"to", b"reply-to"], None),
    ],
)
async def test_fields_that_are_not_signed_are_noted(names: list[bytes], unsigned: str | None) -> None:
    found = await one(sign(message_bytes(), include_headers=names))
    assert found.result == "pass"
    assert dict(found.properties).get("policy.unsigned") == unsigned


async def test_from_must_be_signed() -> None:
    content = sign_by_hand(message_bytes(), TAGS.replace("from:", ""))
    assert (await one(content)).result == "permerror"


async def test_expired() -> None:
    content = sign_by_hand(message_bytes(), TAGS + f"; t=1; x={int(NOW)}")
    assert (await verify(content))[0].result == "pass"
    assert (await verify(content, now=NOW + 1))[0].result == "policy"


@pytest.mark.parametrize(
    ("ahead_s", "result"), [(-60, "pass"), (300, "pass"), (3600, "pass"), (3601, "policy"), (10**9, "policy")]
)
async def test_signatures_of_the_future(ahead_s: int, result: str) -> None:
    content = sign_by_hand(message_bytes(), TAGS + f"; t={int(NOW) + ahead_s}")
    found = await one(content)
    assert found.result == result
    assert result == "pass" or "future" in found.reason


@pytest.mark.parametrize(("bits", "noted"), [(1024, "1024"), (1536, "1536"), (2048, None)])
async def test_short_keys_are_noted(bits: int, noted: str | None) -> None:
    found = await one(sign(message_bytes(), bits=bits), rsa_record(bits))
    assert found.result == "pass"
    assert dict(found.properties).get("policy.key-bits") == noted
    failed = await one(sign(message_bytes(), bits=bits) + b"more", rsa_record(bits))
    assert failed.result == "fail" and "policy.key-bits" not in dict(failed.properties)


async def test_two_signatures_of_one_domain() -> None:
    good = sign(message_bytes(), bits=2048)
    both = sign(good, selector=b"s2")
    zones = {KEY: {"TXT": [rsa_record(2048)]}, "s2._domainkey.example.org": {"TXT": [rsa_record()]}}
    results = await dkim.evaluate(parse(both), FakeResolver(zones), NOW)
    assert [(one.result, one.domain, one.selector) for one in results] == [
        ("pass", "example.org", "s2"),
        ("pass", "example.org", "s1"),
    ]
    assert len({dict(one.properties)["header.b"] for one in results}) == 2
    broken = await dkim.evaluate(parse(both), FakeResolver(zones | {KEY: "nxdomain"}), NOW)
    assert [one.result for one in broken] == ["pass", "permerror"]


async def test_each_signature_has_its_result_and_work_is_bounded() -> None:
    signed = sign(message_bytes())
    field = signed[: len(signed) - len(message_bytes())]
    resolver = FakeResolver({KEY: {"TXT": [rsa_record()]}})
    results = await dkim.evaluate(parse(field.replace(b"d=example.org", b"d=example.net") + signed), resolver, NOW)
    assert [r.result for r in results] == ["permerror", "pass"]
    results = await dkim.evaluate(parse(field * 500 + signed), resolver, NOW)
    assert [r.result for r in results] == ["pass"] * 5 + ["policy"]
    assert len(resolver.queries) == 6  # i= of the first is not within its d=


@pytest.mark.parametrize(("zones", "result"), [({}, "permerror"), ({KEY: "timeout"}, "temperror")])
async def test_without_a_key_nothing_is_hashed(zones: Zones, result: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CanonicalMessage, "body", lambda *_: pytest.fail("hashed"))
    (found,) = await dkim.evaluate(parse(sign(message_bytes()) + b"more"), FakeResolver(zones), NOW)
    assert found.result == result


@pytest.mark.parametrize(
    "body", [" " * (1 << 20), "\r\n" * (1 << 19), "a \r\n" * (1 << 18)], ids=["spaces", "lines", "ends"]
)
async def test_hostile_bodies_take_linear_time(body: str) -> None:
    content = sign_by_hand(message_bytes(body), TAGS)
    started = time.process_time()
    assert (await one(content)).result == "pass"
    assert time.process_time() - started < 2.0


async def test_a_header_full_of_names_takes_linear_time() -> None:
    names = ":".join(f"x-{number}" for number in range(4000))
    fields = "".join(f"X-{number}: {number}\r\n" for number in range(0, 8000, 2)).encode()
    content = sign_by_hand(fields + message_bytes(), TAGS.replace("h=from", f"h=from:{names}"))
    started = time.process_time()
    assert (await one(content)).result == "pass"
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize("odd", [b" odd\r\n", b"\x00\xff\r\n"])
async def test_lines_that_are_no_field(odd: bytes) -> None:
    signed = sign(message_bytes())
    assert (await one(odd + signed)).result == "policy"
    assert (await one(signed.replace(b"\r\n\r\n", b"\r\nVisit us at ...\r\n\r\n"))).result in ("fail", "policy")


async def test_more_fields_than_are_read() -> None:
    assert (
        await one(sign(message_bytes()).replace(b"\r\n\r\n", b"\r\n" + b"X: 1\r\n" * 20_000 + b"\r\n"))
    ).result == "policy"


async def test_what_is_odd_elsewhere_does_not_matter() -> None:
    body = "--b\r\nContent-Type: text/plain\r\nno field\r\n\r\nHello\r\n--b--\r\n"
    signed = sign(message_bytes(body, MIME_Version="1.0", Content_Type='multipart/mixed; boundary="b"'))
    assert (await one(signed)).result == "pass"
    assert (await one(b"From sara@example.org Mon Sep 21 13:33:20 2026\r\n" + signed)).result == "pass"


# --- where dkimpy 1.1.8 differs from the RFCs; docs/rfc.md names these ---------------------------------------------------

EMPTY = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="  # SHA-256 of nothing
BY_HAND = sign_by_hand(message_bytes(), TAGS)
SUBDOMAIN = TAGS + "; i=news@sub.example.org"


@pytest.mark.parametrize(
    ("content", "answer", "result", "word"),
    [
        pytest.param(sign_by_hand(message_bytes(), TAGS.replace("from:", "")), None, "permerror", "From", id="From not in h="),
        pytest.param(b"From : eve@evil.example\r\n" + BY_HAND, None, "policy", "From", id="From with white space before the colon"),
        pytest.param(BY_HAND, "timeout", "temperror", "timeout", id="a key that does not come"),
        pytest.param(BY_HAND, "servfail", "temperror", "servfail", id="a DNS that fails"),
        pytest.param(sign_by_hand(message_bytes(), SUBDOMAIN), {"TXT": [rsa_record(tags="t=s")]}, "permerror", "t=s", id="t=s of the key"),
        pytest.param(BY_HAND, {"TXT": [rsa_record(tags="h=sha1")]}, "permerror", "sha256", id="h= of the key"),
        pytest.param(BY_HAND.replace(b"rsa-sha256", b"rsa-sha1"), None, "policy", "sha1", id="rsa-sha1"),
        pytest.param(sign_by_hand(message_bytes(), TAGS.replace("{bh}", EMPTY) + "; l=0"), None, "policy", "not signed", id="l=0"),
        pytest.param(b" continued\r\n" + BY_HAND, None, "policy", "no field", id="a first line that continues nothing"),
        pytest.param(BY_HAND, {"TXT": [rsa_record(tags="s=*:email")]}, "pass", "signed", id="s= list of the key"),
        pytest.param(sign_by_hand(message_bytes(), TAGS + "; q=other/way:dns/txt"), None, "pass", "signed", id="q= list"),
        pytest.param(sign_by_hand(message_bytes(), TAGS + "; i=a=20b=3D@example.org"), None, "pass", "signed", id="quoted-printable i="),
        pytest.param(BY_HAND + b"more\r\n", None, "fail", "body was changed", id="a changed body"),
        pytest.param(BY_HAND.replace(b"v=1", b"v=1; v=1"), None, "permerror", "list of tags", id="a malformed signature"),
    ],
)  # fmt: skip
async def test_defects_of_dkimpy(content: bytes, answer: object, result: str, word: str) -> None:
    zones: Zones = {KEY: answer or {"TXT": [rsa_record()]}}  # type: ignore[dict-item]
    (found,) = await dkim.evaluate(parse(content), FakeResolver(zones), NOW)
    assert (found.result, word in found.reason) == (result, True), found.reason


async def test_dkimpy_looks_at_the_first_signature_only() -> None:
    broken = BY_HAND[: len(BY_HAND) - len(message_bytes())].replace(b"s=s1", b"s=gone")
    assert [found.result for found in await verify(broken + BY_HAND)] == ["permerror", "pass"]
