"""Small makers of the frozen types, for tests: everything has a default, tests name what matters to them."""

from __future__ import annotations

from gateway.checks import observe
from gateway.mail import parse
from gateway.types import AuthResult, Client, DmarcRow, Envelope, Hit, MailObject, Recipient, Summary, Verdict

AT = 1_790_000_000.0  # 2026-09-21


def recipient(address: str = "you@darban.test") -> Recipient:
    return Recipient(address, address.rpartition("@")[2])


def envelope(*recipients: str, **changes: object) -> Envelope:
    values: dict = {
        "queue_id": "TESTQUEUEID1",
        "client": Client("192.0.2.1", helo="mail.example.org"),
        "reverse_path": "sara@example.org",
        "recipients": tuple(recipient(one) for one in (recipients or ("you@darban.test",))),
        "received_at": AT,
        "hostname": "mx.darban.test",
    }
    return Envelope(**(values | changes))


def verdict(score: float = 0.0, **changes: object) -> Verdict:
    values: dict = {
        "queue_id": "TESTQUEUEID1",
        "score": score,
        "hits": (Hit("TEST_HIT", score, "A hit of the tests", ("evidence",)),) if score else (),
        "auth": (),
        "prediction": None,
        "incomplete": (),
        "summary": Summary("id@example.org", "Subject", "Sara <sara@example.org>", 1000),
        "rules_id": "rules",
    }
    return Verdict(**(values | changes))


def message_bytes(body: str = "Hello\r\n", **fields: str) -> bytes:
    """A plain message; a keyword like Reply_To="..." sets or, with "", removes a field."""
    base = {
        "From": "Sara <sara@example.org>",
        "To": "you@darban.test",
        "Subject": "Hello",
        "Date": "Mon, 21 Sep 2026 13:33:20 +0000",
        "Message-ID": "<1@example.org>",
    }
    base |= {name.replace("_", "-"): value for name, value in fields.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in base.items() if value)
    return f"{head}\r\n{body}".encode()


def mail(content: bytes, *auth: AuthResult, **changes: object) -> MailObject:
    """With the findings that the classifier is given."""
    return observe(MailObject(envelope(**changes), parse(content), auth))


def dmarc_row(**changes: object) -> DmarcRow:
    """One counted row, of 2026-11-26."""
    values: dict = {
        "at": 20_783 * 86_400.0 + 10,
        "domain": "example.org",
        "published": "treewalk v=DMARC1; p=reject; rua=mailto:d@example.org",
        "source_ip": "192.0.2.1",
        "header_from": "news.example.org",
        "envelope_from": "bounce.example.org",
        "envelope_to": "darban.test",
        "disposition": "none",
        "is_dkim_aligned": True,
        "is_spf_aligned": False,
        "overrides": ("policy_test_mode", "local_policy"),
        "dkim": (("example.org", "s1", "pass"), ("esp.example", "k", "fail")),
        "spf": ("bounce.example.org", "softfail"),
    }
    return DmarcRow(**(values | changes))
