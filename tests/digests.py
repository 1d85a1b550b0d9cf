"""Held messages and the digests that list them, for tests."""

from __future__ import annotations

import json

from gateway.config.settings import Web
from gateway.digest.quarantine import offered
from gateway.policy.retention import Retention
from gateway.types import Digest, DigestContent, DigestItem, HeldMessage, Summary
from gateway.web.site import Site

NOW = 1_795_766_400.0  # 2026-11-27 08:00 UTC
HOSTILE = '<script>alert("x")</script>'
TRANSLATIONS = {"fa": {"SPF_FAIL": "دامنه می‌گوید این فرستنده مجاز نیست"}}


def held_message(number: int, author: str, subject: str, *, kind: str = "spam", **changes: object) -> HeldMessage:
    """`kind`: HeldMessage's."""
    hits = [{"name": "SPF_FAIL", "score": 4.0, "description": "Not sent by its <domain>", "evidence": []}]
    values: dict = {
        "id": f"{number:032x}", "queue_id": f"Q{number}", "content_hash": "c" * 64, "reverse_path": "x@y.example",
        "recipient": "you@darban.test", "domain": "darban.test", "client_ip": "192.0.2.1", "helo": "h",
        "received_at": NOW - 3600, "summary": Summary("m", subject, author, 1200), "score": 9.25, "kind": kind,
        "reason": "score 9.2 >= quarantine_at 8.0", "verdict_json": json.dumps({"hits": hits}),
    }  # fmt: skip
    return HeldMessage(**(values | changes))


def content_of(language: str, *messages: HeldMessage, more: int = 0) -> DigestContent:
    calendar = "jalali" if language == "fa" else "gregorian"
    digest = Digest("d" * 32, "you@darban.test", "you@darban.test", NOW, language, calendar, "Asia/Tehran")
    items = tuple(
        DigestItem(one, {act: f"https://mx.test/digest/{one.queue_id}-{act}" for act in offered(one)})
        for one in messages
    )
    return DigestContent(digest, items, more, "https://mx.test/digest/stop", NOW + 7 * 86_400)


def site() -> Site:
    """Its words alone: nobody signs in."""
    keeps = Retention({"spam": 30.0, "phishing": 30.0, "malware": 30.0, "released": 5.0, "rows": 90.0})
    return Site.make(None, None, keeps, "mx.darban.test", TRANSLATIONS, Web())  # type: ignore[arg-type]
